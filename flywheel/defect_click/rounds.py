"""One round of clicking for a batch of training cases: what the networks see, and what a click leaves behind.

It is `Clicker.click` for a batch: the same coarse pass, window, merge and held clicks, kept apart because a training
keeps gradients, has cases of one size and looks closely at one window.
"""

from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from flywheel.defect_click.merge import THRESHOLD, hold_clicks, merge
from flywheel.defect_click.network import ClickNet, Features
from flywheel.defect_click.prompts import (
    Click,
    Light,
    Window,
    as_batch,
    click_maps,
    full_picture,
    picture,
    resized,
    window_around,
    window_prompts,
)
from flywheel.defect_click.reference import CHANNELS
from flywheel.defect_click.simulated_user import EXACT, Hand, next_click
from flywheel.defect_click.views import Case

ELSEWHERE = 0.4  # of the windows lie on what is wrong or changed, not on the click, as further windows do in use
WITHOUT_REFERENCE = 0.2  # of the cases are learnt with the reference channels blank


class Answer(NamedTuple):
    """coarse: logits (N, 1, S, S); refined: logits (N, 1, W, W) of the windows."""

    coarse: Tensor
    refined: Tensor
    windows: list[Window]


class Table:
    """A batch of cases under work: pictures and truths stay, masks and clicks change from round to round."""

    def __init__(self, cases: list[Case], side: int, rng: np.random.Generator) -> None:
        """cases: S x S px each; the coarse pass sees them at `side` px."""
        self.side, self.size = side, len(cases[0].image)
        coarse, full = [], []
        for case in cases:
            small = cv2.resize(case.image, (side, side), interpolation=cv2.INTER_AREA)
            light = Light.of(case.image)
            seen = picture(small, light)
            if rng.random() < WITHOUT_REFERENCE:
                seen[..., -CHANNELS:] = 0
            coarse.append(seen)
            full.append(full_picture(case.image, seen, light))
        self.coarse, self.full = as_batch(coarse), as_batch(full)
        self.targets, self.ignored = [case.target for case in cases], [case.ignore for case in cases]
        self.truth = torch.from_numpy(np.stack(self.targets))[:, None].float()
        self.weight = 1 - torch.from_numpy(np.stack(self.ignored))[:, None].float()
        self.masks = [case.start.astype(np.float32) for case in cases]
        self.clicks: list[list[Click]] = [[] for _ in cases]
        self.pointed = torch.zeros_like(self.truth)  # the error region that the last click lies in

    def click(self, hand: Hand, rng: np.random.Generator) -> None:
        """Each case's user clicks; one with nothing to correct clicks the middle of the target again."""
        cases = zip(self.targets, self.ignored, self.masks, self.clicks, strict=True)
        for number, (target, ignored, mask, clicks) in enumerate(cases):
            click = next_click(target, mask > THRESHOLD, hand, rng=rng, ignore=ignored)
            again = click or next_click(target, np.zeros_like(target), EXACT, rng=rng)
            assert again is not None
            clicks.append(again)
            wrong = (target != (mask > THRESHOLD)) & (target == again.positive)
            labels = cv2.connectedComponents(wrong.astype(np.uint8), connectivity=8)[1]
            at = labels[again.row, again.column]
            self.pointed[number, 0] = torch.from_numpy((labels == at) & (at > 0))

    def prompts(self) -> Tensor:
        """(N, 3, side, side) for the coarse pass."""
        shape = (self.side, self.side)
        maps = [click_maps(clicks, shape, scale=self.side / self.size) for clicks in self.clicks]
        masks = [resized(mask, shape)[None] for mask in self.masks]
        return torch.from_numpy(np.concatenate([np.stack(masks), np.stack(maps)], axis=1))

    def window_prompts(self, windows: list[Window], *, points: bool) -> Tensor:
        """(N, 3 or 6, W, W) for the refiner."""
        prompts = [
            window_prompts(mask, clicks, window, points=points)
            for mask, clicks, window in zip(self.masks, self.clicks, windows, strict=True)
        ]
        return torch.from_numpy(np.stack(prompts))

    def windows(self, coarse: np.ndarray, side: int, rng: np.random.Generator) -> list[Window]:
        """A window for each case, on its last click or, now and then, where the coarse mask (N, S, S) bool is wrong."""
        windows = []
        for found, target, clicks in zip(coarse, self.targets, self.clicks, strict=True):
            row, column, _ = clicks[-1]
            wrong = np.flatnonzero(found != target) if rng.random() < ELSEWHERE else np.empty(0, int)
            if len(wrong):
                row, column = divmod(int(wrong[rng.integers(len(wrong))]), self.size)
            windows.append(window_around(row, column, target.shape, side))
        return windows

    def settle(self, answer: Answer) -> None:
        """Take each answer into the mask, as far as the progressive merge lets it."""
        coarse = torch.sigmoid(answer.coarse.detach())[:, 0].numpy(force=True)
        refined = torch.sigmoid(answer.refined.detach())[:, 0].numpy(force=True)
        for number, window in enumerate(answer.windows):
            new = coarse[number].copy()
            new[window.slices] = refined[number]
            clicks = self.clicks[number]
            self.masks[number] = hold_clicks(merge(self.masks[number], new, clicks[-1]), clicks)


def cut(batch: Tensor, windows: list[Window]) -> Tensor:
    """Each item's window: (N, C, S, S) -> (N, C, W, W)."""
    return torch.stack(
        [item[:, window.slices[0], window.slices[1]] for item, window in zip(batch, windows, strict=True)]
    )


def answer(
    net: ClickNet, table: Table, features: Features, device: torch.device, rng: np.random.Generator, *, window: int
) -> Answer:
    """The networks' answer to the clicks on the table. window: px, side of the refiner's view."""
    logits = net.head(features, table.prompts().to(device))
    coarse = F.interpolate(logits, size=(table.size, table.size), mode="bilinear", align_corners=False)
    windows = table.windows((coarse.detach() > 0)[:, 0].numpy(force=True), window, rng)
    pictures = cut(table.full, windows).to(device)
    refined = net.refiner(
        pictures, cut(coarse, windows), table.window_prompts(windows, points=net.config.points > 0).to(device)
    )
    return Answer(coarse, refined, windows)
