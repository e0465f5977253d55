"""The plan of a turn's synthesis, cut into shards that are drawn once each, by whichever process comes first.

A slot is one pair. Slots are drawn in blocks of params.batch, and a shard is a run of params.shard_blocks blocks. A
block's bytes depend on the plan alone, so the pairs are the same from one shard or many, one process or many machines.
"""

import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pandas as pd
import torch

from flywheel.checkpoint import fingerprint
from flywheel.data.classes import ClassTable
from flywheel.data.manifest import FILE_NAME, read_manifest
from flywheel.data.sample import Sample
from flywheel.data.shards import read_shard, write_shard
from flywheel.defect_gen.attempts import Filled, Judge, fill_block
from flywheel.defect_gen.crops import training_rows
from flywheel.defect_gen.filters import named_reason
from flywheel.defect_gen.inspector import inspector_digest
from flywheel.defect_gen.model_folder import generator_digest, read_config
from flywheel.defect_gen.painter import Painter, check_one_product, check_pair
from flywheel.defect_gen.pair_judge import PairJudge
from flywheel.defect_gen.unet import DenoiserConfig
from flywheel.defect_gen.wishes import Wish, plan_wishes, read_class_weights
from flywheel.device import prepare_cpu
from flywheel.errors import WorkspaceError
from flywheel.files import TEMPORARY_SUFFIX, append_line, file_sha256
from flywheel.params import Curate, Params, Synthesize
from flywheel.paths import Paths

ANNOTATOR = "defect_gen"
NOT_INPUTS = {"runner", "workers"}  # of the parameters: they say who draws, not what
_LOADING = threading.Lock()


@dataclass(frozen=True)
class Plan:
    """All that is to be drawn, and where finished shards lie.

    folder: of the shards, named by the digest of everything that decides them. generator: digest of the two models.
    reason: why there is nothing to draw, or "". left: names of the classes that are left to real images.
    """

    folder: Path
    wishes: tuple[Wish, ...]
    params: Synthesize
    curate: Curate
    seed: int
    generator: str = ""
    reason: str = ""
    left: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        return self.folder.name

    @property
    def blocks(self) -> list[tuple[Wish, ...]]:
        size = self.params.batch
        return [self.wishes[start : start + size] for start in range(0, len(self.wishes), size)]

    @property
    def shards(self) -> int:
        return -(-len(self.blocks) // self.params.shard_blocks)

    def blocks_of(self, shard: int) -> list[tuple[Wish, ...]]:
        first = shard * self.params.shard_blocks
        return self.blocks[first : first + self.params.shard_blocks]

    def file(self, shard: int) -> Path:
        return self.folder / f"shard-{shard:04d}.parquet"

    def missing(self) -> list[int]:
        """Numbers of the shards that are still to be drawn."""
        return [shard for shard in range(self.shards) if not self.file(shard).exists()]

    def samples(self) -> Iterator[Sample]:
        """The finished pairs in slot order; DataInvalid when a shard is missing."""
        for shard in range(self.shards):
            yield from read_shard(self.file(shard))


def tiles_of(rows: pd.DataFrame, tile: int) -> float:
    """How many tiles of `tile` px a side the images of `rows` amount to; an image is one tile at least."""
    return float((rows["height"] * rows["width"] / tile**2).clip(lower=1).sum())


def make_plan(paths: Paths, params: Synthesize, curate: Curate, *, seed: int) -> Plan:
    """The plan that the workspace's inputs give; the same in every process that sees the same workspace.

    Raises ModelError when a generator or the inspector is missing, and ConfigError when a model did not learn its
    timesteps, or several products would be drawn from noise.
    """
    configs = [read_config(folder) for folder in (paths.generator_large, paths.generator_small)]
    empty = next((config["reason"] for config in configs if config.get("empty")), "")
    if empty:
        return Plan(paths.synthesis / "empty", (), params, curate, seed, reason=empty)
    large, small = (DenoiserConfig.model_validate(config["model"]) for config in configs)
    check_pair(large, small, params)
    seen = frozenset(tuple(int(part) for part in key.split("|")) for key in configs[0]["real"]["combinations"] if key)
    classes = ClassTable.load(paths.generation / "classes.json")
    weights = read_class_weights(paths.feedback, classes)
    rows = training_rows(read_manifest(paths.generation))
    if params.layout == "drawn":
        check_one_product(list(rows["product"]))
    rows = rows[rows["classes"] != ""]
    count = min(params.maximum, round(params.ratio * tiles_of(rows, small.tile)))
    generator = generator_digest(paths.generator_large, paths.generator_small)
    digest = fingerprint(
        params=params.model_dump(mode="json", exclude=NOT_INPUTS),
        curate=curate.model_dump(mode="json"),
        seed=seed,
        generator=generator,
        manifest=file_sha256(paths.generation / FILE_NAME),
        classes=classes.names,
        weights=weights,
        inspector=inspector_digest(paths.inspector),
    )
    left = configs[0]["real"].get("shading", []) if params.shading == "leave" else []
    wishes = plan_wishes(rows, weights, seen, count=count, seed=seed, left=left)
    names = tuple(classes.name(index) for index in left)
    reason = "" if wishes else _why_none(count, names)
    return Plan(paths.synthesis / digest, tuple(wishes), params, curate, seed, generator, reason, names)


def _why_none(count: int, left: tuple[str, ...]) -> str:
    if count and left:
        return (
            f"all that training images show are changes of shading ({', '.join(left)}), which are left to real images; "
            f"synthesize.shading: draw draws them"
        )
    return "ratio, maximum or the number of real defect images asks for none"


def plan_of(paths: Paths, params: Params) -> Plan:
    """The plan of a workspace, from the whole params.yaml."""
    return make_plan(paths, params.synthesize, params.curate, seed=params.seed)


def draw_planned(paths: Paths, params: Params, digest: str, shard: int) -> dict[str, int]:
    """Draw one shard of the plan `digest` in another process. Raises WorkspaceError when it is another one by now."""
    plan = plan_of(paths, params)
    if plan.digest != digest:
        raise WorkspaceError(
            f"{paths.root}: shard {shard} belongs to the synthesis {digest}, but generators, labels or parameters are "
            f"those of {plan.digest} by now; start the synthesis again"
        )
    return draw_shard(paths, plan, shard)


def draw_shard(paths: Paths, plan: Plan, shard: int) -> dict[str, int]:
    """Draw one shard, unless it is there, and put it in place at once: a kill leaves the whole file or none.

    Draws with one thread, since more of them may add numbers in another order; cores are used by drawing several
    shards at once. Two processes that draw the same shard write the same bytes. Returns counts for a log line.
    """
    if plan.file(shard).exists():
        return {"shard": shard, "pairs": 0, "redrawn": 0}
    _note(plan, shard, "begun")
    painter, judge = _load(paths, plan.curate, plan.seed, plan.digest)
    torch.set_num_threads(1)
    prepare_cpu()
    samples = [
        _sample(filled, painter.classes, plan.generator)
        for block in plan.blocks_of(shard)
        for filled in fill_block(
            block,
            lambda wishes: painter.draw_block(wishes, plan.params),
            judge,
            seed=plan.seed,
            attempts=plan.params.attempts,
            batch=plan.params.batch,
        )
    ]
    own = plan.folder / f"{shard:04d}-{_who()}{TEMPORARY_SUFFIX}"
    write_shard(own, "synthetic", samples).replace(plan.file(shard))
    own.rmdir()
    _note(plan, shard, "done")
    return {"shard": shard, "pairs": len(samples), "redrawn": sum(len(s.scores["attempts"]) - 1 for s in samples)}


def forget_painter() -> None:
    """Let go of the loaded models, for a process that goes on with other work."""
    _loaded.cache_clear()


def drawing_log(folder: Path) -> list[str]:
    """Lines "WHO EVENT SHARD" of every process that drew in a plan's folder; WHO is host, process and thread id."""
    return [line for path in sorted(folder.glob("*.log")) for line in path.read_text().splitlines()]


def _load(paths: Paths, curate: Curate, seed: int, digest: str) -> tuple[Painter, Judge]:
    with _LOADING:  # threads that start together wait for one painter
        return _loaded(paths, curate, seed, digest)


@lru_cache(maxsize=1)
def _loaded(paths: Paths, curate: Curate, seed: int, digest: str) -> tuple[Painter, Judge]:
    """What draws and what judges, for one plan: `digest` stands for the models that lie in the workspace."""
    painter = Painter.load(paths)
    return painter, PairJudge.load(paths, curate, seed=seed)


def _sample(filled: Filled, names: tuple[str, ...], generator: str) -> Sample:
    wish, drawn = filled.wish, filled.drawn
    scores = {
        "wanted": [names[index - 1] for index in wish.classes],
        "in_background": [names[index - 1] for index in drawn.found],
        "attempts": [named_reason(reason, names) for reason in filled.reasons],
    }
    return Sample(
        image=drawn.image,
        mask=drawn.mask,
        product=wish.product,
        origin="synthetic",
        annotator=ANNOTATOR,
        parents=drawn.parents,
        generator=generator,
        seed=wish.seed,
        scores=drawn.scores | filled.scores | scores,
    )


def _who() -> str:
    return f"{socket.gethostname()}-{os.getpid()}-{threading.get_native_id()}"


def _note(plan: Plan, shard: int, event: str) -> None:
    """Each thread writes a log of its own: appending to one file from several machines can lose lines."""
    append_line(plan.folder / f"{_who()}.log", f"{_who()} {event} {shard}")
