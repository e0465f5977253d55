"""Pictures for people: a mask laid over its image, and labelled grids of such pictures."""

import cv2
import numpy as np

from flywheel.data.classes import BACKGROUND, IGNORE, ClassTable
from flywheel.errors import DataInvalid, MaskInvalid

PAPER = 255  # grey value between the cells of a grid
MARGIN = 4  # px around a cell
TEXT_SIZE = 13  # px


def overlay(
    image: np.ndarray, mask: np.ndarray, classes: ClassTable, *, alpha: float = 0.45, outline: bool = True
) -> np.ndarray:
    """The image with every class of the mask tinted in its colour.

    image: (H, W, 3) uint8 RGB; mask: (H, W) uint8 class indices, 255 (ignore) is tinted grey; alpha: weight of the
    colour in 0..1; outline: the outermost pixels of each region are drawn in full colour, so that a thin or pale
    defect is seen. Returns (H, W, 3) uint8 RGB; pixels of the background are the image's own.
    Raises MaskInvalid when the mask has another size.
    """
    if mask.shape != image.shape[:2]:
        raise MaskInvalid(f"mask is {mask.shape}, image is {image.shape[:2]} (rows, columns); export the mask again")
    marked = mask != BACKGROUND
    colours = classes.palette()[mask].astype(np.float32)
    picture = image.copy()
    picture[marked] = np.rint((1 - alpha) * image[marked] + alpha * colours[marked]).astype(np.uint8)
    if outline:
        # a pixel is on the outline when the smallest or largest index around it differs from its own
        kernel = np.ones((3, 3), np.uint8)
        inner = (cv2.erode(mask, kernel) == mask) & (cv2.dilate(mask, kernel) == mask)
        edge = marked & ~inner & (mask != IGNORE)
        picture[edge] = colours[edge].astype(np.uint8)
    return picture


def grid(images: list[np.ndarray], columns: int, *, labels: list[str] | None = None) -> np.ndarray:
    """Images in rows of `columns` cells on white, row by row, each in the middle of its cell with its label below.

    images: (H, W, 3) uint8 RGB, of any sizes; labels: one line each, cut to the cell's width; Chinese is drawn too.
    Returns one (H, W, 3) uint8 RGB picture. Raises DataInvalid for no images or another number of labels.
    """
    if not images or columns < 1:
        raise DataInvalid(f"a grid of {len(images)} images in {columns} columns; it needs at least one of both")
    if labels is not None and len(labels) != len(images):
        raise DataInvalid(f"{len(labels)} labels for {len(images)} images; give one label an image")
    height = max(image.shape[0] for image in images)
    width = max(image.shape[1] for image in images)
    text = TEXT_SIZE + MARGIN if labels else 0
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    cell_height, cell_width = height + text + 2 * MARGIN, width + 2 * MARGIN
    sheet = np.full((rows * cell_height, columns * cell_width, 3), PAPER, np.uint8)
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        top = row * cell_height + MARGIN + (height - image.shape[0]) // 2
        left = column * cell_width + MARGIN + (width - image.shape[1]) // 2
        sheet[top : top + image.shape[0], left : left + image.shape[1]] = image
        if labels:
            below = row * cell_height + MARGIN + height
            strip = sheet[below : below + text, column * cell_width + MARGIN : (column + 1) * cell_width - MARGIN]
            strip[:] = text_line(labels[number], strip.shape[1], text)
    return sheet


def text_line(text: str, width: int, height: int) -> np.ndarray:
    """One line of black text on white, (height, width, 3) uint8; text that is too long is cut and ends in dots."""
    strip = np.full((height, width, 3), PAPER, np.uint8)
    size = max(6, min(TEXT_SIZE, height - 2))
    if not hasattr(cv2, "FontFace"):  # OpenCV 4 has stroke fonts for ASCII alone
        text = text.encode("ascii", "replace").decode()
        cv2.putText(strip, text, (0, size), cv2.FONT_HERSHEY_SIMPLEX, size / 32, (0, 0, 0), 1, cv2.LINE_AA)
        return strip
    font = cv2.FontFace("uni")
    shown = text
    while len(shown) > 1 and _text_width(shown, font, size) > width:
        shown = shown.rstrip("…")[:-1] + "…"
    cv2.putText(strip, shown, (0, size), (0, 0, 0), font, size)
    return strip


def _text_width(text: str, font: cv2.FontFace, size: int) -> int:
    return cv2.getTextSize((0, 0), text, (0, 0), font, size)[2]
