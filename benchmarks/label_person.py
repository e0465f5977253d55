"""A simulated person at the labelling page's server: the requests that the page would send, in its order and pace."""

import time
import uuid
from dataclasses import dataclass, field

import httpx
import numpy as np

from flywheel.defect_click.protocol import regions
from flywheel.defect_click.simulated_user import JITTERED, next_click
from flywheel.defect_click.train import mask_iou
from flywheel.labelling.runs import crop, from_runs, to_runs

LOOK, PER_CLICK = 4.0, 1.9  # s, of a person: looking at an image, aiming and clicking
AUTOSAVE = 0.4  # s after a click, as autosave.js waits
GOOD, MOST = 0.85, 8  # IoU that satisfies the person; clicks on a region
SMALLEST = 20  # px of a region worth clicking
TWICE = 0.1  # share of answers that are sent twice, as after a reply that was lost


@dataclass
class Diary:
    """What a person saw. answers: uid to sample and mask as runs; ms: duration of requests by their kind;
    held: (sample, from, until) in s."""

    answers: dict[str, tuple[str, list[int]]] = field(default_factory=dict)
    ms: dict[str, list[float]] = field(default_factory=dict)
    held: list[tuple[str, float, float]] = field(default_factory=list)
    clicks: int = 0
    sent_twice: int = 0


class Person:
    """truths: (H, W) uint8 masks by sample, indices into `classes` (1 is the first); pace: 1 works as a person does."""

    def __init__(
        self,
        address: str,
        name: str,
        truths: dict[str, np.ndarray],
        classes: tuple[str, ...],
        *,
        seed: int,
        pace: float,
    ) -> None:
        self._http = httpx.Client(base_url=address, headers={"Origin": address}, timeout=120)
        self._truths, self._classes, self._pace = truths, classes, pace
        self._rng = np.random.default_rng(seed)
        self.diary = Diary()
        self._send("sign_in", "POST", "/api/session", {"name": name})

    def _send(self, kind: str, method: str, path: str, message: dict | None = None) -> httpx.Response:
        begun = time.perf_counter()
        answer = self._http.request(method, path, json=message)
        self.diary.ms.setdefault(kind, []).append(1000 * (time.perf_counter() - begun))
        if answer.status_code != 200:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer

    def _wait(self, seconds: float) -> None:
        time.sleep(self._pace * seconds * self._rng.uniform(0.6, 1.4))

    def work(self, until: float) -> None:
        """Label image after image until the monotonic time `until`, or until there is none."""
        try:
            while time.monotonic() < until:
                sheet = self._send("next", "POST", "/api/next", {"fresh": False}).json()["image"]
                if sheet is None:
                    return
                self._label(sheet["sample"], until)
        finally:
            self._http.close()

    def _label(self, sample: str, until: float) -> None:
        begun = time.monotonic()
        self._send("image", "GET", f"/api/samples/{sample}/image")
        self._wait(LOOK)
        truth = self._truths[sample]
        mask, revision, clicks = np.zeros_like(truth), 0, 0
        for index, region in regions(truth, SMALLEST):
            shown = mask
            for inside, count in self._clicked(sample, region):
                clicks += 1
                shown = np.where(inside, np.uint8(index), mask)
                if count == 1 or clicks % 2:  # the page saves once when clicks follow each other quickly
                    draft = {"revision": revision, "window": "0" * 32, "caption_edited": False}
                    draft["answer"] = self._answer(shown, clicks, time.monotonic() - begun)
                    time.sleep(self._pace * AUTOSAVE)
                    revision = self._send("draft", "PUT", f"/api/samples/{sample}/draft", draft).json()["revision"]
            mask = shown
        answer = self._answer(mask, clicks, time.monotonic() - begun)
        for _ in range(2 if self._rng.random() < TWICE else 1):
            self._send("answer", "POST", f"/api/samples/{sample}/answer", answer)
            self.diary.sent_twice += answer["uid"] in self.diary.answers
            self.diary.answers[answer["uid"]] = (sample, answer["runs"])
        self.diary.held.append((sample, begun, time.monotonic()))

    def _clicked(self, sample: str, truth: np.ndarray):
        """Click on one region until it is good; gives (H, W) bool and the number of clicks after each."""
        clicks: list[tuple[int, int, bool]] = []
        inside, version = np.zeros(truth.shape, np.uint8), ""
        while len(clicks) < MOST and mask_iou(inside > 0, truth) < GOOD:
            wanted = next_click(truth, inside > 0, JITTERED, rng=self._rng)
            if wanted is None:
                return
            clicks.append(tuple(wanted))
            for preview in (True, False):  # the pointer rests before it clicks
                message = {"clicks": clicks, "start": None, "shown": version, "preview": preview}
                kind = "preview" if preview else "first click" if len(clicks) == 1 else "later click"
                answer = self._send(kind, "POST", f"/api/samples/{sample}/clicks", message).json()
                if preview:
                    self._wait(PER_CLICK)
            self.diary.clicks += 1
            if not answer["base"]:
                inside = np.zeros(truth.shape, np.uint8)
            height, width = answer["box"][2:]
            if height * width:
                crop(inside, answer["box"])[:] = from_runs(answer["runs"], (height, width), "click")
            version = answer["version"]
            yield inside > 0, len(clicks)

    def _answer(self, mask: np.ndarray, clicks: int, seconds: float) -> dict:
        return {
            "uid": uuid.uuid4().hex, "runs": to_runs(mask), "classes": list(self._classes), "caption": "",
            "comment": "", "flagged": False, "clicks": clicks, "corrections": 0, "seconds": round(seconds, 1),
            "started_from": "",
        }  # fmt: skip
