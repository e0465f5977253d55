"""The verdict in one or two honest sentences."""

from typing import Any

from flywheel.judge.bootstrap import Difference
from flywheel.params import Gate

PLAIN, SYNTHETIC = "real_only", "defect_gen"


def verdict_words(
    promote: bool,
    compared: Difference | None,
    challenger: dict[str, Any],
    champion: dict[str, Any] | None,
    params: Gate,
    evaluation: dict[str, Any] | None,
) -> str:
    """What was decided, on which numbers, and whether synthetic pairs helped (when `evaluation` compares the arms)."""
    name = "the challenger"
    if evaluation is not None:
        name = f"the challenger ({evaluation['challenger']['arm']}, seed {evaluation['challenger']['seed']})"
    if compared is None or champion is None:
        first = f"There was no champion, so {name} is the first: mIoU {_score(challenger['miou'])} on the test set."
    else:
        decided = f"{name} replaces the champion" if promote else f"the champion stays, {name} is not clearly better"
        first = (
            f"{decided[0].upper()}{decided[1:]}: mIoU {_score(challenger['miou'])} against {_score(champion['miou'])}, "
            f"higher in {compared.probability:.1%} of {params.resamples} paired resamples "
            f"({params.confidence:.0%} are asked for)."
        )
    second = arm_words(evaluation) if evaluation is not None else ""
    return f"{first} {second}".strip()


def arm_words(evaluation: dict[str, Any]) -> str:
    """Whether the synthetic arm did better than every other arm, beyond what its interval leaves to chance.

    Empty when there was no synthetic arm or nothing to compare it with.
    """
    arms = {name: arm for name, arm in evaluation["arms"].items() if arm["miou"] is not None}
    if SYNTHETIC not in arms or len(arms) < 2:
        return ""
    ours = arms[SYNTHETIC]
    rivals = {name: arm for name, arm in arms.items() if name != SYNTHETIC}
    best = max(rivals, key=lambda name: rivals[name]["miou"])
    numbers = f"{SYNTHETIC} {_score(ours['miou'])} {_range(ours['miou_ci'])}, " + ", ".join(
        f"{name} {_score(arm['miou'])} {_range(arm['miou_ci'])}" for name, arm in rivals.items()
    )
    clear = _apart(ours["miou_ci"], rivals[best]["miou_ci"])
    if ours["miou"] > rivals[best]["miou"]:
        said = "Synthetic pairs helped" if clear else "Synthetic pairs were ahead, but the intervals overlap"
    elif best == PLAIN:
        said = "Synthetic pairs did harm" if clear else "Synthetic pairs did not help"
    elif PLAIN in rivals and ours["miou"] > rivals[PLAIN]["miou"]:
        said = f"Synthetic pairs beat {PLAIN} but not {best}"
    else:
        said = "Synthetic pairs did not help"
    return f"{said} (mean mIoU over the seeds: {numbers})."


def _apart(one: list[float] | None, other: list[float] | None) -> bool:
    return one is not None and other is not None and (one[0] > other[1] or other[0] > one[1])


def _score(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _range(values: list[float] | None) -> str:
    return "" if values is None else f"[{values[0]:.3f}, {values[1]:.3f}]"
