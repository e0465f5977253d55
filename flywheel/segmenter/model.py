"""A trained segmenter as a folder: `model.safetensors`, and `config.json` written last.

The folder is the truth: safetensors holds plain numbers (a pickle could run code), config.json how to build the rest.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_safetensors

from flywheel.data.classes import ClassTable
from flywheel.device import pick_device
from flywheel.errors import FlywheelError, ModelError
from flywheel.files import read_json, write_bytes, write_json
from flywheel.segmenter.network import STRIDE, SegmenterNet, build_network

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
KIND = "segmenter"
TILE = 1024  # px; larger images are seen in tiles of this side
OVERLAP = 128  # px that neighbouring tiles share and blend over


@dataclass(frozen=True)
class SegmenterConfig:
    """What config.json holds. classes: names of class indices 1..K; dataset: digest of the training rows."""

    architecture: str
    encoder: str
    encoder_depth: int
    decoder_channels: tuple[int, ...]
    classes: tuple[str, ...]
    arm: str
    seed: int
    dataset: str

    def build(self, *, seed: int, encoder_weights: str = "") -> SegmenterNet:
        """A fresh network of this shape with weights from `seed`."""
        return build_network(
            architecture=self.architecture,
            encoder=self.encoder,
            encoder_weights=encoder_weights,
            encoder_depth=self.encoder_depth,
            decoder_channels=self.decoder_channels,
            channels=len(self.classes) + 1,
            seed=seed,
        )


@dataclass(frozen=True)
class Segmenter:
    """A network ready to answer, and what it was made from."""

    net: SegmenterNet
    config: SegmenterConfig
    device: torch.device

    @property
    def classes(self) -> ClassTable:
        return ClassTable(self.config.classes)

    def predict(self, image: np.ndarray) -> np.ndarray:
        """Class probabilities of an image of any size.

        image: (H, W, 3) uint8 RGB. Returns (K + 1, H, W) float32 that sum to 1 over the first axis.
        The image is seen whole up to 1024 px a side, above in tiles blended over their overlap.
        """
        height, width = image.shape[:2]
        if max(height, width) <= TILE:
            return self._predict_whole(image)
        total = np.zeros((self.classes.channels, height, width), np.float32)
        weight = np.zeros((height, width), np.float32)
        for top in tile_starts(height):
            for left in tile_starts(width):
                tile = image[top : top + TILE, left : left + TILE]
                ramp = _ramp(tile.shape[0])[:, None] * _ramp(tile.shape[1])[None, :]
                window = (slice(top, top + TILE), slice(left, left + TILE))
                total[(slice(None), *window)] += self._predict_whole(tile) * ramp
                weight[window] += ramp
        return total / weight

    def predict_mask(self, image: np.ndarray) -> np.ndarray:
        """The most probable class index of every pixel: (H, W) uint8."""
        return self.predict(image).argmax(axis=0).astype(np.uint8)

    def features(self, image: np.ndarray) -> np.ndarray:
        """(D,) float32: what the encoder sees in the image, averaged over it; larger images are shrunk to 1024 px."""
        scale = TILE / max(image.shape[:2])
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        with torch.inference_mode():
            return self.net.features(self._tensor(image))[0].cpu().numpy()

    def _predict_whole(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        with torch.inference_mode():
            logits = self.net(self._tensor(image))[0, :, :height, :width]
            return logits.float().softmax(dim=0).cpu().numpy()

    def _tensor(self, image: np.ndarray) -> torch.Tensor:
        padded = pad_to_stride(image)
        # HWC uint8 -> 1CHW float
        batch = torch.from_numpy(padded).permute(2, 0, 1)[None].float()
        return batch.to(self.device, memory_format=torch.channels_last)


def pad_to_stride(image: np.ndarray) -> np.ndarray:
    """Reflect the image below and to the right until both sides are multiples of 32 px."""
    below, right = (-side % STRIDE for side in image.shape[:2])
    return cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REFLECT_101) if below or right else image.copy()


def tile_starts(length: int) -> list[int]:
    """First pixels of tiles that cover `length` px, each sharing at least the overlap with the next."""
    if length <= TILE:
        return [0]
    count = -(-(length - OVERLAP) // (TILE - OVERLAP))
    return [round(index * (length - TILE) / (count - 1)) for index in range(count)]


def _ramp(length: int) -> np.ndarray:
    """Weight of a tile's pixels along one side: low at the borders, where it saw the least, full inside."""
    distance = np.minimum(np.arange(length), np.arange(length)[::-1]) + 1
    return np.minimum(distance / OVERLAP, 1).astype(np.float32)


def save_segmenter(folder: Path, net: SegmenterNet, config: SegmenterConfig, *, half: bool = False) -> None:
    """Write the weights, then config.json: its existence means that the folder is complete.

    half: keep the weights in 16 bits, for a checkpoint that training starts from.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()}
    if half:
        weights = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in weights.items()}
    write_bytes(folder / WEIGHTS_FILE, to_safetensors(weights))
    write_json(folder / CONFIG_FILE, {"kind": KIND, **asdict(config)})


def read_config(folder: Path) -> SegmenterConfig:
    """What a model folder says about itself. Raises ModelError when it is missing, damaged or of another kind."""
    path = folder / CONFIG_FILE
    if not path.exists():
        raise ModelError(f"{path}: no complete segmenter here; train it with train_segmenter, or dvc pull it")
    try:
        content: dict[str, Any] = read_json(path)
        if content.pop("kind", None) != KIND:
            raise ModelError(f"{path}: not the config of a segmenter; give the folder of a trained segmenter")
        content |= {name: tuple(content[name]) for name in ("decoder_channels", "classes")}
        return SegmenterConfig(**content)
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise ModelError(f"{path}: damaged ({err}); restore the folder with dvc pull or train it again") from err


def load_segmenter(folder: Path, device: torch.device | None = None) -> Segmenter:
    """The segmenter of a folder, ready to predict on `device` (default: the one that `pick_device` gives).

    Raises ModelError when the folder is missing, damaged or of another kind.
    """
    config = read_config(folder)
    path = folder / WEIGHTS_FILE
    try:
        net = config.build(seed=0)
        net.load_state_dict(load_file(path))
    except (SafetensorError, OSError, RuntimeError, FlywheelError) as err:
        reason = str(err).strip().splitlines()[0]
        raise ModelError(f"{path}: damaged ({reason}); restore the folder with dvc pull or train it again") from err
    device = device or pick_device()
    return Segmenter(net.to(device).eval(), config, device)
