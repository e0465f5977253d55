"""The API of labelling: next image, draft, answer, skip, classes, progress."""

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Path

from flywheel.data.captions import caption
from flywheel.labelling.events import SECOND
from flywheel.labelling.messages import AnswerMessage, DraftMessage, NewClass, Next, shown_draft, shown_label
from flywheel.labelling.progress import people, progress
from flywheel.labelling.service import Service
from flywheel.labelling.sessions import Person

SampleInPath = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")]


def routes(service: Service) -> APIRouter:
    router = APIRouter(prefix="/api")
    desk = service.desk
    Who = Annotated[Person, Depends(service.person)]

    def sheet(person: Person, sample: str) -> dict[str, Any]:
        found, table = desk.open(person, sample), desk.round.classes()
        size = (found["height"], found["width"])
        if found["draft"] is not None:
            found["draft"] = shown_draft(found["draft"], size, table, language=desk.language)
        if found["label"] is not None:
            found["label"] = shown_label(found["label"], table, language=desk.language)
        found["clean_caption"] = caption(np.zeros((1, 1), np.uint8), table, language=desk.language)
        return found | {"classes": service.palette(), "lease_seconds": desk.leases.duration}

    @router.post("/next")
    def next_image(message: Next, person: Who) -> dict[str, Any]:
        sample = desk.next(person, fresh=message.fresh)
        if sample is None:
            service.keeper.look()
        return {"image": None if sample is None else sheet(person, sample), "trail": desk.trail(person)}

    @router.post("/samples/{sample}/open")
    def open_image(sample: SampleInPath, person: Who) -> dict[str, Any]:
        return {"image": sheet(person, sample), "trail": desk.trail(person)}

    @router.post("/samples/{sample}/lease")
    def keep(sample: SampleInPath, person: Who) -> dict[str, float]:
        return {"expires": desk.keep(person, sample)}

    @router.put("/samples/{sample}/draft")
    def save_draft(sample: SampleInPath, message: DraftMessage, person: Who) -> dict[str, Any]:
        answer = message.answer.answer(sample, desk.gallery.size(sample))
        content = message.model_dump(exclude={"revision"})
        draft, proposed = desk.save_draft(person, sample, answer, content, revision=message.revision)
        return {"revision": draft.revision, "caption": proposed}

    @router.post("/samples/{sample}/answer")
    def submit(sample: SampleInPath, message: AnswerMessage, person: Who) -> dict[str, Any]:
        event = desk.submit(person, sample, message.answer(sample, desk.gallery.size(sample)))
        service.keeper.look(at_once=desk.round.finished())
        return {"held": event.held, "agreement": event.agreement if event.purpose == SECOND else None}

    @router.post("/samples/{sample}/skip")
    def skip(sample: SampleInPath, person: Who) -> dict[str, Any]:
        desk.skip(person, sample)
        return {}

    @router.post("/classes")
    def add_class(message: NewClass, person: Who) -> list[dict[str, Any]]:
        desk.add_class(person, message.name)
        return service.palette()

    @router.get("/progress")
    def how_far(person: Who) -> dict[str, Any]:
        service.keeper.look()
        return progress(desk, service.review, person) | {
            "state": service.keeper.state,
            "present": service.sessions.present(),
            "clicker": {"kind": service.clicks.chosen.kind, "name": service.clicks.chosen.name},
        }

    @router.get("/people")
    def who_does_what(person: Who) -> list[dict[str, Any]]:
        return people(desk, person)

    return router
