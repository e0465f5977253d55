"""Decoding of pictures and masks: what is accepted, how it is converted, and what is refused with which reason."""

import contextlib
import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from flywheel.errors import MaskInvalid, UnreadableImage
from flywheel.ingest.images import Picture, decode_image, oriented
from flywheel.ingest.masks import binary, decode_mask, fit_mask, remapped

LIMIT = 10_000


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def png(width: int, height: int, bits: int, colour: int, rows: list[bytes]) -> bytes:
    """A PNG written by hand, so that layouts which no library writes can be tested."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_give_back_their_pixels(rgb: np.ndarray, format: str) -> None:
    assert np.array_equal(decode_image(encoded(Image.fromarray(rgb), format), "x", LIMIT).pixels, rgb)


def test_lossless_webp_gives_back_its_pixels(rgb: np.ndarray) -> None:
    content = encoded(Image.fromarray(rgb), "WEBP", lossless=True)
    assert np.array_equal(decode_image(content, "x", LIMIT).pixels, rgb)


def test_jpeg_equals_opencvs_reading_within_rounding(rgb: np.ndarray) -> None:
    smooth = cv2.resize(rgb, (64, 48), interpolation=cv2.INTER_CUBIC)
    content = cv2.imencode(".jpg", smooth[..., ::-1])[1].tobytes()
    other = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(decode_image(content, "x", LIMIT).pixels.astype(int) - other).max() <= 4


def test_grey_is_repeated_in_three_channels(rgb: np.ndarray) -> None:
    pixels = decode_image(encoded(Image.fromarray(rgb[..., 0]), "PNG"), "x", LIMIT).pixels
    assert np.array_equal(pixels, np.stack([rgb[..., 0]] * 3, axis=2))


def test_alpha_is_dropped_and_not_composited(rgb: np.ndarray) -> None:
    transparent = np.dstack([rgb, np.zeros(rgb.shape[:2], np.uint8)])
    assert np.array_equal(decode_image(encoded(Image.fromarray(transparent), "PNG"), "x", LIMIT).pixels, rgb)


def test_palette_pictures_show_their_colours() -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "L").convert("P")
    image.putpalette([10, 20, 30, 200, 100, 50])
    assert decode_image(encoded(image, "PNG"), "x", LIMIT).pixels.tolist() == [[[10, 20, 30], [200, 100, 50]]]


def test_cmyk_without_ink_is_white() -> None:
    content = encoded(Image.new("CMYK", (4, 4), (0, 0, 0, 0)), "JPEG")
    assert decode_image(content, "x", LIMIT).pixels.min() >= 254


def test_16_bit_grey_keeps_its_high_byte_in_png_and_tiff() -> None:
    values = np.array([[0, 255, 256, 4096, 65535]], np.uint16)
    want = [0, 0, 1, 16, 255]
    for content in (cv2.imencode(".png", values)[1].tobytes(), encoded(Image.fromarray(values), "TIFF")):
        assert decode_image(content, "x", LIMIT).pixels[0, :, 0].tolist() == want


def test_16_bit_rgb_keeps_its_high_byte_whoever_reads_it() -> None:
    values = np.random.default_rng(1).integers(0, 65536, (5, 6, 3), dtype=np.uint16)
    planar, interleaved = io.BytesIO(), io.BytesIO()
    tifffile.imwrite(planar, np.moveaxis(values, 2, 0), photometric="rgb", planarconfig="separate")
    tifffile.imwrite(interleaved, values, photometric="rgb")
    in_png = cv2.imencode(".png", values[..., ::-1])[1].tobytes()
    for content in (planar.getvalue(), interleaved.getvalue(), in_png):
        assert np.array_equal(decode_image(content, "x", LIMIT).pixels, (values >> 8).astype(np.uint8))


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 3)])
def test_a_12_bit_camera_in_a_16_bit_file_is_refused_with_the_cure(shape: tuple[int, ...]) -> None:
    content = cv2.imencode(".png", np.full(shape, 4095, np.uint16))[1].tobytes()
    with pytest.raises(UnreadableImage, match="16-bit values reach only"):
        decode_image(content, "dark.png", LIMIT)


def test_floating_point_tiff_is_refused() -> None:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros((4, 4), np.float32))
    with pytest.raises(UnreadableImage, match="floating-point"):
        decode_image(buffer.getvalue(), "x.tif", LIMIT)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_exif_orientation_equals_pillows_own_transposition(orientation: int, format: str) -> None:
    ramp = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8) * 5)
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(ramp, format, exif=exif, **({"quality": 100} if format == "JPEG" else {}))
    with Image.open(io.BytesIO(content)) as image:
        want = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    picture = decode_image(content, "x", LIMIT)
    assert np.array_equal(picture.pixels, want)
    assert picture.stored == (6, 8)


def test_header_of_50_000_squared_is_refused_before_decoding() -> None:
    content = png(50_000, 50_000, 8, 2, [])
    with pytest.raises(UnreadableImage, match=r"50000 x 50000 px are 2,500,000,000 pixels, at most 100,000,000"):
        decode_image(content, "big.png", 100_000_000)


def test_our_limit_decides_even_where_pillows_own_is_lower(monkeypatch: pytest.MonkeyPatch, rgb: np.ndarray) -> None:
    content = encoded(Image.fromarray(rgb), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert np.array_equal(decode_image(content, "x", 63).pixels, rgb)
    assert Image.MAX_IMAGE_PIXELS == 10
    with pytest.raises(UnreadableImage, match="7 x 9 px are 63 pixels, at most 62"):
        decode_image(content, "x", 62)


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animated_and_multi_page_files_are_refused(format: str) -> None:
    frames = [Image.new("RGB", (4, 4), (shade, 0, 0)) for shade in (0, 90, 200)]
    content = encoded(frames[0], format, save_all=True, append_images=frames[1:])
    with pytest.raises(UnreadableImage, match="3 frames or pages"):
        decode_image(content, "x", LIMIT)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF"])
def test_every_truncation_of_a_file_is_refused_or_read_whole(rgb: np.ndarray, format: str) -> None:
    content = encoded(Image.fromarray(cv2.resize(rgb, (40, 30))), format)
    refused = 0
    for length in range(0, len(content) - 1, max(1, len(content) // 40)):
        try:
            picture = decode_image(content[:length], "cut", LIMIT)
        except UnreadableImage:
            refused += 1
        else:  # only what comes after the pixels is missing
            assert np.array_equal(picture.pixels, decode_image(content, "whole", LIMIT).pixels)
    assert refused > 20


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_flipped_bytes_never_escape_as_another_error(rgb: np.ndarray) -> None:
    generator = np.random.default_rng(2)
    for format in ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF"):
        content = np.frombuffer(encoded(Image.fromarray(rgb), format), np.uint8)
        for _ in range(60):
            damaged = content.copy()
            damaged[generator.integers(0, len(damaged), 5)] = generator.integers(0, 256, 5)
            for decode, error in ((decode_image, UnreadableImage), (decode_mask, MaskInvalid)):
                with contextlib.suppress(error):
                    decode(damaged.tobytes(), "damaged", LIMIT)


# masks


@pytest.mark.parametrize(("bits", "rows"), [(1, [b"\x40"]), (2, [b"\x1b"]), (4, [b"\x01\x23"])])
def test_small_grey_depths_give_back_the_indices_that_were_written(bits: int, rows: list[bytes]) -> None:
    want = {1: [0, 1], 2: [0, 1, 2, 3], 4: [0, 1, 2, 3]}[bits]
    assert decode_mask(png(len(want), 1, bits, 0, rows), "m.png", LIMIT).tolist() == [want]


def test_a_palette_mask_gives_indices_and_not_colours() -> None:
    image = Image.fromarray(np.array([[0, 2, 255]], np.uint8), "P")
    image.putpalette([value % 251 for value in range(768)])
    assert decode_mask(encoded(image, "PNG"), "m.png", LIMIT).tolist() == [[0, 2, 255]]


def test_three_equal_channels_are_one_mask_and_three_different_ones_are_refused() -> None:
    grey = np.array([[0, 1, 2]], np.uint8)
    assert decode_mask(encoded(Image.fromarray(np.dstack([grey] * 3)), "PNG"), "m.png", LIMIT).tolist() == grey.tolist()
    with pytest.raises(MaskInvalid, match=r"m\.png: a colour picture of a mask"):
        decode_mask(encoded(Image.fromarray(np.dstack([grey, grey, grey + 1])), "PNG"), "m.png", LIMIT)


def test_16_bit_masks_keep_small_indices_and_refuse_large_ones() -> None:
    small, large = (cv2.imencode(".png", np.array([[0, value]], np.uint16))[1].tobytes() for value in (3, 300))
    assert decode_mask(small, "m.png", LIMIT).tolist() == [[0, 3]]
    with pytest.raises(MaskInvalid, match="class index 300"):
        decode_mask(large, "m.png", LIMIT)


@pytest.mark.parametrize("colour", [2, 4, 6])  # RGB, grey with alpha, RGB with alpha
def test_16_bits_in_several_channels_are_no_mask_since_only_the_high_byte_would_be_left(colour: int) -> None:
    channels = {2: 3, 4: 2, 6: 4}[colour]
    content = png(2, 1, 16, colour, [struct.pack(f">{2 * channels}H", *[0] * channels, *[1] * channels)])
    with pytest.raises(MaskInvalid, match=r"m\.png: 16 bits in several channels; export one channel of 8 bits"):
        decode_mask(content, "m.png", LIMIT)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_a_mask_in_the_alpha_channel_is_refused_and_an_opaque_one_is_read(mode: str) -> None:
    grey = np.array([[0, 1, 2]], np.uint8)
    flat, full = np.zeros_like(grey), np.full_like(grey, 255)
    colours = len(mode) - 1
    hidden, shown = (Image.fromarray(np.dstack([c] * colours + [a]), mode) for c, a in ((flat, grey), (grey, full)))
    with pytest.raises(MaskInvalid, match=r"m\.png: the mask is in the alpha channel; export it as grey"):
        decode_mask(encoded(hidden, "PNG"), "m.png", LIMIT)
    assert decode_mask(encoded(shown, "PNG"), "m.png", LIMIT).tolist() == grey.tolist()


def test_a_webp_mask_is_refused_as_indices() -> None:
    with pytest.raises(MaskInvalid, match="WEBP may blur class indices; export the mask as PNG"):
        decode_mask(encoded(Image.new("L", (16, 16), 1), "WEBP"), "m.webp", LIMIT)


def test_a_jpeg_mask_is_refused_as_indices_and_read_as_two_levels() -> None:
    square = np.zeros((16, 16), np.uint8)
    square[4:12, 4:12] = 255
    content = encoded(Image.fromarray(square), "JPEG")
    with pytest.raises(MaskInvalid, match="JPEG blurs class indices"):
        decode_mask(content, "m.png", LIMIT)
    assert np.array_equal(binary(decode_mask(content, "m.png", LIMIT, exact=False)), square > 0)


def test_binary_masks_of_zero_and_one_and_of_zero_and_255_mean_the_same() -> None:
    ones = np.array([[0, 1, 1]], np.uint8)
    assert binary(ones).tolist() == binary(ones * 255).tolist() == [[False, True, True]]


def test_remapping_leaves_background_and_ignore_alone_and_names_an_unknown_index() -> None:
    mask = np.array([[0, 1, 2, 255]], np.uint8)
    assert remapped(mask, {1: 7, 2: 1}, "m").tolist() == [[0, 7, 1, 255]]
    with pytest.raises(MaskInvalid, match=r"m: class index 2, expected 0, 255 \(ignore\) or one of the list: 1"):
        remapped(mask, {1: 7}, "m")


def turned_picture(orientation: int, height: int, width: int) -> Picture:
    stored = np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Picture(oriented(stored, orientation), orientation, (height, width))


def test_a_mask_of_the_unturned_size_is_turned_with_its_image() -> None:
    mask = np.random.default_rng(4).integers(0, 3, (4, 6), dtype=np.uint8)
    assert np.array_equal(fit_mask(mask, turned_picture(6, 4, 6), "m"), np.rot90(mask, -1))


def test_a_mask_of_the_turned_size_stays_as_it_is() -> None:
    mask = np.random.default_rng(4).integers(0, 3, (6, 4), dtype=np.uint8)
    assert np.array_equal(fit_mask(mask, turned_picture(6, 4, 6), "m"), mask)


def test_a_mask_that_fits_both_ways_is_refused_unless_turning_changes_nothing() -> None:
    picture = turned_picture(3, 4, 6)
    with pytest.raises(MaskInvalid, match="EXIF orientation 3 and the mask's size fits both"):
        fit_mask(np.arange(24, dtype=np.uint8).reshape(4, 6), picture, "m")
    assert not fit_mask(np.zeros((4, 6), np.uint8), picture, "m").any()


def test_a_mask_of_another_size_is_refused_with_both_sizes() -> None:
    with pytest.raises(MaskInvalid, match=r"mask is \(5, 6\), image is \(4, 6\)"):
        fit_mask(np.zeros((5, 6), np.uint8), turned_picture(1, 4, 6), "m")
