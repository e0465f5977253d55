"""The stages of dvc.yaml: one function each, called by tests, by `python -m flywheel STAGE`, and through DVC by flows.

Functions are imported when they run, so that no command waits for libraries that it does not use.
"""

from collections.abc import Callable
from typing import Any

from flywheel.errors import ConfigError
from flywheel.files import write_json
from flywheel.launch import leads, process_count
from flywheel.params import Params
from flywheel.paths import Paths

Report = dict[str, Any]


def build_generation(paths: Paths, params: Params) -> Report:
    from flywheel.data.generation import build_generation as stage

    return stage(paths, params.build_generation, seed=params.seed)


def train_click(paths: Paths, params: Params) -> Report:
    from flywheel.defect_click.train_click import train_click as stage

    return stage(paths, params.train_click, seed=params.seed)


def train_generator_large(paths: Paths, params: Params) -> Report:
    from flywheel.defect_gen.stages import train_generator_large as stage

    return stage(paths, params.train_generator_large, seed=params.seed)


def train_generator_small(paths: Paths, params: Params) -> Report:
    from flywheel.defect_gen.stages import train_generator_small as stage

    return stage(paths, params.train_generator_small, seed=params.seed)


def train_inspector(paths: Paths, params: Params) -> Report:
    from flywheel.defect_gen.train_inspector import train_inspector as stage

    return stage(
        paths,
        params.train_inspector,
        segmenter=params.train_segmenter,
        tile=params.train_generator_small.tile,
        seed=params.seed,
    )


def synthesize(paths: Paths, params: Params) -> Report:
    from flywheel.defect_gen.stages import synthesize as stage

    return stage(paths, params.synthesize, params.curate, seed=params.seed)


def curate(paths: Paths, params: Params) -> Report:
    from flywheel.defect_gen.stages import curate as stage

    return stage(paths, params.curate, seed=params.seed)


def train_segmenter(paths: Paths, params: Params, *, arm: str) -> Report:
    from flywheel.segmenter.train import train_segmenter as stage

    return stage(paths, params.train_segmenter, arm=arm, seed=params.seed)


def evaluate(paths: Paths, params: Params) -> Report:
    from flywheel.judge.evaluate import evaluate as stage

    trained = params.train_segmenter
    return stage(paths, params.evaluate, arms=trained.arms, seeds=trained.seeds, seed=params.seed)


STAGES: dict[str, Callable[..., Report]] = {
    stage.__name__: stage
    for stage in (
        build_generation,
        train_click,
        train_generator_large,
        train_generator_small,
        train_inspector,
        synthesize,
        curate,
        train_segmenter,
        evaluate,
    )
}


SEVERAL_PROCESSES = ("train_generator_large", "train_generator_small")


def stage_names(params: Params) -> list[str]:
    """Names of the stages in the order of a turn, as DVC calls them (`train_segmenter@ARM` for each arm)."""
    names = []
    for name in STAGES:
        if name == "train_segmenter":
            names += [f"{name}@{arm}" for arm in params.train_segmenter.arms]
        else:
            names.append(name)
    return names


def report_name(stage: str) -> str:
    """Name of a stage's report in metrics/, without .json."""
    return stage.replace("@", "_")


def run_stage(stage: str, paths: Paths, params: Params) -> Report:
    """Run one stage (`train_segmenter@ARM` for an arm) and write its report to metrics/.

    Raises ConfigError when a launcher started several processes and the stage does not share its work.
    """
    name, _, arm = stage.partition("@")
    if process_count() > 1 and name not in SEVERAL_PROCESSES:
        raise ConfigError(f"stage {stage} runs in one process, not in {process_count()}; start it without a launcher")
    report = STAGES[name](paths, params, **({"arm": arm} if arm else {}))
    if leads():
        write_json(paths.metrics / f"{report_name(stage)}.json", report)
    return report
