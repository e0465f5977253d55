"""A generation's data in a DVC remote on a real S3 server."""

import subprocess
import sys
from pathlib import Path

import pytest

from flywheel.data.fabric import draw_sample
from flywheel.data.shards import read_index, write_shards
from flywheel.errors import StorageUnavailable
from flywheel.workspace import init_workspace


def test_data_pushed_to_s3_come_back_in_a_clone(bucket: Path, tmp_path: Path) -> None:
    ws = init_workspace(tmp_path / "mill", remote="s3://mill/wheel")
    write_shards(ws.paths.shards, "real", [draw_sample(0, index, size=(64, 64)) for index in range(4)])
    ws.add_shards()
    ws.commit("four samples")
    ws.push()
    assert any((bucket / "wheel").rglob("*"))
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(ws.root), str(clone)], check=True)
    subprocess.run([sys.executable, "-m", "dvc", "pull", "-q", "data/shards.dvc"], cwd=clone, check=True)
    pulled, kept = read_index(clone / "data" / "shards"), read_index(ws.paths.shards)
    assert list(pulled["id"]) == list(kept["id"])


def test_a_remote_that_is_away_says_how_to_push_later(
    bucket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    ws = init_workspace(tmp_path / "mill", remote="s3://mill/wheel")
    write_shards(ws.paths.shards, "real", [draw_sample(0, 0, size=(64, 64))])
    ws.add_shards()
    with pytest.raises(StorageUnavailable, match="dvc push"):
        ws.push()
