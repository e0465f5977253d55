"""The ML backend over HTTP: clicks to brush masks, images from where they may come from, and strangers."""

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from flywheel.data.sample import Sample, encode_png
from flywheel.data.shards import write_shard
from flywheel.defect_click.clicker import Click, Clicker
from flywheel.errors import ConfigError
from flywheel.label_studio.app import ServerGuard, create_app
from flywheel.label_studio.client import Client
from flywheel.label_studio.pictures import TaskPictures
from flywheel.label_studio.predict import Predictor
from flywheel.label_studio.serve import Options, make_predictor, serve
from flywheel.labelling.champion import Champion
from flywheel.labelling.clicker import choose_clicker
from flywheel.labelling.clicks import Clicks
from flywheel.labelling.security import allowed_hosts
from flywheel.segmenter.model import SegmenterConfig, load_segmenter, save_segmenter
from flywheel.workspace import Workspace, init_workspace
from tests.unit.studio import (
    CLASSES,
    CONFIG,
    SIZE,
    TOKEN,
    Shelf,
    click_model,
    cloth,
    opened,
    point,
    region,
    request,
    stroke,
)

HOME = "http://127.0.0.1:9090"
UPLOAD = "/data/upload/1/0a1b2c3d-cloth.png"
PERSONAL = "header.payload.signature"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return click_model(tmp_path_factory.mktemp("click"))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return init_workspace(tmp_path_factory.mktemp("template") / "mill", preset="demo", name="mill").root


@pytest.fixture
def ws(template: Path, tmp_path: Path) -> Workspace:
    shutil.copytree(template, tmp_path / "mill", symlinks=True)
    return Workspace(tmp_path / "mill")


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    with opened(Shelf()) as one:
        one.files[UPLOAD] = encode_png(cloth(0))
        yield one


def backend(ws: Workspace, model: Path, server: str, key: str = TOKEN, password: str = "") -> TestClient:
    predictor, _ = make_predictor(ws, Client(server, key), str(model))
    app = create_app(predictor, hosts=allowed_hosts("127.0.0.1", ()), password=password)
    return TestClient(app, base_url=HOME)


def clicked(model: Path, rgb: np.ndarray, clicks: list[Click], start: np.ndarray | None = None) -> np.ndarray:
    """What the click model says when it is asked click by click."""
    clicker = Clicker.load(model)
    image = clicker.set_image(rgb)
    found = start
    for count in range(1, len(clicks) + 1):
        found = clicker.click(image, clicks[:count], found)
    assert found is not None
    return found > 0.5


def test_a_smart_key_point_becomes_the_brush_mask_of_the_click_model(ws: Workspace, model: Path, shelf: Shelf) -> None:
    client = backend(ws, model, shelf.url)
    assert client.get("/health").json()["status"] == "UP"
    version = client.post("/setup", json={"project": "1.2", "schema": CONFIG, "hostname": "http://x"}).json()
    answer = client.post("/predict", json=request(UPLOAD, point(40, 50))).json()
    assert answer["model_version"] == version["model_version"] == f"Defect-Click folder {model.name}"
    (entry,) = answer["results"][0]["result"]
    assert (entry["type"], entry["from_name"], entry["to_name"]) == ("brushlabels", "defect", "image")
    assert entry["value"]["brushlabels"] == ["hole"]
    assert np.array_equal(region(entry), clicked(model, cloth(0), [Click(40, 50, True)]))


def test_further_clicks_and_an_earlier_mask_are_followed_click_by_click(
    ws: Workspace, model: Path, shelf: Shelf
) -> None:
    start = np.zeros(SIZE, bool)
    start[20:60, 30:70] = True
    entries = [
        stroke(start, "stain"),
        point(40, 50, "stain"),
        point(22, 32, "stain", is_positive=False),
        point(95, 127, "stain"),
    ]
    want = clicked(
        model,
        cloth(0),
        [Click(40, 50, True), Click(22, 32, False), Click(95, 127, True)],
        start.astype(np.float32),
    )
    client = backend(ws, model, shelf.url)
    (entry,) = client.post("/predict", json=request(UPLOAD, *entries)).json()["results"][0]["result"]
    found = region(entry)
    assert entry["value"]["brushlabels"] == ["stain"]
    assert np.array_equal(found, want)
    assert (found[95, 127], found[22, 32]) == (True, False)
    assert [path for path, _ in shelf.asked] == [UPLOAD]  # once, though the model looked at it in every request
    client.post("/predict", json=request(UPLOAD, *entries))
    assert len(shelf.asked) == 1


def test_a_brush_without_a_click_gets_an_empty_suggestion(ws: Workspace, model: Path, shelf: Shelf) -> None:
    answer = backend(ws, model, shelf.url).post("/predict", json=request(UPLOAD, stroke(np.ones(SIZE, bool))))
    assert [one["result"] for one in answer.json()["results"]] == [[]]


def test_the_brush_that_has_the_label_draws_it_on_its_own_image(ws: Workspace, model: Path, shelf: Shelf) -> None:
    config = (
        '<View><Image name="left" value="$a"/><Image name="right" value="$b"/>'
        '<BrushLabels name="one" toName="left"><Label value="stain"/></BrushLabels>'
        '<BrushLabels name="two" toName="right"><Label value="hole"/></BrushLabels></View>'
    )
    message = request("", point(40, 50, "hole"), config=config)
    message["tasks"][0]["data"] = {"a": "/data/upload/1/none.png", "b": UPLOAD}
    (entry,) = backend(ws, model, shelf.url).post("/predict", json=message).json()["results"][0]["result"]
    assert (entry["from_name"], entry["to_name"]) == ("two", "right")


def test_an_image_of_the_workspace_is_read_there_and_label_studio_is_not_asked(
    ws: Workspace, model: Path, shelf: Shelf
) -> None:
    sample = Sample(cloth(7), product="cloth", group="r1")
    write_shard(ws.paths.shards, "pool", [sample])
    client = backend(ws, model, shelf.url)
    for address in (f"/data/local-files/?d=images/{sample.id}.png", f"/data/upload/1/0a1b2c3d-{sample.id}.png"):
        (entry,) = client.post("/predict", json=request(address, point(40, 50))).json()["results"][0]["result"]
        assert np.array_equal(region(entry), clicked(model, cloth(7), [Click(40, 50, True)]))
    assert shelf.asked == []


@pytest.mark.parametrize(
    "address",
    [
        "http://stranger.example/data/upload/a.png",
        "https://127.0.0.1:{port}/data/upload/1/0a1b2c3d-cloth.png",
        "http://127.0.0.1:1/data/upload/a.png",
        "http://127.0.0.1:{port}@stranger.example/data/a.png",
        "//stranger.example/data/upload/a.png",
        "file:///etc/passwd",
        "/etc/passwd",
        "/api/users/",
        "/data/../api/users/",
        "/data/%2e%2e/api/users/",
        "data/upload/1/0a1b2c3d-cloth.png",
        "/data/upload/a\r\nX: y.png",
        "s3://bucket/a.png",
        "http://[bad/data/a.png",
        "",
        7,
        None,
    ],
)
def test_an_address_that_label_studio_does_not_serve_is_refused_unasked(
    ws: Workspace, model: Path, shelf: Shelf, address: object
) -> None:
    if isinstance(address, str):
        address = address.replace("{port}", shelf.url.rpartition(":")[2])
    answer = backend(ws, model, shelf.url).post("/predict", json=request(address, point(1, 1)))
    assert answer.status_code == 422
    assert "image" in answer.json()["error"]
    assert shelf.asked == []


def test_label_studio_below_a_path_of_its_host_is_asked_there(ws: Workspace, model: Path, shelf: Shelf) -> None:
    shelf.files = {f"/studio{UPLOAD}": encode_png(cloth(0))}
    client = backend(ws, model, f"{shelf.url}/studio/")
    for address in (UPLOAD, f"/studio{UPLOAD}", f"{shelf.url}/studio{UPLOAD}"):
        assert client.post("/predict", json=request(address, point(1, 1))).status_code == 200
    assert {path for path, _ in shelf.asked} == {f"/studio{UPLOAD}"}


def test_a_redirect_is_not_followed_and_the_token_goes_nowhere_else(ws: Workspace, model: Path, shelf: Shelf) -> None:
    with opened(Shelf()) as stranger:
        shelf.redirects[UPLOAD] = f"{stranger.url}{UPLOAD}"
        answer = backend(ws, model, shelf.url).post("/predict", json=request(UPLOAD, point(1, 1)))
        assert "a redirect, which is not followed" in answer.json()["error"]
        assert stranger.asked == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html>sign in</html>", "not an image in a known format"),
        (b"", "the file is empty"),
        (encode_png(np.zeros((40, 30, 3), np.uint8)), "the image has 30 x 40; reload the task"),
        (None, "answered 404"),
    ],
)
def test_what_is_no_such_image_is_told(
    ws: Workspace, model: Path, shelf: Shelf, content: bytes | None, words: str
) -> None:
    shelf.files = {} if content is None else {UPLOAD: content}
    answer = backend(ws, model, shelf.url).post("/predict", json=request(UPLOAD, point(1, 1)))
    assert answer.status_code == 422
    assert words in answer.json()["error"]


def test_an_image_over_the_limit_is_not_read_to_its_end(ws: Workspace, model: Path, shelf: Shelf) -> None:
    ws.change_params({"label": {"max_pixels": 1000}})
    shelf.files[UPLOAD] = bytes(8 * 1000 + 2**20 + 1)
    answer = backend(ws, model, shelf.url).post("/predict", json=request(UPLOAD, point(1, 1)))
    assert "more than 1,056,576 bytes" in answer.json()["error"]
    shelf.files[UPLOAD] = encode_png(cloth(0))
    answer = backend(ws, model, shelf.url).post("/predict", json=request(UPLOAD, point(1, 1)))
    assert "at most 1,000 are read" in answer.json()["error"]


def test_without_a_token_the_cure_is_told(ws: Workspace, model: Path, shelf: Shelf) -> None:
    answer = backend(ws, model, shelf.url, key="").post("/predict", json=request(UPLOAD, point(1, 1)))
    assert (answer.status_code, shelf.asked) == (422, [(UPLOAD, "")])
    assert "set LABEL_STUDIO_API_KEY" in answer.json()["error"]


def test_a_personal_token_is_exchanged_and_again_when_it_has_run_out(ws: Workspace, model: Path, shelf: Shelf) -> None:
    shelf.fresh = ["first", "second"]
    other = UPLOAD.replace("cloth", "other")
    shelf.files[other] = encode_png(cloth(1))
    client = backend(ws, model, shelf.url, key=PERSONAL)
    assert client.post("/predict", json=request(UPLOAD, point(1, 1))).status_code == 200
    shelf.authorizations = set()
    assert client.post("/predict", json=request(other, point(1, 1))).status_code == 200
    assert [one for one in shelf.asked if one[0] == other] == [(other, "Bearer first"), (other, "Bearer second")]
    shelf.authorizations = set()
    shelf.files[UPLOAD.replace("cloth", "third")] = b""
    answer = client.post("/predict", json=request(UPLOAD.replace("cloth", "third"), point(1, 1)))
    assert "refused (401)" in answer.json()["error"]


def test_a_label_studio_that_does_not_answer_is_unavailable(ws: Workspace, model: Path) -> None:
    with opened(Shelf()) as gone:
        url = gone.url
    answer = backend(ws, model, url).post("/predict", json=request(UPLOAD, point(1, 1)))
    assert (answer.status_code, "is Label Studio running?" in answer.json()["error"]) == (502, True)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("<View/>", "no BrushLabels on an Image"),
        ('<View><BrushLabels name="a" toName="b"/></View>', "no BrushLabels on an Image"),
        ('<!DOCTYPE x [<!ENTITY a "ha">]><View/>', "document type declaration"),
        ("<View", "not valid XML"),
    ],
)
def test_a_labelling_config_without_a_brush_is_told_at_setup(
    ws: Workspace, model: Path, shelf: Shelf, config: str, words: str
) -> None:
    client = backend(ws, model, shelf.url)
    for answer in (
        client.post("/setup", json={"schema": config}),
        client.post("/predict", json=request(UPLOAD, point(1, 1), config=config)),
    ):
        assert answer.status_code == 422
        assert words in answer.json()["error"]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (point(1, 1, original_width=64), "a region of an image of 64 x 96 px"),
        (point(1, 1, value={"x": 101, "y": 2}), "a click's x"),
        (point(1, 1, value={"x": "nan", "y": 2}), "a click's x"),
        (point(1, 1, value={}), "a click's x"),
        (stroke(np.ones((4, 4), bool)), "brush mask of 64 values"),
        (stroke(np.ones(SIZE, bool), value={"rle": ["a"]}), "no list of bytes"),
        (point(1, 1, original_height=0), "original_height"),
        (point(1, 1, value=3), "value"),
    ],
)
def test_entries_that_do_not_fit_are_told(ws: Workspace, model: Path, shelf: Shelf, entry: dict, words: str) -> None:
    answer = backend(ws, model, shelf.url).post("/predict", json=request(UPLOAD, entry))
    assert (answer.status_code, words in answer.json()["error"]) == (422, True)


def test_without_a_champion_tasks_get_empty_first_guesses(ws: Workspace, model: Path, shelf: Shelf) -> None:
    message = request(UPLOAD)
    message["tasks"] *= 3
    answer = backend(ws, model, shelf.url).post("/predict", json=message).json()
    assert [one["result"] for one in answer["results"]] == [[], [], []]


def test_the_champion_gives_first_guesses_and_an_unreadable_image_spoils_no_other(
    ws: Workspace, model: Path, shelf: Shelf, tmp_path: Path
) -> None:
    config = SegmenterConfig("Linknet", "resnet18", 3, (8,), ("Stain", "unknown here", "hole"), "real_only", 0, "")
    save_segmenter(tmp_path / "segmenter", config.build(seed=2), config)
    pictures = TaskPictures(ws.paths, Client(shelf.url, TOKEN), 10**6)
    clicks = Clicks(lambda: choose_clicker(str(model), fetch=lambda: None), pictures)
    champion = Champion(pictures, lambda: ("mill-segmenter/3", tmp_path / "segmenter"))
    predictor = Predictor(pictures, clicks, champion, turn=lambda: 1)
    client = TestClient(create_app(predictor, hosts=allowed_hosts("127.0.0.1", ()), password=""), base_url=HOME)
    message = request(UPLOAD)
    message["tasks"].append({"data": {"image": "/data/upload/1/gone.png"}})
    answer = client.post("/predict", json=message).json()
    assert [one["model_version"] for one in answer["results"]] == ["mill-segmenter/3", predictor.version]
    assert answer["results"][1]["result"] == []
    found = np.zeros(SIZE, np.uint8)
    for entry in answer["results"][0]["result"]:
        found[region(entry)] = CLASSES.index(entry["value"]["brushlabels"][0])
    mask = load_segmenter(tmp_path / "segmenter").predict_mask(cloth(0))
    assert np.array_equal(found, np.choose(mask, [0, 1, 0, 2]))
    assert found.any()


def test_pages_strangers_and_large_requests_are_refused(
    ws: Workspace, model: Path, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = backend(ws, model, shelf.url)
    assert client.get("/health", headers={"Host": "evil.example"}).status_code == 403
    assert client.get("/health", headers={"Origin": HOME}).status_code == 403
    assert client.get("/health", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    message = request(UPLOAD, point(1, 1))
    assert client.post("/predict", json=message, headers={"Origin": "http://evil.example"}).status_code == 403
    assert client.post("/predict", content=b"{}", headers={"Content-Type": "text/plain"}).status_code == 415
    monkeypatch.setattr(ServerGuard, "largest_body", 100)
    assert client.post("/predict", json=message).status_code == 413
    assert shelf.asked == []


def test_with_a_password_nobody_is_answered_without_it(ws: Workspace, model: Path, shelf: Shelf) -> None:
    client = backend(ws, model, shelf.url, password="studio:correct-horse")
    wrong = base64.b64encode(b"studio:wrong").decode()
    for headers in (
        {},
        {"Authorization": f"Basic {wrong}"},
        {"Authorization": "Basic ä".encode()},
        {"Authorization": "x"},
    ):
        assert client.get("/health", headers=headers).status_code == 401  # type: ignore[arg-type]
        assert client.post("/predict", json=request(UPLOAD, point(1, 1)), headers=headers).status_code == 401  # type: ignore[arg-type]
    assert client.get("/health", auth=("studio", "correct-horse")).status_code == 200
    assert shelf.asked == []


def test_other_machines_need_a_password_and_half_of_one_is_told(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BASIC_AUTH_USER", raising=False)
    monkeypatch.delenv("BASIC_AUTH_PASS", raising=False)
    with pytest.raises(ConfigError, match="set BASIC_AUTH_USER and BASIC_AUTH_PASS"):
        serve(ws, Options(host="0.0.0.0"), say=print)
    monkeypatch.setenv("BASIC_AUTH_USER", "studio")
    with pytest.raises(ConfigError, match="belong together"):
        serve(ws, Options(), say=print)


@pytest.mark.parametrize(
    "server", ["", "127.0.0.1:8080", "ftp://x", "http://", "http://a:b@x", "http://[x", "http://x:99999"]
)
def test_an_address_of_label_studio_that_is_none_is_told(server: str) -> None:
    with pytest.raises(ConfigError, match="Label Studio at"):
        Client(server, "")


def test_a_key_that_cannot_be_a_token_is_told_without_showing_it() -> None:
    with pytest.raises(ConfigError, match=r"^LABEL_STUDIO_API_KEY: not a token of Label Studio; copy it"):
        Client("http://127.0.0.1:8080", "secret\n")
