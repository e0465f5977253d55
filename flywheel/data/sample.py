"""One image with its mask, caption and provenance, and the PNG form of both."""

import hashlib
import io
from dataclasses import dataclass, field
from typing import Any, Literal

import cv2
import numpy as np

from flywheel.data.classes import BACKGROUND, IGNORE
from flywheel.errors import DataInvalid, MaskInvalid

Origin = Literal["real", "synthetic"]
UNLABELLED = ""


def pixel_id(image: np.ndarray) -> str:
    """Sample id: 16 hex digits of the SHA-256 of shape and pixels: equal pixels are one sample whatever the file.

    image: (H, W, 3) uint8 RGB.
    """
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()[:16]


def encode_png(array: np.ndarray) -> bytes:
    """Lossless PNG of an (H, W, 3) RGB or (H, W) index array, uint8; equal arrays give equal bytes."""
    pixels = array[..., ::-1] if array.ndim == 3 else array  # OpenCV wants BGR
    done, buffer = cv2.imencode(".png", np.ascontiguousarray(pixels), [cv2.IMWRITE_PNG_COMPRESSION, 3])
    if not done:
        raise DataInvalid(f"array of shape {array.shape}, type {array.dtype} cannot be written as PNG")
    return buffer.tobytes()


def decode_png(content: bytes) -> np.ndarray:
    """The array that `encode_png` got: (H, W, 3) RGB or (H, W), uint8."""
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise DataInvalid(f"{len(content)} bytes in a shard are not a PNG; pull the shard again with dvc pull")
    return np.ascontiguousarray(pixels[..., ::-1]) if pixels.ndim == 3 else pixels


def check_mask(mask: np.ndarray, image_shape: tuple[int, ...], classes: int, where: str) -> None:
    """Raise MaskInvalid unless `mask` is (H, W) uint8 of the image's size with indices 0..classes or 255."""
    if mask.shape != image_shape[:2]:
        raise MaskInvalid(
            f"{where}: mask is {mask.shape}, image is {image_shape[:2]} (rows, columns); export the mask again"
        )
    bad = np.setdiff1d(np.unique(mask), np.append(np.arange(classes + 1), IGNORE))
    if bad.size:
        raise MaskInvalid(f"{where}: class index {int(bad[0])}, expected 0..{classes} or {IGNORE} (ignore)")


@dataclass(frozen=True)
class Sample:
    """An image, its optional index mask and where both came from.

    image: (H, W, 3) uint8 RGB. mask: (H, W) uint8, 0 background, 1..K class index, 255 ignore; None when unlabelled.
    annotator: who made the mask, UNLABELLED without one; version: of several labels of a sample the highest counts.
    group: what must never be divided between splits (roll, board, tile); given_split: the source's own split or "".
    """

    image: np.ndarray
    mask: np.ndarray | None = None
    caption: str = ""
    product: str = ""
    group: str = ""
    given_split: str = ""
    source: str = ""
    origin: Origin = "real"
    annotator: str = UNLABELLED
    clicks: int = 0
    version: int = 0
    parents: tuple[str, ...] = ()
    generator: str = ""
    seed: int = 0
    scores: dict[str, Any] = field(default_factory=dict)
    id: str = ""

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise DataInvalid(
                f"{self.source or 'sample'}: image is {self.image.shape} {self.image.dtype}, expected (H, W, 3) uint8"
            )
        if not self.id:
            object.__setattr__(self, "id", pixel_id(self.image))

    @property
    def class_indices(self) -> tuple[int, ...]:
        """Sorted defect class indices in the mask; empty for a defect-free or unlabelled sample."""
        if self.mask is None:
            return ()
        return tuple(int(index) for index in np.unique(self.mask) if index not in (BACKGROUND, IGNORE))

    def areas(self) -> dict[int, int]:
        """Pixels of each defect class in the mask."""
        assert self.mask is not None, "areas() of an unlabelled sample"
        counts = np.bincount(self.mask.ravel(), minlength=256)
        return {index: int(counts[index]) for index in self.class_indices}


def image_size(content: bytes) -> tuple[int, int]:
    """(height, width) of a PNG from its header alone."""
    header = io.BytesIO(content).read(24)
    return int.from_bytes(header[20:24], "big"), int.from_bytes(header[16:20], "big")
