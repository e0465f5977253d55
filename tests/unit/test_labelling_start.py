"""Starting the page: who may, where it listens, which queue it uses."""

import os
from pathlib import Path

import pytest

from flywheel.annotate.queue import read_queue
from flywheel.click_champion import click_registry
from flywheel.data.fabric import draw_sample, write_folder
from flywheel.defect_click.clicker import Clicker
from flywheel.defect_click.model_folder import save_click_model
from flywheel.defect_click.network import ClickConfig, build_network
from flywheel.defect_click.prototypes import Prototypes
from flywheel.errors import ConfigError, ModelError
from flywheel.files import write_text
from flywheel.ingest.ingest import ingest
from flywheel.labelling.classical import Growing
from flywheel.labelling.clicker import Click, choose_clicker
from flywheel.labelling.keeper import make_queue
from flywheel.labelling.security import allowed_hosts, host_name, is_loopback
from flywheel.labelling.serve import Options, make_service, serve
from flywheel.labelling.tokens import find_token, read_tokens
from flywheel.recording import tracker
from flywheel.workspace import Workspace, init_workspace


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with ten unlabelled images and no queue."""
    root = tmp_path_factory.mktemp("start")
    write_folder(root / "images", [draw_sample(1, index, size=(64, 64)) for index in range(10)], with_masks=False)
    workspace = init_workspace(root / "mill", preset="demo")
    workspace.change_params({"prioritize": {"budget": 6}})
    ingest(str(root / "images"), workspace.paths, workspace.params(), product="cloth")
    return workspace


def start(ws: Workspace, options: Options) -> None:
    serve(ws, options, say=lambda _: None, on_labels=lambda _: None)


def test_the_page_makes_a_queue_when_there_is_none_says_so_and_keeps_it(ws: Workspace) -> None:
    assert make_queue(ws) == "There was no queue for turn 1 yet; it is made now and asks for 6 images."
    first = read_queue(ws.paths)
    assert len(first["entries"]) == 6
    assert make_queue(ws) == "The queue of turn 1 asks for 6 images."
    assert read_queue(ws.paths) == first


def test_another_address_than_loopback_needs_tokens(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLYWHEEL_LABEL_TOKENS", raising=False)
    for host in ("0.0.0.0", "192.168.1.5", "mill.example"):
        with pytest.raises(ConfigError, match="must sign in"):
            start(ws, Options(host=host))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (Options(lang="de"), "en, zh"),
        (Options(certificate=Path("a.pem")), "belong together"),
        (Options(tokens=Path("nowhere")), "cannot be read"),
    ],
)
def test_options_that_do_not_fit_are_told(ws: Workspace, options: Options, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        start(ws, options)


def test_a_taken_port_is_told(ws: Workspace) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError, match="cannot listen there"):
        start(ws, Options(port=taken.getsockname()[1]))


def test_tokens_come_from_a_private_file_and_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "tokens"
    file.write_text("# people of the mill\nannotator:li wei:li-secret-00000002   # shift B\n\n")
    file.chmod(0o600)
    monkeypatch.setenv("FLYWHEEL_LABEL_TOKENS", "reviewer:wang:wang-secret-00003")
    tokens = read_tokens(file)
    assert [(token.role, token.name) for token in tokens] == [("reviewer", "wang"), ("annotator", "li wei")]
    assert find_token(tokens, "li-secret-00000002") == tokens[1]
    assert find_token(tokens, "li-secret-00000003") is None
    if os.name == "posix":
        file.chmod(0o644)
        with pytest.raises(ConfigError, match="chmod 600"):
            read_tokens(file)
    file.write_bytes("annotator:李:li-secret-00000002".encode("gb18030"))
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="is not UTF-8"):
        read_tokens(file)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("boss:wang:wang-secret-00003", "annotator, reviewer"),
        ("wang-secret-00003", "ROLE:NAME:TOKEN"),
        ("reviewer:wang:short", "at least 16"),
        ("reviewer:wang:wang-secret-00003,annotator:li:wang-secret-00003", "same token"),
    ],
)
def test_a_wrong_token_line_is_told_without_the_secret(line: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYWHEEL_LABEL_TOKENS", line)
    with pytest.raises(ConfigError, match=words) as caught:
        read_tokens(None)
    assert "secret" not in str(caught.value)


def test_names_of_the_page() -> None:
    assert allowed_hosts("127.0.0.1", ()) == {"localhost", "127.0.0.1", "::1"}
    assert "label.mill.example" in allowed_hosts("127.0.0.1", ("Label.Mill.example",))
    assert "127.0.0.2" in allowed_hosts("127.0.0.2", ())
    assert {"127.0.0.1", "192.168.1.5"} <= allowed_hosts("192.168.1.5", ())
    with pytest.raises(ConfigError, match="allowed host"):
        allowed_hosts("127.0.0.1", ("http://x",))
    assert [is_loopback(host) for host in ("127.0.0.9", "::1", "localhost")] == [True] * 3
    assert [is_loopback(host) for host in ("0.0.0.0", "mill")] == [False] * 2
    assert [host_name(value) for value in ("A.b:80", "[::1]:80", "[::1", "")] == ["a.b", "::1", "", ""]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a click model that has learnt nothing yet."""
    folder = tmp_path_factory.mktemp("click")
    save_click_model(folder, build_network(ClickConfig(), seed=0), Prototypes.empty(), [], origin={})
    return folder


def test_a_folder_without_a_click_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        choose_clicker(str(tmp_path), fetch=lambda: None)


def test_the_workspaces_champion_answers_clicks_else_the_base_else_no_model(tmp_path: Path, model: Path) -> None:
    champion = ("mill-clicker/3", model)
    cases = [
        ("", champion, model, ("champion", "mill-clicker/3", Clicker)),
        ("", None, model, ("base", "", Clicker)),
        ("", None, tmp_path / "none", ("classical", "", Growing)),
        ("classical", champion, model, ("classical", "", Growing)),
        (str(model), champion, model, ("folder", model.name, Clicker)),
    ]
    for asked, found, base, expected in cases:
        chosen = choose_clicker(asked, fetch=lambda found=found: found, base=base)
        assert (chosen.kind, chosen.name, type(chosen.clicker)) == expected


def test_the_click_champion_comes_from_the_registry_once_a_turn_has_ended(ws: Workspace, model: Path) -> None:
    options = Options()
    known = make_service(ws, options, port=8765, on_labels=lambda _: None)
    assert known.clicks.chosen.kind in ("base", "classical")
    known.keeper.close()
    models = click_registry(ws)
    models.promote(models.register(tracker(ws).start_turn(1, {}), model, {}))
    write_text(ws.paths.ledger, '{"turn": 1}\n')
    try:
        service = make_service(ws, options, port=8765, on_labels=lambda _: None)
        service.keeper.close()
    finally:
        ws.paths.ledger.unlink()
    assert (service.clicks.chosen.kind, service.clicks.chosen.name) == ("champion", f"{ws.name}-clicker/1")
    sample = read_queue(ws.paths)["entries"][0]["id"]
    region = service.clicks.region(sample, [Click(20, 30, True)], None)
    top, left, height, width = region.box
    assert top <= 20 < top + height
    assert left <= 30 < left + width
