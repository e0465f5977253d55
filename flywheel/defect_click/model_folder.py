"""A click model's folder: weights, class prototypes, curves.csv, and config.json, which is written last."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from flywheel.defect_click.network import ClickConfig, ClickNet, build_network
from flywheel.defect_click.prototypes import Prototypes
from flywheel.errors import ModelError
from flywheel.files import read_json, write_bytes, write_json, write_text

BASE = Path(__file__).parent / "base"  # the shipped checkpoint, made by `flywheel pretrain-click`
WEIGHTS, PROTOTYPES, CURVES, CONFIG = "model.safetensors", "prototypes.safetensors", "curves.csv", "config.json"
CURVE_COLUMNS = ("step", "coarse_loss", "refined_loss", "iou")


def save_click_model(
    folder: Path,
    net: ClickNet,
    prototypes: Prototypes,
    curves: Sequence[Sequence[float]],
    *,
    origin: dict,
) -> None:
    """Write the model in half precision, its classes, its learning curves (rows of CURVE_COLUMNS) and its origin."""
    weights = {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
    halves = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
    write_bytes(folder / WEIGHTS, save(halves))
    write_bytes(folder / PROTOTYPES, save(prototypes.tensors()))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([CURVE_COLUMNS, *([int(row[0]), *(f"{value:.6g}" for value in row[1:])] for row in curves)])
    write_text(folder / CURVES, text.getvalue())
    content = {"model": net.config.model_dump(mode="json"), "classes": list(prototypes.classes), "origin": origin}
    write_json(folder / CONFIG, content)


def load_click_model(folder: Path) -> tuple[ClickNet, Prototypes]:
    """The network in `folder`, ready to predict, and its classes. Raises ModelError when it is missing or damaged."""
    if not (folder / CONFIG).exists():
        raise ModelError(f"{folder / CONFIG}: no click model here; make one with `flywheel pretrain-click --out DIR`")
    content = read_json(folder / CONFIG)
    try:
        net = build_network(ClickConfig.model_validate(content["model"]), seed=0)
        net.load_state_dict(load_file(folder / WEIGHTS))
        prototypes = Prototypes.from_tensors(content["classes"], load_file(folder / PROTOTYPES))
    except (ValidationError, KeyError, OSError, SafetensorError, RuntimeError) as err:
        first = str(err).splitlines()[0]
        raise ModelError(f"{folder}: not a click model of this version ({first}); make it again") from err
    return net.to(torch.float32).eval().requires_grad_(False), prototypes
