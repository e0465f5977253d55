"""Pictures larger than a model's tile: overlapping tiles whose answers are blended at every network call.

MultiDiffusion (arXiv:2302.08113) with a ramp for a weight: a single noisy picture goes through the solver, each tile
of it through the network, and where tiles overlap their predictions of x0 are averaged. So neighbours agree before the
next step, and no more than `batch` tiles are in the network at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flywheel.defect_gen.receptive_field import is_global, receptive_radius
from flywheel.defect_gen.sampler import DenoiserCall
from flywheel.defect_gen.unet import Denoiser

OVERLAP = 4  # a model that sees its whole tile shares at least a quarter of it with each neighbour
LOCAL_SIDE = 2  # a model of convolutions alone takes tiles of this many times its side: fewer borders


@dataclass(frozen=True)
class Box:
    """A rectangle of a picture, in px."""

    top: int
    left: int
    height: int
    width: int

    @property
    def area(self) -> int:
        return self.height * self.width

    def shared(self, other: "Box") -> int:
        """Area that both have."""
        down = min(self.top + self.height, other.top + other.height) - max(self.top, other.top)
        across = min(self.left + self.width, other.left + other.width) - max(self.left, other.left)
        return max(down, 0) * max(across, 0)


@dataclass(frozen=True)
class Tiling:
    """How a picture is cut.

    side: px of a tile. overlap: px that neighbours share at least. trim: px along a tile's inner border whose answer
    does not count, because the network missed there what lies beyond. unit: px, corners and sides are multiples of it.
    batch: tiles in one network call.
    """

    side: int
    overlap: int
    trim: int
    unit: int
    batch: int

    @classmethod
    def of(cls, model: Denoiser, batch: int) -> "Tiling":
        """For a picture's `model`, with as many pixels in one call as `batch` of the model's own tiles hold.

        A model of convolutions alone gets an overlap of twice its reach: then a tiled answer is the untiled one.
        """
        unit, tile = model_unit(model), model.config.tile
        if is_global(model):
            return cls(tile, _up(tile // OVERLAP, unit), 0, unit, batch)
        reach = receptive_radius(model)
        overlap = _up(2 * reach, unit)
        side = _up(max(LOCAL_SIDE * tile, LOCAL_SIDE * overlap), unit)
        return cls(side, overlap, reach, unit, max(1, batch * tile**2 // side**2))

    def starts(self, length: int) -> list[int]:
        """First px of each tile along an axis of `length` px."""
        if length <= self.side:
            return [0]
        stride = (self.side - self.overlap) // self.unit * self.unit
        return [*range(0, length - self.side, stride), length - self.side]

    def boxes(self, height: int, width: int) -> list[Box]:
        """The tiles of a picture, row by row."""
        size = min(self.side, height), min(self.side, width)
        return [Box(top, left, *size) for top in self.starts(height) for left in self.starts(width)]

    def weight(self, box: Box, height: int, width: int) -> Tensor:
        """(h, w) float32: how far a tile's answer counts. 1 in its middle and at the picture's border."""
        down = self._ramp(box.height, box.top > 0, box.top + box.height < height)
        across = self._ramp(box.width, box.left > 0, box.left + box.width < width)
        return down[:, None] * across

    def _ramp(self, length: int, before: bool, after: bool) -> Tensor:
        rise = (torch.arange(length) + 0.5 - self.trim) / max(self.overlap - 2 * self.trim, 1)
        rise = rise.clamp(0, 1)
        ones = torch.ones(length)
        return (rise if before else ones) * (rise.flip(0) if after else ones)


def tiled(denoiser: DenoiserCall, tiling: Tiling, places: Sequence[Box] = ()) -> DenoiserCall:
    """`denoiser` for pictures of any size whose sides are multiples of the unit; a picture within a tile goes as it is.

    places: one box for each picture, where its wish holds; tiles that share less than half with it are told that they
    show nothing. Without any, every tile is told the wish.
    """

    def call(x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        height, width = x.shape[2:]
        if max(height, width) <= tiling.side:
            return denoiser(x, t, condition)
        answer, total = torch.zeros_like(x), x.new_zeros(height, width)
        boxes = tiling.boxes(height, width)
        weights = [tiling.weight(box, height, width).to(x.device) for box in boxes]
        for box, weight in zip(boxes, weights, strict=True):
            total[_slices(box)] += weight
        jobs = [(number, picture) for number in range(len(boxes)) for picture in range(len(x))]
        for first in range(0, len(jobs), tiling.batch):
            some = jobs[first : first + tiling.batch]
            crops = torch.stack([x[(picture, slice(None), *_slices(boxes[number]))] for number, picture in some])
            pictures = torch.tensor([picture for _, picture in some], device=x.device)
            told = None if condition is None else _told(condition[pictures], some, boxes, places)
            crops = crops.contiguous(memory_format=torch.channels_last)
            for (number, picture), found in zip(some, denoiser(crops, t[pictures], told), strict=True):
                answer[(picture, slice(None), *_slices(boxes[number]))] += found * weights[number]
        return answer / total

    return call


def _told(condition: Tensor, some: Sequence[tuple[int, int]], boxes: Sequence[Box], places: Sequence[Box]) -> Tensor:
    """The wishes of some tiles, (n, K): zero away from the wish's place; a row of NaN stays untold."""
    if not places:
        return condition
    # guidance hands in every picture twice, told and untold
    holds = [_holds(boxes[number], places[picture % len(places)]) for number, picture in some]
    here = torch.tensor(holds, device=condition.device)[:, None]
    return torch.where(here | condition.isnan(), condition, torch.zeros_like(condition))


def _holds(tile: Box, place: Box) -> bool:
    return 2 * tile.shared(place) >= min(tile.area, place.area)


def _slices(box: Box) -> tuple[slice, slice]:
    return slice(box.top, box.top + box.height), slice(box.left, box.left + box.width)


def model_unit(model: Denoiser) -> int:
    """px that the sides of a model's picture must be multiples of."""
    return model.config.patch * 2 ** (len(model.config.channels) - 1)


def _up(value: int, unit: int) -> int:
    return -(-value // unit) * unit
