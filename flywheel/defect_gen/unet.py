"""The two denoisers: a `diffusers` UNet in a wrapper that takes noisy (N, 3 + C, H, W) and returns clean x0."""

import math
from typing import Any, Literal

import torch
from diffusers import UNet2DModel
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn import functional as F

from flywheel.defect_gen.encoding import RGB, Statistics
from flywheel.defect_gen.schedule import alpha_sigma
from flywheel.errors import ConfigError

LARGEST_GROUP = 32  # of channels that one attention head sees, and number of norm groups, where the widths allow it


class DenoiserConfig(BaseModel):
    """Everything that rebuilds a denoiser; config.json of a model folder.

    patch: px, side of the squares that become channels. steps_from, steps_below: timesteps that it was trained for.
    prediction: what the network's answer means, the error of the best linear guess of x0, or v (arXiv:2202.00512).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["large", "small"]
    classes: tuple[str, ...]
    tile: int
    patch: int
    channels: tuple[int, ...]
    steps_from: int
    steps_below: int
    prediction: Literal["x0", "v"] = "x0"


class PixelNorm(nn.Module):
    """Normalise the channels of each pixel on its own.

    GroupNorm takes its statistics over the whole image: then a network trained on crops meets other statistics on a
    tile, and its receptive field is the image however few layers it has.
    """

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _localise(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.GroupNorm):
            setattr(module, name, PixelNorm(child.num_channels, child.eps))
        else:
            _localise(child)


class CpuAttention(AttnProcessor2_0):
    """Fused attention in float32 where a CPU computes: its kernel takes twice as long or more in bfloat16."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        if hidden_states.device.type != "cpu":
            return super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        with torch.autocast("cpu", enabled=False):
            exact = hidden_states.float() if hidden_states.dtype == torch.bfloat16 else hidden_states
            return super().__call__(attn, exact, encoder_hidden_states, attention_mask, temb)


def _unet(config: DenoiserConfig, channels: int) -> nn.Module:
    """Large: attention at every level but the finest and in the middle. Small: convolutions alone, no middle block."""
    levels = len(config.channels)
    large = config.kind == "large"
    group = math.gcd(LARGEST_GROUP, *config.channels)
    coarse = ("AttnDownBlock2D", "AttnUpBlock2D") if large else ("DownBlock2D", "UpBlock2D")
    unet: Any = UNet2DModel(
        in_channels=channels,
        out_channels=channels,
        block_out_channels=config.channels,
        layers_per_block=1,
        down_block_types=("DownBlock2D",) + (coarse[0],) * (levels - 1),
        up_block_types=(coarse[1],) * (levels - 1) + ("UpBlock2D",),
        mid_block_type="UNetMidBlock2D" if large else None,
        attention_head_dim=group,
        norm_num_groups=group,
        resnet_time_scale_shift="scale_shift",  # class and time steer every layer
        class_embed_type="identity",
    )
    if large:
        processor: Any = CpuAttention()
        for module in unet.modules():
            if isinstance(module, Attention):
                module.set_processor(processor)
    else:
        _localise(unet)
    return unet


class Denoiser(nn.Module):
    """Predicts x0 from x_t, t and the wanted classes.

    The best guess that patches of the training tiles' mean and covariance allow is written down; the network adds to
    it. It sees x_t and answers in units of unit variance along the patches' principal components (preconditioning as
    in arXiv:2206.00364, sec. 5, with a covariance in place of one variance). Untrained, the model returns the guess.
    With prediction "v" the answer is v and the untrained model returns alpha x_t. Both ways the model returns x0.
    """

    std: Tensor  # (1, 3 + C, 1, 1)
    mean: Tensor  # (1, P, 1, 1), P = (3 + C) patch^2
    basis: Tensor  # (P, P), one component per row
    variance: Tensor  # (1, P, 1, 1), of the components

    def __init__(self, config: DenoiserConfig, statistics: Statistics | None = None) -> None:
        """Without statistics the model waits for its state_dict, which holds them."""
        super().__init__()
        check_size(config, config.tile)
        self.config = config
        channels = RGB + len(config.classes) + 1
        size = channels * config.patch**2
        unet: Any = _unet(config, size)
        nn.init.zeros_(unet.conv_out.weight)
        nn.init.zeros_(unet.conv_out.bias)
        self.unet = unet
        # one input per class, and one flag for "not told", which guidance needs
        self.wanted = nn.Linear(len(config.classes) + 1, unet.time_embedding.linear_2.out_features)
        known = statistics or Statistics(
            torch.ones(channels), torch.ones(channels - RGB), torch.zeros(size), torch.eye(size), torch.ones(size)
        )
        self.register_buffer("std", known.std.view(1, -1, 1, 1).clone())
        self.register_buffer("mean", known.mean.view(1, -1, 1, 1).clone())
        self.register_buffer("basis", known.basis.clone())
        self.register_buffer("variance", known.spread.view(1, -1, 1, 1) ** 2)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        """x: (N, 3 + C, H, W); t: (N,) timesteps; condition: (N, K) multi-hot, a row of NaN or None for "not told"."""
        if condition is None:
            condition = x.new_full((len(x), len(self.config.classes)), torch.nan)
        untold = condition.isnan().any(1, keepdim=True)
        flags = torch.cat([condition.masked_fill(untold, 0), untold.to(condition.dtype)], 1)
        alpha, sigma = alpha_sigma(t)
        total = alpha**2 * self.variance + sigma**2
        with torch.autocast(x.device.type, enabled=False):  # the guess needs more digits than the network
            patches = F.pixel_unshuffle(x, self.config.patch).contiguous(memory_format=torch.channels_last)
            components = F.conv2d(patches - alpha * self.mean, self.basis[:, :, None, None])
            seen = components * total.rsqrt()
        answer = self.unet(seen, t, class_labels=self.wanted(flags)).sample
        with torch.autocast(x.device.type, enabled=False):
            answer = answer.to(components.dtype)
            if self.config.prediction == "v":  # v = alpha noise - sigma x0, in units of its own spread
                clean = alpha * components - sigma * (alpha**2 + sigma**2 * self.variance).sqrt() * answer
            else:
                clean = alpha * self.variance / total * components + sigma * (self.variance / total).sqrt() * answer
            clean = self.mean + F.conv2d(clean, self.basis.T[:, :, None, None])
            return F.pixel_shuffle(clean, self.config.patch)


def check_size(config: DenoiserConfig, side: int) -> None:
    """Raise ConfigError unless images of `side` px fit the network's patches and levels."""
    unit = config.patch * 2 ** (len(config.channels) - 1)
    if side % unit:
        raise ConfigError(
            f"{config.kind} generator: side {side} px is no multiple of {unit} = patch {config.patch} px times "
            f"2^{len(config.channels) - 1} levels; change tile, crop, patch or channels in params.yaml"
        )
