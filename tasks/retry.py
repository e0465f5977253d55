"""When a task is tried again."""

from typing import Any

from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from flywheel.errors import Unavailable


def only_when_unavailable(task: Task, task_run: TaskRun, state: State) -> bool:
    """True when a service did not answer. A plain function, since with a `partial` Prefect silently never retries."""
    try:
        state.result()
    except Unavailable:
        return True
    except Exception:
        return False
    return False


RETRIES: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": [5, 20, 60],
    "retry_condition_fn": only_when_unavailable,
}
