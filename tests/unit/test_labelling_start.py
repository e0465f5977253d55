"""Starting the page: who may, where it listens, which queue it uses."""

import os
from pathlib import Path

import pytest

from flywheel.annotate.queue import read_queue
from flywheel.data.fabric import draw_sample, write_folder
from flywheel.errors import ConfigError, ModelError
from flywheel.ingest.ingest import ingest
from flywheel.labelling.clicker import load_clicker
from flywheel.labelling.keeper import make_queue
from flywheel.labelling.security import allowed_hosts, host_name, is_loopback
from flywheel.labelling.serve import Options, serve
from flywheel.labelling.tokens import find_token, read_tokens
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
    assert {"127.0.0.1", "192.168.1.5"} <= allowed_hosts("192.168.1.5", ())
    with pytest.raises(ConfigError, match="allowed host"):
        allowed_hosts("127.0.0.1", ("http://x",))
    assert [is_loopback(host) for host in ("127.0.0.9", "::1", "localhost")] == [True] * 3
    assert [is_loopback(host) for host in ("0.0.0.0", "mill")] == [False] * 2
    assert [host_name(value) for value in ("A.b:80", "[::1]:80", "[::1", "")] == ["a.b", "::1", "", ""]


def test_a_folder_without_a_click_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        load_clicker(str(tmp_path))
    assert load_clicker("classical")[0] == "classical"
