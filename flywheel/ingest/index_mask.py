"""Reader of the index-mask folder, the layout that this product itself writes.

    index.csv      columns file, and where known id, classes (names joined by '|'), group, split, product, caption
    images/0001.png
    masks/0001.png 8-bit class indices: 0 background, 255 ignore; named like `id`, or like the image, in its subfolder
    classes.json   {"0": "background", "1": "hole", ...}

A row without classes and without a mask is a defect-free image. Without classes.json or without the column `classes`,
an image that has no mask is unlabelled. Without index.csv, images/ and masks/ are paired by name.
"""

import csv
import io
from collections.abc import Callable

import numpy as np

from flywheel.errors import IngestError, MaskInvalid
from flywheel.ingest.class_lists import parse_classes_json
from flywheel.ingest.layout import Item, Layout, NoMask, given_split, missing_label, read_mask
from flywheel.ingest.mask_finder import MaskFinder
from flywheel.ingest.masks import check_indices
from flywheel.ingest.source import Source, is_image_name, read_table_text

NAME = "index-mask"
LOOKS_FOR = "index.csv, or images/ with masks/"
TABLE, CLASSES = "index.csv", "classes.json"
IMAGES, MASKS = "images/", "masks/"


def evidence(source: Source, names: list[str]) -> str:
    if TABLE in names:
        return TABLE
    both = all(any(name.startswith(part) and is_image_name(name) for name in names) for part in (IMAGES, MASKS))
    return f"{IMAGES} with {MASKS}" if both else ""


def read(source: Source, names: list[str], max_pixels: int) -> Layout:
    layout = Layout(recognised={TABLE, CLASSES} & set(names))
    masks = [name for name in names if name.startswith(MASKS) and is_image_name(name)]
    classes: dict[int, str] = {}
    if CLASSES in names:
        classes = parse_classes_json(read_table_text(source, CLASSES), CLASSES)
    elif masks:
        raise IngestError(
            f'{MASKS} has masks but there is no {CLASSES}; write {{"0": "background", "1": "name"}} there'
        )
    known = set(names)
    rows = []
    for line, row in _rows(source, names, layout):
        name = row["file"]
        if name in known:
            rows.append((line, row))
        else:
            layout.problems.append((name, f"{name}: listed in {TABLE} line {line}, not in the source; add the file"))
    rows += _unlisted(rows, names, layout)
    finder = MaskFinder([row["file"] for _, row in rows], masks, [row.get("id", "") for _, row in rows])
    for line, row in rows:
        name = row["file"]
        found, fault = finder.find(name, row.get("id", ""))
        layout.recognised |= set(found)
        mask = found[0] if found else ""
        try:
            split = given_split(row.get("split", ""), f"{name}: {TABLE} line {line}")
        except IngestError as err:
            layout.problems.append((name, str(err)))
            continue
        layout.items.append(
            Item(
                name,
                label=missing_label(fault) if fault else _label(source, row, mask, classes, max_pixels),
                classes=classes,
                mask_file=mask,
                product=row.get("product", ""),
                group=row.get("group", ""),
                given_split=split,
                caption=row.get("caption", ""),
            )
        )
    unused = [mask for mask in masks if mask not in layout.recognised]
    layout.ignored += [(mask, f"{mask}: a mask without an image") for mask in unused]
    return layout


def _unlisted(
    rows: list[tuple[int, dict[str, str]]], names: list[str], layout: Layout
) -> list[tuple[int, dict[str, str]]]:
    """A row for every file in images/ that the table forgot: unlabelled, unless masks/ knows it.

    While the table has faults, a forgotten file may be one that it misspells: taken now, it would be without its group
    and split for ever, so it waits as a problem.
    """
    listed = {row["file"] for _, row in rows}
    forgotten = [name for name in names if name.startswith(IMAGES) and is_image_name(name) and name not in listed]
    if not layout.problems:
        return [(0, {"file": name}) for name in forgotten]
    reason = f"not listed in {TABLE}, which names files that are not here; mend the table first"
    layout.problems += [(name, f"{name}: {reason}") for name in forgotten]
    return []


def _rows(source: Source, names: list[str], layout: Layout) -> list[tuple[int, dict[str, str]]]:
    """(line, row) of index.csv, or rows made from the files in images/. Values are stripped strings."""
    if TABLE not in names:
        return [(0, {"file": name}) for name in names if name.startswith(IMAGES) and is_image_name(name)]
    reader = csv.DictReader(io.StringIO(read_table_text(source, TABLE), newline=""))
    try:
        columns = [(column or "").strip().lower() for column in reader.fieldnames or []]
        if "file" not in columns:
            raise IngestError(
                f"{TABLE}: no column 'file' among {', '.join(columns) or 'none'}; name the columns in line 1"
            )
        reader.fieldnames = columns
        known = set(names)
        rows = []
        for values in reader:
            row = {column: (values[column] or "").strip() for column in columns}
            if row["file"] not in known:
                row["file"] = row["file"].replace("\\", "/").removeprefix("./")
            if row["file"]:
                rows.append((reader.line_num, row))
            else:
                place = f"{TABLE}:{reader.line_num}"
                layout.problems.append((place, f"{place}: no file name in column 'file'; complete the row"))
        return rows
    except csv.Error as err:
        raise IngestError(f"{TABLE}:{reader.line_num}: not a readable table ({err}); save it as CSV") from err


def _label(
    source: Source, row: dict[str, str], mask: str, classes: dict[int, str], max_pixels: int
) -> Callable[[], np.ndarray] | None:
    """How the row's mask is read; None when the row is unlabelled."""
    told = {part.strip().casefold() for part in row["classes"].split("|") if part.strip()} if "classes" in row else None
    if not mask:
        if not classes or told is None:
            return None
        if told:
            return missing_label(f"{row['file']}: {TABLE} says {row['classes']}, but {MASKS} has no mask; add it")
        return NoMask()

    def label() -> np.ndarray:
        values = read_mask(source, mask, max_pixels)
        check_indices(values, classes, mask)
        if told is not None:
            found = {name.casefold() for index, name in classes.items() if (values == index).any()}
            if found != told:
                raise MaskInvalid(
                    f"{mask}: holds {_listed(found)}, {TABLE} says {_listed(told)}; mend the mask or the table"
                )
        return values

    return label


def _listed(names: set[str]) -> str:
    return "|".join(sorted(names)) or "no defect"
