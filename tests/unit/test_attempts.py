"""Filling a block: what is drawn again, how often, and in blocks of which size."""

from collections.abc import Sequence

import numpy as np

from flywheel.defect_gen.attempts import Filled, fill_block
from flywheel.defect_gen.filters import Verdict
from flywheel.defect_gen.painter import Drawn
from flywheel.defect_gen.wishes import Wish

WISHES = [Wish(slot, (1,), "cloth") for slot in range(4)]


class Studio:
    """Draws pictures whose first pixels are slot and attempt, and accepts a slot's attempt from a number on.

    blocks: (slot, attempt) of every picture, block by block. judged: of every picture that was judged.
    """

    def __init__(self, accepted_from: dict[int, int]) -> None:
        self.accepted_from = accepted_from
        self.blocks: list[list[tuple[int, int]]] = []
        self.judged: list[tuple[int, int]] = []

    def draw(self, wishes: list[Wish]) -> list[Drawn]:
        self.blocks.append([(wish.slot, wish.attempt) for wish in wishes])
        return [Drawn(np.full((2, 2, 3), wish.slot, np.uint8), np.full((2, 2), wish.attempt)) for wish in wishes]

    def check(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        wanted: tuple[int, ...],
        parents: Sequence[str],
        found: tuple[int, ...],
    ) -> Verdict:
        slot, attempt = int(image[0, 0, 0]), int(mask[0, 0])
        self.judged.append((slot, attempt))
        good = attempt >= self.accepted_from.get(slot, 0)
        return Verdict("" if good else f"fault {attempt}", {"attempt": attempt})


def fill(studio: Studio, wishes: Sequence[Wish] = WISHES, attempts: int = 3, batch: int = 4) -> list[Filled]:
    return fill_block(wishes, studio.draw, studio, seed=0, attempts=attempts, batch=batch)


def test_accepted_pairs_are_drawn_once() -> None:
    studio = Studio({})
    assert [pair.reasons for pair in fill(studio)] == [("",)] * 4
    assert studio.blocks == [[(0, 0), (1, 0), (2, 0), (3, 0)]]


def test_a_rejected_pair_is_drawn_again_until_it_is_accepted() -> None:
    studio = Studio({1: 1, 2: 2})
    filled = fill(studio)
    assert [pair.reasons for pair in filled] == [("",), ("fault 0", ""), ("fault 0", "fault 1", ""), ("",)]
    assert [int(pair.drawn.mask[0, 0]) for pair in filled] == [0, 1, 2, 0]
    assert [pair.wish.attempt for pair in filled] == [0, 1, 2, 0]
    assert [pair.scores["attempt"] for pair in filled] == [0, 1, 2, 0]
    assert all(pair.accepted for pair in filled)


def test_free_places_draw_the_next_attempts_and_what_is_not_needed_is_never_judged() -> None:
    studio = Studio({1: 1, 2: 2})
    fill(studio)
    assert studio.blocks[1:] == [[(1, 1), (2, 1), (1, 2), (2, 2)]]
    assert (1, 2) not in studio.judged


def test_when_all_attempts_are_spent_the_last_pair_stays_with_its_reason() -> None:
    studio = Studio(dict.fromkeys(range(4), 9))
    filled = fill(studio)
    assert [pair.reasons for pair in filled] == [("fault 0", "fault 1", "fault 2")] * 4
    assert [pair.wish.attempt for pair in filled] == [2] * 4
    assert not any(pair.accepted for pair in filled)
    assert len(studio.judged) == len(set(studio.judged)) == 12


def test_every_block_is_full_also_the_last_one_and_every_redraw() -> None:
    studio = Studio({0: 1, 1: 9, 2: 9})
    filled = fill(studio, WISHES[:3], attempts=2)
    assert studio.blocks == [[(0, 0), (1, 0), (2, 0), (0, 0)], [(0, 1), (1, 1), (2, 1), (0, 1)]]
    assert [pair.wish.slot for pair in filled] == [0, 1, 2]
    assert studio.judged.count((0, 0)) == 1, "a repeated wish is judged once"


def test_with_one_attempt_nothing_is_drawn_again() -> None:
    studio = Studio({0: 1})
    assert fill(studio, attempts=1)[0].reasons == ("fault 0",)
    assert len(studio.blocks) == 1
