"""Export of a workspace's generation, the newest or an older one."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from flywheel.data.classes import ClassTable
from flywheel.data.generation import load_all_rows
from flywheel.data.sample import Sample
from flywheel.data.shards import read_samples
from flywheel.errors import WorkspaceError
from flywheel.export.export import export
from flywheel.paths import Paths
from flywheel.workspace import Workspace

ROWS_AT_A_TIME = 64


def export_generation(ws: Workspace, out: Path, format: str, generation: str = "", synthetic: bool = False) -> dict:
    """Write a generation's labelled samples to `out`, with their splits.

    generation: a tag such as gen-0001; empty: the newest. synthetic: add the accepted synthetic pairs, which the other
    layouts cannot mark as such. Returns the export's report and the generation's name.
    Raises WorkspaceError when there is no such generation.
    """
    known = ws.generations()
    if not known:
        raise WorkspaceError(f"{ws.root}: no generation yet; run `flywheel turn` first")
    name = generation or known[-1]
    with ExitStack() as stack:
        ws.paths.state.mkdir(exist_ok=True)
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=ws.paths.state)))
        paths = stack.enter_context(ws.at(name, scratch / "clone")).paths
        classes = ClassTable.load(paths.generation / "classes.json")
        report: dict[str, Any] = export(_samples(paths, synthetic), classes, out, format)
    return report | {"generation": name, "out": str(out)}


def _samples(paths: Paths, synthetic: bool) -> Iterator[tuple[Sample, str]]:
    rows = load_all_rows(paths)
    for origin, folder in (("real", paths.shards), ("synthetic", paths.synthetic))[: 2 if synthetic else 1]:
        chosen = rows[rows["origin"] == origin]
        for start in range(0, len(chosen), ROWS_AT_A_TIME):
            part = chosen.iloc[start : start + ROWS_AT_A_TIME]
            for sample, split, text in zip(read_samples(folder, part), part["split"], part["caption"], strict=True):
                yield replace(sample, caption=text), split
