"""The chart of what a label cost by turn: clicks and seconds, each on a scale of its own from zero."""

import math
from html import escape

from markupsafe import Markup

from flywheel.report.history import Turn
from flywheel.report.svg import WIDTH, chart, level, text

HEIGHT, TOP, BOTTOM = 200, 40, 30
WIDEST_BAR = 40  # px
LABEL = 70  # px that a generation's name needs
GAP = 40  # px between the parts


def cost_chart(turns: list[Turn]) -> Markup:
    """Clicks and seconds a label and a region, one bar a turn; turns without labels of the desk are left out."""
    costed = [turn for turn in turns if turn.cost.clicks is not None and turn.cost.seconds is not None]
    if not costed:
        return Markup()
    figures = (
        ("clicks a label", [turn.cost.clicks or 0.0 for turn in costed], 2),
        ("seconds a label", [turn.cost.seconds or 0.0 for turn in costed], 1),
        ("clicks a region", [turn.cost.region_clicks or 0.0 for turn in costed], 2),
        ("seconds a region", [turn.cost.region_seconds or 0.0 for turn in costed], 1),
    )
    width = (WIDTH - (len(figures) - 1) * GAP) / len(figures)
    titles = [turn.generation for turn in costed]
    parts = []
    for number, (what, values, digits) in enumerate(figures):
        parts += _bars(number * (width + GAP), width, what, titles, values, digits)
    return chart(HEIGHT, "Clicks and seconds a label and a region by generation", parts)


def _bars(left: float, width: float, what: str, titles: list[str], values: list[float], digits: int) -> list[str]:
    """Bars from `left` on, with their values above them; of many bars every so many are named, the last one always."""
    highest = max([*values, 1e-9])
    slot = width / len(values)
    bar = min(WIDEST_BAR, 0.6 * slot)
    floor, every = HEIGHT - BOTTOM, math.ceil(LABEL / slot)
    parts = [text(left, 12, what, "start", "strong"), level(left, left + width, floor, "grid")]
    for number, (title, value) in enumerate(zip(titles, values, strict=True)):
        middle = left + slot * (number + 0.5)
        tall = (floor - TOP) * value / highest
        parts.append(
            f'<rect class="bar bar3" x="{middle - bar / 2:.1f}" y="{floor - tall:.1f}" width="{bar:.1f}" '
            f'height="{tall:.1f}"><title>{escape(title)}: {value:.{digits}f} {what}</title></rect>'
        )
        if (len(values) - 1 - number) % every == 0:
            parts.append(text(middle, floor - tall - 6, f"{value:.{digits}f}", "middle", "strong"))
            parts.append(text(middle, HEIGHT - 10, title, "middle", "label"))
    return parts
