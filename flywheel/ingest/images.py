"""File bytes to pixels: the header is judged before a pixel is decoded, and every fault becomes a reason.

What a picture becomes: grey, palette and CMYK turn to RGB; an alpha channel is dropped, not composited, since any
background colour would be invented; 16-bit values keep their high byte (0..65535 -> 0..255, the same rule for every
image of a camera); EXIF orientation is applied. Animated and multi-page files are rejected: which page is meant is
not ours to guess. The content decides, not the extension.
"""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError

from flywheel.errors import FlywheelError, UnreadableImage

# Formats of cameras and scanners; Pillow knows others that start programs (EPS) or hold no pictures.
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "DIB", "GIF", "WEBP", "PPM")
UPRIGHT = 1
_ORIENTATION_TAG, _BITS_TAG, _PLANES_TAG = 0x0112, 0x0102, 0x011C
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Below it a 16-bit picture keeps fewer than 16 grey levels in 8 bits: a 12-bit camera that was not scaled.
_DARKEST_16_BIT = 4096
_PILLOW_LIMIT = threading.Lock()


@dataclass(frozen=True)
class Picture:
    """pixels: (H, W, 3) uint8 RGB, upright. orientation: EXIF 1..8 that was applied. stored: (H, W) in the file."""

    pixels: np.ndarray
    orientation: int
    stored: tuple[int, int]


def byte_limit(max_pixels: int) -> int:
    """Largest file worth reading: four raw 16-bit channels of `max_pixels`, and a mebibyte of metadata."""
    return 8 * max_pixels + 1024 * 1024


def oriented(array: np.ndarray, orientation: int) -> np.ndarray:
    """An (H, W, ...) array as an EXIF orientation of 1..8 wants it shown (EXIF 2.32, tag 274)."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return np.ascontiguousarray(array)


def decode_image(content: bytes, where: str, max_pixels: int) -> Picture:
    """Decode a file's bytes. Raises UnreadableImage with the reason; `where` names the file in it."""
    if not content:
        raise UnreadableImage(f"{where}: the file is empty; copy it again")
    try:
        image = open_header(content, where, max_pixels)
    except UnidentifiedImageError as err:
        if content.startswith(_TIFF_MAGIC):
            return _decode_tiff(content, where, max_pixels)
        raise UnreadableImage(f"{where}: not an image in a known format ({', '.join(FORMATS)})") from err
    try:
        with image:
            if _misread(image):
                return _decode_tiff(content, where, max_pixels)
            sixteen = ";16" in stored_bits(image)  # asked first: reading EXIF may load the pixels and forget it
            orientation = _orientation(image)
            pixels = _rgb(image, where, sixteen)
    except FlywheelError:
        raise
    except Exception as err:  # decoders fail on damaged data with almost any exception
        raise UnreadableImage(f"{where}: {_damage(err)}; copy or export it again") from err
    if image.format == "TIFF":  # Pillow turns TIFF itself while it loads
        height, width = pixels.shape[:2]
        return Picture(pixels, orientation, (width, height) if orientation >= 5 else (height, width))
    return Picture(oriented(pixels, orientation), orientation, (pixels.shape[0], pixels.shape[1]))


def open_header(content: bytes, where: str, max_pixels: int) -> Image.Image:
    """Open without decoding and check size and pages.

    Raises UnidentifiedImageError for an unknown format, UnreadableImage for every other fault.
    """
    try:
        with _own_limit():
            image = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        raise
    except Exception as err:
        raise UnreadableImage(f"{where}: damaged header ({_damage(err)}); copy or export it again") from err
    _check_pixels(image.width, image.height, where, max_pixels)
    try:
        frames = getattr(image, "n_frames", 1)
    except Exception as err:
        raise UnreadableImage(f"{where}: {_damage(err)}; copy or export it again") from err
    if frames > 1 and image.format != "MPO":  # MPO: a JPEG with previews behind it
        raise UnreadableImage(f"{where}: {frames} frames or pages, expected one; export the right one as a file")
    return image


@contextmanager
def _own_limit() -> Iterator[None]:
    """Lift Pillow's process-wide size limit while a header is opened: ours, from params.yaml, follows at once."""
    with _PILLOW_LIMIT:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _check_pixels(width: int, height: int, where: str, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise UnreadableImage(
            f"{where}: {width} x {height} px are {width * height:,} pixels, at most {max_pixels:,} are read; "
            "cut it into tiles, or raise ingest.max_pixels"
        )


def _damage(err: Exception) -> str:
    text = str(err).strip().splitlines()
    return text[0] if text else type(err).__name__


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION_TAG, UPRIGHT)
    except Exception:  # damaged metadata of a good picture
        return UPRIGHT
    return value if value in range(1, 9) else UPRIGHT


def stored_bits(image: Image.Image) -> str:
    """Pillow's name of the file's pixel layout, such as "L;4" or "RGB;16B"; it tells what the mode hides."""
    tile = getattr(image, "tile", None)
    if not tile:
        return ""
    arguments = tile[0][3]
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _misread(image: Image.Image) -> bool:
    """Pillow takes the planes of a planar 16-bit TIFF for 8-bit ones, without an error."""
    tags = getattr(image, "tag_v2", {})
    return tags.get(_PLANES_TAG) == 2 and any(bits > 8 for bits in tags.get(_BITS_TAG, ()))


def _rgb(image: Image.Image, where: str, sixteen: bool) -> np.ndarray:
    if image.mode == "F":
        raise UnreadableImage(f"{where}: floating-point pixels have no known range; export 8 or 16 bits")
    if image.mode.startswith("I"):
        return grey_to_rgb(high_byte(np.asarray(image), where))
    try:
        pixels = np.asarray(image.convert("RGB"))
    except ValueError as err:
        raise UnreadableImage(f"{where}: colour mode {image.mode} is not known; export RGB or grey") from err
    if sixteen and pixels.max() < _DARKEST_16_BIT >> 8:
        raise _too_dark(where, int(pixels.max()) << 8)
    return pixels


def high_byte(values: np.ndarray, where: str) -> np.ndarray:
    """16-bit values to uint8. Raises UnreadableImage outside 0..65535, and when almost nothing would remain."""
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 0xFFFF:
        raise UnreadableImage(f"{where}: pixel values {low}..{high}, expected 0..65535; export 8 or 16 bits")
    if high < _DARKEST_16_BIT:
        raise _too_dark(where, high)
    return (values.astype(np.uint32) >> 8).astype(np.uint8)


def _too_dark(where: str, high: int) -> UnreadableImage:
    return UnreadableImage(
        f"{where}: 16-bit values reach only {high} of 65535; export with the full range (a 12-bit camera: times 16)"
    )


def grey_to_rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=2)


def _decode_tiff(content: bytes, where: str, max_pixels: int) -> Picture:
    """TIFF that Pillow does not know or reads wrongly, such as 16-bit planes; read by tifffile."""
    try:
        with tifffile.TiffFile(io.BytesIO(content)) as file:
            return _tiff_page(file, where, max_pixels)
    except FlywheelError:
        raise
    except Exception as err:  # as above: damaged data
        raise UnreadableImage(f"{where}: {_damage(err)}; export it again as PNG") from err


def _tiff_page(file: tifffile.TiffFile, where: str, max_pixels: int) -> Picture:
    page = file.pages[0]
    assert isinstance(page, tifffile.TiffPage)
    _check_pixels(page.imagewidth, page.imagelength, where, max_pixels)
    if len(file.pages) > 1:
        raise UnreadableImage(f"{where}: {len(file.pages)} frames or pages, expected one; export the right one")
    if page.axes not in ("YX", "YXS", "SYX") or page.dtype not in (np.uint8, np.uint16):
        raise UnreadableImage(f"{where}: TIFF of {page.dtype}, axes {page.axes}; export 8 or 16 bits, grey or RGB")
    values = page.asarray()
    if page.axes == "SYX":
        values = np.moveaxis(values, 0, -1)
    if values.dtype == np.uint16:
        values = high_byte(values, where)
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        values = 255 - values
    if values.ndim == 3 and values.shape[2] not in (3, 4):
        raise UnreadableImage(f"{where}: TIFF with {values.shape[2]} channels; export grey or RGB")
    pixels = grey_to_rgb(values) if values.ndim == 2 else np.ascontiguousarray(values[..., :3])
    tag = page.tags.get(_ORIENTATION_TAG)
    orientation = int(tag.value) if tag is not None and tag.value in range(1, 9) else UPRIGHT
    return Picture(oriented(pixels, orientation), orientation, (pixels.shape[0], pixels.shape[1]))
