"""A folder with one hundred damaged or odd files among good ones: every good one is taken, every bad one explained."""

import io
import json
import os
import re
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from flywheel.data.shards import read_index
from flywheel.errors import IngestError, UnreadableImage
from flywheel.ingest.ingest import ingest, ingest_from
from flywheel.ingest.quarantine import short_name
from flywheel.ingest.source import FolderSource, open_source
from flywheel.params import Ingest, Params, Split
from flywheel.paths import Paths

LIMIT = 10_000
SIZE = (20, 24)
BELONGS = {"index.csv", "classes.json", ".DS_Store"}
CLASSES = '{"0": "background", "1": "hole", "2": "stain"}'


@pytest.fixture
def params() -> Params:
    """The sections that ingestion reads; the others are none of its business."""
    section = Ingest(max_pixels=LIMIT, honour_given_splits=True)
    return Params.model_construct(seed=0, ingest=section, split=Split(test=0.3, val=0.15))


class Tree:
    """Writes an index-mask folder and keeps the books of what must come of each file."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.generator = np.random.default_rng(0)
        self.rows = ["id,file,classes,group,split"]
        self.good: set[str] = set()
        self.bad: dict[str, str] = {}
        self.number = 0
        for name in ("images", "masks"):
            (root / name).mkdir(parents=True)
        (root / "classes.json").write_text(CLASSES)

    def pixels(self, channels: int = 3, high: int = 256, dtype: type = np.uint8) -> np.ndarray:
        shape = SIZE if channels == 1 else (*SIZE, channels)
        return self.generator.integers(0, high, shape).astype(dtype)

    def put(
        self, label: str, extension: str, content: bytes | None, mask: bytes | None = None, classes: str = ""
    ) -> str:
        self.number += 1
        key = f"{self.number:03d}_{label}"
        name = f"images/{key}{extension}"
        if content is not None:
            (self.root / name).write_bytes(content)
        if mask is not None:
            (self.root / "masks" / f"{key}.png").write_bytes(mask)
        self.rows.append(f"{key},{name},{classes},,")
        return name

    def take(self, label: str, extension: str, content: bytes, **more: object) -> None:
        self.good.add(self.put(label, extension, content, **more))  # type: ignore[arg-type]

    def refuse(self, reason: str, label: str, extension: str, content: bytes | None, **more: object) -> str:
        name = self.put(label, extension, content, **more)  # type: ignore[arg-type]
        self.bad[name] = reason
        return name

    def finish(self) -> None:
        (self.root / "index.csv").write_text("\n".join(self.rows) + "\n", encoding="utf-8")


def saved(pixels: np.ndarray | Image.Image, format: str, mode: str | None = None, **options: object) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, format, **options)
    return buffer.getvalue()


def png16(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def huge_header(width: int, height: int) -> bytes:
    """A PNG whose header is whole and whose pixels are not there."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + pixels


def index_mask(*indices: int, size: tuple[int, int] = SIZE) -> bytes:
    mask = np.zeros(size, np.uint8)
    for row, index in enumerate(indices):
        mask[2 + 2 * row : 4 + 2 * row, 3:9] = index
    return saved(mask, "PNG")


def write_hostile(tree: Tree) -> list[Callable[[], None]]:
    """One hundred bad entries and many good ones. Returns what must be closed at the end."""
    # good ones, some of them odd
    for label, extension, format, mode in (
        ("png", ".png", "PNG", None),
        ("jpeg", ".jpg", "JPEG", None),
        ("bmp", ".bmp", "BMP", None),
        ("tiff", ".TIF", "TIFF", None),
        ("webp", ".webp", "WEBP", None),
        ("gif", ".gif", "GIF", "P"),
        ("cmyk", ".jpg", "JPEG", "CMYK"),
        ("cmyk", ".tif", "TIFF", "CMYK"),
        ("grey", ".png", "PNG", "L"),
        ("alpha", ".png", "PNG", "RGBA"),
        ("grey_alpha", ".png", "PNG", "LA"),
        ("palette", ".png", "PNG", "P"),
        ("bilevel", ".png", "PNG", "1"),
        ("jpeg_named_png", ".png", "JPEG", None),
        ("png_named_jpeg", ".JPEG", "PNG", None),
        ("断纱_污渍_色差 ñ é 😀", ".png", "PNG", None),
        ("long_" + "x" * 230, ".png", "PNG", None),
        ("long_" + "纱" * 70, ".png", "PNG", None),
        ("with 'quotes' & %20 #;", ".png", "PNG", None),
    ):
        tree.take(label, extension, saved(tree.pixels(), format, mode))
    tree.take("16_bit", ".png", png16(tree.pixels(1, 65536, np.uint16)))
    tree.take("16_bit_rgb", ".png", png16(tree.pixels(3, 65536, np.uint16)))
    tree.take("masked", ".png", saved(tree.pixels(), "PNG"), mask=index_mask(1, 2, 255), classes="hole|stain")
    tree.take("one_pixel", ".png", saved(tree.pixels()[:1, :1], "PNG"))

    # bad ones
    for cut in range(24):
        content = saved(tree.pixels(), "PNG")
        tree.refuse("", "truncated", ".png", content[: 1 + cut * (len(content) - 40) // 24])
    for cut in range(15):
        content = saved(tree.pixels(), "JPEG")
        tree.refuse("", "truncated", ".jpg", content[: 1 + cut * (len(content) - 40) // 15])
    for extension in (".png", ".jpg", ".tif", ".bmp", ".webp"):
        tree.refuse("the file is empty", "zero_bytes", extension, b"")
        tree.refuse("not an image", "text", extension, b"this is no picture\n" * 9)
        tree.refuse("not an image", "archive", extension, b"PK\x03\x04" + bytes(200))
        tree.refuse("", "noise", extension, tree.pixels().tobytes())
    for width, height in ((50_000, 50_000), (10**6, 10**6), (101, 100), (LIMIT + 1, 1)):
        tree.refuse("are read", "huge", ".png", huge_header(width, height))
    for format, extension in (("GIF", ".gif"), ("PNG", ".png"), ("WEBP", ".webp"), ("TIFF", ".tif")):
        frames = [Image.fromarray(tree.pixels()) for _ in range(2)]
        content = saved(frames[0], format, save_all=True, append_images=frames[1:])
        tree.refuse("2 frames or pages", "animated", extension, content)
    tree.refuse("", "beyond_all_limits", ".png", huge_header(2**31 - 1, 2**31 - 1))
    tree.refuse("floating-point", "float", ".tif", saved(Image.fromarray(tree.pixels(1).astype(np.float32)), "TIFF"))
    tree.refuse("16-bit values reach only", "12_bit", ".png", png16(tree.pixels(1, 4096, np.uint16)))
    tree.refuse("not an image", "postscript", ".png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    tree.refuse("bytes, at most", "too_many_bytes", ".png", bytes(8 * LIMIT + 1024 * 1024 + 1))
    for indices, size, reason in (
        ((200,), SIZE, "class index 200, expected 0, 255 (ignore) or one of the list: 1, 2"),
        ((3,), SIZE, "class index 3"),
        ((1, 254), SIZE, "class index 254"),
        ((1,), (20, 23), "mask is (20, 23), image is (20, 24)"),
        ((1,), (24, 20), "mask is (24, 20)"),
        ((1,), (10, 12), "mask is (10, 12)"),
        ((2,), SIZE, "holds stain, index.csv says hole"),
        ((), SIZE, "holds no defect, index.csv says hole"),
    ):
        content = saved(tree.pixels(), "PNG")
        tree.refuse(reason, "mask", ".png", content, mask=index_mask(*indices, size=size), classes="hole")
    for mask, reason in (
        (b"", "the mask is empty"),
        (b"text", "the mask is not an image"),
        (index_mask(1)[:60], "mask"),
        (saved(tree.pixels(), "PNG"), "a colour picture of a mask"),
        (saved(tree.pixels(1), "JPEG"), "JPEG blurs class indices"),
        (png16(np.full(SIZE, 999, np.uint16)), "class index 999"),
        (huge_header(50_000, 50_000), "are read"),
        (None, "says hole, but masks/ has no mask"),
    ):
        tree.refuse(reason, "mask_file", ".png", saved(tree.pixels(), "PNG"), mask=mask, classes="hole")
    for number in range(5):
        tree.refuse("not in the source", f"missing_{number}", ".png", None)

    def entry(reason: str, label: str, make: Callable[[Path], object]) -> None:
        make(tree.root / tree.refuse(reason, label, ".png", None))

    entry("a pipe, socket or device", "pipe", os.mkfifo)
    entry("in a circle", "loop_to_itself", lambda path: path.symlink_to(path.name))
    entry("leads nowhere", "broken_link", lambda path: path.symlink_to("nothing.png"))
    outside = tree.root.parent / "outside.png"
    outside.write_bytes(saved(tree.pixels(), "PNG"))
    entry("outside the source", "link_outside", lambda path: path.symlink_to(outside))
    entry("outside the source", "link_to_password_file", lambda path: path.symlink_to("/etc/passwd"))
    entry("outside the source", "link_to_device", lambda path: path.symlink_to("/dev/zero"))
    server = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(tree.root / "images")  # the name of a socket is at most 108 bytes long
    try:
        server.bind("socket.png")
    finally:
        os.chdir(here)
    entry("can't be read", "socket", lambda path: (tree.root / "images" / "socket.png").rename(path))
    # entries that no table lists
    (tree.root / "images" / "around").symlink_to(tree.root)
    tree.bad["images/around"] = "link to a folder"
    (tree.root / "images" / "folder.png").mkdir()
    tree.bad["images/folder.png"] = "a folder, expected a file"
    if os.geteuid() != 0:
        locked = tree.refuse("check its permissions", "locked", ".png", saved(tree.pixels(), "PNG"))
        (tree.root / locked).chmod(0)
    return [server.close]


def test_one_hundred_bad_files_are_listed_with_their_reasons_and_every_good_one_is_taken(
    tmp_path: Path, params: Params
) -> None:
    tree = Tree(tmp_path / "in")
    closing = write_hostile(tree)
    tree.finish()
    (tree.root / "images" / ".DS_Store").write_bytes(b"x")
    (tree.root / "readme.txt").write_text("x")
    (tree.root / "images" / "unlisted.png").write_bytes(saved(tree.pixels(), "PNG"))
    tree.bad["images/unlisted.png"] = "not listed in index.csv, which names files that are not here"
    paths = Paths(tmp_path / "workspace")
    report = ingest(str(tree.root), paths, params)
    for close in closing:
        close()

    assert len(tree.bad) >= 100
    rejected = {row["file"]: row["reason"] for row in report.rejected}
    assert set(rejected) == set(tree.bad)
    for file, reason in tree.bad.items():
        assert reason in rejected[file], file
        assert rejected[file].strip(), file
    taken = {source.removeprefix(f"{tree.root}/") for source in read_index(paths.shards)["source"]}
    assert taken == tree.good
    assert report.accepted == report.labelled == len(tree.good)
    assert "readme.txt" in {row["file"] for row in report.ignored}
    assert len(paths.quarantine.read_text(encoding="utf-8").splitlines()) == len(tree.bad)

    # nothing is dropped in silence: every file on disk is in one of the report's lists
    told = taken | set(rejected) | {row["file"] for row in report.ignored}
    others = set(FolderSource(str(tree.root)).names()) - told
    assert len(others) == report.recognised
    assert all(name.startswith("masks/") or name.rpartition("/")[2] in BELONGS for name in others)


class LockedSource(FolderSource):
    """A folder in which one file may not be read, also not by root."""

    def read(self, name: str, limit: int) -> bytes:
        if name == "locked.png":
            err = PermissionError(13, "Permission denied")
            raise UnreadableImage(f"{name}: can't be read ({err.strerror}); check its permissions") from err
        return super().read(name, limit)


def test_a_file_without_read_permission_is_listed_and_has_no_copy(tmp_path: Path, params: Params) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    (tmp_path / "in").mkdir()
    for name, one in zip(("locked.png", "open.png"), pixels, strict=True):
        (tmp_path / "in" / name).write_bytes(saved(one, "PNG"))
    paths = Paths(tmp_path / "workspace")
    source = LockedSource(str(tmp_path / "in"))
    report = ingest_from(source, paths, params, product="default", format="auto", hide_labels=False)
    assert report.accepted == 1
    assert report.rejected == [
        {"file": "locked.png", "reason": "locked.png: can't be read (Permission denied); check its permissions"}
    ]
    assert not paths.set_aside.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_folder_without_permission_is_listed(tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir(mode=0)
    source = FolderSource(str(tmp_path))
    assert source.names() == []
    assert source.problems() == [("shut", "shut: folder can't be read (Permission denied)")]


def test_a_name_that_is_not_utf8_is_listed_and_its_neighbours_are_taken(tmp_path: Path, params: Params) -> None:
    (tmp_path / "in").mkdir()
    content = saved(np.random.default_rng(2).integers(0, 256, (8, 8, 3), dtype=np.uint8), "PNG")
    (tmp_path / "in" / "good.png").write_bytes(content)
    with open(os.fsencode(tmp_path / "in") + b"/bad\xff.png", "wb") as file:  # noqa: PTH123 - a name in bytes
        file.write(content)
    report = ingest(str(tmp_path / "in"), Paths(tmp_path / "workspace"), params)
    assert report.accepted == 1
    assert [row["file"] for row in report.rejected] == ["bad\\udcff.png"]


def test_half_a_surrogate_pair_in_a_text_is_written_as_its_escape(tmp_path: Path, params: Params) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(saved(np.zeros((8, 8, 3), np.uint8), "PNG"))
    image = {"id": 1, "file_name": "a.png", "height": 8, "width": 8}
    image |= {"caption": "half \ud83d of \U0001f600", "group": "roll \udc00"}
    content = {"images": [image], "annotations": [], "categories": [{"id": 3, "name": "hole"}]}
    (tmp_path / "in" / "annotations.json").write_text(json.dumps(content))
    paths = Paths(tmp_path / "workspace")
    assert ingest(str(tmp_path / "in"), paths, params).accepted == 1
    row = read_index(paths.shards).iloc[0]
    assert (row["caption"], row["group"]) == ("half \\ud83d of \U0001f600", "roll \\udc00")


@pytest.mark.parametrize("name", ["nul\0.png", "half\ud800.png"])
def test_a_name_that_no_file_can_have_is_an_unreadable_image(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnreadableImage, match="no file there"):
        FolderSource(str(tmp_path)).read(name, LIMIT)


@pytest.mark.parametrize(
    ("address", "variables", "reason"),
    [
        (
            "s3://mill/a",
            {"AWS_ENDPOINT_URL": "localhost:9000"},
            "s3://mill/a: Invalid endpoint: localhost:9000; check AWS_EN",
        ),
        (
            "s3://mill/a",
            {"AWS_PROFILE": "nobody"},
            "(nobody) could not be found; check AWS_ENDPOINT_URL (http://host:port)",
        ),
        ("s3://my mill/a", {}, "list s3://my mill/a/: 'my mill' is no bucket name; write s3://bucket/prefix"),
    ],
)
def test_a_wrong_address_of_storage_is_told_in_one_line_and_not_retried(
    monkeypatch: pytest.MonkeyPatch, address: str, variables: dict[str, str], reason: str
) -> None:
    for name, value in {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "x"}.items():
        monkeypatch.setenv(name, value)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(IngestError, match=re.escape(reason)) as caught:
        open_source(address).names()
    assert "\n" not in str(caught.value)


def test_links_within_the_source_are_read_and_count_as_duplicates(tmp_path: Path, params: Params) -> None:
    (tmp_path / "in").mkdir()
    content = saved(np.random.default_rng(3).integers(0, 256, (8, 8, 3), dtype=np.uint8), "PNG")
    (tmp_path / "in" / "a.png").write_bytes(content)
    (tmp_path / "in" / "b.png").symlink_to("a.png")
    report = ingest(str(tmp_path / "in"), Paths(tmp_path / "workspace"), params)
    assert (report.accepted, report.duplicates, report.rejected) == (1, 1, [])


@pytest.mark.parametrize(
    "name", ["a/" + "x" * 300 + ".png", "纱" * 200 + ".png", 'a<b>:"|?*\\.png', "no_extension", ".png"]
)
def test_copies_have_short_safe_names_that_keep_their_extension(name: str) -> None:
    short = short_name(name)
    assert 1 <= len(short.encode()) <= 120
    assert not set(short) & set('<>:"|?*\\/')
    assert short.endswith(".png") or "." not in name
