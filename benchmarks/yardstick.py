"""What the generator benchmarks share: the workspace's generators, one plan of pairs, and held-back real tiles."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from flywheel.data.manifest import class_sets, read_manifest
from flywheel.defect_gen.comparison import held_back_tiles
from flywheel.defect_gen.crops import TrainingSet, training_rows
from flywheel.defect_gen.encoders import Encoder, load_encoder
from flywheel.defect_gen.encoding import RGB, decode, multi_hot
from flywheel.defect_gen.measures import kid, kid_interval, precision_recall
from flywheel.defect_gen.model_folder import generator_digest, load_denoiser, read_config
from flywheel.defect_gen.painter import Painter, check_pair
from flywheel.defect_gen.wishes import Wish, plan_wishes
from flywheel.device import computes_in_bfloat16, pick_device, prepare_cpu
from flywheel.params import Params, Synthesize, load_params
from flywheel.paths import Paths

SCRATCH = Path(__file__).parents[1] / "scratch"
RESAMPLES, CONFIDENCE = 1000, 0.95


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("large", type=Path, nargs="?", help="large generator's folder; default: the workspace's")
    parser.add_argument("small", type=Path, nargs="?", help="small generator's folder; default: the workspace's")
    parser.add_argument("-w", "--workspace", "--data", type=Path, required=True, help="workspace with the real images")
    parser.add_argument("--encoder", default="segmenter", help="segmenter, texture, inception or dinov2")
    parser.add_argument("--segmenter", type=Path, help="folder of a trained segmenter; default: the first real_only")
    parser.add_argument("--pairs", type=int, default=64, help="pairs of each way of sampling; rounded up to blocks")
    parser.add_argument("--tiles", type=int, default=256, help="held-back real tiles to compare with")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scratch", type=Path, default=SCRATCH, help="folder where drawn blocks wait for the next run")


@dataclass(frozen=True)
class Figures:
    """kid: (low, value, high)."""

    kid: tuple[float, float, float]
    precision: float
    recall: float

    def cells(self) -> str:
        low, value, high = self.kid
        return f"{value:.4f} [{low:.4f}, {high:.4f}] | {self.precision:.2f} | {self.recall:.2f}"


class Yardstick:
    """Draws the same wishes from the same noise in any way of sampling, and measures the pictures."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        prepare_cpu()
        self.arguments = arguments
        self.paths = Paths(arguments.workspace)
        self.all_params: Params = load_params(self.paths.params)
        self.params: Synthesize = self.all_params.synthesize.model_copy(update={"layout": "drawn"})
        self.device = pick_device()
        large = arguments.large or self.paths.generator_large
        small = arguments.small or self.paths.generator_small
        models = [load_denoiser(folder, self.device) for folder in (large, small)]
        check_pair(models[0].config, models[1].config, self.params)
        regions = read_config(large)["real"]["smallest_regions"]
        self.painter = Painter(models[0], models[1], TrainingSet.load(self.paths), regions)
        self.digest = generator_digest(large, small)
        self.side = models[0].config.tile

    def wishes(self, batch: int, pairs: int) -> list[list[Wish]]:
        """Blocks of `batch` wishes for at least `pairs` pairs; the first ones are the same whatever the batch."""
        rows = training_rows(read_manifest(self.paths.generation))
        rows = rows[rows["classes"] != ""]
        count = -(-pairs // batch) * batch
        seed = self.arguments.seed
        plan = plan_wishes(rows, {}, frozenset(class_sets(rows)), count=count, seed=seed)
        tried = [wish.tried(seed, 0) for wish in plan]
        return [tried[start : start + batch] for start in range(0, count, batch)]

    def inputs(self, wishes: Sequence[Wish]) -> tuple[torch.Tensor, torch.Tensor]:
        """Noise and condition of a block, as the painter makes them."""
        shape = (self.painter.large.std.shape[1], self.side, self.side)
        noise = [torch.randn(shape, generator=torch.Generator().manual_seed(wish.seed)) for wish in wishes]
        condition = multi_hot([wish.classes for wish in wishes], shape[0] - RGB - 1)
        return torch.stack(noise).to(self.device, memory_format=torch.channels_last), condition.to(self.device)

    def product(self, wishes: Sequence[Wish], network_calls: int) -> np.ndarray:
        """Pictures of a block as the product draws them."""
        drawn = self.painter.draw_block(wishes, self.params.model_copy(update={"network_calls": network_calls}))
        return np.stack([pair.image for pair in drawn])

    def pictures(self, sample: Callable[[], torch.Tensor], *, half: bool) -> np.ndarray:
        """Pictures of the x0 that `sample` returns; half: in bfloat16 where the device gains by it."""
        fast = half and computes_in_bfloat16(self.device)
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=fast):
            return decode(sample())[0]

    @property
    def numbers(self) -> str:
        """What the product computes in on this device."""
        return "bfloat16" if computes_in_bfloat16(self.device) else "float32"

    @property
    def machine(self) -> str:
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return f"CPU, {torch.get_num_threads()} threads"

    @cached_property
    def encoder(self) -> Encoder:
        folder = self.arguments.segmenter
        if folder is None:
            folder = self.paths.segmenter("real_only") / f"seed-{self.all_params.train_segmenter.seeds[0]}"
        return load_encoder(self.arguments.encoder, segmenter=folder, device=self.device)

    @cached_property
    def real(self) -> tuple[np.ndarray, str]:
        """Features of held-back real tiles, and which these are in words."""
        tiles, words = held_back_tiles(self.paths, self.side, self.arguments.tiles, seed=self.arguments.seed)
        return self.encoder.features(tiles), words

    def measure(self, pictures: np.ndarray) -> Figures:
        real, fake = self.real[0], self.encoder.features(pictures)
        rng = np.random.default_rng(self.arguments.seed)
        low, high = kid_interval(real, fake, resamples=RESAMPLES, confidence=CONFIDENCE, rng=rng)
        return Figures((low, kid(real, fake), high), *precision_recall(real, fake))

    def folder(self, benchmark: str, *parts: object) -> Path:
        """Where drawn blocks are kept; another model, seed or setting has another folder."""
        name = "-".join(str(part) for part in (self.digest, f"seed{self.arguments.seed}", *parts))
        return self.arguments.scratch / benchmark / name

    def footnote(self) -> str:
        return (
            f"{self.machine}; {self.side} px, {len(self.painter.classes)} classes; KID, precision and recall against "
            f"{len(self.real[0])} tiles of {self.real[1]}, features: {self.encoder.name}; intervals 95 %."
        )
