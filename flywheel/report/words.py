"""The report's sentences: what a turn decided, whether synthetic data helped, and what comes next."""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flywheel.judge.words import percent
from flywheel.params import FREE_ARMS

if TYPE_CHECKING:
    from flywheel.report.collect import Facts
    from flywheel.report.history import Score, Turn

SYNTHETIC_ARM = "defect_gen"
_ARM_LABELS = {"real_only": "real only", "copy_paste": "copy-paste", "perlin": "Perlin", SYNTHETIC_ARM: "Defect-Gen"}
_STEERED = 0.1  # a class weight nearer to 1 than this is not worth a sentence

GLOSSARY = {
    "IoU, mIoU": "Pixels that truth and prediction of a class share, divided by the pixels that either covers, summed "
    "over the test split; mIoU is the mean over the defect classes. 1 is perfect. An image without the class counts "
    "for nothing, so a rare class cannot be won by saying nothing.",
    "Recall": "Share of the defective test images in which some defect was found.",
    "False-positive rate": "Share of the defect-free test images in which a defect was reported.",
    "Arm": "One way of making the training set: real images only, with defects copied and pasted or with irregular "
    "regions of foreign texture (Perlin; both are free), or with pairs drawn by Defect-Gen. Each arm is trained with "
    "the same seeds.",
    "Interval": "The range of the figure when test images (and, for an arm, seeds) are drawn again and again.",
    "Champion, challenger": "The segmenter in service, and the candidate of this turn. Only the gate replaces the "
    "champion: the challenger must be better in nearly all paired resamples of the frozen test split.",
    "Generation": "The n-th immutable snapshot of the data; its git tag brings it back.",
}


@dataclass(frozen=True)
class Headline:
    """status: `promoted`, `kept` or `idle`; title: the verdict; details: sentences below it; gate: the gate's own."""

    status: str
    title: str
    details: list[str]
    gate: str = ""


def arm_label(arm: str) -> str:
    return _ARM_LABELS.get(arm, arm.replace("_", " "))


def headline(facts: "Facts") -> Headline:
    """The newest verdict in words, with the figures that it stands on."""
    if not facts.turns:
        return _no_turn(facts)
    turn = facts.turns[-1]
    if turn.promote is None:
        return Headline("idle", f"{turn.title}: nothing was judged.", [turn.why] if turn.why else [])
    who = f"the challenger ({arm_label(turn.challenger_arm)}, seed {turn.challenger_seed})"
    challenger = _figure(turn.challenger)
    details = [synthetic_sentence(turn.arms)]
    if turn.before and turn.difference is not None and turn.interval:
        low, high = turn.interval
        details.append(f"Difference on the same test images: mIoU {turn.difference:+.3f} [{low:+.3f}, {high:+.3f}].")
    if turn.promote and turn.before is None:
        return Headline(
            "promoted", f"{turn.title}: {who} is the first champion, mIoU {challenger}.", details, turn.words
        )
    if turn.promote:
        title = f"{who} replaces the champion: mIoU {_figure(turn.before)} → {challenger}, better in {_percent(turn)}"
        return Headline("promoted", f"{turn.title}: {title} of resamples.", details, turn.words)
    title = f"the champion stays. {who[0].upper()}{who[1:]} reached mIoU {challenger} against {_figure(turn.before)}"
    return Headline("kept", f"{turn.title}: {title}, better in {_percent(turn)} of resamples.", details, turn.words)


def _no_turn(facts: "Facts") -> Headline:
    if not facts.images:
        return Headline(
            "idle", "No images yet.", ["Bring some in with `flywheel ingest FOLDER`, then run `flywheel turn`."]
        )
    if not facts.labelled:
        todo = "Label some of them (the labelling page asks for the most useful ones first), then run `flywheel turn`."
        return Headline("idle", f"{facts.images} images, none labelled yet.", [todo])
    have = f"{facts.images} images, {facts.labelled} of them labelled; no turn is finished yet."
    return Headline("idle", have, ["Run `flywheel turn`: it trains, judges and writes the first verdict here."])


def synthetic_sentence(arms: "dict[str, Score]") -> str:
    """Whether synthetic data helped, judged against the best arm without them; overlapping intervals prove nothing."""
    drawn = arms.get(SYNTHETIC_ARM)
    others = {arm: score for arm, score in arms.items() if arm != SYNTHETIC_ARM and score.miou is not None}
    if drawn is None or drawn.miou is None:
        return "Synthetic data had no part in this turn."
    if not others:
        return "Whether synthetic data helped is unknown: no arm without them was trained."
    rival, best = max(others.items(), key=lambda entry: entry[1].miou or 0)
    assert best.miou is not None
    free = ", which is free" if rival in FREE_ARMS else ""
    figures = f"{_with_interval(drawn)} against {_with_interval(best)} for {arm_label(rival)}{free}"
    if drawn.miou <= best.miou:
        return f"Synthetic data did not help: mIoU {figures}."
    if drawn.interval and best.interval and drawn.interval[0] > best.interval[1]:
        return f"Synthetic data helped: mIoU {figures}."
    return f"Synthetic data scored higher, mIoU {figures}, but the intervals overlap: this proves nothing yet."


def next_turn(facts: "Facts") -> list[str]:
    """What the next turn will do, from the feedback and the queue."""
    sentences = []
    queue = facts.queue
    if not queue.get("done") and queue.get("entries"):
        reasons = ", ".join(f"{number} {why}" for why, number in queue_reasons(queue).most_common())
        sentences.append(
            f"{_images(len(queue['entries']))} of turn {queue.get('turn', '?')} wait for a label ({reasons}); "
            f"their labels start the next training."
        )
    elif facts.images > facts.labelled:
        sentences.append(
            f"The next turn chooses what to ask for among {_images(facts.images - facts.labelled)} without label."
        )
    elif facts.images:
        sentences.append("Every image is labelled: nothing is left to ask for until new images come in.")
    weights = {name: float(weight) for name, weight in (facts.feedback.get("class_weights") or {}).items()}
    drawn = {name: weight for name, weight in weights.items() if name not in facts.left}
    more = [f"{name} (× {weight:.2f})" for name, weight in _falling(drawn) if weight > 1 + _STEERED]
    less = [f"{name} (× {weight:.2f})" for name, weight in reversed(_falling(drawn)) if weight < 1 - _STEERED]
    if more:
        sentences.append(
            f"Synthesis will draw more of {', '.join(more)}" + (f" and less of {', '.join(less)}." if less else ".")
        )
    elif drawn:
        sentences.append("Synthesis will draw all classes about equally often.")
    if facts.left and weights:
        sentences.append(f"Changes of shading are left to real images: {', '.join(sorted(facts.left))}.")
    if facts.feedback.get("note"):
        sentences.append(str(facts.feedback["note"]))
    if facts.turns:
        sentences.append(
            "Nothing new means nothing is trained: without new labels or other parameters the turn ends at once."
        )
    return sentences


def queue_reasons(queue: dict[str, Any]) -> Counter[str]:
    return Counter(str(entry.get("why") or "no reason given") for entry in queue.get("entries") or [])


def _falling(weights: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(weights.items(), key=lambda entry: -entry[1])


def _images(number: int) -> str:
    return "1 image" if number == 1 else f"{number} images"


def _figure(score: "Score | None") -> str:
    return "unknown" if score is None or score.miou is None else f"{score.miou:.3f}"


def _with_interval(score: "Score") -> str:
    return f"{_figure(score)} [{score.interval[0]:.3f}, {score.interval[1]:.3f}]" if score.interval else _figure(score)


def _percent(turn: "Turn") -> str:
    """Never rounded up to 100 or down to 0, which would claim certainty."""
    if turn.probability is None:
        return "an unknown share"
    share = turn.probability
    near_certain = 0.99 < share < 1 or 0 < share < 0.01
    return percent(share).replace("%", " %") if near_certain else f"{100 * share:.0f} %"
