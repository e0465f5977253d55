"""Step time of the segmenter's training in bfloat16 beside float32, and the loss that both reach.

    python benchmarks/segmenter_precision.py [--steps 250] [--threads 2]

Two trainings with the preset's knobs (params.yaml), equal seeds and equal crops of simulated cloth take turns step by
step in one process, so that a busy machine slows both alike; each step's time includes drawing its crops. The mIoU is
that of float32 prediction on cloth that neither saw. A device without native bfloat16 runs it all the same, slowly.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from flywheel.data.fabric import FABRIC_CLASSES, draw_sample
from flywheel.device import computes_in_bfloat16, prepare_cpu
from flywheel.judge.confusion import class_iou, confusion, counts, mean_iou
from flywheel.params import load_params
from flywheel.segmenter.arms import TrainingData
from flywheel.segmenter.dataset import Pair
from flywheel.segmenter.model import Segmenter
from flywheel.segmenter.train import Training, segmenter_config

SIDE = 128  # px
TRAIN_IMAGES, TEST_IMAGES = 80, 80
TEST_START = 10_000  # index of the first test image: rolls of their own
PARAMS = Path(__file__).parents[1] / "params.yaml"


def cloth(start: int, count: int, seed: int) -> list[Pair]:
    drawn = (draw_sample(seed, index, size=(SIDE, SIDE), defect_rate=0.7) for index in range(start, start + count))
    return [Pair(sample.image, sample.mask) for sample in drawn if sample.mask is not None]


def miou_on(pairs: list[Pair], training: Training) -> float:
    segmenter = Segmenter(training.net.eval(), training.config, training.device)
    channels = segmenter.classes.channels
    matrices = [confusion(pair.mask, segmenter.predict_mask(pair.image), channels) for pair in pairs]
    return float(mean_iou(class_iou(counts(np.sum(matrices, axis=0)))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    prepare_cpu()
    params = load_params(PARAMS).train_segmenter.model_copy(update={"steps": args.steps})
    data = TrainingData.of(FABRIC_CLASSES, cloth(0, TRAIN_IMAGES, args.seed))
    config = segmenter_config(data, params, arm="real_only", seed=args.seed)
    trainings, seconds = {}, {}
    for name in ("float32", "bfloat16"):
        trainings[name] = Training(data, params, seed=args.seed, config=config)
        trainings[name].bfloat16 = name == "bfloat16"
        seconds[name] = list[float]()
    for _ in range(args.steps):
        for name, training in trainings.items():
            start = time.perf_counter()
            training.advance()
            seconds[name].append(time.perf_counter() - start)
    device = trainings["float32"].device
    native = "" if computes_in_bfloat16(device) else ", where bfloat16 is not native and training would not use it"
    print(f"{params.architecture} {params.encoder}, {params.batch} crops of {params.crop} px on {device.type}{native}")
    print(f"{'':>9} {'ms a step (median)':>19} {'final loss':>11} {'mIoU':>6}")
    test = cloth(TEST_START, TEST_IMAGES, args.seed)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    for name, training in trainings.items():
        training.settle()
        miou = miou_on(test, training)
        print(f"{name:>9} {1000 * medians[name]:>19.0f} {training.final_loss:>11.4f} {miou:>6.3f}")
    print(f"bfloat16 : float32 = {medians['bfloat16'] / medians['float32']:.2f} of the time")


if __name__ == "__main__":
    main()
