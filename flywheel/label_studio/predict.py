"""Clicks of Label Studio to brush masks; for tasks without clicks, the champion's masks as a first guess.

The protocol is that of label-studio-ml-backend: a smart key point sends all clicks that are not yet accepted, and what
comes back replaces the last suggestion. A brush mask among them is what the person began with.
"""

import logging
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
from pydantic import ValidationError

from flywheel.errors import DataInvalid, FlywheelError
from flywheel.export.folders import connected_parts
from flywheel.label_studio.brush import decode, encode
from flywheel.label_studio.config import Brush, brush_for, read_brushes
from flywheel.label_studio.messages import Context, Entry, Place, Predict
from flywheel.label_studio.pictures import TaskPictures
from flywheel.labelling.champion import Champion
from flywheel.labelling.clicker import CLASSICAL, Click
from flywheel.labelling.clicks import MOST_CLICKS, Clicks
from flywheel.labelling.runs import crop, from_runs

POINTS = ("keypointlabels", "keypoint")
LOG = logging.getLogger("flywheel.label_studio")
STROKES = ("brushlabels", "brush", "labels")


class Predictor:
    """turn: counts the turns that have ended, so that new champions come into service."""

    def __init__(self, pictures: TaskPictures, clicks: Clicks, champion: Champion, *, turn: Callable[[], int]) -> None:
        self._pictures, self._clicks, self._champion, self._turn = pictures, clicks, champion, turn

    @property
    def version(self) -> str:
        """What answers clicks, for people."""
        chosen = self._clicks.chosen
        return CLASSICAL if chosen.kind == CLASSICAL else f"Defect-Click {chosen.kind} {chosen.name}".rstrip()

    def predict(self, message: Predict) -> tuple[str, list[dict[str, Any]]]:
        """Version of the model that answered, and a prediction for each task.

        Raises DataInvalid or UnreadableImage when a request with clicks cannot be answered. Without clicks, a task
        whose image cannot be read gets an empty prediction, so that the others get theirs.
        """
        turn = self._turn()
        self._clicks.refresh(turn=turn)
        self._pictures.refresh()
        brushes = read_brushes(message.label_config)
        context = message.params.context if message.params else None
        if context and context.result:
            if len(message.tasks) != 1:
                raise DataInvalid(f"{len(message.tasks)} tasks with clicks, expected one; send a request for each")
            return self.version, [_prediction(self.version, self._clicked(message.tasks[0].data, context, brushes))]
        version, found = self.version, []
        for task in message.tasks:
            by, result = self._first_guess(task.data, brushes, turn)
            version = by or version
            found.append(_prediction(by or self.version, result))
        return version, found

    def _clicked(self, data: dict[str, Any], context: Context, brushes: list[Brush]) -> list[dict[str, Any]]:
        label = next((one for entry in reversed(context.result) if (one := _label(entry))), "")
        brush = brush_for(brushes, label)
        label = label or next(iter(brush.labels), "")
        sample = self._pictures.sample_of(data.get(brush.key))
        size = self._pictures.size(sample)
        clicks, start = _prompts(context, size)
        if not clicks:
            return []
        region = self._clicks.region(sample, clicks, start)
        inside = np.zeros(size, bool)
        crop(inside, region.box)[:] = from_runs(region.runs, region.box[2:], "region").astype(bool)
        return [_entry(inside, brush, label)] if inside.any() else []

    def _first_guess(self, data: dict[str, Any], brushes: list[Brush], turn: int) -> tuple[str, list[dict[str, Any]]]:
        """Who drew it ("" without a champion), and regions of the labels that a brush has."""
        try:
            first = self._champion.first_mask(self._pictures.sample_of(data.get(brushes[0].key)), turn=turn)
        except FlywheelError as err:
            LOG.warning("no first guess: %s", err)
            return "", []
        if first is None:
            return "", []
        spelling = {label.casefold(): (brush, label) for brush in reversed(brushes) for label in brush.labels}
        result = []
        for index, name in enumerate(first.classes, start=1):
            if name.casefold() in spelling:
                parts = connected_parts(first.mask == index)
                result += [_entry(part, *spelling[name.casefold()]) for part in parts]
        return first.by, result


def _prompts(context: Context, size: tuple[int, int]) -> tuple[list[Click], np.ndarray | None]:
    """Clicks in order, and the union of the brush masks, (H, W) bool, or None. Raises DataInvalid, MaskInvalid."""
    height, width = size
    clicks: list[Click] = []
    start: np.ndarray | None = None
    for entry in context.result:
        if (entry.original_height, entry.original_width) != size:
            raise DataInvalid(
                f"a region of an image of {entry.original_width} x {entry.original_height} px, the image has "
                f"{width} x {height}; reload the task"
            )
        kind = entry.type.lower()
        if kind in POINTS:
            place = _place(entry)
            row, column = (
                min(int(part / 100 * side), side - 1) for part, side in ((place.y, height), (place.x, width))
            )
            clicks.append(Click(row, column, entry.is_positive is not False))
        elif kind in STROKES and "rle" in entry.value:
            stroke = decode(entry.value["rle"], size, "a brush mask in the request")
            start = stroke if start is None else start | stroke
    if len(clicks) > MOST_CLICKS:
        raise DataInvalid(f"{len(clicks)} clicks on a region, at most {MOST_CLICKS}; accept it and begin another")
    return clicks, start


def _place(entry: Entry) -> Place:
    try:
        return Place.model_validate(entry.value)
    except ValidationError as err:
        first = err.errors()[0]
        raise DataInvalid(f"a click's {'.'.join(map(str, first['loc']))}: {first['msg']}; click again") from err


def _label(entry: Entry) -> str:
    names = entry.value.get(entry.type) or entry.value.get("labels")
    return str(names[0]) if isinstance(names, list) and names else ""


def _entry(inside: np.ndarray, brush: Brush, label: str) -> dict[str, Any]:
    height, width = inside.shape
    return {
        "id": uuid.uuid4().hex[:10],
        "from_name": brush.name,
        "to_name": brush.image,
        "type": "brushlabels",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {"format": "rle", "rle": encode(inside), "brushlabels": [label]},
    }


def _prediction(version: str, result: list[dict[str, Any]]) -> dict[str, Any]:
    return {"model_version": version, "result": result}
