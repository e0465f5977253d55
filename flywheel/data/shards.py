"""Immutable Parquet shards that carry samples with their PNG bytes.

Readable by pandas, DuckDB, Hugging Face `datasets` and Ray Data. A shard is named by the digest of its content and
never rewritten: new data add shards, and a remote is sent only what is new.
"""

import io
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from flywheel.data.sample import Sample, decode_png, encode_png
from flywheel.errors import DataInvalid
from flywheel.files import sha256, write_bytes

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("image", pa.binary()),  # PNG, RGB
        ("mask", pa.binary()),  # PNG, one channel of class indices; null when unlabelled
        ("caption", pa.string()),
        ("product", pa.string()),
        ("group", pa.string()),
        ("given_split", pa.string()),
        ("source", pa.string()),
        ("origin", pa.string()),
        ("annotator", pa.string()),
        ("clicks", pa.int32()),
        ("version", pa.int32()),
        ("parents", pa.list_(pa.string())),
        ("generator", pa.string()),
        ("seed", pa.int64()),
        ("scores", pa.string()),  # JSON
        ("height", pa.int32()),
        ("width", pa.int32()),
    ]
)
PIXEL_COLUMNS = ("image", "mask")
ROWS_PER_SHARD = 256
SUFFIX = ".parquet"


def _row(sample: Sample) -> dict[str, object]:
    return {
        "id": sample.id,
        "image": encode_png(sample.image),
        "mask": None if sample.mask is None else encode_png(sample.mask),
        "caption": sample.caption,
        "product": sample.product,
        "group": sample.group,
        "given_split": sample.given_split,
        "source": sample.source,
        "origin": sample.origin,
        "annotator": sample.annotator,
        "clicks": sample.clicks,
        "version": sample.version,
        "parents": list(sample.parents),
        "generator": sample.generator,
        "seed": sample.seed,
        "scores": json.dumps(sample.scores, sort_keys=True),
        "height": sample.image.shape[0],
        "width": sample.image.shape[1],
    }


def _sample(row: dict) -> Sample:
    return Sample(
        image=decode_png(row["image"]),
        mask=None if row["mask"] is None else decode_png(row["mask"]),
        caption=row["caption"],
        product=row["product"],
        group=row["group"],
        given_split=row["given_split"],
        source=row["source"],
        origin=row["origin"],
        annotator=row["annotator"],
        clicks=row["clicks"],
        version=row["version"],
        parents=tuple(row["parents"]),
        generator=row["generator"],
        seed=row["seed"],
        scores=json.loads(row["scores"]),
        id=row["id"],
    )


def write_shard(folder: Path, kind: str, samples: list[Sample]) -> Path:
    """Write one shard `KIND-<digest>.parquet` in `folder`; writing the same samples again gives the same file.

    kind: "pool" (unlabelled), "real" (labelled) or "synthetic".
    """
    table = pa.Table.from_pylist([_row(sample) for sample in samples], schema=SCHEMA)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="none", row_group_size=32)  # PNG is compressed already
    content = buffer.getvalue()
    path = folder / f"{kind}-{sha256(content)[:16]}{SUFFIX}"
    if not path.exists():
        write_bytes(path, content)
    return path


def write_shards(folder: Path, kind: str, samples: Iterable[Sample], rows: int = ROWS_PER_SHARD) -> list[Path]:
    """Write `samples` as shards of at most `rows` samples each; holds one shard in memory at a time."""
    paths, batch = [], []
    for sample in samples:
        batch.append(sample)
        if len(batch) == rows:
            paths.append(write_shard(folder, kind, batch))
            batch = []
    if batch:
        paths.append(write_shard(folder, kind, batch))
    return paths


def shard_files(folder: Path) -> list[Path]:
    """Complete shards of a folder in name order."""
    return sorted(folder.glob(f"*{SUFFIX}")) if folder.exists() else []


def read_index(folder: Path) -> pd.DataFrame:
    """All rows of a folder's shards without pixels, plus columns `shard` (file name), `row` and `labelled` (bool)."""
    tables = []
    columns = [name for name in SCHEMA.names if name not in PIXEL_COLUMNS]
    for path in shard_files(folder):
        file = _open(path)
        table = file.read(columns=columns).to_pandas()
        table["labelled"] = table["annotator"] != ""
        table.insert(0, "shard", path.name)
        table.insert(1, "row", range(len(table)))
        tables.append(table)
    if not tables:
        return pd.DataFrame(columns=["shard", "row", *columns, "labelled"]).astype({"labelled": bool})
    return pd.concat(tables, ignore_index=True)


def read_shard(path: Path) -> Iterator[Sample]:
    """The samples of one shard in order, decoded one row group at a time."""
    for batch in _open(path).iter_batches(batch_size=32):
        for row in batch.to_pylist():
            yield _sample(row)


def read_samples(folder: Path, rows: pd.DataFrame) -> list[Sample]:
    """Samples of `rows` (a table with `shard` and `id`, as `read_index` or a manifest gives), in the order of `rows`.

    Of several labels of a sample in one shard the highest version counts, and of equal versions the first.
    Raises DataInvalid when a shard is missing or damaged, or a row is missing.
    """
    found: dict[tuple[str, str], Sample] = {}
    for shard, wanted in rows.groupby("shard")["id"]:
        ids = set(wanted)
        with _readable(folder / str(shard)) as path:
            table = pq.read_table(path, filters=[("id", "in", ids)])
        for row in table.sort_by([("version", "descending")]).to_pylist():
            if (str(shard), row["id"]) not in found:
                found[(str(shard), row["id"])] = _sample(row)
    keys = list(zip(rows["shard"], rows["id"], strict=True))
    missing = [key for key in keys if key not in found]
    if missing:
        raise DataInvalid(f"{folder / missing[0][0]}: no sample {missing[0][1]}; restore the shard with dvc pull")
    return [found[key] for key in keys]


def existing_shard(path: Path) -> Path:
    """The path itself. Raises DataInvalid when nothing is there."""
    if not path.exists():
        raise DataInvalid(f"{path}: shard is missing; restore it with dvc pull")
    return path


@contextmanager
def _readable(path: Path) -> Iterator[Path]:
    """The path, for reading it. Raises DataInvalid when it is missing or damaged."""
    try:
        yield existing_shard(path)
    except (pa.ArrowException, OSError) as err:
        raise DataInvalid(f"{path}: not a Parquet shard ({err}); restore it with dvc pull") from err


def _open(path: Path) -> pq.ParquetFile:
    with _readable(path):
        return pq.ParquetFile(path)
