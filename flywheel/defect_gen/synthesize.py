"""The stage `synthesize`: draw image and mask pairs with the two trained denoisers and write them as shards."""

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from flywheel.data.classes import ClassTable
from flywheel.data.manifest import class_sets, read_manifest
from flywheel.data.sample import Sample
from flywheel.data.shards import write_shards
from flywheel.defect_gen.crops import training_rows
from flywheel.defect_gen.encoding import decode, multi_hot
from flywheel.defect_gen.model_folder import generator_digest, load_denoiser, read_config
from flywheel.defect_gen.sampler import sample_switched
from flywheel.defect_gen.specks import without_specks
from flywheel.defect_gen.train import computes_in_bfloat16
from flywheel.defect_gen.unet import Denoiser
from flywheel.defect_gen.wishes import Combination, draw_wish, read_class_weights
from flywheel.device import pick_device, prepare_cpu
from flywheel.errors import ConfigError
from flywheel.files import TEMPORARY_SUFFIX, write_json
from flywheel.params import Synthesize
from flywheel.paths import Paths
from flywheel.progress import progress

ANNOTATOR = "defect_gen"
REPORT = "synthesis.json"


@dataclass(frozen=True)
class Wish:
    """One pair to draw: wanted class indices, the product that it belongs to and its own seed."""

    classes: Combination
    product: str
    seed: int


def draw_pairs(
    large: Denoiser, small: Denoiser, wishes: Sequence[Wish], params: Synthesize
) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, tile, tile, 3) and masks (N, tile, tile), uint8, one per wish; each depends on its own seed alone."""
    device = next(large.parameters()).device
    side, channels = large.config.tile, large.std.shape[1]
    noise = torch.stack(
        [torch.randn((channels, side, side), generator=torch.Generator().manual_seed(wish.seed)) for wish in wishes]
    )
    condition = multi_hot([wish.classes for wish in wishes], len(large.config.classes))
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=computes_in_bfloat16(device)):
        x0 = sample_switched(
            large,
            small,
            noise.to(device, memory_format=torch.channels_last),
            condition=condition.to(device),
            switch_step=params.switch_step,
            network_calls=params.network_calls,
            guidance=params.guidance,
            limit=1.0,
        )
    return decode(x0)


def make_wishes(paths: Paths, params: Synthesize, seen: frozenset[Combination], *, seed: int) -> list[Wish]:
    """The pairs of this turn. Batch b draws its wishes and seeds from (seed, b), whatever the other batches do."""
    classes = ClassTable.load(paths.generation / "classes.json")
    rows = training_rows(read_manifest(paths.generation))
    rows = rows[rows["classes"] != ""]
    combinations, products = class_sets(rows), list(rows["product"])
    weights = read_class_weights(paths.feedback, classes)
    count = min(params.maximum, round(params.ratio * len(rows)))
    wishes: list[Wish] = []
    for batch in range(-(-count // params.batch)):
        rng = np.random.default_rng([seed, batch])
        for _ in range(min(params.batch, count - len(wishes))):
            wanted = draw_wish(combinations, weights, seen, rng)
            showing = [
                product for product, known in zip(products, combinations, strict=True) if set(wanted) <= set(known)
            ]
            wishes.append(Wish(wanted, showing[rng.integers(len(showing))], int(rng.integers(2**62))))
    return wishes


def synthesize(paths: Paths, params: Synthesize, *, seed: int) -> dict:
    """Draw the synthetic pairs of this turn into paths.synthetic: all of them, or the folder is not there.

    Raises ModelError when a generator is missing and ConfigError when a model did not learn its side of switch_step.
    """
    configs = [read_config(folder) for folder in (paths.generator_large, paths.generator_small)]
    empty = next((config["reason"] for config in configs if config.get("empty")), "")
    samples: list[Sample] = []
    if not empty:
        device = pick_device()
        large, small = (load_denoiser(folder, device) for folder in (paths.generator_large, paths.generator_small))
        check_pair(large, small, params.switch_step)
        seen = frozenset(
            tuple(int(part) for part in key.split("|")) for key in configs[0]["real"]["combinations"] if key
        )
        wishes = make_wishes(paths, params, seen, seed=seed)
        prepare_cpu()
        digest = generator_digest(paths.generator_large, paths.generator_small)
        batches = [wishes[start : start + params.batch] for start in range(0, len(wishes), params.batch)]
        for batch in progress(batches, "synthesize", total=len(batches)):
            for wish, image, mask in zip(batch, *draw_pairs(large, small, batch, params), strict=True):
                clean = without_specks(mask, configs[0]["real"]["smallest_regions"])
                repainted = float((clean != mask).mean())
                samples.append(_sample(wish, image, clean, repainted, large.config.classes, digest))
    report = _report(samples, empty)
    _write(paths, samples, report)
    return report


def check_pair(large: Denoiser, small: Denoiser, switch_step: int) -> None:
    """Raise ConfigError unless both models draw the same classes on the same tile and learnt their timesteps."""
    if (large.config.classes, large.config.tile) != (small.config.classes, small.config.tile):
        raise ConfigError(
            f"the large generator draws {large.config.tile} px with {len(large.config.classes)} classes, the small one "
            f"{small.config.tile} px with {len(small.config.classes)}; train both on the same dataset generation"
        )
    if not large.config.steps_from <= switch_step <= small.config.steps_below:
        raise ConfigError(
            f"switch_step {switch_step} is outside {large.config.steps_from}..{small.config.steps_below}, where the "
            f"generators learnt both sides; change synthesize.switch_step or train them again"
        )


def _sample(
    wish: Wish, image: np.ndarray, mask: np.ndarray, repainted: float, names: Sequence[str], digest: str
) -> Sample:
    return Sample(
        image=image,
        mask=mask,
        product=wish.product,
        origin="synthetic",
        annotator=ANNOTATOR,
        generator=digest,
        seed=wish.seed,
        scores={"wanted": [names[index - 1] for index in wish.classes], "repainted": round(repainted, 4)},
    )


def _report(samples: list[Sample], empty: str) -> dict:
    wanted = Counter(name for sample in samples for name in sample.scores["wanted"])
    repainted = [sample.scores["repainted"] for sample in samples]
    report: dict = {
        "made": len(samples),
        "wanted": dict(sorted(wanted.items())),
        "repainted_share": round(float(np.mean(repainted)), 4) if repainted else 0.0,
    }
    if not samples:
        report["reason"] = empty or "ratio, maximum or the number of real defect images asks for none"
    return report


def _write(paths: Paths, samples: list[Sample], report: dict) -> None:
    """Fill a folder beside paths.synthetic, then rename it."""
    temporary = paths.synthetic.with_name(paths.synthetic.name + TEMPORARY_SUFFIX)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    unique = {sample.id: sample for sample in samples}
    write_shards(temporary, "synthetic", unique.values())
    write_json(temporary / REPORT, report)
    shutil.rmtree(paths.synthetic, ignore_errors=True)
    temporary.rename(paths.synthetic)
