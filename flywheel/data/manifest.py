"""The manifest: one table per dataset generation, without pixels."""

from pathlib import Path

import pandas as pd
import pyarrow as pa

from flywheel.errors import ManifestInvalid
from flywheel.files import TEMPORARY_SUFFIX

# column: what it holds
COLUMNS = {
    "id": "sample id (16 hex digits of the pixels' SHA-256)",
    "shard": "file name of the shard that holds the pixels",
    "split": "train, val, test, or reserve (kept out until the test set is frozen anew)",
    "origin": "real or synthetic",
    "product": "which product the image shows",
    "group": "roll, board or tile; never divided between splits",
    "classes": "class indices in the mask, ascending, joined by '|'; empty for a defect-free sample",
    "areas": "pixels of each of those classes, joined by '|'",
    "height": "px",
    "width": "px",
    "caption": "one sentence made from the mask, or the data set's own",
    "annotator": "who labelled it: import, oracle, a person's name, or the generator",
    "clicks": "clicks that the label cost",
    "parents": "ids of the real samples it was made from, joined by '|'",
    "generator": "digest of the generator that drew it",
    "seed": "seed that drew it",
    "scores": "JSON: curation scores of a pair; of a person's label its seconds, corrections, reviewer, agreement",
    "reason": "why curation rejected it; empty when accepted",
    "source": "where the file came from",
}
SPLITS = ("train", "val", "test", "reserve")
FILE_NAME = "manifest.parquet"


def check_manifest(table: pd.DataFrame, where: str) -> None:
    """Raise ManifestInvalid when a column is missing, an id stands twice, or a split or origin is unknown."""
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise ManifestInvalid(f"{where}: column {missing[0]!r} is missing; build the generation again")
    twice = table["id"][table["id"].duplicated()]
    if len(twice):
        raise ManifestInvalid(f"{where}: sample {twice.iloc[0]} stands twice; build the generation again")
    for column, known in (("split", SPLITS), ("origin", ("real", "synthetic"))):
        bad = table.loc[~table[column].isin(known)]
        if len(bad):
            raise ManifestInvalid(
                f"{where}: sample {bad['id'].iloc[0]} has {column} {bad[column].iloc[0]!r}, expected {', '.join(known)}"
            )


def write_manifest(folder: Path, table: pd.DataFrame) -> Path:
    """Check `table` and write it as manifest.parquet; written last, so its existence means that all is complete."""
    check_manifest(table, str(folder))
    path = folder / FILE_NAME
    temporary = folder / f"{FILE_NAME}{TEMPORARY_SUFFIX}"
    folder.mkdir(parents=True, exist_ok=True)
    table[list(COLUMNS)].reset_index(drop=True).to_parquet(temporary, index=False)
    temporary.replace(path)
    return path


def read_manifest(folder: Path) -> pd.DataFrame:
    """The checked manifest of a generation or synthetic folder. Raises ManifestInvalid when it is missing or torn."""
    path = folder / FILE_NAME
    if not path.exists():
        raise ManifestInvalid(f"{path}: no manifest, so the folder is incomplete; run the stage again or dvc pull")
    try:
        table = pd.read_parquet(path)
    except (pa.ArrowException, OSError) as err:
        raise ManifestInvalid(f"{path}: not a readable manifest ({err}); run the stage again or dvc pull") from err
    check_manifest(table, str(path))
    return table


def joined(values: tuple[object, ...] | list[object]) -> str:
    return "|".join(str(value) for value in values)


def class_sets(table: pd.DataFrame) -> list[tuple[int, ...]]:
    """The `classes` column as tuples of indices."""
    return [tuple(int(part) for part in text.split("|") if part) for text in table["classes"]]
