"""Encoders whose features the measures compare: two of the product's own, and two public ones."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flywheel.defect_gen.texture_bank import texture_features
from flywheel.device import pick_device
from flywheel.errors import ConfigError, WeightsUnavailable
from flywheel.segmenter.model import load_segmenter

BATCH = 32  # pictures at a time
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NAMES = ("segmenter", "texture", "inception", "dinov2")
DINOV2 = "vit_small_patch14_dinov2.lvd142m"


@dataclass(frozen=True)
class Encoder:
    """name: stated beside every figure. answer: (N, 3, H, W) float RGB in 0..255 -> (N, D)."""

    name: str
    answer: Callable[[Tensor], Tensor]
    device: torch.device

    def features(self, images: np.ndarray) -> np.ndarray:
        """(N, H, W, 3) uint8 -> (N, D) float32, H and W multiples of 32 for "segmenter"."""
        parts = []
        with torch.inference_mode():
            for start in range(0, len(images), BATCH):
                batch = torch.from_numpy(np.ascontiguousarray(images[start : start + BATCH])).to(self.device)
                parts.append(self.answer(batch.permute(0, 3, 1, 2).float()).float().cpu().numpy())  # NHWC -> NCHW
        return np.concatenate(parts)


def load_encoder(name: str, *, segmenter: Path | None = None, device: torch.device | None = None) -> Encoder:
    """An encoder by name, one of NAMES.

    "segmenter" (the commands' default): mean and deviation of every channel of every level of a trained segmenter's
    encoder, which knows the product. "texture": statistics of a fixed filter bank, which needs no weights. "inception":
    pool features of Inception v3 with torchvision's weights, which are not those of published KID and FID values.
    "dinov2": class token of DINOv2 ViT-S/14 (arXiv:2304.07193).

    segmenter: folder of a trained segmenter. Public weights that were fetched before are read from the cache. Raises
    ConfigError for an unknown name or a missing folder, ModelError for a damaged one, WeightsUnavailable when public
    weights are not here and may not or cannot be fetched.
    """
    place = device or pick_device()
    if name == "segmenter":
        if segmenter is None:
            raise ConfigError(
                "encoder 'segmenter': no trained segmenter; give the folder of one, such as "
                "models/segmenter/real_only/seed-0, or use the encoder texture"
            )
        return Encoder(name, _pooled_levels(load_segmenter(segmenter, place).net), place)
    if name == "texture":
        return Encoder(name, texture_features, place)
    if name not in NAMES:
        raise ConfigError(f"encoder {name!r}: unknown; choose one of {', '.join(NAMES)}")
    network = _fetched(name).to(place).eval()
    return Encoder(name, _prepared(network, 299 if name == "inception" else 224), place)


def _pooled_levels(net: nn.Module) -> Callable[[Tensor], Tensor]:
    encoder = net.get_submodule("body").get_submodule("encoder")

    def answer(images: Tensor) -> Tensor:
        normalised = (images / 255 - net.get_buffer("mean")) / net.get_buffer("std")
        levels = encoder(normalised)[1:]  # the first is the picture itself
        return torch.cat(
            [part for level in levels for part in (level.mean((2, 3)), level.std((2, 3), unbiased=False))], 1
        )

    return answer


def _prepared(network: nn.Module, side: int) -> Callable[[Tensor], Tensor]:
    def answer(images: Tensor) -> Tensor:
        scaled = F.interpolate(images / 255, (side, side), mode="bilinear", antialias=True, align_corners=False)
        mean, std = (images.new_tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        return network((scaled - mean) / std)

    return answer


def _fetched(name: str) -> nn.Module:
    cure = "allow the network, or use the encoder texture or segmenter"
    offline = os.environ.get("FLYWHEEL_OFFLINE") == "1"
    try:
        return _inception(offline) if name == "inception" else _dinov2(offline)
    except WeightsUnavailable as err:
        raise WeightsUnavailable(f"encoder {name!r}: {err}; {cure}") from err
    except Exception as err:  # urllib, httpx and huggingface_hub raise kinds that have no ancestor in common
        reason = str(err).strip().splitlines()[0] if str(err).strip() else type(err).__name__
        raise WeightsUnavailable(f"encoder {name!r}: weights could not be fetched ({reason}); {cure}") from err


def _inception(offline: bool) -> nn.Module:
    from torchvision.models import Inception_V3_Weights, inception_v3

    weights = Inception_V3_Weights.IMAGENET1K_V1
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    if offline and not cached.exists():
        raise WeightsUnavailable(f"{cached} is not here and FLYWHEEL_OFFLINE=1 forbids fetching it")
    network = inception_v3(weights=weights)
    network.fc = nn.Identity()  # the 2,048 pooled features
    return network


def _dinov2(offline: bool) -> nn.Module:
    import timm
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        file = hf_hub_download(f"timm/{DINOV2}", "model.safetensors", local_files_only=offline)
    except LocalEntryNotFoundError as err:
        if not offline:
            raise
        raise WeightsUnavailable(f"timm/{DINOV2} is not here and FLYWHEEL_OFFLINE=1 forbids fetching it") from err
    overlay = {"file": file}
    return timm.create_model(DINOV2, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=0, img_size=224)
