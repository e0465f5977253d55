"""Mask files to index masks, and the fit of a mask to a picture that was turned by its EXIF tag."""

from collections.abc import Iterable

import numpy as np
from PIL import Image, UnidentifiedImageError

from flywheel.data.classes import BACKGROUND, IGNORE
from flywheel.errors import FlywheelError, MaskInvalid, UnreadableImage
from flywheel.ingest.images import Picture, open_header, oriented, stored_bits

# Pillow stretches 2- and 4-bit grey to 0..255; indices must come back as they were written.
_STRETCH = {"L;2": 85, "L;4": 17}
_LOSSY = {"JPEG": "blurs", "MPO": "blurs", "WEBP": "may blur"}


def decode_mask(content: bytes, where: str, max_pixels: int, *, exact: bool = True) -> np.ndarray:
    """(H, W) uint8 of the values as stored: grey levels, or palette indices of a palette picture.

    exact: the values are class indices, so lossy formats are refused; else they are to be thresholded.
    Raises MaskInvalid.
    """
    if not content:
        raise MaskInvalid(f"{where}: the mask is empty; export it again")
    try:
        image = open_header(content, where, max_pixels)
    except UnidentifiedImageError as err:
        raise MaskInvalid(f"{where}: the mask is not an image; export it again as PNG") from err
    except UnreadableImage as err:
        raise MaskInvalid(str(err)) from err
    if exact and image.format in _LOSSY:
        raise MaskInvalid(f"{where}: {image.format} {_LOSSY[image.format]} class indices; export the mask as PNG")
    bits = stored_bits(image)
    try:
        with image:
            values = np.asarray(image)
    except Exception as err:  # decoders fail on damaged data with almost any exception
        raise MaskInvalid(f"{where}: the mask is damaged ({err}); export it again") from err
    return _one_channel(values, image, bits, where)


def _one_channel(values: np.ndarray, image: Image.Image, bits: str, where: str) -> np.ndarray:
    if values.ndim == 3:
        if ";16" in bits:  # Pillow keeps the high byte alone, which is 0 for every class index
            raise MaskInvalid(f"{where}: 16 bits in several channels; export one channel of 8 bits")
        colours, alpha = np.split(values, [1 if image.mode in ("LA", "PA") else 3], axis=2)
        if (alpha != alpha[:1, :1]).any() and (colours == colours[:1, :1]).all():
            raise MaskInvalid(f"{where}: the mask is in the alpha channel; export it as grey")
        if (colours != colours[..., :1]).any():
            raise MaskInvalid(f"{where}: a colour picture of a mask; export one channel of class indices")
        values = colours[..., 0]
    if values.dtype == bool:
        return values.astype(np.uint8)
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > 255:
        raise MaskInvalid(
            f"{where}: class index {values.max()}, expected 0..254 or {IGNORE} (ignore); export 8-bit indices"
        )
    return np.ascontiguousarray(values.astype(np.uint8) // _STRETCH.get(bits, 1))


def binary(values: np.ndarray) -> np.ndarray:
    """(H, W) bool of a two-level mask: above 127, or above 0 in a mask of zeros and ones."""
    return values > (0 if values.max() <= 1 else 127)


def check_indices(mask: np.ndarray, known: Iterable[int], where: str) -> None:
    """Raise MaskInvalid unless every index is background, ignore or in `known`."""
    indices = set(known)
    bad = sorted(
        set(np.flatnonzero(np.bincount(mask.ravel(), minlength=256)).tolist()) - indices - {BACKGROUND, IGNORE}
    )
    if bad:
        shown = ", ".join(str(index) for index in sorted(indices)) or "no class"
        raise MaskInvalid(f"{where}: class index {bad[0]}, expected 0, {IGNORE} (ignore) or one of the list: {shown}")


def fit_mask(mask: np.ndarray, picture: Picture, where: str) -> np.ndarray:
    """`mask` in the frame of the upright picture. Raises MaskInvalid when its size does not fit.

    A mask drawn on the picture as shown has the upright size; one drawn on the raw pixels has the stored size and is
    turned like the picture. When both sizes are equal and turning would change the mask, nobody can tell: rejected.
    """
    shown = picture.pixels.shape[:2]
    if mask.shape not in (shown, picture.stored):
        raise MaskInvalid(f"{where}: mask is {mask.shape}, image is {shown} (rows, columns); export the mask again")
    turned = oriented(mask, picture.orientation)
    if mask.shape != picture.stored or np.array_equal(turned, mask):
        return mask
    if mask.shape == shown:
        raise MaskInvalid(
            f"{where}: the image has EXIF orientation {picture.orientation} and the mask's size fits both the turned "
            "and the unturned image; export the image without the tag, then the mask"
        )
    return turned


def remapped(mask: np.ndarray, table: dict[int, int], where: str) -> np.ndarray:
    """`mask` with every class index i replaced by table[i]; background and ignore stay.

    Raises MaskInvalid for an index that `table` lacks.
    """
    check_indices(mask, table, where)
    lookup = np.zeros(256, np.uint8)
    lookup[IGNORE] = IGNORE
    for old, new in table.items():
        lookup[old] = new
    return lookup[mask]


def as_mask_error(err: FlywheelError) -> MaskInvalid:
    """A mask file that could not be read, as a fault of the mask."""
    return err if isinstance(err, MaskInvalid) else MaskInvalid(f"mask {err}")
