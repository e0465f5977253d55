"""The flow `ingest`: bring images and labels into a workspace."""

from typing import Any

from prefect import flow

from tasks import ingest as step
from tasks import view
from tasks.events import labels_arrived
from tasks.turn import begin, held


@flow(name="ingest", log_prints=True)
def ingest(
    workspace: str = ".",
    source: str = "",
    format: str = "auto",
    product: str = "default",
    hide_labels: bool = False,
) -> dict[str, Any]:
    """Ingest `source` (a folder or s3://bucket/prefix) into `workspace` and return the report.

    When labels arrived, the event `flywheel.labels.arrived` is raised; a deployment may start a turn on it.
    """
    with held(workspace) as ws:
        begin(ws)  # refuses while an older generation is checked out
        report = step.ingest(ws, source, format, product, hide_labels)
        step.keep(ws, source, report["accepted"])
    view.show_table(
        "ingested",
        [{key: report[key] for key in ("source", "format", "product", "accepted", "labelled", "duplicates")}],
        f"{len(report['rejected'])} files were set aside",
    )
    if report["rejected"]:
        view.show_table("set-aside", report["rejected"][:500], "files that were set aside, and why")
    if report["labelled"]:
        labels_arrived(ws, report["labelled"])
    return report
