"""Inline SVG charts. Colours come from the page's style sheet, so that dark mode and paper need no second picture."""

import math
from html import escape

from markupsafe import Markup

from flywheel.data.classes import class_colour
from flywheel.report.collect import Interval, Score, Turn
from flywheel.report.words import SYNTHETIC_ARM, arm_label

WIDTH = 1040  # px at full page width, so that a font size in the chart is one on the page
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
        parts.append(_text(left - 8, y(tenth / 10) + 4, f"{tenth / 10:.1f}", "end"))
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
            parts.append(_level(centre - half, centre + half, level, "line"))
            parts.append(_text(centre + half - 6, level - 6, f"{score.miou:.3f}", "end", "strong"))
            before = judged[number - 1].champion if number else None
            if before and before.miou is not None and slot / 2 <= WIDEST_STEP:
                edge = centre - half
                parts.append(_upright(edge, level, y(before.miou), "line thin"))
        parts.append(_text(centre, height - 20, turn.title, "middle", "label"))
    for number, turn in enumerate(judged):
        score, centre = turn.challenger, x(number) - half / 3
        if score and score.miou is not None:
            label = f"{turn.title}: challenger {score.miou:.3f}{_interval_text(score.interval)}"
            if score.interval:
                parts.append(_upright(centre, y(score.interval[0]), y(score.interval[1]), "whisker"))
            kind = "mark accent" if turn.promote else "mark hollow"
            parts.append(_mark("dot", centre, y(score.miou), kind, label))
    return _svg(height, "mIoU of champion and challenger by generation", parts)


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
        parts.append(_text(x(tenth / 10), height - 8, f"{tenth / 10:.1f}", "middle"))
    for number, (name, values) in enumerate(rows):
        start = top + band * number
        if number:
            parts.append(f'<line class="rule" x1="0" x2="{WIDTH}" y1="{start}" y2="{start}"/>')
        parts.append(_text(LEFT - 12, start + band / 2 + 4, _short(name), "end", "strong" if number == 0 else "label"))
        for order, (arm, (value, interval)) in enumerate(values.items()):
            look = _look(arm)
            middle = start + 8 + step * (order + 0.5)
            if value is None:
                parts.append(_text(x(0) + 6, middle + 4, "not measured", "start"))
                continue
            if interval:
                parts.append(_level(x(interval[0]), x(interval[1]), middle, f"whisker arm{look}"))
            label = f"{name}, {arm_label(arm)}: {value:.3f}{_interval_text(interval)}"
            parts.append(_mark(MARKS[look], x(value), middle, f"mark arm{look}", label))
            parts.append(_text(WIDTH, middle + 4, f"{value:.3f}", "end"))
    return _svg(height, "IoU by class and arm with intervals", parts)


def arm_key(arm: str) -> Markup:
    """The arm's mark, for a legend."""
    mark = _mark(MARKS[_look(arm)], 7, 7, f"mark arm{_look(arm)}", "")
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
        parts.append(_text(left - 12, top + 14, _short(name), "end", "label"))
        for order, group in enumerate(groups):
            width = (WIDTH - left - 60) * row.get(group, 0) / longest
            if width:
                parts.append(
                    f'<rect class="bar bar{order}" x="{start:.1f}" y="{top}" width="{width:.1f}" height="{step - 8}">'
                    f"<title>{escape(name)}, {escape(group)}: {row[group]}</title></rect>"
                )
            start += width
        parts.append(_text(start + 8, top + 14, str(sum(row.values())), "start"))
    return _svg(height, "Images by class", parts)


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


def _text(x: float, y: float, text: str, anchor: str, kind: str = "tick") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _level(left: float, right: float, y: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{left:.1f}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'


def _upright(x: float, top: float, bottom: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}"/>'


def _mark(shape: str, x: float, y: float, kind: str, label: str) -> str:
    title = f"<title>{escape(label)}</title>" if label else ""
    if shape == "dot":
        return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4.5">{title}</circle>'
    corners = {
        "square": ((-4, -4), (4, -4), (4, 4), (-4, 4)),
        "diamond": ((0, -5.5), (5.5, 0), (0, 5.5), (-5.5, 0)),
        "triangle": ((0, -5), (5, 4), (-5, 4)),
    }[shape]
    points = " ".join(f"{x + right:.1f},{y + down:.1f}" for right, down in corners)
    return f'<polygon class="{kind}" points="{points}">{title}</polygon>'


def _svg(height: float, label: str, parts: list[str]) -> Markup:
    return Markup(
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )
