"""The API of reviewing."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path

from flywheel.errors import LabellingError
from flywheel.labelling.messages import Judgement, ReviewLeave, ReviewNext, shown_label
from flywheel.labelling.review import Case
from flywheel.labelling.service import Service
from flywheel.labelling.sessions import Person

UidInPath = Annotated[str, Path(pattern=r"^[0-9a-f-]{16,64}$")]


def routes(service: Service) -> APIRouter:
    router = APIRouter(prefix="/api/review")
    desk, review = service.desk, service.review
    Who = Annotated[Person, Depends(service.person)]

    def shown(case: Case) -> dict[str, Any]:
        sample, table = case.label.sample, desk.round.classes()
        height, width = desk.gallery.size(sample)
        scores = [one.agreement for one in (case.other, case.label) if one and one.agreement is not None]
        return {
            "sample": sample,
            "height": height,
            "width": width,
            "why": case.why,
            "label": shown_label(case.label, table, language=desk.language),
            "other": shown_label(case.other, table, language=desk.language) if case.other else None,
            "agreement": scores[0] if scores and case.other else None,
            "classes": service.palette(),
            "lease_seconds": desk.leases.duration,
        }

    @router.post("/next")
    def next_case(message: ReviewNext, person: Who) -> dict[str, Any]:
        case = review.next(person, set(message.passed))
        return {"case": shown(case) if case else None}

    @router.post("/leave")
    def leave(message: ReviewLeave, person: Who) -> dict[str, Any]:
        review.put_down(person, message.sample)
        return {}

    @router.post("/{uid}")
    def judge(uid: UidInPath, message: Judgement, person: Who) -> dict[str, Any]:
        person.must_review()
        label = desk.journal.label(uid)
        if label is None:
            raise LabellingError(f"label {uid} is not in the journal; take the next one")
        corrected = None
        if message.corrected:
            corrected = message.corrected.answer(label.sample, desk.gallery.size(label.sample))
        review.judge(person, uid, message.verdict, message.reason, corrected)
        service.keeper.look(at_once=desk.round.finished())
        return {}

    return router
