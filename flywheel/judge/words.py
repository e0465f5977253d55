"""The verdict in a few honest sentences."""

from typing import Any

from flywheel.judge.bootstrap import Difference
from flywheel.params import FREE_ARMS, Gate

PLAIN, SYNTHETIC = "real_only", "defect_gen"


def verdict_words(
    promote: bool,
    compared: Difference | None,
    challenger: dict[str, Any],
    champion: dict[str, Any] | None,
    params: Gate,
    evaluation: dict[str, Any] | None,
    *,
    too_few: str = "",
) -> str:
    """What was decided, on which numbers, and what `arm_words` says of the arms (when there is an evaluation).

    too_few: how many of the test images that a change of champion needs show a defect, when they are too few.
    """
    name = "the challenger"
    if evaluation is not None:
        name = f"the challenger ({evaluation['challenger']['arm']}, seed {evaluation['challenger']['seed']})"
    if compared is None or champion is None:
        first = f"There was no champion, so {name} is the first: mIoU {_score(challenger['miou'])} on the test set."
    else:
        decided = f"{name} replaces the champion" if promote else f"the champion stays, {name} is not clearly better"
        first = (
            f"{decided[0].upper()}{decided[1:]}: mIoU {_score(challenger['miou'])} against {_score(champion['miou'])}, "
            f"higher in {percent(compared.probability)} of {params.resamples} paired resamples "
            f"({params.confidence:.0%} are asked for)."
        )
        if too_few:
            first += f" Only {too_few} needed test images show a defect: too few to replace a champion."
    untested = [name for name, score in challenger.get("per_class", {}).items() if score["iou"] is None]
    if untested:
        first += f" Not judged, since no test image shows them: {', '.join(untested)}."
    second = arm_words(evaluation) if evaluation is not None else ""
    return f"{first} {second}".strip()


def percent(share: float) -> str:
    """A share of 0..1 in per cent; never rounded up to 100 or down to 0, which would claim certainty."""
    return f"{100 * share:.1f}%" if share in (0, 1) else f"{min(max(100 * share, 0.1), 99.9):.1f}%"


def arm_words(evaluation: dict[str, Any]) -> str:
    """Which arm is best, and whether the synthetic arm did better than every other arm.

    "Clear" is said only where the intervals do not overlap. Empty when there are no two arms to compare.
    """
    arms = {name: arm for name, arm in evaluation["arms"].items() if arm["miou"] is not None}
    if len(arms) < 2:
        return ""
    return f"{_winner_words(arms)} {_synthetic_words(arms)}".strip()


def _winner_words(arms: dict[str, dict[str, Any]]) -> str:
    order = _ranked(arms)
    first, second = order[0], order[1]
    numbers = ", ".join(
        f"{_named(name)} {_score(arms[name]['miou'])} {_range(arms[name]['miou_ci'])}" for name in order
    )
    if arms[first]["miou"] == arms[second]["miou"]:
        said = f"No arm is best, {first} and {second} are equal"
    elif _apart(arms[first]["miou_ci"], arms[second]["miou_ci"]):
        said = f"Best arm: {first}, clear of {second}"
    else:
        said = f"Best arm: {first}, but its interval and that of {second} overlap"
    return f"{said} (mean mIoU over the seeds: {numbers})."


def _synthetic_words(arms: dict[str, dict[str, Any]]) -> str:
    """What the synthetic arm was good for; empty without one."""
    if SYNTHETIC not in arms:
        return ""
    ours = arms[SYNTHETIC]
    better = [name for name in _ranked(arms) if name != SYNTHETIC and arms[name]["miou"] >= ours["miou"]]
    if not better:
        best = _ranked(arms)[1]
        clear = _apart(ours["miou_ci"], arms[best]["miou_ci"])
        return "Synthetic pairs helped." if clear else "Synthetic pairs were ahead, but the intervals overlap."
    plain = arms.get(PLAIN)
    if plain is not None and ours["miou"] > plain["miou"]:
        said = f"Synthetic pairs beat {PLAIN} but not {' and '.join(map(_named, better))}"
    elif plain is not None and ours["miou"] < plain["miou"] and _apart(ours["miou_ci"], plain["miou_ci"]):
        said = "Synthetic pairs did harm"
    else:
        said = "Synthetic pairs did not help"
    ahead = [name for name in better if name in FREE_ARMS and arms[name]["miou"] > ours["miou"]]
    if not ahead:
        return f"{said}."
    clear = _apart(ours["miou_ci"], arms[ahead[0]]["miou_ci"])
    return f"{said}: {ahead[0]} costs nothing and did better, {'clearly' if clear else 'but the intervals overlap'}."


def _ranked(arms: dict[str, dict[str, Any]]) -> list[str]:
    return sorted(arms, key=lambda name: -arms[name]["miou"])


def _named(arm: str) -> str:
    return f"{arm} (free)" if arm in FREE_ARMS else arm


def _apart(one: list[float] | None, other: list[float] | None) -> bool:
    return one is not None and other is not None and (one[0] > other[1] or other[0] > one[1])


def _score(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _range(values: list[float] | None) -> str:
    return "" if values is None else f"[{values[0]:.3f}, {values[1]:.3f}]"
