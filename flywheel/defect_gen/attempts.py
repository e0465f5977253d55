"""Filling a block of slots: what the judge rejects is drawn again, in blocks of the same size."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, Protocol

import numpy as np

from flywheel.defect_gen.filters import Verdict
from flywheel.defect_gen.painter import Drawn
from flywheel.defect_gen.wishes import Combination, Wish


class Judge(Protocol):
    """Says of one pair alone whether it is fit for training; threads may share one."""

    def check(
        self, image: np.ndarray, mask: np.ndarray, wanted: Combination, parents: Sequence[str], found: Combination
    ) -> Verdict:
        """image: (H, W, 3) uint8 RGB. mask: (H, W) uint8. wanted: class indices; found: of real defects that the
        background shows by itself. The reason is empty when accepted."""


@dataclass(frozen=True)
class Filled:
    """A slot's pair: the first one accepted, or the last one rejected.

    wish: with the attempt that made it. scores: the judge's figures. reasons: why each attempt was rejected, in order;
    the last is empty when the pair was accepted.
    """

    wish: Wish
    drawn: Drawn
    scores: dict[str, Any]
    reasons: tuple[str, ...]

    @property
    def accepted(self) -> bool:
        return not self.reasons[-1]


def fill_block(
    wishes: Sequence[Wish],
    draw: Callable[[list[Wish]], list[Drawn]],
    judge: Judge,
    *,
    seed: int,
    attempts: int,
    batch: int,
) -> list[Filled]:
    """Draw and judge until every slot has an accepted pair or has spent its `attempts`.

    draw: gets `batch` wishes each time, whatever is left to draw: a pair's bytes may depend on how many come with it.
    Free places go to the next attempts of rejected slots, else to repeated wishes; what was not needed is dropped.
    wishes: at most `batch`. seed: of the stage. Returns one pair per wish, in order; it depends on these alone.
    """
    filled: dict[int, Filled] = {}
    waiting = [wish.tried(seed, 0) for wish in wishes]
    while waiting:
        block = waiting[:batch]
        for wish, drawn in zip(block, draw(list(islice(cycle(block), batch))), strict=False):
            before = filled.get(wish.slot)
            if before and before.accepted:
                continue  # a later attempt, drawn beside the one that was accepted
            verdict = judge.check(drawn.image, drawn.mask, wish.classes, drawn.parents, drawn.found)
            reasons = (*(before.reasons if before else ()), verdict.reason)
            filled[wish.slot] = Filled(wish, drawn, verdict.scores, reasons)
        rejected = [wish for wish in wishes if not filled[wish.slot].accepted]
        waiting = [
            wish.tried(seed, attempt)
            for attempt in range(1, attempts)
            for wish in rejected
            if attempt >= len(filled[wish.slot].reasons)
        ]
    return [filled[wish.slot] for wish in wishes]
