"""A real Label Studio: clicks through its own API to the ML backend, labels out of it and into it, pixel for pixel.

Skipped where Label Studio is not installed; `make test-label-studio` installs it into an environment of its own.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from flywheel.data.sample import Sample, encode_png, pixel_id
from flywheel.data.shards import read_index, read_samples
from flywheel.defect_click.clicker import Click, Clicker
from flywheel.errors import UnreadableImage
from flywheel.export.export import export
from flywheel.ingest.ingest import read_labelled
from flywheel.label_studio.brush import encode
from flywheel.label_studio.client import Client
from flywheel.workspace import Workspace, init_workspace
from tests.services.conftest import free_port
from tests.services.studio_server import TOKEN, executable, label_studio, running
from tests.unit.studio import CLASSES, CONFIG, SIZE, click_model, cloth, point, region

pytestmark = [
    pytest.mark.skipif(executable() is None, reason="Label Studio is not installed (make test-label-studio)"),
    pytest.mark.slow,
    pytest.mark.timeout(1800),  # its first start takes minutes on a busy machine
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studio")


@pytest.fixture(scope="module")
def studio(place: Path) -> Iterator[httpx.Client]:
    with label_studio(place / "server", free_port()) as client:
        yield client


@pytest.fixture(scope="module")
def ws(place: Path) -> Workspace:
    return init_workspace(place / "mill", preset="demo", name="mill")


@pytest.fixture(scope="module")
def backend(place: Path, ws: Workspace, studio: httpx.Client) -> Iterator[str]:
    """Address of the ML backend, started as people start it."""
    port = free_port()
    command = [sys.executable, "-m", "flywheel", "label-studio-backend", "-w", str(ws.root), "--port", str(port)]
    command += ["--clicker", str(click_model(place / "click"))]
    environment = dict(os.environ) | {"LABEL_STUDIO_URL": str(studio.base_url), "LABEL_STUDIO_API_KEY": TOKEN}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    address = f"http://127.0.0.1:{port}"
    with running(command, f"{address}/health", place / "backend.log", **environment):
        yield address


def posted(studio: httpx.Client, address: str, **more: Any) -> Any:
    answer = studio.post(address, **more)
    assert answer.status_code in (200, 201), answer.text[:2000]
    return answer.json()


def new_project(studio: httpx.Client, title: str, config: str = CONFIG) -> int:
    return posted(studio, "/api/projects", json={"title": title, "label_config": config})["id"]


def tasks_of(studio: httpx.Client, project: int) -> dict[str, int]:
    """Task by its image's address."""
    found = studio.get("/api/tasks", params={"project": project, "page_size": 100}).json()["tasks"]
    return {task["data"]["image"]: task["id"] for task in found}


def uploaded(studio: httpx.Client, project: int, files: dict[str, bytes]) -> dict[str, tuple[str, int]]:
    """Address and task of every file by its name."""
    places = {}
    for name, content in files.items():
        before = set(tasks_of(studio, project))
        posted(studio, f"/api/projects/{project}/import", files={"file": (name, content, "image/png")})
        ((address, task),) = ((a, t) for a, t in tasks_of(studio, project).items() if a not in before)
        places[name] = (address, task)
    return places


def exported(studio: httpx.Client, project: int, folder: Path) -> Path:
    """The project's JSON export with its unlabelled tasks, in a folder."""
    answer = studio.get(f"/api/projects/{project}/export", params={"exportType": "JSON", "download_all_tasks": "true"})
    assert answer.status_code == 200, answer.text[:2000]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "export.json").write_bytes(answer.content)
    return folder


def test_a_click_in_label_studio_becomes_a_label_in_the_workspace(
    studio: httpx.Client, backend: str, ws: Workspace, place: Path
) -> None:
    project = new_project(studio, "Interactive")
    images = {"roll 1.png": cloth(1), "roll 2.png": cloth(2), "roll 3.png": cloth(3)}
    places = uploaded(studio, project, {name: encode_png(rgb) for name, rgb in images.items()})
    model = posted(
        studio, "/api/ml", json={"project": project, "url": backend, "title": "Defect-Click", "is_interactive": True}
    )
    assert model["readable_state"] == "Connected"

    clicker = Clicker.load(place / "click")
    image = clicker.set_image(images["roll 1.png"])
    task = places["roll 1.png"][1]
    entries, clicks, mask = [], [], None
    for row, column, positive in ((40, 50, True), (20, 100, True), (60, 52, False)):
        entries.append(point(row, column, is_positive=positive))
        clicks.append(Click(row, column, positive))
        mask = clicker.click(image, clicks, mask)
        body = {"task": task, "context": {"result": entries}}
        answer = posted(studio, f"/api/ml/{model['id']}/interactive-annotating", json=body)
        assert "errors" not in answer, answer
        (suggestion,) = answer["data"]["result"]
        assert np.array_equal(region(suggestion), mask > 0.5)
        assert (region(suggestion)[row, column], suggestion["value"]["brushlabels"]) == (positive, ["hole"])

    posted(studio, f"/api/tasks/{task}/annotations", json={"result": [suggestion]})
    posted(studio, f"/api/tasks/{places['roll 2.png'][1]}/annotations", json={"result": []})
    folder = exported(studio, project, place / "delivery")
    for name, rgb in images.items():
        (folder / name).write_bytes(encode_png(rgb))
    command = [sys.executable, "-m", "flywheel", "ingest", str(folder), "-w", str(ws.root), "--json"]
    environment = dict(os.environ) | {"PYTHONPATH": str(Path(__file__).parents[2])}
    report = json.loads(subprocess.run(command, check=True, capture_output=True, env=environment).stdout)
    assert (report["format"], report["accepted"], report["labelled"]) == ("label-studio", 3, 2)
    assert (report["classes"], report["rejected"]) == (["hole"], [])
    index = read_index(ws.paths.shards)
    labelled = {one.id: one.mask for one in read_samples(ws.paths.shards, index[index["labelled"]])}
    assert mask is not None
    assert labelled.keys() == {pixel_id(images["roll 1.png"]), pixel_id(images["roll 2.png"])}
    assert np.array_equal(labelled[pixel_id(images["roll 1.png"])], (mask > 0.5).astype(np.uint8))
    assert not labelled[pixel_id(images["roll 2.png"])].any()


def test_an_export_of_ours_goes_through_label_studio_unchanged(studio: httpx.Client, place: Path) -> None:
    """Several classes, several regions, holes and ignored pixels; the images shown as local files."""
    rng = np.random.default_rng(0)
    noise = np.kron(rng.integers(0, 4, (SIZE[0] // 4, SIZE[1] // 4)), np.ones((4, 4))).astype(np.uint8)
    noise[noise == 3] = 255
    ring = np.zeros(SIZE, np.uint8)
    ring[10:60, 10:60], ring[20:40, 20:40], ring[30, 30] = 2, 0, 1
    masks = [noise, ring, np.zeros(SIZE, np.uint8)]
    samples = [
        Sample(cloth(10 + number), mask, product="denim", group=f"r{number}", annotator="import")
        for number, mask in enumerate(masks)
    ]
    root = place / "server" / "files"
    export([(one, "val") for one in samples], CLASSES, root, "label-studio")
    project = new_project(studio, "Our export", (root / "label_config.xml").read_text())
    posted(
        studio,
        "/api/storages/localfiles",
        json={"project": project, "path": str(root / "images"), "use_blob_urls": True, "title": "images"},
    )
    posted(studio, f"/api/projects/{project}/import", json=json.loads((root / "tasks.json").read_text()))
    for one in samples:
        shown = studio.get("/data/local-files/", params={"d": f"images/{one.id}.png"})
        assert (shown.status_code, shown.content) == (200, encode_png(one.image))
    folder = exported(studio, project, place / "back")
    for one in samples:
        (folder / f"{one.id}.png").write_bytes(encode_png(one.image))
    read = {one.id: one for one in read_labelled(str(folder), max_pixels=10**6, classes=CLASSES)}
    assert read.keys() == {one.id for one in samples}
    for one in samples:
        assert np.array_equal(read[one.id].mask, one.mask)
        assert (read[one.id].group, read[one.id].given_split) == (one.group, "val")
        assert read[one.id].caption


def test_label_studios_own_converter_reads_our_brush_masks() -> None:
    rng = np.random.default_rng(1)
    shapes = [(1, 1), (33, 47), (300, 300)]
    masks = [rng.random(shape) < share for shape in shapes for share in (0, 0.1, 0.5, 1)]
    script = (
        "import json, sys\n"
        "from label_studio_sdk.converter.brush import decode_rle\n"
        "for rle in json.load(sys.stdin): print(''.join('01'[value > 0] for value in decode_rle(rle)[3::4]))"
    )
    command = executable()
    assert command is not None
    result = subprocess.run(
        [str(command.with_name("python")), "-c", script],
        input=json.dumps([encode(one) for one in masks]),
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split() == ["".join("01"[value] for value in one.ravel().astype(int)) for one in masks]


def test_files_come_with_either_kind_of_token_and_with_none_not_at_all(studio: httpx.Client) -> None:
    project = new_project(studio, "Tokens")
    content = encode_png(cloth(20))
    ((address, _),) = uploaded(studio, project, {"a.png": content}).values()
    personal = posted(studio, "/api/token/")["token"]
    assert personal.count(".") == 2
    for key in (TOKEN, personal):
        assert Client(str(studio.base_url), key).read(address, 10**6) == content
    with pytest.raises(UnreadableImage, match="set LABEL_STUDIO_API_KEY"):
        Client(str(studio.base_url), "").read(address, 10**6)
