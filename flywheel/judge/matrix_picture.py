"""The confusion matrix as a picture."""

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage

from flywheel.data.overlay import PAPER, text_line

DPI = 110
NAME_WIDTH, NAME_HEIGHT = 160, 18  # px, longer names are cut
POINT = 72 / DPI  # a pixel in points


def confusion_picture(matrix: np.ndarray, names: list[str], title: str) -> bytes:
    """PNG of a confusion matrix, each row in shares of its true pixels.

    matrix: (C, C) pixel counts, rows true, columns predicted. names: C class names, background first.
    """
    total = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, total, out=np.zeros(matrix.shape), where=total > 0)
    side = 2.4 + 0.62 * len(names)
    figure = Figure(figsize=(side + 0.6, side), dpi=DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(names))
    if all(name.isascii() for name in names):
        axes.set_xticks(ticks, names, rotation=45, ha="right")
        axes.set_yticks(ticks, names)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true (share of its pixels)")
    else:
        pad = _name_ticks_in_any_script(axes, names)
        axes.set_xlabel("predicted", labelpad=pad)
        axes.set_ylabel("true (share of its pixels)", labelpad=pad)
    axes.set_title(title, fontsize=10)
    for row in ticks:
        for column in ticks:
            share = shares[row, column]
            text = "" if total[row, 0] == 0 else f"{share:.2f}"
            axes.text(
                column, row, text, ha="center", va="center", fontsize=8, color="white" if share > 0.55 else "black"
            )
    buffer = io.BytesIO()
    canvas.print_png(buffer, metadata={"Software": None})  # equal matrices are equal bytes
    return buffer.getvalue()


def _name_ticks_in_any_script(axes: Axes, names: list[str]) -> float:
    """Draw the names at the ticks as pictures, as matplotlib's font has no Chinese; returns their room in points."""
    strips = [text_line(name, NAME_WIDTH, NAME_HEIGHT) for name in names]
    widths = [int(np.flatnonzero((strip < PAPER).any((0, 2))).max(initial=1)) + 2 for strip in strips]
    axes.set_xticks(range(len(names)), [])
    axes.set_yticks(range(len(names)), [])
    for place, (strip, width) in enumerate(zip(strips, widths, strict=True)):
        for upright in (False, True):
            name = np.rot90(strip[:, :width]) if upright else strip[:, :width]
            axes.add_artist(
                AnnotationBbox(
                    OffsetImage(name, zoom=POINT, interpolation="nearest"),
                    (place, 0) if upright else (0, place),
                    xycoords=("data", "axes fraction") if upright else ("axes fraction", "data"),
                    xybox=(0, -5) if upright else (-5, 0),
                    boxcoords="offset points",
                    box_alignment=(0.5, 1) if upright else (1, 0.5),
                    frameon=False,
                    pad=0,
                    annotation_clip=False,
                )
            )
    return max(widths) * POINT
