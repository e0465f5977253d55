"""Inline SVG charts. Colours come from the page's style sheet, so that dark mode and paper need no second picture."""

import math
from html import escape

from markupsafe import Markup

from flywheel.data.classes import class_colour
from flywheel.report import svg
from flywheel.report.history import Interval, Score, Turn
from flywheel.report.svg import WIDTH
from flywheel.report.words import SYNTHETIC_ARM, arm_label

LEFT = 150
WIDEST_STEP = 242  # px, half a generation's step in the history: a single one should not fill the page
LABEL_LENGTH = 20  # letters that fit beside a chart; a Chinese one takes two places
MARKS = ("dot", "square", "diamond", "triangle")  # arms differ by shape, not by colour alone
LOOKS = ("real_only", "copy_paste", SYNTHETIC_ARM, "perlin")  # the accent colour is the third one's


def history_chart(turns: list[Turn]) -> Markup:
    """Champion's mIoU as a stepped line with its interval, every challenger as a mark: filled when it was promoted."""
    judged = [turn for turn in turns if turn.champion or turn.challenger]
    ends = [end for turn in judged for score in (turn.champion, turn.challenger) for end in _ends(score)]
    if not ends:
        return Markup()
    height, top, bottom, left = 300, 14, 40, 52
    low, high = max(0.0, math.floor(min(ends) * 10) / 10), min(1.0, math.ceil(max(ends) * 10) / 10)
    high = max(high, low + 0.1)
    slot = (WIDTH - left - 20) / len(judged)
    half = min(slot / 2, WIDEST_STEP)

    def x(number: int) -> float:
        return left + slot * (number + 0.5)

    def y(value: float) -> float:
        return top + (height - top - bottom) * (high - value) / (high - low)

    parts = []
    for tenth in range(round(low * 10), round(high * 10) + 1):
        parts.append(
            f'<line class="grid" x1="{left}" x2="{WIDTH - 20}" y1="{y(tenth / 10):.1f}" y2="{y(tenth / 10):.1f}"/>'
        )
        parts.append(svg.text(left - 8, y(tenth / 10) + 4, f"{tenth / 10:.1f}", "end"))
    for number, turn in enumerate(judged):
        score, centre = turn.champion, x(number)
        if score and score.miou is not None:
            if score.interval:
                over, under = y(score.interval[1]), y(score.interval[0])
                parts.append(
                    f'<rect class="band" x="{centre - half:.1f}" y="{over:.1f}" width="{2 * half:.1f}" '
                    f'height="{under - over:.1f}"/>'
                )
            level = y(score.miou)
            parts.append(svg.level(centre - half, centre + half, level, "line"))
            parts.append(svg.text(centre + half - 6, level - 6, f"{score.miou:.3f}", "end", "strong"))
            before = judged[number - 1].champion if number else None
            if before and before.miou is not None and slot / 2 <= WIDEST_STEP:
                edge = centre - half
                parts.append(svg.upright(edge, level, y(before.miou), "line thin"))
        parts.append(svg.text(centre, height - 20, turn.title, "middle", "label"))
    for number, turn in enumerate(judged):
        score, centre = turn.challenger, x(number) - half / 3
        if score and score.miou is not None:
            label = f"{turn.title}: challenger {score.miou:.3f}{_interval_text(score.interval)}"
            if score.interval:
                parts.append(svg.upright(centre, y(score.interval[0]), y(score.interval[1]), "whisker"))
            kind = "mark accent" if turn.promote else "mark hollow"
            parts.append(svg.mark("dot", centre, y(score.miou), kind, label))
    return svg.chart(height, "mIoU of champion and challenger by generation", parts)


def class_chart(arms: dict[str, Score], names: list[str]) -> Markup:
    """IoU by class and arm with its interval: one row a class, the mean over classes above them."""
    if not arms:
        return Markup()
    rows: list[tuple[str, dict[str, tuple[float | None, Interval | None]]]] = [
        ("mIoU", {arm: (score.miou, score.interval) for arm, score in arms.items()})
    ]
    rows += [(name, {arm: score.per_class.get(name, (None, None)) for arm, score in arms.items()}) for name in names]
    step, top = 15, 12
    band = step * len(arms) + 16
    height = top + band * len(rows) + 26

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - 70) * value

    parts = []
    for tenth in range(0, 11, 2):
        parts.append(f'<line class="grid" x1="{x(tenth / 10)}" x2="{x(tenth / 10)}" y1="{top}" y2="{height - 24}"/>')
        parts.append(svg.text(x(tenth / 10), height - 8, f"{tenth / 10:.1f}", "middle"))
    for number, (name, values) in enumerate(rows):
        start = top + band * number
        if number:
            parts.append(f'<line class="rule" x1="0" x2="{WIDTH}" y1="{start}" y2="{start}"/>')
        parts.append(
            svg.text(LEFT - 12, start + band / 2 + 4, _short(name), "end", "strong" if number == 0 else "label")
        )
        for order, (arm, (value, interval)) in enumerate(values.items()):
            look = _look(arm)
            middle = start + 8 + step * (order + 0.5)
            if value is None:
                parts.append(svg.text(x(0) + 6, middle + 4, "not measured", "start"))
                continue
            if interval:
                parts.append(svg.level(x(interval[0]), x(interval[1]), middle, f"whisker arm{look}"))
            label = f"{name}, {arm_label(arm)}: {value:.3f}{_interval_text(interval)}"
            parts.append(svg.mark(MARKS[look], x(value), middle, f"mark arm{look}", label))
            parts.append(svg.text(WIDTH, middle + 4, f"{value:.3f}", "end"))
    return svg.chart(height, "IoU by class and arm with intervals", parts)


def arm_key(arm: str) -> Markup:
    """The arm's mark, for a legend."""
    mark = svg.mark(MARKS[_look(arm)], 7, 7, f"mark arm{_look(arm)}", "")
    return Markup(f'<svg class="key" viewBox="0 0 14 14" width="14" height="14" aria-hidden="true">{mark}</svg>')


def count_chart(counts: dict[str, dict[str, int]], groups: tuple[str, ...]) -> Markup:
    """Images by class as one stacked bar a class. counts: class -> group -> images; groups: order within a bar."""
    longest = max((sum(row.values()) for row in counts.values()), default=0)
    if not longest:
        return Markup()
    step, left = 26, LEFT
    height = step * len(counts) + 6
    parts = []
    for number, (name, row) in enumerate(counts.items()):
        top, start = 4 + step * number, float(left)
        parts.append(svg.text(left - 12, top + 14, _short(name), "end", "label"))
        for order, group in enumerate(groups):
            width = (WIDTH - left - 60) * row.get(group, 0) / longest
            if width:
                parts.append(
                    f'<rect class="bar bar{order}" x="{start:.1f}" y="{top}" width="{width:.1f}" height="{step - 8}">'
                    f"<title>{escape(name)}, {escape(group)}: {row[group]}</title></rect>"
                )
            start += width
        parts.append(svg.text(start + 8, top + 14, str(sum(row.values())), "start"))
    return svg.chart(height, "Images by class", parts)


def interval_bar(score: Score | None) -> Markup:
    """A rule from 0 to 1 with the interval of a champion's mIoU on it."""
    if score is None or score.miou is None:
        return Markup()
    low, high = score.interval or (score.miou, score.miou)
    return Markup(
        '<svg class="rail" viewBox="0 0 240 16" width="240" height="16" aria-hidden="true">'
        '<line class="grid" x1="2" x2="238" y1="8" y2="8"/>'
        f'<line class="line" x1="{2 + 236 * low:.1f}" x2="{2 + 236 * high:.1f}" y1="8" y2="8"/>'
        f'<circle class="mark accent" cx="{2 + 236 * score.miou:.1f}" cy="8" r="4.5"/></svg>'
    )


def colour_chip(index: int) -> Markup:
    """A square in the colour of class `index`, as in the pictures."""
    return Markup('<i class="chip" style="background:#{:02x}{:02x}{:02x}"></i>'.format(*class_colour(index)))


def _look(arm: str) -> int:
    """Shape and colour of an arm, the same whichever arms stand beside it."""
    return LOOKS.index(arm) if arm in LOOKS else len(LOOKS) - 1


def _ends(score: Score | None) -> tuple[float, ...]:
    if score is None or score.miou is None:
        return ()
    return score.interval or (score.miou,)


def _interval_text(interval: Interval | None) -> str:
    return f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""


def _short(name: str) -> str:
    """`name`, cut to what fits beside a chart."""
    kept, places = "", 0
    for letter in name:
        places += 1 + (ord(letter) > 0x2E7F)
        if places > LABEL_LENGTH:
            return kept + "…"
        kept += letter
    return kept
