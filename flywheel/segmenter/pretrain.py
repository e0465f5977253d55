"""Pretraining of the segmenter's base on simulated cloth and procedural surfaces, with no product's images."""

from pathlib import Path

from flywheel.checkpoint import Checkpoint, fingerprint
from flywheel.data.simulated import SIMULATED_CLASSES, draw_pool
from flywheel.device import prepare_cpu
from flywheel.params import TrainSegmenter
from flywheel.segmenter.arms import TrainingData
from flywheel.segmenter.dataset import Pair
from flywheel.segmenter.model import save_segmenter
from flywheel.segmenter.train import Training, run_training, segmenter_config


def pretrain(params: TrainSegmenter, out: Path, *, images: int, seed: int, processes: int = 1) -> dict:
    """Train a segmenter of all simulated classes from scratch into `out`, in half precision. Returns the report.

    A killed run goes on from its last state in `out`.
    """
    prepare_cpu()
    pairs = [Pair(*pair) for pair in zip(*draw_pool(images, seed=seed, processes=processes), strict=True)]
    data = TrainingData.of(SIMULATED_CLASSES, pairs)
    scratch = params.model_copy(update={"start": "scratch", "encoder_weights": ""})
    config = segmenter_config(data, scratch, arm="base", seed=seed)
    training = Training(data, scratch, seed=seed, config=config)
    checkpoint = Checkpoint(out / "state", fingerprint(params=scratch.model_dump(), images=images, seed=seed))
    run_training(training, "segmenter base", checkpoint)
    save_segmenter(out, training.net, config, half=True)
    checkpoint.clear()
    count = sum(parameter.numel() for parameter in training.net.parameters())
    return {"images": images, "steps": training.step, "parameters": count, "loss": round(training.final_loss, 6)}
