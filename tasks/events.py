"""Events on which a deployment may start a flow."""

from flywheel.workspace import Workspace

LABELS_ARRIVED = "flywheel.labels.arrived"


def labels_arrived(ws: Workspace, labelled: int) -> None:
    """Tell Prefect's server that the workspace has `labelled` new labels."""
    from prefect.events import emit_event

    emit_event(
        event=LABELS_ARRIVED,
        resource={"prefect.resource.id": f"flywheel.workspace.{ws.name}"},
        payload={"workspace": str(ws.root), "labelled": labelled},
    )
