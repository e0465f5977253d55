"""Folds of the real training images: by group, so that no roll or tile is on both sides of a judgement."""

from collections import Counter
from collections.abc import Collection, Sequence

from flywheel.files import sha256


def cut_folds(groups: Sequence[str], classes: Sequence[Collection[int]], *, folds: int, seed: int) -> dict[str, int]:
    """The fold of each group, 0..folds - 1, with every class in as many folds as its groups allow.

    groups, classes: of each image, in any order. Groups with the rarest classes are placed first, each where its
    classes are scarcest, then where there are fewest images; what is left to choose a hash of `seed` and the group
    decides. Fewer folds are used when fewer groups show a defect; one (all 0) when that leaves less than two.
    """
    shown: dict[str, set[int]] = {}
    for group, held in zip(groups, classes, strict=True):
        shown.setdefault(group, set()).update(held)
    images = Counter(groups)
    usable = min(folds, sum(bool(held) for held in shown.values()))
    if usable < 2:
        return dict.fromkeys(sorted(shown), 0)
    spread = Counter(index for held in shown.values() for index in held)  # groups that show a class

    def rarity(group: str) -> list[int]:
        return sorted(spread[index] for index in shown[group]) or [len(groups) + 1]

    placed: dict[str, int] = {}
    held_by = [Counter[int]() for _ in range(usable)]
    filled = [0] * usable
    for group in sorted(shown, key=lambda name: (rarity(name), _hash(seed, name))):
        order = sorted(shown[group], key=lambda index: (spread[index], index))

        def scarcity(fold: int, group: str = group, order: list[int] = order) -> tuple[list[int], int, str]:
            return [held_by[fold][index] for index in order], filled[fold], _hash(seed, f"{group} {fold}")

        chosen = min(range(usable), key=scarcity)
        placed[group] = chosen
        held_by[chosen].update(shown[group])
        filled[chosen] += images[group]
    return placed


def _hash(seed: int, name: str) -> str:
    return sha256(f"{seed} {name}".encode())
