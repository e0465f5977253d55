"""Image and mask as one tensor x = RGB + one-hot classes, all in [-1, 1], and back."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from flywheel.data.classes import BACKGROUND, IGNORE

RGB = 3
SMALLEST_STD = 0.1  # a channel that hardly varies (a rare class) must not count without bound in the loss
SMALLEST_SPREAD = 0.01  # standard deviation of a combination that does not vary, as the classes' sum
MOST_PATCHES = 50_000  # enough for a covariance
RAREST_PIXEL = 8.0  # largest weight of a defect pixel's colour error against a background pixel's


def encode(images: np.ndarray, masks: np.ndarray, channels: int) -> Tensor:
    """(N, H, W, 3) and (N, H, W) uint8 -> (N, 3 + channels, H, W) float32 in [-1, 1].

    channels counts the background. Ignored pixels (255) are 0, neither present nor absent, in every class channel.
    """
    rgb = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
    index = torch.from_numpy(np.ascontiguousarray(masks)).long()
    one_hot = torch.nn.functional.one_hot(index.clamp(max=channels), channels + 1)[..., :channels]
    classes = one_hot.permute(0, 3, 1, 2).float() * 2 - 1
    classes = torch.where((index == IGNORE)[:, None], torch.zeros(()), classes)
    return torch.cat([rgb, classes], 1).contiguous(memory_format=torch.channels_last)


def decode(x: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3 + C, H, W) -> images (N, H, W, 3) and masks (N, H, W), uint8; a mask is the argmax over the C channels."""
    rgb = ((x[:, :RGB].float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    mask = x[:, RGB:].float().argmax(1).to(torch.uint8)
    return rgb.permute(0, 2, 3, 1).contiguous().cpu().numpy(), mask.contiguous().cpu().numpy()


def multi_hot(wanted: Sequence[Sequence[int]], classes: int) -> Tensor:
    """(N, classes) float32 with 1 for each wanted class index 1..classes."""
    vector = torch.zeros(len(wanted), classes)
    for row, indices in enumerate(wanted):
        for index in indices:
            vector[row, index - 1] = 1
    return vector


@dataclass(frozen=True)
class PatchBasis:
    """Orthonormal combinations of a patch's numbers, one per row: principal components of real patches.

    colour: (3 p^2, 3 p^2) for RGB. classes: (p^2, p^2), the same for every class channel. They are kept apart so that a
    network keeps its meaning when it is carried to a product with other classes.
    """

    colour: Tensor
    classes: Tensor

    @classmethod
    def of(cls, patches: Tensor, patch: int) -> "PatchBasis":
        """From patches of real tiles, (P, M) with P = (3 + C) patch^2."""
        area = patch**2
        masks = patches[RGB * area :].unflatten(0, (-1, area)).transpose(0, 1).flatten(1)
        return cls(_components(patches[: RGB * area]), _components(masks))

    @classmethod
    def from_whole(cls, whole: Tensor, patch: int) -> "PatchBasis":
        """The two blocks of what `whole` made."""
        area = patch**2
        colours = RGB * area
        return cls(whole[:colours, :colours].clone(), whole[colours : colours + area, colours : colours + area].clone())

    def whole(self, channels: int) -> Tensor:
        """(P, P) for `channels` class channels: one block for RGB, one for each class."""
        return torch.block_diag(self.colour, *[self.classes] * channels)


def _components(numbers: Tensor) -> Tensor:
    return torch.linalg.eigh(torch.atleast_2d(torch.cov(numbers)).double())[1].T.float().contiguous()


@dataclass(frozen=True)
class Statistics:
    """What the training tiles are like. P = (3 + C) patch^2 numbers make up a patch.

    std: (3 + C,) of each channel of x, at least SMALLEST_STD. share: (C,) of each class's pixels.
    mean: (P,). basis: (P, P) as PatchBasis.whole gives it; spread: (P,) standard deviations along its rows. Most of a
    patch is in few of them: its colour, its classes, a slope, the weave; the rest hardly varies, and noise there is
    recognised as noise.
    """

    std: Tensor
    share: Tensor
    mean: Tensor
    basis: Tensor
    spread: Tensor

    @classmethod
    def of(
        cls, images: np.ndarray, masks: np.ndarray, channels: int, patch: int, basis: PatchBasis | None = None
    ) -> "Statistics":
        """Statistics of tiles, (N, H, W, 3) and (N, H, W) uint8; the patches of the first MOST_PATCHES / tile count.

        basis: of the model whose weights are carried over; without one the tiles' own principal components.
        """
        few = max(1, MOST_PATCHES * patch**2 // (images.shape[1] * images.shape[2]))
        x = encode(images[:few], masks[:few], channels)
        patches = torch.nn.functional.pixel_unshuffle(x, patch).permute(1, 0, 2, 3).flatten(1)
        mean = patches.mean(1)
        whole = (basis or PatchBasis.of(patches, patch)).whole(channels)
        counts = np.bincount(masks.ravel(), minlength=256)[:channels]
        return cls(
            std=x.std((0, 2, 3)).clamp(min=SMALLEST_STD),
            share=torch.from_numpy(counts / max(1, counts.sum())).float(),
            mean=mean,
            basis=whole,
            spread=(whole @ (patches - mean[:, None])).std(1).clamp(min=SMALLEST_SPREAD),
        )

    def pixel_weights(self) -> Tensor:
        """(channels,) colour error weight of each class's pixels: square root of rarity, at most RAREST_PIXEL."""
        share = self.share.clamp(min=1e-9)
        return (share[BACKGROUND] / share).sqrt().clamp(1, RAREST_PIXEL)


def pixel_weight_map(masks: np.ndarray, statistics: Statistics) -> tuple[Tensor, Tensor]:
    """Weights of each pixel's colour error and of its class error, both (N, 1, H, W) float32.

    Colour: rarer classes more, ignored pixels 1. Class: 1, ignored pixels 0, since nobody knows their class. Class
    errors are not weighed by class: that would teach larger defects than there are.
    """
    index = torch.from_numpy(np.ascontiguousarray(masks)).long()[:, None]
    known = index != IGNORE
    colour = torch.where(known, statistics.pixel_weights()[index.where(known, torch.zeros_like(index))], torch.ones(()))
    return colour, known.float()
