"""Fine-tuning of a click model on a product's accepted masks, and what its classes look like."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from flywheel.checkpoint import Checkpoint, fingerprint
from flywheel.data.classes import ClassTable
from flywheel.defect_click.clicker import Clicker, look_of
from flywheel.defect_click.model_folder import BASE, CONFIG, WEIGHTS, load_click_model, save_click_model
from flywheel.defect_click.protocol import regions
from flywheel.defect_click.prototypes import Prototypes
from flywheel.defect_click.sources import DrawnPool, PairSource
from flywheel.defect_click.targets import SMALLEST
from flywheel.defect_click.train import Recipe, train_clicks
from flywheel.defect_click.views import holds_defect
from flywheel.device import pick_device
from flywheel.errors import DataInvalid
from flywheel.files import file_sha256, sha256
from flywheel.segmenter.dataset import Pair

POOL = 64  # simulated images that keep what was learnt before alive
RENEWED = 1
SAVE_SECONDS = 5.0  # a fine-tuning is short


def fine_tune(
    start_folder: Path | None,
    pairs: Sequence[Pair],
    recipe: Recipe,
    *,
    classes: ClassTable,
    out: Path,
    seed: int,
    simulated_share: float = 0.25,
    state: Path | None = None,
    on_step: Callable[[int], None] | None = None,
) -> Path:
    """Train on, from the model in `start_folder` (None: the shipped one), into `out`, which is returned.

    pairs: labelled images; classes: names of their class indices; simulated_share: of the cases are simulated ones.
    A killed run goes on from its last state in `out`. state: another folder for it, which the caller clears: it holds
    the finished training too, so that a stage whose output is lost need not repeat it.
    Raises DataInvalid when no pair holds a defect.
    """
    if not any(holds_defect(pair.mask) for pair in pairs):
        raise DataInvalid(f"fine_tune: none of {len(pairs)} pairs holds a defect; label some first")
    start = start_folder or BASE
    net, _ = load_click_model(start)
    mark = fingerprint(
        start=[file_sha256(start / name) for name in (CONFIG, WEIGHTS)],
        pairs=[sha256(pair.image.tobytes() + pair.mask.tobytes()) for pair in pairs],
        recipe=vars(recipe),
        simulated_share=simulated_share,
        seed=seed,
    )
    checkpoint = Checkpoint(state or out / "state", mark)
    pool = DrawnPool("defects", seed=seed, size=POOL, renewed=RENEWED)
    training = train_clicks(
        net.requires_grad_(True),
        recipe,
        PairSource(pairs, pool, simulated_share),
        seed=seed,
        device=pick_device(),
        checkpoint=checkpoint,
        save_seconds=SAVE_SECONDS,
        on_step=on_step,
    )
    if state is not None:
        checkpoint.save(training.state())
    prototypes = measure_classes(Clicker(training.net, Prototypes.empty()), pairs, classes)
    origin = {"kind": "fine-tuned", "pairs": len(pairs), "seed": seed, **vars(recipe)}
    save_click_model(out, training.net, prototypes, training.curves, origin=origin)
    if state is None:
        checkpoint.clear()
    return out


def measure_classes(clicker: Clicker, pairs: Sequence[Pair], classes: ClassTable) -> Prototypes:
    """What the classes look like, from every region of the pairs' masks."""
    names: list[str] = []
    looks: list[np.ndarray] = []
    for pair in pairs:
        found = list(regions(pair.mask, SMALLEST))
        image = clicker.set_image(pair.image) if found else None
        for index, region in found:
            assert image is not None
            names.append(classes.name(index))
            looks.append(look_of(image, region))
    return Prototypes.of(names, looks)
