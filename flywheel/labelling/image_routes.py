"""The API of pictures: the image itself, the champion's first mask, and regions from clicks."""

from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Depends, Response

from flywheel.errors import NotAllowed, TooBusy
from flywheel.labelling.events import recode
from flywheel.labelling.label_routes import SampleInPath
from flywheel.labelling.messages import ClickMessage
from flywheel.labelling.runs import to_runs
from flywheel.labelling.service import Service
from flywheel.labelling.sessions import Person


def routes(service: Service) -> APIRouter:
    router = APIRouter(prefix="/api/samples/{sample}")
    desk = service.desk
    Who = Annotated[Person, Depends(service.person)]

    def check_holds(person: Person, sample: str) -> None:
        """Raise NotAllowed unless the image lies on the person's desk, or they review."""
        lease = desk.leases.current().get(sample)
        if not person.reviews and (lease is None or lease.session != person.session):
            raise NotAllowed(f"image {sample} is not on your desk; take the next one")

    @router.get("/image")
    def image(sample: SampleInPath, person: Who, background: BackgroundTasks) -> Response:
        check_holds(person, sample)
        content = desk.gallery.png(sample)
        background.add_task(service.clicks.prepare, sample)  # while the person still looks
        cache = {"Cache-Control": "private, max-age=86400, immutable"}  # a sample's id is the digest of its pixels
        return Response(content, media_type="image/png", headers=cache)

    @router.get("/first-mask")
    def first_mask(sample: SampleInPath, person: Who) -> dict[str, Any]:
        check_holds(person, sample)
        first = service.champion.first_mask(sample, turn=desk.round.turn)
        if first is None:
            return {"by": "", "runs": []}
        return {"by": first.by, "runs": to_runs(recode(first.mask, first.classes, desk.round.classes()))}

    @router.post("/clicks")
    def click(sample: SampleInPath, message: ClickMessage, person: Who) -> dict[str, Any]:
        mine = not person.reviews and desk.drafts.assignment(sample, person.name)
        if mine and sample not in desk.leases.current():
            desk.keep(person, sample)  # back from a break, and nobody took it meanwhile
        check_holds(person, sample)
        start = message.start.region(desk.gallery.size(sample)) if message.start else None
        try:
            region = service.clicks.region(
                sample, message.as_clicks(), start, shown=message.shown, wait=not message.preview
            )
        except TooBusy:
            return {"busy": True}
        return {
            "version": region.version,
            "base": region.base,
            "box": region.box,
            "runs": region.runs,
            "classes": region.classes,
        }

    return router
