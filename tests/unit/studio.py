"""What tests of Label Studio's backend need: a tiny click model, cloth, requests, and a server that shows files."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import torch

from flywheel.data.classes import ClassTable
from flywheel.defect_click.model_folder import save_click_model
from flywheel.defect_click.network import ClickConfig, build_network
from flywheel.defect_click.prototypes import Prototypes
from flywheel.export.label_studio import label_config
from flywheel.label_studio.brush import decode, encode

SIZE = (96, 128)
CLASSES = ClassTable(("stain", "hole"))
CONFIG = label_config(CLASSES)
TOKEN = "a-legacy-token-of-a-user"


def click_model(folder: Path) -> Path:
    """A click model with an awake last layer, as after training; what it finds is arbitrary, but always the same."""
    net = build_network(ClickConfig(encoder=(8, 16, 16, 16, 16), head=(16, 16, 16), refiner=(8, 8, 8)), seed=0)
    torch.manual_seed(0)
    torch.nn.init.normal_(net.refiner.change.weight, std=0.5)
    save_click_model(folder, net, Prototypes.empty(), [], origin={})
    return folder


def cloth(seed: int) -> np.ndarray:
    return np.clip(np.random.default_rng(seed).normal(120, 8, (*SIZE, 3)), 0, 255).astype(np.uint8)


def point(row: int, column: int, label: str = "hole", **more: object) -> dict[str, Any]:
    """A smart key point in the middle of a pixel, as Label Studio's page sends it."""
    value = {
        "x": (column + 0.5) / SIZE[1] * 100,
        "y": (row + 0.5) / SIZE[0] * 100,
        "width": 0.3,
        "keypointlabels": [label],
    }
    return _entry("keypointlabels", "click", value) | {"is_positive": True} | more


def stroke(inside: np.ndarray, label: str = "hole", **more: object) -> dict[str, Any]:
    value = {"format": "rle", "rle": encode(inside), "brushlabels": [label]}
    return _entry("brushlabels", "defect", value) | more


def _entry(kind: str, name: str, value: dict[str, Any]) -> dict[str, Any]:
    frame = {"original_width": SIZE[1], "original_height": SIZE[0], "image_rotation": 0}
    return {"id": "x", "type": kind, "from_name": name, "to_name": "image", "origin": "manual", "value": value} | frame


def request(address: object, *entries: dict[str, Any], config: str = CONFIG) -> dict[str, Any]:
    """What Label Studio posts to /predict."""
    params = {"login": None, "password": None, "context": {"result": list(entries)} if entries else None}
    return {
        "tasks": [{"id": 1, "data": {"image": address}}],
        "label_config": config,
        "project": "1.2",
        "params": params,
    }


def region(entry: dict[str, Any]) -> np.ndarray:
    """(H, W) bool of a brush entry."""
    assert entry["value"]["format"] == "rle"
    return decode(entry["value"]["rle"], (entry["original_height"], entry["original_width"]), "answer")


class Shelf:
    """Serves files to those who know a token, and notes what it was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.authorizations = {f"Token {TOKEN}"}
        self.fresh: list[str] = []  # short-lived tokens that a personal one is exchanged for, in order
        self.asked: list[tuple[str, str]] = []
        self.url = ""


@contextmanager
def opened(shelf: Shelf) -> Iterator[Shelf]:
    """A real server on a free port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            authorization = self.headers.get("Authorization", "")
            shelf.asked.append((self.path, authorization))
            if self.path in shelf.redirects:
                self.answer(302, Location=shelf.redirects[self.path])
            elif authorization not in shelf.authorizations:
                self.answer(401)
            elif self.path in shelf.files:
                self.answer(200, shelf.files[self.path])
            else:
                self.answer(404)

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            shelf.asked.append((self.path, content.decode()))
            if self.path != "/api/token/refresh" or not shelf.fresh:
                self.answer(401)
                return
            access = shelf.fresh.pop(0)
            shelf.authorizations = {f"Bearer {access}"}
            self.answer(200, f'{{"access": "{access}"}}'.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    shelf.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield shelf
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
