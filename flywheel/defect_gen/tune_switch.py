"""Sweep of the switch step on held-back real images: quality against diversity, and one choice by a stated rule."""

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from flywheel.data.manifest import class_sets, read_manifest
from flywheel.defect_gen.comparison import FEWEST_HELD_BACK, Comparison
from flywheel.defect_gen.crops import training_rows
from flywheel.defect_gen.encoders import Encoder
from flywheel.defect_gen.model_folder import load_denoiser
from flywheel.defect_gen.painter import Painter, check_pair
from flywheel.defect_gen.receptive_field import receptive_field
from flywheel.defect_gen.wishes import Wish, plan_wishes
from flywheel.device import prepare_cpu
from flywheel.errors import ConfigError
from flywheel.files import write_bytes
from flywheel.params import Synthesize
from flywheel.paths import Paths
from flywheel.progress import progress

RULE = "of the settings whose KID interval overlaps that of the lowest KID, the one with the highest diversity"
SPREAD = 5  # switch steps that are tried when none are named


@dataclass(frozen=True)
class Setting:
    """What one switch step and small model give; figures as in `comparison.Figures`.

    small_field: receptive field of the small model, px. small: folder of the small model.
    """

    switch_step: int
    small_field: int
    kid: tuple[float, float, float]
    diversity: float
    precision: float
    recall: float
    memorised: float | None
    small: str = ""


def choose(settings: Sequence[Setting]) -> Setting:
    """The setting that RULE names; of equals the first."""
    best = min(settings, key=lambda setting: setting.kid[1])
    good = [setting for setting in settings if setting.kid[0] <= best.kid[2]]
    return max(good, key=lambda setting: setting.diversity)


def spread_steps(first: int, below: int, count: int = SPREAD) -> list[int]:
    """At most `count` switch steps, evenly over first..below, ends included."""
    return sorted({round(step) for step in np.linspace(first, below, count)})


def tune_switch(
    paths: Paths,
    params: Synthesize,
    encoder: Encoder,
    *,
    switch_steps: Sequence[int] = (),
    small_folders: Sequence[Path] = (),
    count: int,
    seed: int,
) -> dict:
    """Draw `count` pairs from noise for every switch step and small model and measure the pictures.

    Every setting draws the same wishes from the same noise. switch_steps: none: five, spread over what all models
    learnt. small_folders: further small models, of other receptive fields. Returns {"rule", "real", "encoder", "pairs",
    "settings": [...], "chosen": {...}}. Raises ConfigError when a switch step is outside what both models learnt.
    """
    prepare_cpu()
    painter = Painter.load(paths)
    device = next(painter.large.parameters()).device
    smalls = {str(paths.generator_small): painter.small}
    smalls |= {str(folder): load_denoiser(folder, device) for folder in small_folders}
    first, below = painter.large.config.steps_from, min(small.config.steps_below for small in smalls.values())
    steps = list(switch_steps) or spread_steps(first, below)
    drawn = params.model_copy(update={"layout": "drawn"})
    sweep = [(folder, drawn.model_copy(update={"switch_step": step})) for folder in smalls for step in steps]
    for folder, setting in sweep:
        check_pair(painter.large.config, smalls[folder].config, setting)
    side = painter.small.config.tile
    real = Comparison.of(paths, painter.real, side, encoder, seed=seed)
    wishes = _wishes(paths, count, seed)
    settings = []
    for folder, setting in progress(sweep, "tune-switch", total=len(sweep)):
        brush = Painter(painter.large, smalls[folder], painter.real, painter.smallest_regions)
        blocks = [wishes[start : start + params.batch] for start in range(0, len(wishes), params.batch)]
        pictures = np.stack([pair.image for block in blocks for pair in brush.draw_block(block, setting)])
        figures = real.figures(encoder.features(pictures))
        settings.append(
            Setting(
                switch_step=setting.switch_step,
                small_field=receptive_field(smalls[folder], side),
                kid=figures.kid,
                diversity=figures.diversity,
                precision=figures.precision,
                recall=figures.recall,
                memorised=figures.memorised,
                small=folder,
            )
        )
    return {
        "rule": RULE,
        "real": real.words,
        "encoder": encoder.name,
        "pairs": len(wishes),
        "settings": [asdict(setting) for setting in settings],
        "chosen": asdict(choose(settings)),
    }


def _wishes(paths: Paths, count: int, seed: int) -> list[Wish]:
    """Every class alike, and in the combinations that real images have."""
    if count <= FEWEST_HELD_BACK:
        raise ConfigError(f"count {count}: precision and recall need more than {FEWEST_HELD_BACK} pairs a setting")
    rows = training_rows(read_manifest(paths.generation))
    rows = rows[rows["classes"] != ""]
    return [wish.tried(seed, 0) for wish in plan_wishes(rows, {}, frozenset(class_sets(rows)), count=count, seed=seed)]


def plot(result: dict, path: Path) -> None:
    """PNG: diversity over KID, a point with its interval for each setting, the chosen one red."""
    figure = Figure(figsize=(7, 5), dpi=110, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for setting in result["settings"]:
        low, value, high = setting["kid"]
        colour = "tab:red" if setting == result["chosen"] else "tab:blue"
        bars = [[max(value - low, 0)], [max(high - value, 0)]]
        axes.errorbar(value, setting["diversity"], xerr=bars, fmt="o", color=colour, capsize=3)
        label = f"u = {setting['switch_step']}, {setting['small_field']} px"
        axes.annotate(label, (value, setting["diversity"]), xytext=(6, 6), textcoords="offset points")
    axes.set_xlabel("KID (lower is better), 95 % interval")
    axes.set_ylabel("diversity within clusters (higher is better)")
    title = f"{result['pairs']} pairs a setting against {result['real']}\nfeatures: {result['encoder']}"
    axes.set_title(title, fontsize=9)
    buffer = io.BytesIO()
    canvas.print_png(buffer)
    write_bytes(path, buffer.getvalue())
