"""Which input pixels one output pixel sees, found by walking the network's layers backwards."""

from dataclasses import dataclass
from typing import Any

from diffusers.models.attention_processor import Attention
from torch import nn

from flywheel.defect_gen.unet import Denoiser


@dataclass(frozen=True)
class Layer:
    """A layer's geometry along one axis: kernel, stride, padding of a convolution, after enlarging by `scale`."""

    kernel: int
    stride: int
    padding: int
    scale: int = 1


def _convolution(conv: nn.Conv2d, scale: int = 1) -> Layer:
    padding = conv.padding[0]
    assert isinstance(padding, int)
    return Layer(conv.kernel_size[0], conv.stride[0], padding, scale)


def deepest_path(unet: Any) -> list[Layer]:
    """Layers on the way through every level, input first; the skip connections of a UNet see less."""
    layers = [_convolution(unet.conv_in)]
    for block in [*unet.down_blocks, *([unet.mid_block] if unet.mid_block else []), *unet.up_blocks]:
        for resnet in block.resnets:
            layers += [_convolution(resnet.conv1), _convolution(resnet.conv2)]
        for down in getattr(block, "downsamplers", None) or []:
            layers.append(_convolution(down.conv))
        for up in getattr(block, "upsamplers", None) or []:
            layers.append(_convolution(up.conv, scale=2))
    return [*layers, _convolution(unet.conv_out)]


def is_global(model: Denoiser) -> bool:
    """Whether one output sees the whole image: attention and group norms look everywhere."""
    return any(isinstance(module, Attention | nn.GroupNorm) for module in model.unet.modules())


def seen_interval(model: Denoiser, position: int) -> tuple[int, int]:
    """First and last input px that the output at `position` px sees along an axis, the image's border left aside."""
    patch = model.config.patch
    first = last = position // patch
    for layer in reversed(deepest_path(model.unet)):
        first = first * layer.stride - layer.padding
        last = last * layer.stride - layer.padding + layer.kernel - 1
        first, last = first // layer.scale, last // layer.scale  # nearest-neighbour enlargement
    return first * patch, last * patch + patch - 1


def receptive_field(model: Denoiser, side: int) -> int:
    """Receptive field in px, the largest over all output positions, on images of `side` px; at most `side`."""
    if is_global(model):
        return side
    return min(side, max(last - first + 1 for _, first, last in _spans(model)))


def receptive_radius(model: Denoiser) -> int:
    """How far a model of convolutions alone sees from any of its outputs, in px, to either side."""
    return max(max(position - first, last - position) for position, first, last in _spans(model))


def _spans(model: Denoiser) -> list[tuple[int, int, int]]:
    """Output position, first and last px seen, for one output of each kind."""
    period = model.config.patch * 2 ** (len(model.config.channels) - 1)
    return [(position, *seen_interval(model, position)) for position in range(period * 64, period * 65)]
