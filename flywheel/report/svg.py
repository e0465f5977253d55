"""The pieces of a chart as SVG text; lengths in px of a chart that is WIDTH px wide."""

from html import escape

from markupsafe import Markup

WIDTH = 1040  # px at full page width, so that a font size in the chart is one on the page


def text(x: float, y: float, words: str, anchor: str, kind: str = "tick") -> str:
    """Words at a place. anchor: start, middle or end; kind: class in the style sheet."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def level(left: float, right: float, y: float, kind: str) -> str:
    """A line from left to right."""
    return f'<line class="{kind}" x1="{left:.1f}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'


def upright(x: float, top: float, bottom: float, kind: str) -> str:
    """A line from top to bottom."""
    return f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}"/>'


def mark(shape: str, x: float, y: float, kind: str, label: str) -> str:
    """A dot, square, diamond or triangle; label: what it says when pointed at."""
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


def chart(height: float, label: str, parts: list[str]) -> Markup:
    """The parts as one picture of the page's width."""
    return Markup(
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )
