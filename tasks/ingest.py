"""Bringing data in, as Prefect tasks."""

from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from flywheel.ingest.ingest import ingest as read_source
from flywheel.workspace import Workspace
from tasks.retry import RETRIES


@task(name="ingest", task_run_name="ingest {source}", cache_policy=NO_CACHE, **RETRIES)
def ingest(ws: Workspace, source: str, format: str, product: str, hide_labels: bool) -> dict[str, Any]:
    report = read_source(source, ws.paths, ws.params(), product=product, format=format, hide_labels=hide_labels)
    return report.as_dict()


@task(name="keep", cache_policy=NO_CACHE, **RETRIES)
def keep(ws: Workspace, source: str, accepted: int) -> None:
    ws.keep_ingested(source, accepted)
