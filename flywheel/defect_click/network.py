"""The networks of Defect-Click: an encoder that sees no clicks, a light head that does, and a local refiner.

The split into a coarse pass and a local refinement is FocalClick's (arXiv 2204.02574). Unlike there the clicks enter
late, so that the encoder, which costs most, runs once an image and not once a click.
"""

from typing import Final, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn import functional as F

STRIDE = 32  # px; the encoder halves five times, so sides are padded to a multiple of this
HEAD_STRIDE = 4  # px; where the clicks enter
RGB = 3
PROMPTS = 3  # channels: previous mask, positive clicks, negative clicks
POINTS: Final = 3  # channels: positive clicks, negative clicks, the last one with its sign
LOGIT_RANGE = 8.0  # what the refiner sees of a coarse logit


class ClickConfig(BaseModel):
    """encoder: channels at strides 2 to 32; head: at strides 4, 8, 16; refiner: at strides 1, 2, 4."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: tuple[int, int, int, int, int] = (24, 48, 96, 160, 192)
    head: tuple[int, int, int] = (48, 64, 96)
    refiner: tuple[int, int, int] = (16, 32, 48)
    likeness: int = 16
    reference: int = 2  # channels beside RGB, see reference.py
    points: Literal[0, 3] = 0  # channels of exact clicks that the refiner sees (POINTS), see prompts.point_maps


class Features(NamedTuple):
    """What the head needs of an image: maps at strides 2, 4, 8, 16 and unit vectors at stride 4 for likeness."""

    half: Tensor
    quarter: Tensor
    eighth: Tensor
    sixteenth: Tensor
    looks: Tensor


def _layer(inputs: int, outputs: int, *, side: int = 3, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Block(nn.Module):
    """Residual block of two 3 x 3 convolutions: dense ones use a CPU better than depthwise ones."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _layer(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


def _larger(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)


class Encoder(nn.Module):
    """Image and reference channels to the maps of `Features`, already projected to the head's widths."""

    def __init__(self, config: ClickConfig) -> None:
        super().__init__()
        half, quarter, eighth, sixteenth, last = config.encoder
        self.at2 = _layer(RGB + config.reference, half, stride=2)
        self.at4 = nn.Sequential(_layer(half, quarter, stride=2), Block(quarter), Block(quarter))
        self.at8 = nn.Sequential(_layer(quarter, eighth, stride=2), Block(eighth), Block(eighth))
        self.at16 = nn.Sequential(_layer(eighth, sixteenth, stride=2), Block(sixteenth), Block(sixteenth))
        self.at32 = nn.Sequential(_layer(sixteenth, last, stride=2), Block(last))
        self.to4 = nn.Conv2d(quarter, config.head[0], 1)
        self.to8 = nn.Conv2d(eighth, config.head[1], 1)
        self.to16 = nn.Conv2d(sixteenth, config.head[2], 1)
        self.at32_to16 = nn.Conv2d(last, config.head[2], 1)
        self.to_looks = nn.Conv2d(quarter, config.likeness, 1)
        self.at8_to_looks = nn.Conv2d(eighth, config.likeness, 1)

    def forward(self, pictures: Tensor) -> Features:
        """pictures: (N, 3 + reference, H, W), normalised, sides multiples of 32."""
        half = self.at2(pictures)
        quarter = self.at4(half)
        eighth = self.at8(quarter)
        sixteenth = self.at16(eighth)
        context = _larger(self.at32_to16(self.at32(sixteenth)), sixteenth)
        looks = self.to_looks(quarter) + _larger(self.at8_to_looks(eighth), quarter)
        return Features(
            half,
            self.to4(quarter),
            self.to8(eighth),
            self.to16(sixteenth) + context,
            F.normalize(looks.float(), dim=1),
        )


def likeness(looks: Tensor, weights: Tensor) -> Tensor:
    """How much each place looks like the weighted places: cosine with their mean vector, 0 where nothing is weighted.

    looks: (N, D, H, W) unit vectors. weights: (N, M, H, W), 0 or more. Returns (N, M, H, W) in -1..1.
    """
    means = torch.einsum("ndhw,nmhw->nmd", looks, weights)
    unit = F.normalize(means, dim=2, eps=1e-4)
    return torch.einsum("ndhw,nmd->nmhw", looks, unit)


class Head(nn.Module):
    """Features and prompts to coarse logits: a small U at strides 4, 8, 16 that gives its answer at stride 2."""

    def __init__(self, config: ClickConfig) -> None:
        super().__init__()
        quarter, eighth, sixteenth = config.head
        self.entry4 = nn.Conv2d(PROMPTS * HEAD_STRIDE**2 + PROMPTS, quarter, 3, 1, 1)
        self.at4 = Block(quarter)
        self.entry8 = nn.Conv2d(quarter, eighth, 3, 2, 1)
        self.at8 = Block(eighth)
        self.entry16 = nn.Conv2d(eighth, sixteenth, 3, 2, 1)
        self.at16 = nn.Sequential(Block(sixteenth), Block(sixteenth))
        self.up8 = nn.Conv2d(sixteenth, eighth, 1)
        self.join8 = Block(eighth)
        self.up4 = nn.Conv2d(eighth, quarter, 1)
        self.join4 = Block(quarter)
        self.up2 = nn.Conv2d(quarter, config.encoder[0], 1)
        self.join2 = _layer(config.encoder[0], config.encoder[0])
        self.answer = nn.Conv2d(config.encoder[0], 1, 1)

    def forward(self, features: Features, prompts: Tensor) -> Tensor:
        """prompts: (N, 3, H, W) as `PROMPTS`, each in 0..1, of the encoder's image size. Returns (N, 1, H/2, W/2)."""
        like = likeness(features.looks, F.avg_pool2d(prompts, HEAD_STRIDE).float())
        told = self.entry4(torch.cat([F.pixel_unshuffle(prompts, HEAD_STRIDE), like], 1))
        quarter = self.at4(F.relu(told + features.quarter))
        eighth = self.at8(F.relu(self.entry8(quarter) + features.eighth))
        sixteenth = self.at16(F.relu(self.entry16(eighth) + features.sixteenth))
        eighth = self.join8(F.relu(eighth + _larger(self.up8(sixteenth), eighth)))
        quarter = self.join4(F.relu(quarter + _larger(self.up4(eighth), quarter)))
        half = self.join2(F.relu(features.half + _larger(self.up2(quarter), features.half)))
        return self.answer(half).float()


class Refiner(nn.Module):
    """A window of the image at full resolution and what is believed of it to sharper logits."""

    def __init__(self, config: ClickConfig) -> None:
        super().__init__()
        full, half, quarter = config.refiner
        self.at1 = nn.Sequential(_layer(RGB + config.reference + 1 + PROMPTS + config.points, full), _layer(full, full))
        self.at2 = nn.Sequential(_layer(full, half, stride=2), Block(half))
        self.at4 = nn.Sequential(_layer(half, quarter, stride=2), Block(quarter), Block(quarter))
        self.up2 = nn.Conv2d(quarter, half, 1)
        self.join2 = Block(half)
        self.up1 = nn.Conv2d(half, full, 1)
        self.join1 = _layer(full, full)
        self.change = nn.Conv2d(full, 1, 1)
        nn.init.zeros_(self.change.weight)  # the first answer of all is the coarse one
        nn.init.zeros_(self.change.bias)  # type: ignore[arg-type]

    def forward(self, pictures: Tensor, coarse: Tensor, prompts: Tensor) -> Tensor:
        """pictures: (N, 3 + reference, S, S); coarse: logits (N, 1, S, S); prompts: (N, 3 + points, S, S); S a multiple
        of 4.

        Returns logits (N, 1, S, S).
        """
        believed = coarse.clamp(-LOGIT_RANGE, LOGIT_RANGE)
        full = self.at1(torch.cat([pictures, believed / LOGIT_RANGE, prompts], 1))
        half = self.at2(full)
        quarter = self.at4(half)
        half = self.join2(F.relu(half + _larger(self.up2(quarter), half)))
        full = self.join1(F.relu(full + _larger(self.up1(half), full)))
        return believed + self.change(full).float()


class ClickNet(nn.Module):
    """Encoder, head and refiner under one roof, so that one file holds their weights."""

    def __init__(self, config: ClickConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.head, self.refiner = Encoder(config), Head(config), Refiner(config)


def build_network(config: ClickConfig, *, seed: int) -> ClickNet:
    """A fresh network whose random weights come from `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ClickNet(config).to(memory_format=torch.channels_last)


def with_points(net: ClickNet) -> ClickNet:
    """The same network with a refiner that sees exact clicks; until it has learnt from them it answers the same."""
    if net.config.points == POINTS:
        return net
    wider = ClickNet(net.config.model_copy(update={"points": POINTS})).to(memory_format=torch.channels_last)
    weights = net.state_dict()
    first = "refiner.at1.0.0.weight"
    blank = weights[first].new_zeros((weights[first].shape[0], POINTS, *weights[first].shape[2:]))
    weights[first] = torch.cat([weights[first], blank], 1)
    wider.load_state_dict(weights)
    return wider


def blended(trained: dict[str, Tensor], first: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Weights that are `share` of `first`, else `trained`; whole numbers, which count steps, are those of `trained`."""
    return {
        name: torch.lerp(value, first[name].to(value.device), share) if value.is_floating_point() else value
        for name, value in trained.items()
    }
