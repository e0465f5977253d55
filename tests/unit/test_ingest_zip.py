"""Archives as sources: the same samples as from the folder, and no entry that leads elsewhere or grows without end."""

import stat
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from flywheel.data.classes import ClassTable
from flywheel.data.sample import Sample
from flywheel.data.shards import read_index
from flywheel.errors import IngestError, UnreadableImage
from flywheel.export.export import export
from flywheel.ingest.archive import ZipSource
from flywheel.ingest.ingest import ingest
from flywheel.ingest.source import open_source
from flywheel.params import Ingest, Params, Split
from flywheel.paths import Paths


def packed(folder: Path, file: Path) -> str:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return str(file)


@pytest.mark.parametrize("format", ["cvat", "label-studio", "coco"])
def test_an_archive_gives_the_same_samples_as_its_folder(tmp_path: Path, format: str) -> None:
    section = Ingest(max_pixels=10_000, honour_given_splits=True)
    params = Params.model_construct(seed=0, ingest=section, split=Split(test=0.3, val=0.15))
    rng = np.random.default_rng(0)
    mask = np.zeros((12, 16), np.uint8)
    mask[2:6, 3:8] = 1
    samples = [
        Sample(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8), mask * (number % 2), annotator="import")
        for number in range(4)
    ]
    export([(one, "train") for one in samples], ClassTable(("hole",)), tmp_path / "out", format)
    file = packed(tmp_path / "out", tmp_path / "out.zip")
    from_zip, from_folder = Paths(tmp_path / "zip"), Paths(tmp_path / "folder")
    report = ingest(file, from_zip, params)
    assert (report.accepted, report.labelled, report.rejected, report.format) == (4, 4, [], format)
    ingest(str(tmp_path / "out"), from_folder, params)
    columns = ["id", "product", "group", "labelled"]
    assert read_index(from_zip.shards)[columns].equals(read_index(from_folder.shards)[columns])
    assert from_zip.splits.read_bytes() == from_folder.splits.read_bytes()
    assert ingest(file, from_zip, params).duplicates == 4


def test_entries_that_lead_elsewhere_are_set_aside_with_their_reason(tmp_path: Path) -> None:
    file = tmp_path / "a.zip"
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("good.png", "../up.png", "/root.png", "a/../../b.png", "a\\b.png", "a//b.png"):
            archive.writestr(name, name)
        archive.writestr(link, "/etc/passwd")
        archive.mkdir("folder.png")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("good.png", "good.png")
    source = ZipSource(str(file))
    assert source.names() == ["good.png"]
    assert source.read("good.png", 100) == b"good.png"
    reasons = dict(source.problems())
    assert set(reasons) == {"../up.png", "/root.png", "a/../../b.png", "a\\b.png", "a//b.png", "good.png", "link.png"}
    assert "a second entry" in reasons["good.png"]
    assert "a link" in reasons["link.png"]
    assert "leads out of the archive" in reasons["../up.png"]
    with pytest.raises(UnreadableImage, match="no such file"):
        source.read("../up.png", 100)


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("断纱/1.png".encode("gbk"), "断纱/1.png"),
        ("断紗/1.png".encode("gbk"), "断紗/1.png"),  # not in GB 2312
        ("断纱/1.png".encode(), "断纱/1.png"),
        ("Fäden/weiß.png".encode("cp437"), "Fäden/weiß.png"),
    ],
)
def test_names_without_the_utf8_flag_are_read_in_the_encoding_they_were_written_in(
    tmp_path: Path, raw: bytes, name: str
) -> None:
    source = ZipSource(zip_with_name(tmp_path / "a.zip", raw))
    assert source.names() == [name]
    assert source.read(name, 100) == b"content"


def test_a_name_in_no_known_encoding_is_a_problem_that_tells_the_cure(tmp_path: Path) -> None:
    source = ZipSource(zip_with_name(tmp_path / "a.zip", b"\xff\xff.png"))
    assert source.names() == []
    [(_, reason)] = source.problems()
    assert "a name in an unknown encoding; pack the archive with UTF-8 names" in reason


def zip_with_name(file: Path, raw: bytes) -> str:
    """An archive of one entry whose name is `raw`, without the flag that says UTF-8."""
    stand_in = "x" * len(raw)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(stand_in, b"content")
    file.write_bytes(file.read_bytes().replace(stand_in.encode(), raw))
    return str(file)


def test_an_lzma_stream_that_is_damaged_is_one_bad_file(tmp_path: Path) -> None:
    file = tmp_path / "a.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.png", bytes(range(256)) * 40)
    content = bytearray(file.read_bytes())
    content[39] = 255  # the properties of the stream, after the entry's name and its own header
    file.write_bytes(content)
    with pytest.raises(UnreadableImage, match=r"a\.png: damaged in the archive"):
        ZipSource(str(file)).read("a.png", 100_000)


def test_an_entry_over_the_limit_is_refused_whatever_its_directory_says(tmp_path: Path) -> None:
    file = tmp_path / "a.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(100_000))
    with pytest.raises(UnreadableImage, match=r"a\.png: 100,000 bytes, at most 999 are read"):
        ZipSource(str(file)).read("a.png", 999)
    content = file.read_bytes()
    assert content.count(struct.pack("<I", 100_000)) == 2  # before the entry, and in the directory
    file.write_bytes(content.replace(struct.pack("<I", 100_000), struct.pack("<I", 10)))
    with pytest.raises(UnreadableImage, match="damaged in the archive"):
        ZipSource(str(file)).read("a.png", 999)


def test_damaged_and_locked_archives_are_told(tmp_path: Path) -> None:
    file = tmp_path / "a.zip"
    file.write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(IngestError, match=r"a\.zip: not a whole zip archive"):
        open_source(str(file))
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.png", b"content of a")
    locked = bytearray(file.read_bytes())
    locked[locked.index(b"PK\x01\x02") + 8] |= 1  # the flag of encryption
    file.write_bytes(locked)
    assert ZipSource(str(file)).problems() == [("a.png", "a.png: encrypted; pack the archive without a password")]
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.png", b"content of a")
    odd = bytearray(file.read_bytes())
    odd[odd.index(b"PK\x01\x02") + 10] = 9  # the method: deflate64
    file.write_bytes(odd)
    [(name, reason)] = ZipSource(str(file)).problems()
    assert (name, reason) == (
        "a.png",
        "a.png: compressed by method 9, which few programs read; pack it again with deflate",
    )
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.png", b"content of a")
    file.write_bytes(file.read_bytes().replace(b"content of a", b"content of b"))
    with pytest.raises(UnreadableImage, match=r"a\.png: damaged in the archive"):
        ZipSource(str(file)).read("a.png", 100)


def test_other_files_are_no_source(tmp_path: Path) -> None:
    file = tmp_path / "a.tar"
    file.write_bytes(b"")
    with pytest.raises(IngestError, match=r"a file, expected a folder, a \.zip"):
        open_source(str(file))
