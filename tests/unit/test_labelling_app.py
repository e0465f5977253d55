"""The page's server over HTTP: signing in, strangers, sizes, conflicts, a whole image from queue to label."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from flywheel.annotate.queue import read_queue
from flywheel.data.shards import read_index
from flywheel.labelling.app import create_app
from flywheel.labelling.journal import read_events
from flywheel.labelling.runs import to_runs
from flywheel.labelling.security import LARGEST_BODY, allowed_hosts
from flywheel.labelling.serve import Options, make_service
from flywheel.labelling.service import Service
from flywheel.workspace import Workspace, init_workspace
from tests.unit.labelling_mill import CLASSES, SIDE, make_folder, square

HOME = "http://127.0.0.1:8765"
TOKENS = "annotator:zhang:zhang-secret-0001,annotator:li:li-secret-00000002,reviewer:wang:wang-secret-00003"
UID = "0123456789abcdef"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return init_workspace(tmp_path_factory.mktemp("template") / "mill", preset="demo", name="mill").root


@pytest.fixture
def ws(template: Path, tmp_path: Path) -> Workspace:
    shutil.copytree(template, tmp_path / "mill", symlinks=True)
    workspace = Workspace(tmp_path / "mill")
    workspace.change_params({"label": {"second_share": 0, "known_share": 0, "lease_minutes": 5}})
    make_folder(workspace.root)
    return workspace


@pytest.fixture
def handed() -> list[dict]:
    """What was handed over, in order."""
    return []


@pytest.fixture
def service(ws: Workspace, handed: list[dict]) -> Iterator[Service]:
    made = make_service(ws, Options(clicker="classical"), port=8765, on_labels=handed.append)
    yield made
    made.keeper.close()


@pytest.fixture
def with_tokens(ws: Workspace, handed: list[dict], monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("FLYWHEEL_LABEL_TOKENS", TOKENS)
    made = make_service(ws, Options(clicker="classical"), port=8765, on_labels=handed.append)
    yield made
    made.keeper.close()


def browser(service: Service, origin: str = HOME) -> TestClient:
    app = create_app(service, hosts=allowed_hosts("127.0.0.1", ()))
    return TestClient(app, base_url=HOME, headers={"Origin": origin})


def signed_in(service: Service, **message: str) -> TestClient:
    client = browser(service)
    assert client.post("/api/session", json=message or {"name": "zhang"}).status_code == 200
    return client


def next_image(client: TestClient) -> dict:
    return client.post("/api/next", json={"fresh": False}).json()["image"]


def answer(uid: str = UID, mask=None, **changes: object) -> dict:
    return {
        "uid": uid, "runs": to_runs(square(1) if mask is None else mask), "classes": list(CLASSES.names), "caption": "",
        "comment": "", "flagged": False, "clicks": 1, "corrections": 0, "seconds": 3.5, "started_from": "",
    } | changes  # fmt: skip


def draft(revision: int, window: str = "a" * 32, **changes: object) -> dict:
    return {"revision": revision, "window": window, "answer": answer(**changes), "caption_edited": False}


def test_an_image_goes_from_the_queue_to_a_label(service: Service, ws: Workspace) -> None:
    client = signed_in(service)
    image = next_image(client)
    where = f"/api/samples/{image['sample']}"
    picture = client.get(f"{where}/image")
    assert picture.content == service.desk.gallery.png(image["sample"])
    message = {"clicks": [[8, 8, True]], "start": None, "shown": "", "preview": False}
    region = client.post(f"{where}/clicks", json=message).json()
    assert region["box"][2] > 0
    saved = client.put(f"{where}/draft", json=draft(0)).json()
    assert saved["revision"] == 1
    assert "stain" in saved["caption"]
    again = client.post(f"{where}/open", json={}).json()["image"]
    assert again["draft"]["runs"] == to_runs(square(1))
    assert client.post(f"{where}/answer", json=answer()).json() == {"held": "", "agreement": None}
    (event,) = read_events(ws.paths.labels)
    assert (event.by, event.sample, event.clicks, event.seconds) == ("zhang", image["sample"], 1, 3.5)
    assert client.get("/api/progress").json()["closed"] == 1


def test_an_answered_queue_is_handed_over_committed_and_told_once(
    service: Service, ws: Workspace, handed: list[dict]
) -> None:
    client = signed_in(service)
    for number in range(4):
        image = next_image(client)
        client.post(f"/api/samples/{image['sample']}/answer", json=answer(f"{number}" * 16))
    until = time.monotonic() + 60
    while client.get("/api/progress").json()["state"] != "handed_over" and time.monotonic() < until:
        time.sleep(0.2)
    assert next_image(client) is None
    assert [report["answered"] for report in handed] == [4]
    assert read_queue(ws.paths)["done"]
    index = read_index(ws.paths.shards)
    assert (index["annotator"] == "zhang").sum() == 4
    from flywheel import git

    assert git.run(ws.root, "log", "-1", "--format=%s") == "4 labels by zhang"
    assert "data/shards.dvc" in git.run(ws.root, "show", "--name-only", "HEAD")


def test_two_browsers_never_hold_one_image_and_a_conflict_is_409(service: Service) -> None:
    one, other = signed_in(service), signed_in(service, name="li")
    first, second = next_image(one), next_image(other)
    assert first["sample"] != second["sample"]
    taken = f"/api/samples/{first['sample']}"
    for call in ("open", "answer", "lease", "skip"):
        reply = other.post(f"{taken}/{call}", json=answer() if call == "answer" else {})
        assert (reply.status_code, reply.json()["error"]) == (404, "unknown")
    service.desk.drafts.assign(first["sample"], "li", "queue")  # as if li had had it once
    reply = other.post(f"{taken}/answer", json=answer())
    assert (reply.status_code, reply.json()["error"]) == (409, "conflict")
    assert "on the desk of zhang" in reply.json()["message"]


def test_a_draft_of_another_window_is_409(service: Service) -> None:
    client = signed_in(service)
    where = f"/api/samples/{next_image(client)['sample']}/draft"
    assert client.put(where, json=draft(0)).status_code == 200
    assert client.put(where, json=draft(0, "b" * 32)).status_code == 409
    assert client.put(where, json=draft(1, "b" * 32)).status_code == 200


def test_nothing_is_told_without_signing_in(service: Service) -> None:
    client = browser(service)
    hello = client.get("/api/hello").json()
    assert hello.keys() == {"lang", "needs_token", "person", "suggested_name"}
    sample = next(iter(service.desk.round.entries))
    for method, path in [
        ("GET", "/api/progress"),
        ("GET", "/api/people"),
        ("POST", "/api/next"),
        ("GET", f"/api/samples/{sample}/image"),
        ("GET", f"/api/samples/{sample}/first-mask"),
        ("POST", "/api/review/next"),
        ("DELETE", "/api/session"),
    ]:
        reply = client.request(method, path, json={"fresh": True} if method != "GET" else None)
        assert (reply.status_code, reply.json()["error"]) == (401, "sign_in"), path


def test_tokens_give_name_and_role_and_the_cookie_is_strict(with_tokens: Service) -> None:
    client = browser(with_tokens)
    reply = client.post("/api/session", json={"token": "zhang-secret-0001", "name": "somebody"})
    assert reply.json() == {"name": "zhang", "role": "annotator"}
    cookie = reply.headers["set-cookie"].lower()
    assert {"httponly", "samesite=strict", "path=/"} <= {part.strip() for part in cookie.split(";")}
    assert "zhang-secret" not in cookie
    assert client.get("/api/hello").json()["person"] == {"name": "zhang", "reviews": False}
    for path, message in [("/api/review/next", {"passed": []}), ("/api/classes", {"name": "knot"})]:
        reply = client.post(path, json=message)
        assert (reply.status_code, reply.json()["error"]) == (403, "not_allowed")
    reviewer = signed_in(with_tokens, token="wang-secret-00003")
    assert reviewer.post("/api/classes", json={"name": "knot"}).json()[-1]["name"] == "knot"


def test_a_wrong_token_is_refused_and_guessing_is_slowed_down(with_tokens: Service) -> None:
    client = browser(with_tokens)
    for _ in range(10):
        reply = client.post("/api/session", json={"token": "zhang-secret-0002"})
        assert (reply.status_code, "not known" in reply.json()["message"]) == (403, True)
    reply = client.post("/api/session", json={"token": "zhang-secret-0001"})
    assert (reply.status_code, "too many" in reply.json()["message"]) == (403, True)


def test_a_token_that_is_taken_away_ends_its_sessions(with_tokens: Service, ws: Workspace) -> None:
    client = signed_in(with_tokens, token="zhang-secret-0001")
    cookies = dict(client.cookies)
    import os

    os.environ["FLYWHEEL_LABEL_TOKENS"] = TOKENS.partition(",")[2]
    later = make_service(ws, Options(clicker="classical"), port=8765, on_labels=lambda _: None)
    again = browser(later)
    again.cookies.update(cookies)
    assert again.get("/api/progress").status_code == 401
    later.keeper.close()


def test_signing_in_survives_a_restart_and_signing_out_does_not(service: Service, ws: Workspace) -> None:
    client = signed_in(service)
    sample = next_image(client)["sample"]
    later = make_service(ws, Options(clicker="classical"), port=8765, on_labels=lambda _: None)
    again = browser(later)
    again.cookies.update(dict(client.cookies))
    assert next_image(again)["sample"] == sample
    assert again.request("DELETE", "/api/session", json={}).status_code == 200
    again.cookies.update(dict(client.cookies))
    assert again.get("/api/progress").status_code == 401
    assert next_image(signed_in(later, name="li"))["sample"] == sample  # signing out gave it back
    later.keeper.close()


def test_a_draft_that_is_on_its_way_while_one_signs_out_takes_no_image(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = signed_in(service)
    sample = next_image(client)["sample"]
    leaving = browser(service)
    leaving.cookies.update(dict(client.cookies))
    checked = service.desk.checked

    def slow(*values: Any) -> np.ndarray:
        assert leaving.request("DELETE", "/api/session", json={}).status_code == 200
        signed_in(service, name="li")
        return checked(*values)

    monkeypatch.setattr(service.desk, "checked", slow)
    assert client.put(f"/api/samples/{sample}/draft", json=draft(0)).status_code == 401
    assert service.desk.leases.current() == {}
    assert service.sessions.present() == ["li"]


def test_an_image_is_shown_only_to_the_one_who_has_it(with_tokens: Service) -> None:
    zhang, li = (signed_in(with_tokens, token=token) for token in ("zhang-secret-0001", "li-secret-00000002"))
    sample = next_image(zhang)["sample"]
    message = {"clicks": [[8, 8, True]], "start": None, "shown": "", "preview": False}
    assert li.get(f"/api/samples/{sample}/image").status_code == 403
    assert li.post(f"/api/samples/{sample}/clicks", json=message).status_code == 403
    assert signed_in(with_tokens, token="wang-secret-00003").get(f"/api/samples/{sample}/image").status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "", "http://127.0.0.1:9999", "http://localhost:8765"]
)
def test_a_change_from_another_site_is_refused(service: Service, origin: str) -> None:
    client = signed_in(service)
    reply = client.post("/api/next", json={"fresh": False}, headers={"Origin": origin})
    assert (reply.status_code, reply.json()["error"]) == (403, "cross_site")
    reply = client.get("/api/progress", headers={"Sec-Fetch-Site": "cross-site"})
    assert (reply.status_code, reply.json()["error"]) == (403, "cross_site")


def test_a_form_of_another_kind_is_refused(service: Service) -> None:
    client = signed_in(service)
    reply = client.post("/api/next", content=b'{"fresh": false}', headers={"Content-Type": "text/plain"})
    assert (reply.status_code, reply.json()["error"]) == (415, "media_type")


@pytest.mark.parametrize("host", ["evil.example:8765", "127.0.0.1.evil.example", "", "[::1", "192.168.0.7:8765"])
def test_a_name_that_is_not_the_pages_is_refused(service: Service, host: str) -> None:
    reply = browser(service).get("/", headers={"Host": host})
    assert (reply.status_code, reply.json()["error"]) == (403, "host")


@pytest.mark.parametrize(
    "path",
    [
        "/page/..%2f..%2fserve.py",
        "/page/../app.py",
        "/page/%2e%2e/%2e%2e/params.yaml",
        "/page//etc/passwd",
        "/page/index.html%00.js",
        "/page/app.py",
        "/data/queue.json",
        "/openapi.json",
        "/docs",
    ],
)
def test_no_path_leads_out_of_the_page(service: Service, path: str) -> None:
    assert browser(service).get(path).status_code == 404


@pytest.mark.parametrize("sample", ["..%2f..%2fparams", "0123456789abcdeg", "0123", "ffffffffffffffff", "*"])
def test_only_images_of_the_workspace_can_be_asked_for(service: Service, sample: str) -> None:
    client = signed_in(service)
    assert client.get(f"/api/samples/{sample}/image").status_code in (404, 422)
    assert client.post(f"/api/samples/{sample}/answer", json=answer()).status_code in (404, 422)


def test_a_number_beyond_all_images_is_422(service: Service) -> None:
    client = signed_in(service)
    sample = next_image(client)["sample"]
    reply = client.post(f"/api/samples/{sample}/answer", json=answer(runs=[0, 2**70]))
    assert (reply.status_code, "far above" in reply.json()["message"]) == (422, True)


def test_a_body_above_the_limit_is_refused_with_and_without_a_length(service: Service) -> None:
    client = signed_in(service)
    where = f"/api/samples/{next_image(client)['sample']}/answer"
    large = json.dumps(answer(comment="x" * LARGEST_BODY)).encode()
    headers = {"Content-Type": "application/json"}
    assert client.post(where, content=large, headers=headers).status_code == 413
    chunks = (large[start : start + 2**20] for start in range(0, len(large), 2**20))
    assert client.post(where, content=chunks, headers=headers).status_code == 413


@pytest.mark.parametrize(
    "wrong",
    [
        {"runs": [0, SIDE * SIDE + 1]},
        {"runs": [0, 10]},
        {"runs": [0]},
        {"runs": [0, -5, 0, SIDE * SIDE + 5]},
        {"runs": [300, SIDE * SIDE]},
        {"runs": [7, SIDE * SIDE]},
        {"runs": [0, 2**62, 0, 2**62]},
        {"uid": "../../etc"},
        {"seconds": -1},
        {"classes": ["x"] * 300},
        {"verdict": "accept"},
    ],
)
def test_a_malformed_answer_is_422_and_nothing_is_written(service: Service, ws: Workspace, wrong: dict) -> None:
    client = signed_in(service)
    reply = client.post(f"/api/samples/{next_image(client)['sample']}/answer", json=answer() | wrong)
    assert (reply.status_code, reply.json()["error"]) == (422, "invalid")
    assert not ws.paths.labels.exists()


@pytest.mark.parametrize("clicks", [[], [[SIDE, 0, True]], [[-1, 0, True]], [[0, 0, True]] * 101])
def test_clicks_outside_the_image_or_too_many_are_422(service: Service, clicks: list) -> None:
    client = signed_in(service)
    message = {"clicks": clicks, "start": None, "shown": "", "preview": False}
    assert client.post(f"/api/samples/{next_image(client)['sample']}/clicks", json=message).status_code == 422


def test_every_reply_forbids_frames_foreign_scripts_and_sniffing(service: Service) -> None:
    client = browser(service)
    for path in ("/", "/api/hello", "/page/main.js", "/nothing"):
        headers = client.get(path).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "script-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_review_over_http_sends_back_and_takes_corrections(with_tokens: Service, ws: Workspace) -> None:
    zhang, wang = (signed_in(with_tokens, token=token) for token in ("zhang-secret-0001", "wang-secret-00003"))
    for number in range(2):
        zhang.post(f"/api/samples/{next_image(zhang)['sample']}/answer", json=answer(f"{number}" * 16))
    case = wang.post("/api/review/next", json={"passed": []}).json()["case"]
    assert (case["label"]["by"], case["label"]["runs"]) == ("zhang", to_runs(square(1)))
    verdict = {"verdict": "reject", "reason": "too wide", "corrected": None}
    assert wang.post(f"/api/review/{case['label']['uid']}", json=verdict).status_code == 200
    assert next_image(zhang)["sent_back"] == {"by": "wang", "reason": "too wide"}
    case = wang.post("/api/review/next", json={"passed": []}).json()["case"]
    correction = {"verdict": "accept", "reason": "", "corrected": answer("c" * 16, square(2))}
    assert wang.post(f"/api/review/{case['label']['uid']}", json=correction).status_code == 200
    assert service_label(with_tokens, case["sample"]).by == "wang"
    rows = {row["name"]: row for row in wang.get("/api/people").json()}
    assert (rows["zhang"]["returned"], rows["wang"]["reviewed"]) == (1, 2)
    assert [row["name"] for row in zhang.get("/api/people").json()] == ["zhang"]


def lapse(service: Service) -> None:
    """Let all leases run out."""
    for lease in service.desk.leases.current().values():
        service.desk.leases.give_back(lease.sample, lease.session)


def service_label(service: Service, sample: str):
    return service.desk.journal.state(sample).label


def test_clicks_after_a_break_are_answered_unless_somebody_took_the_image(with_tokens: Service) -> None:
    zhang, li = (signed_in(with_tokens, token=token) for token in ("zhang-secret-0001", "li-secret-00000002"))
    sample = next_image(zhang)["sample"]
    message = {"clicks": [[8, 8, True]], "start": None, "shown": "", "preview": False}
    lapse(with_tokens)
    assert zhang.post(f"/api/samples/{sample}/clicks", json=message).status_code == 200
    lapse(with_tokens)
    assert next_image(li)["sample"] == sample
    assert zhang.post(f"/api/samples/{sample}/clicks", json=message).status_code == 403
