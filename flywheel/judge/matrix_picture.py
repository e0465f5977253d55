"""The confusion matrix as a picture."""

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def confusion_picture(matrix: np.ndarray, names: list[str], title: str) -> bytes:
    """PNG of a confusion matrix, each row in shares of its true pixels.

    matrix: (C, C) pixel counts, rows true, columns predicted. names: C class names, background first.
    """
    total = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, total, out=np.zeros(matrix.shape), where=total > 0)
    side = 2.4 + 0.62 * len(names)
    figure = Figure(figsize=(side + 0.6, side), dpi=110, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(names))
    axes.set_xticks(ticks, names, rotation=45, ha="right")
    axes.set_yticks(ticks, names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true (share of its pixels)")
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
