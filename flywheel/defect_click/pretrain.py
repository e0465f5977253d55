"""Pretraining of the shipped click model on simulated cloth and procedural surfaces, with no product's images."""

from collections.abc import Callable
from pathlib import Path

from flywheel.checkpoint import Checkpoint, fingerprint
from flywheel.defect_click.model_folder import WEIGHTS, load_click_model, save_click_model
from flywheel.defect_click.network import POINTS, ClickConfig, blended, build_network, with_points
from flywheel.defect_click.prototypes import Prototypes
from flywheel.defect_click.sources import DrawnPool, Kind
from flywheel.defect_click.train import Recipe, train_clicks
from flywheel.device import pick_device
from flywheel.errors import ConfigError
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
    blend: float = 0.0,
    on_step: Callable[[int], None] | None = None,
) -> dict:
    """Train a click model into `out`; a killed run goes on from its last state in `out`.

    kind: "defects" for the model that is shipped, "shapes" for one that knows nothing of defects, to compare with.
    start: a click model's folder whose weights the training begins with; None: random ones. blend: share of the
    start's weights in the result, 0 to 1; the mean of both is often better than either (WiSE-FT, arXiv 2109.01903).
    Raises ConfigError for a blend outside 0..1, or without a start.
    """
    if not 0 <= blend <= 1 or (blend and start is None):
        raise ConfigError(f"blend {blend} is to lie in 0..1 and needs a start whose weights are blended in")
    if start is None:
        net = build_network(ClickConfig(points=POINTS), seed=seed)
    else:
        net = with_points(load_click_model(start)[0]).requires_grad_(True)
    first = {name: value.clone() for name, value in net.state_dict().items()}
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
    net.load_state_dict(blended(training.net.state_dict(), first, blend))
    origin = {"kind": kind, "seed": seed, "start": digest, "blend": blend, **vars(recipe)}
    save_click_model(out, net, Prototypes.empty(), training.curves, origin=origin)
    checkpoint.clear()
    count = sum(parameter.numel() for parameter in net.parameters())
    return {**origin, "parameters": count, "iou": training.curves[-1][-1]}
