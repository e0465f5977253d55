"""What the benchmarks of the generators' training share: the preset's networks and simulated cloth to train them on."""

from pathlib import Path
from typing import Literal

import numpy as np

from flywheel.data.fabric import FABRIC_CLASSES, draw_sample
from flywheel.defect_gen.crops import CropSource
from flywheel.defect_gen.encoding import Statistics
from flywheel.defect_gen.schedule import STEPS
from flywheel.defect_gen.unet import DenoiserConfig
from flywheel.params import Params

PARAMS = Path(__file__).parents[1] / "params.yaml"
IMAGES = 12
Kind = Literal["large", "small"]


def cloth(side: int) -> CropSource:
    """Simulated cloth with defects, and crops of it in its own size."""
    drawn = [draw_sample(0, index, size=(side, side), defect_rate=1.0) for index in range(IMAGES)]
    return CropSource([one.image for one in drawn], [one.mask for one in drawn if one.mask is not None], side)


def config_of(params: Params, kind: Kind, tile: int) -> DenoiserConfig:
    """The denoiser that the stage would train, with another tile."""
    large, small = params.train_generator_large, params.train_generator_small
    section = large if kind == "large" else small
    return DenoiserConfig(
        kind=kind,
        classes=FABRIC_CLASSES.names,
        tile=tile,
        patch=section.patch,
        channels=section.channels,
        steps_from=large.steps_from if kind == "large" else 0,
        steps_below=STEPS if kind == "large" else small.steps_below,
        prediction=section.prediction,
    )


def statistics_of(source: CropSource, config: DenoiserConfig) -> Statistics:
    """What the stage would measure on the tiles."""
    return Statistics.of(*source.draw_many(IMAGES, np.random.default_rng(0)), FABRIC_CLASSES.channels, config.patch)
