"""Ingestion from a real S3 server (rclone serve s3), with right and wrong credentials, and from none at all."""

from pathlib import Path

import boto3
import cv2
import numpy as np
import pytest

from flywheel.data.shards import read_index
from flywheel.errors import IngestError, StorageUnavailable, UnreadableImage
from flywheel.ingest.ingest import ingest
from flywheel.ingest.s3 import S3Source
from flywheel.params import Ingest, Params, Split
from flywheel.paths import Paths
from tests.services.conftest import free_port


@pytest.fixture
def params() -> Params:
    """The sections that ingestion reads; the others are none of its business."""
    section = Ingest(max_pixels=1_000_000, honour_given_splits=True)
    return Params.model_construct(seed=0, ingest=section, split=Split(test=0.3, val=0.15))


def mvtec(root: Path, count: int) -> None:
    """`count` images each of good ones and ones with a hole, in MVTec's layout."""
    generator = np.random.default_rng(0)
    hole = np.zeros((16, 16), np.uint8)
    hole[4:9, 3:7] = 255
    for name in ("train/good", "test/hole", "ground_truth/hole"):
        (root / name).mkdir(parents=True)
    for number in range(count):
        for part in ("train/good", "test/hole"):
            pixels = generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            assert cv2.imwrite(str(root / part / f"{number:03d}.png"), pixels)
        assert cv2.imwrite(str(root / "ground_truth" / "hole" / f"{number:03d}_mask.png"), hole)


def test_a_prefix_gives_the_same_samples_as_its_folder(bucket: Path, tmp_path: Path, params: Params) -> None:
    mvtec(bucket / "2024 März" / "denim", 6)
    (bucket / "2024 März" / "denim" / "test" / "hole" / "broken.png").write_bytes(b"text")
    remote, local = Paths(tmp_path / "remote"), Paths(tmp_path / "local")
    from_s3 = ingest("s3://mill/2024 März/denim/", remote, params)
    from_disk = ingest(str(bucket / "2024 März" / "denim"), local, params)
    assert (from_s3.accepted, from_s3.labelled, from_s3.format) == (12, 12, "mvtec")
    assert from_s3.rejected == from_disk.rejected
    assert len(from_s3.rejected) == 1
    assert from_s3.splits == from_disk.splits
    columns = ["id", "product", "group", "annotator"]
    assert read_index(remote.shards)[columns].equals(read_index(local.shards)[columns])
    assert read_index(remote.shards)["source"][0].startswith("s3://mill/2024 März/denim/")
    assert remote.splits.read_bytes() == local.splits.read_bytes()
    assert ingest("s3://mill/2024 März/denim", remote, params).duplicates == 12


def test_an_object_over_the_limit_is_refused_from_its_listing(bucket: Path) -> None:
    (bucket / "a.png").write_bytes(bytes(1000))
    source = S3Source("s3://mill")
    assert source.names() == ["a.png"]
    with pytest.raises(UnreadableImage, match=r"a.png: 1,000 bytes, at most 999 are read"):
        source.read("a.png", 999)


def test_an_object_that_vanished_after_the_listing_is_one_bad_file(bucket: Path) -> None:
    (bucket / "a.png").write_bytes(b"x")
    source = S3Source("s3://mill")
    source.names()
    boto3.session.Session().client("s3").delete_object(Bucket="mill", Key="a.png")
    with pytest.raises(UnreadableImage, match=r"a\.png: can't be read \((NoSuchKey|404)\)"):
        source.read("a.png", 10)


def test_a_wrong_secret_is_told_and_not_retried(
    bucket: Path, tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    mvtec(bucket, 1)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-horse")
    with pytest.raises(
        IngestError, match=r"list s3://mill/: refused \(SignatureDoesNotMatch\); check AWS_ACCESS_KEY_ID"
    ):
        ingest("s3://mill", Paths(tmp_path / "workspace"), params)


def test_an_unknown_bucket_is_told(bucket: Path, tmp_path: Path, params: Params) -> None:
    with pytest.raises(IngestError, match=r"s3://loom/: no such bucket"):
        ingest("s3://loom", Paths(tmp_path / "workspace"), params)


def test_a_server_that_does_not_answer_is_unavailable_and_may_be_retried(
    tmp_path: Path, params: Params, bucket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(StorageUnavailable, match="list s3://mill/"):
        ingest("s3://mill", Paths(tmp_path / "workspace"), params)
