"""One item of a layout to one sample: read, decode, label, check."""

import numpy as np

from flywheel.data.sample import Sample
from flywheel.errors import MaskInvalid
from flywheel.ingest.images import byte_limit, decode_image
from flywheel.ingest.layout import Item, NoMask
from flywheel.ingest.masks import check_indices, fit_mask, remapped
from flywheel.ingest.source import Source


def read_sample(source: Source, item: Item, *, max_pixels: int, annotator: str, hide_label: bool) -> Sample:
    """The sample of `item`, its mask in the indices of `item.classes`.

    hide_label: leave mask and caption out, as if the source had none.
    Raises UnreadableImage or MaskInvalid.
    """
    picture = decode_image(source.read(item.image, byte_limit(max_pixels)), item.image, max_pixels)
    mask = None
    if item.label is not None and not hide_label:
        where = item.mask_file or item.image
        if isinstance(item.label, NoMask):
            mask = np.zeros(picture.pixels.shape[:2], np.uint8)
        else:
            mask = fit_mask(item.label(), picture, where)
            check_indices(mask, item.classes, where)
    return Sample(
        image=picture.pixels,
        mask=mask,
        caption="" if hide_label else item.caption,
        product=item.product,
        group=item.group,
        given_split=item.given_split,
        source=f"{source.location}/{item.image}",
        annotator=annotator if mask is not None else "",
    )


def classes_in(sample: Sample, classes: dict[int, str]) -> list[str]:
    """Names of the classes in the sample's mask, in the order of the source's indices."""
    return [classes[index] for index in sample.class_indices]


def into_table(mask: np.ndarray, classes: dict[int, str], indices: dict[str, int], where: str) -> np.ndarray:
    """`mask` from the source's indices to those of a class table.

    indices: case-folded class name -> index. Raises MaskInvalid for a class in the mask that `indices` lacks.
    """
    table = {local: indices[name.casefold()] for local, name in classes.items() if name.casefold() in indices}
    unknown = [classes[local] for local in np.unique(mask).tolist() if local in classes and local not in table]
    if unknown:
        raise MaskInvalid(f"{where}: class {unknown[0]!r} is not in the class table; add it there first")
    return remapped(mask, table, where)
