"""Pretraining of the shipped click model on simulated cloth and procedural surfaces, with no product's images."""

from collections.abc import Callable
from pathlib import Path

from flywheel.checkpoint import Checkpoint, fingerprint
from flywheel.defect_click.model_folder import WEIGHTS, load_click_model, save_click_model
from flywheel.defect_click.network import POINTS, ClickConfig, build_network, with_points
from flywheel.defect_click.prototypes import Prototypes
from flywheel.defect_click.sources import DrawnPool, Kind
from flywheel.defect_click.train import Recipe, train_clicks
from flywheel.device import pick_device
from flywheel.files import file_sha256

POOL = 800  # images to draw cases from at any one time
RENEWED = 1  # images replaced a step


def pretrain(
    kind: Kind,
    recipe: Recipe,
    out: Path,
    *,
    seed: int,
    start: Path | None = None,
    on_step: Callable[[int], None] | None = None,
) -> dict:
    """Train a click model into `out`; a killed run goes on from its last state in `out`.

    kind: "defects" for the model that is shipped, "shapes" for one that knows nothing of defects, to compare with.
    start: a click model's folder whose weights the training begins with; None: random ones.
    """
    if start is None:
        net = build_network(ClickConfig(points=POINTS), seed=seed)
    else:
        net = with_points(load_click_model(start)[0]).requires_grad_(True)
    digest = "" if start is None else file_sha256(start / WEIGHTS)
    mark = fingerprint(config=net.config.model_dump(), recipe=vars(recipe), kind=kind, seed=seed, start=digest)
    checkpoint = Checkpoint(out / "state", mark)
    training = train_clicks(
        net,
        recipe,
        DrawnPool(kind, seed=seed, size=POOL, renewed=RENEWED),
        seed=seed,
        device=pick_device(),
        checkpoint=checkpoint,
        on_step=on_step,
    )
    origin = {"kind": kind, "seed": seed, "start": digest, **vars(recipe)}
    save_click_model(out, training.net, Prototypes.empty(), training.curves, origin=origin)
    checkpoint.clear()
    count = sum(parameter.numel() for parameter in training.net.parameters())
    return {**origin, "parameters": count, "iou": training.curves[-1][-1]}
