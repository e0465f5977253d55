"""Bring a source's images and labels into a workspace, once each, with every rejected file accounted for."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import chain

from flywheel.data.classes import ClassTable
from flywheel.data.sample import Sample
from flywheel.data.shards import read_index
from flywheel.data.splits import add_classes, assign_splits, load_splits, save_splits, split_of
from flywheel.errors import MaskInvalid, UnreadableImage
from flywheel.files import append_line, read_json, sha256
from flywheel.ingest.duplicates import Known
from flywheel.ingest.formats import AUTO, read_layout
from flywheel.ingest.layout import Item, Layout
from flywheel.ingest.ledger import read_rows
from flywheel.ingest.quarantine import Quarantine
from flywheel.ingest.samples import classes_in, into_table, read_sample
from flywheel.ingest.source import Source, is_hidden, is_image_name, open_source, suffix
from flywheel.ingest.writer import ShardWriter
from flywheel.params import Params
from flywheel.paths import Paths
from flywheel.progress import progress

ANNOTATOR = "import"
DEFAULT_PRODUCT = "default"
FROZEN_TEST = "frozen_test.json"
# Tables, lists and notes of a data set: they belong to it even when a reader has no use for them.
_DOCUMENTS = frozenset({".csv", ".json", ".md", ".xlsx", ".xml"})


@dataclass(frozen=True)
class IngestReport:
    """accepted: new rows, of them `labelled` with a label. classes: names seen in masks, in table order.

    recognised: files that belong to the layout without being an image. ignored: files left alone, with the reason.
    splits: accepted rows by split.
    """

    accepted: int
    labelled: int
    duplicates: int
    rejected: list[dict[str, str]]
    classes: list[str]
    format: str
    source: str
    product: str
    splits: dict[str, int]
    recognised: int
    ignored: list[dict[str, str]]

    def as_dict(self) -> dict:
        """JSON-ready form."""
        return asdict(self)


def ingest(
    source: str,
    paths: Paths,
    params: Params,
    *,
    product: str = DEFAULT_PRODUCT,
    format: str = AUTO,
    hide_labels: bool = False,
) -> IngestReport:
    """Take the images and labels of a folder, a zip archive or `s3://bucket/prefix` into the workspace at `paths`.

    product: what the images show; a tree with several products names its own, below `product` when one is given.
    format: auto, index-mask, mvtec, defect-spectrum, coco, label-studio, cvat or images.
    hide_labels: take images only; masks and captions stay unread.
    Ingesting the same source again adds nothing; a killed run, run again, ends in the same workspace.
    Raises IngestError when the source as a whole can't be read, StorageUnavailable when storage doesn't answer.
    """
    return ingest_from(open_source(source), paths, params, product=product, format=format, hide_labels=hide_labels)


def ingest_from(
    source: Source, paths: Paths, params: Params, *, product: str, format: str, hide_labels: bool
) -> IngestReport:
    """`ingest` from an opened source."""
    max_pixels = params.ingest.max_pixels
    chosen, layout = read_layout(source, format, max_pixels)
    quarantine = Quarantine(paths, source)
    for file, reason in chain(source.problems(), layout.problems):
        quarantine.reject(file, reason)
    writer = ShardWriter(paths)
    known = Known(paths.shards)
    counts: Counter[str] = Counter()
    seen: set[str] = set()
    ours: dict[str, bool] = {}
    accepted: list[str] = []
    items = sorted(layout.items, key=lambda item: item.image)
    for item in progress(items, f"ingest {source.location}", total=len(items)):
        try:
            sample = read_sample(source, item, max_pixels=max_pixels, annotator=ANNOTATOR, hide_label=hide_labels)
            sample = replace(sample, product=_product(product, item), id=sample.id)
            if sample.mask is not None:
                names = classes_in(sample, item.classes)
                table = writer.with_classes(names)
                indices = {name.casefold(): index for index, name in enumerate(table.names, start=1)}
                sample = replace(sample, mask=into_table(sample.mask, item.classes, indices, sample.source))
            verdict = known.judge(sample)
        except (UnreadableImage, MaskInvalid) as err:
            quarantine.reject(item.image, str(err), *([item.mask_file] if item.mask_file else []))
            continue
        if sample.mask is not None:
            seen.update(name.casefold() for name in names)
        if verdict == "duplicate":
            counts["duplicates"] += 1
            if known.is_from(sample.id, sample.source):
                ours[sample.id] = sample.mask is not None
            continue
        if verdict == "label":
            of_product, group, given = known.place(sample.id)
            sample = replace(sample, product=of_product, group=group, given_split=given)
        if sample.mask is not None:
            writer.accept_classes(names)
        writer.add(sample)
        known.add(sample)
        ours[sample.id] = sample.mask is not None
        accepted.append(sample.id)
        counts["accepted"] += 1
        counts["labelled"] += sample.mask is not None
    writer.flush()
    splits = _update_splits(paths, params, accepted)
    _record_source(paths, source, chosen, product, ours)
    recognised, ignored = _others(source, layout, chosen)
    return IngestReport(
        accepted=counts["accepted"],
        labelled=counts["labelled"],
        duplicates=counts["duplicates"],
        rejected=quarantine.rejected,
        classes=[name for name in writer.classes.names if name.casefold() in seen],
        format=chosen,
        source=source.location,
        product=product,
        splits=splits,
        recognised=recognised,
        ignored=ignored,
    )


def read_labelled(source: str, *, format: str = AUTO, max_pixels: int, classes: ClassTable) -> Iterator[Sample]:
    """The labelled samples of a data set, masks in the indices of `classes`; files that can't be read are left out.

    Raises IngestError when the source can't be read; DataInvalid when it has a class that `classes` lacks: extend the
    table with `class_names` first.
    """
    opened = open_source(source)
    _, layout = read_layout(opened, format, max_pixels)
    for item in sorted(layout.items, key=lambda item: item.image):
        if item.label is None:
            continue
        try:
            sample = read_sample(opened, item, max_pixels=max_pixels, annotator=ANNOTATOR, hide_label=False)
        except (UnreadableImage, MaskInvalid):
            continue
        assert sample.mask is not None
        indices = {name.casefold(): classes.index(name) for name in classes_in(sample, item.classes)}
        yield replace(sample, mask=into_table(sample.mask, item.classes, indices, sample.source))


def class_names(source: str, *, format: str = AUTO, max_pixels: int) -> list[str]:
    """Class names that a data set declares, in its own order, whether or not a mask holds them."""
    _, layout = read_layout(open_source(source), format, max_pixels)
    names: dict[str, str] = {}
    for item in sorted(layout.items, key=lambda item: item.image):
        for name in item.classes.values():
            names.setdefault(name.casefold(), name)
    return list(names.values())


def frozen_products(paths: Paths) -> set[str]:
    """Products whose test set was frozen at their first generation."""
    path = paths.generation.parent / FROZEN_TEST
    return set(read_json(path)) if path.exists() else set()


def _product(product: str, item: Item) -> str:
    if item.product in ("", DEFAULT_PRODUCT):
        return product
    return item.product if product == DEFAULT_PRODUCT else f"{product}/{item.product}"


def _update_splits(paths: Paths, params: Params, accepted: list[str]) -> dict[str, int]:
    """Decide the split of every new group, also of those that a killed run left undecided; count accepted rows."""
    index = read_index(paths.shards)
    if index.empty:
        return {}
    before = load_splits(paths.splits)
    after = assign_splits(
        before,
        add_classes(paths.shards, index, before),
        params.split,
        honour_given=params.ingest.honour_given_splits,
        frozen_products=frozen_products(paths),
        seed=params.seed,
    )
    if len(after) != len(before):
        save_splits(paths.splits, after)
    of_id = dict(zip(index["id"], split_of(index, after), strict=True))
    return dict(sorted(Counter(of_id[sample_id] for sample_id in accepted).items()))


def _record_source(paths: Paths, source: Source, format: str, product: str, ours: dict[str, bool]) -> None:
    """Add a line to the ledger of sources, unless a line tells of the same samples from it already.

    ours: ids in the workspace that came from this source -> whether it labelled them. A run that was killed before
    this line writes, run again, the line that it would have written.
    """
    if not ours:
        return
    digest = sha256("\n".join(f"{sample_id} {labelled}" for sample_id, labelled in sorted(ours.items())).encode())
    for row in read_rows(paths.sources):
        if (row.get("source"), row.get("product"), row.get("digest")) == (source.location, product, digest):
            return
    row = {
        "source": source.location,
        "format": format,
        "product": product,
        "digest": digest,
        "samples": len(ours),
        "labelled": sum(ours.values()),
    }
    append_line(paths.sources, json.dumps(row, ensure_ascii=False, sort_keys=True))


def _others(source: Source, layout: Layout, format: str) -> tuple[int, list[dict[str, str]]]:
    """How many files belong to the layout beside its images, and the files that were left alone."""
    ignored = dict(layout.ignored)
    accounted = {item.image for item in layout.items} | {file for file, _ in layout.problems} | set(ignored)
    recognised = 0
    for name in source.names():
        if name in accounted:
            continue
        if name in layout.recognised or is_hidden(name) or suffix(name) in _DOCUMENTS:
            recognised += 1
        else:
            kind = f"{name}: an image that is not part of the {format} layout"
            ignored[name] = kind if is_image_name(name) else f"{name}: not an image"
    return recognised, [{"file": file, "reason": reason} for file, reason in sorted(ignored.items())]
