"""Clicks in, mask out: the facade that the labelling page, the benchmarks and scripts use.

As in segment-anything, `set_image` does the expensive part once and `click` is called often.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from flywheel.defect_click.merge import REACH, THRESHOLD, cut_off, disk, groups, hold_clicks, merge, unwanted
from flywheel.defect_click.model_folder import BASE, load_click_model
from flywheel.defect_click.network import STRIDE, ClickNet, Features
from flywheel.defect_click.prompts import (
    Click,
    Light,
    Window,
    as_batch,
    click_maps,
    focus_windows,
    normalised,
    picture,
    resized,
    window_prompts,
)
from flywheel.defect_click.prototypes import Prototypes, region_look
from flywheel.defect_click.reference import CHANNELS
from flywheel.device import computes_in_bfloat16, pick_device, prepare_cpu
from flywheel.errors import DataInvalid, MaskInvalid

__all__ = ["Click", "Clicker", "ImageState"]

COARSE_AREA = 512 * 512  # px; larger images are seen smaller in the coarse pass
WINDOW = 128  # px, side of the refiner's view
MOST_WINDOWS = 4  # a click
FEATHER = 8  # px over which a window's answer fades into the coarse one


@dataclass(frozen=True)
class ImageState:
    """An image with what `Clicker.click` needs of it; made by `Clicker.set_image`, never changed.

    rgb: (H, W, 3) uint8, padded to at least WINDOW px; shape: (H, W) as given; scale: coarse px for each px;
    coarse: (h, w) of the picture of the coarse pass; reference: its reference channels (h, w, R).
    """

    rgb: np.ndarray
    shape: tuple[int, int]
    light: Light
    scale: float
    coarse: tuple[int, int]
    reference: np.ndarray
    features: Features

    @property
    def nbytes(self) -> int:
        """Bytes that it keeps in memory."""
        return self.rgb.nbytes + self.reference.nbytes + sum(one.nbytes for one in self.features)

    def window_picture(self, window: Window) -> np.ndarray:
        """What the refiner sees there: (S, S, 3 + R) float32."""
        seen = normalised(self.rgb[window.slices], self.light)
        offset = [(start + 0.5) * self.scale - 0.5 for start in (window.column, window.row)]
        matrix = np.array([[self.scale, 0, offset[0]], [0, self.scale, offset[1]]])
        flags, size = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, (window.side, window.side)
        carried = cv2.warpAffine(self.reference, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return np.concatenate([seen, carried], axis=2)


class Clicker:
    """A click model ready to use; it keeps no state between calls, so one serves many images and threads."""

    def __init__(self, net: ClickNet, prototypes: Prototypes, device: torch.device | None = None) -> None:
        prepare_cpu()
        self.device = device or pick_device()
        self.net, self.prototypes = net.to(self.device).eval(), prototypes

    @classmethod
    def load(cls, folder: Path | None = None) -> "Clicker":
        """The model in `folder`; None: the shipped one. Raises ModelError when it is missing or damaged."""
        return cls(*load_click_model(folder or BASE))

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=computes_in_bfloat16(self.device))

    def see(self, rgb: np.ndarray, light: Light) -> np.ndarray:
        """What the coarse pass sees of an image: (H, W, 3 + R) float32."""
        return picture(rgb, light)

    @torch.inference_mode()
    def set_image(self, rgb: np.ndarray) -> ImageState:
        """Look at an image, (H, W, 3) uint8, before it is clicked. Raises DataInvalid for another shape or type."""
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or not rgb.size:
            raise DataInvalid(f"set_image: {rgb.dtype} array of shape {rgb.shape}; give RGB of shape (H, W, 3), uint8")
        shape = (rgb.shape[0], rgb.shape[1])
        padded = _padded(rgb, *(max(side, WINDOW) for side in shape))
        height, width = padded.shape[:2]
        light = Light.of(rgb)
        scale = min(1.0, (COARSE_AREA / (height * width)) ** 0.5)
        coarse = (max(1, round(height * scale)), max(1, round(width * scale)))
        small = padded if scale == 1 else cv2.resize(padded, coarse[::-1], interpolation=cv2.INTER_AREA)
        seen = self.see(small, light)
        whole = _padded(seen, *(-(-side // STRIDE) * STRIDE for side in coarse))
        with self._precision():
            features = self.net.encoder(as_batch([whole]).to(self.device))
        return ImageState(padded, shape, light, scale, coarse, seen[..., -CHANNELS:].copy(), features)

    @torch.inference_mode()
    def click(self, image: ImageState, clicks: Sequence[Click], previous: np.ndarray | None = None) -> np.ndarray:
        """Probability of the defect, (H, W) float32, after the last of `clicks`; above 0.5 is the mask.

        clicks: all clicks on this defect so far, oldest first, at least one. previous: (H, W), a mask or a probability,
        what stood before the last click; it changes only in the region that belongs to that click. None: nothing stood.
        Raises DataInvalid for a click outside the image or none at all, MaskInvalid for a mask of another shape.
        """
        _check(image, clicks, previous)
        height, width = image.shape
        before = np.zeros(image.rgb.shape[:2], np.float32)
        if previous is not None:
            before[:height, :width] = previous
        wrong = unwanted(before > THRESHOLD, clicks)
        if wrong.any():
            return hold_clicks(np.where(wrong, 0, before).astype(np.float32), clicks)[:height, :width]
        logits = self._coarse(image, clicks, before)
        guess = logits > 0
        labels = groups(guess != (before > THRESHOLD))
        touched = labels[disk(clicks[-1], guess.shape, REACH)]
        changed = np.isin(labels, np.unique(touched[touched > 0]))
        windows = focus_windows(changed, clicks[-1], WINDOW, MOST_WINDOWS)
        logits = self._refined(image, clicks, before, logits, windows)
        after = merge(before, 1 / (1 + np.exp(-logits)), clicks[-1])
        after[cut_off(before > THRESHOLD, after > THRESHOLD, clicks)] = 0
        return hold_clicks(after, clicks)[:height, :width]

    def _coarse(self, image: ImageState, clicks: Sequence[Click], before: np.ndarray) -> np.ndarray:
        """Logits (H, W) of the coarse pass, carried to the full resolution."""
        whole = tuple(2 * side for side in image.features.half.shape[2:])
        mask = _padded(resized(before, image.coarse), *whole)
        maps = click_maps(clicks, mask.shape, scale=image.scale)
        prompts = torch.from_numpy(np.concatenate([mask[None], maps]))[None].to(self.device)
        with self._precision():
            logits = self.net.head(image.features, prompts)
        full = F.interpolate(logits, size=whole, mode="bilinear", align_corners=False)[0, 0].numpy(force=True)
        return resized(full[: image.coarse[0], : image.coarse[1]], before.shape).copy()

    def _refined(
        self,
        image: ImageState,
        clicks: Sequence[Click],
        before: np.ndarray,
        logits: np.ndarray,
        windows: Sequence[Window],
    ) -> np.ndarray:
        """The logits with the refiner's answer in each window."""
        pictures = as_batch([image.window_picture(window) for window in windows]).to(self.device)
        coarse = torch.from_numpy(np.stack([logits[window.slices] for window in windows]))[:, None].to(self.device)
        prompts = [window_prompts(before, clicks, window, points=self.net.config.points > 0) for window in windows]
        with self._precision():
            answers = self.net.refiner(pictures, coarse, torch.from_numpy(np.stack(prompts)).to(self.device))
        for window, answer in zip(windows, answers[:, 0].numpy(force=True), strict=True):
            share = _share(window, logits.shape)
            logits[window.slices] += share * (answer - logits[window.slices])
        return logits

    @torch.inference_mode()
    def propose_class(self, image: ImageState, mask: np.ndarray) -> list[tuple[str, float]]:
        """Classes that look like the region, best first, with scores that add up to 1; empty before any fine-tuning.

        mask: (H, W), the region; nothing is proposed for an empty one. Raises MaskInvalid for another shape.
        """
        if mask.shape != image.shape:
            raise MaskInvalid(f"propose_class: mask is {mask.shape}, image is {image.shape}; use the image's own mask")
        if not self.prototypes.classes or not (mask > THRESHOLD).any():
            return []
        return self.prototypes.rank(look_of(image, mask))


def look_of(image: ImageState, mask: np.ndarray) -> np.ndarray:
    """The look (D,) of a region of an image, see prototypes.py. mask: (H, W), not empty."""
    whole = tuple(2 * side for side in image.features.half.shape[2:])
    region = np.zeros(image.rgb.shape[:2], np.float32)
    region[: image.shape[0], : image.shape[1]] = mask > THRESHOLD
    small = resized(region, image.coarse)
    coarse = _padded(small > min(THRESHOLD, 0.99 * float(small.max())), *whole)
    return region_look(image.features, coarse, area_scale=image.scale**-2)


def _padded(array: np.ndarray, height: int, width: int) -> np.ndarray:
    """An array (H, W, ...) made larger by repeating its last rows and columns."""
    missing = (height - array.shape[0], width - array.shape[1])
    if missing == (0, 0):
        return array
    return np.pad(array, ((0, missing[0]), (0, missing[1]), *[(0, 0)] * (array.ndim - 2)), mode="edge")


def _share(window: Window, shape: tuple[int, ...]) -> np.ndarray:
    """(S, S) weight of a window's answer: 1, fading at the sides that are not the image's."""
    ramps = []
    for start, size in zip((window.row, window.column), shape, strict=True):
        ramp = np.ones(window.side, np.float32)
        fade = (np.arange(FEATHER, dtype=np.float32) + 0.5) / FEATHER
        if start > 0:
            ramp[:FEATHER] = fade
        if start + window.side < size:
            ramp[-FEATHER:] = fade[::-1]
        ramps.append(ramp)
    return ramps[0][:, None] * ramps[1][None]


def _check(image: ImageState, clicks: Sequence[Click], previous: np.ndarray | None) -> None:
    if not clicks:
        raise DataInvalid("click: no clicks; give at least one")
    for click in clicks:
        if not (0 <= click.row < image.shape[0] and 0 <= click.column < image.shape[1]):
            raise DataInvalid(
                f"click: {click} lies outside the image of {image.shape} px; give (row, column) inside it"
            )
    if previous is not None and previous.shape != image.shape:
        raise MaskInvalid(
            f"click: previous mask is {previous.shape}, image is {image.shape}; give the image's own mask"
        )
