"""report.html: one file, no request to anywhere, equal bytes from equal workspaces."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from flywheel.data.classes import BACKGROUND
from flywheel.data.manifest import SPLITS, class_sets
from flywheel.files import write_text
from flywheel.judge.words import percent
from flywheel.paths import Paths
from flywheel.report import charts, cost_chart, pictures, words
from flywheel.report.collect import Facts, collect
from flywheel.report.history import Score

FOLDER = Path(__file__).parent
ROWS_SHOWN = 20  # of lists that may be long, such as the quarantine
CAPTIONS_SHOWN = 6
GROUPS = ("train", "val", "test", "synthetic")


def write_report(paths: Paths) -> Path:
    """Write report.html of the workspace and return its path; a part that is missing is named, with its cure."""
    write_text(paths.report, render(paths))
    return paths.report


def render(paths: Paths) -> str:
    """The page as text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"figure": _figure, "interval": _interval, "percent": _percent, "arm": words.arm_label}
    environment.filters["code"] = _code
    facts = collect(paths)
    style = Markup((FOLDER / "report.css").read_text(encoding="utf-8"))
    return environment.get_template("report.html").render(
        style=style, charts=charts, cost_chart=cost_chart.cost_chart, **page(facts, paths)
    )


def page(facts: Facts, paths: Paths) -> dict[str, Any]:
    """What the template shows, part by part."""
    arms = facts.arms
    names = list(dict.fromkeys([*facts.classes.names, *(name for score in arms.values() for name in score.per_class)]))
    last = facts.turns[-1] if facts.turns else None
    counts = class_counts(facts)
    return {
        "facts": facts,
        "headline": words.headline(facts),
        "last": last,
        "champion": next((turn for turn in reversed(facts.turns) if turn.champion), None),
        "history": facts.turns,
        "history_arms": list(dict.fromkeys(arm for turn in facts.turns for arm in turn.arms)),
        "costed": [turn for turn in facts.turns if turn.cost.labels or turn.cost.words],
        "arms": arms,
        "class_names": names,
        "pairs": pictures.class_pairs(facts, paths),
        "rejected": pictures.rejected_pairs(facts, paths),
        "rejected_counts": rejected_counts(facts),
        "curation": curation_counts(facts),
        "mistakes": pictures.mistakes(facts, paths),
        "counts": counts,
        "groups": [group for group in (*GROUPS, "reserve") if any(row.get(group) for row in counts.values())],
        "captions": captions(facts),
        "quarantine": [_set_aside(line) for line in facts.quarantine[:ROWS_SHOWN]],
        "next_turn": words.next_turn(facts),
        "reasons": words.queue_reasons(facts.queue).most_common(),
        "weights": sorted((facts.feedback.get("class_weights") or {}).items(), key=lambda entry: -entry[1]),
        "hard": facts.feedback.get("hard_samples") or [],
        "glossary": words.GLOSSARY,
    }


def class_counts(facts: Facts) -> dict[str, dict[str, int]]:
    """Images by class and group (a split of the real images, or `synthetic` for accepted ones); one image may count
    in several classes. The last row holds the defect-free images, the first key order is that of the class table."""
    if facts.generation is None:
        return {}
    names = [*facts.classes.names, "defect-free"]
    counts: dict[str, Counter[str]] = {name: Counter() for name in names}
    tables = [(facts.generation, list(facts.generation["split"]))]
    if facts.curated is not None:
        accepted = facts.curated[facts.curated["reason"].eq("")]
        tables.append((accepted, ["synthetic"] * len(accepted)))
    for table, groups in tables:
        for classes, group in zip(class_sets(table), groups, strict=True):
            for index in classes or (BACKGROUND,):
                counts[facts.classes.name(index) if index else "defect-free"][group] += 1
    return {name: dict(row) for name, row in counts.items() if row}


def rejected_counts(facts: Facts) -> list[tuple[str, int]]:
    if facts.curated is None:
        return []
    reasons = facts.curated.loc[facts.curated["reason"].ne(""), "reason"]
    return Counter(pictures.reason_kind(reason) for reason in reasons).most_common()


def curation_counts(facts: Facts) -> dict[str, tuple[int, int]]:
    """Class -> (pairs wanted with it, accepted ones of them), in the order of the class table."""
    wanted, accepted = Counter[str](), Counter[str]()
    if facts.curated is not None:
        for scores, reason in zip(facts.curated["scores"], facts.curated["reason"], strict=True):
            names = json.loads(scores or "{}").get("wanted", [])
            wanted.update(names)
            accepted.update([] if reason else names)
    return {name: (wanted[name], accepted[name]) for name in facts.classes.names if wanted[name]}


def captions(facts: Facts) -> list[tuple[str, str]]:
    """(origin, caption) of a few training samples, each sentence once."""
    found: dict[str, str] = {}
    for table in (facts.generation, facts.curated):
        if table is not None:
            rows = table[table["split"].eq(SPLITS[0]) & table["caption"].ne("") & table["reason"].eq("")]
            longest = rows.assign(length=rows["caption"].str.len()).sort_values(["length", "id"], ascending=False)
            for origin, caption in longest[["origin", "caption"]].drop_duplicates().head(CAPTIONS_SHOWN // 2).values:
                found.setdefault(caption, origin)
    return [(origin, caption) for caption, origin in found.items()]


def _set_aside(line: dict[str, Any]) -> tuple[str, str]:
    return str(line.get("file") or line.get("source") or "unnamed"), str(line.get("reason") or "no reason given")


def _figure(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _interval(score: Score | None) -> str:
    return "" if score is None or score.interval is None else f"{score.interval[0]:.3f} – {score.interval[1]:.3f}"


def _code(text: str) -> Markup:
    """`text` with everything between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _percent(value: float | None) -> str:
    return "–" if value is None else percent(value).replace("%", " %")
