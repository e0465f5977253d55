"""A denoiser's folder: model.safetensors (averaged weights), curves.csv, and config.json, which is written last."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from flywheel.defect_gen.unet import Denoiser, DenoiserConfig
from flywheel.errors import ModelError
from flywheel.files import file_sha256, read_json, sha256, write_bytes, write_json, write_text

WEIGHTS, CONFIG, CURVES = "model.safetensors", "config.json", "curves.csv"
CURVE_COLUMNS = ("step", "loss", "rgb_loss", "mask_loss")


def save_denoiser(
    folder: Path, model: Denoiser, curves: Sequence[Sequence[float]], real: dict, *, half: bool = False
) -> None:
    """Write the model, its learning curves (rows of CURVE_COLUMNS) and what the `real` tiles were like, as JSON.

    half: numbers of 16 bits, for a checkpoint that others start from.
    """
    weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    if half:
        weights = {name: value.half() for name, value in weights.items()}
    write_bytes(folder / WEIGHTS, save(weights))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([CURVE_COLUMNS, *([int(row[0]), *(f"{value:.6g}" for value in row[1:])] for row in curves)])
    write_text(folder / CURVES, text.getvalue())
    write_json(folder / CONFIG, {"model": model.config.model_dump(mode="json"), "real": real})


def save_empty(folder: Path, reason: str) -> None:
    """Say that there is no model, and why."""
    write_json(folder / CONFIG, {"empty": True, "reason": reason})


def read_config(folder: Path) -> dict:
    """config.json of a model folder. Raises ModelError when it is missing: training did not come to its end."""
    if not (folder / CONFIG).exists():
        raise ModelError(f"{folder / CONFIG}: no generator here; train it again or dvc pull")
    return read_json(folder / CONFIG)


def load_denoiser(folder: Path, device: torch.device | None = None) -> Denoiser:
    """The trained denoiser in `folder`, ready to predict. Raises ModelError when it is missing, empty or damaged."""
    content = read_config(folder)
    if content.get("empty"):
        raise ModelError(f"{folder}: the generator is empty ({content['reason']}); label defects and train it again")
    try:
        model = Denoiser(DenoiserConfig.model_validate(content["model"]))
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (ValidationError, KeyError, OSError, SafetensorError, RuntimeError) as err:
        first = str(err).splitlines()[0]
        raise ModelError(f"{folder}: not a generator of this version ({first}); train it again") from err
    return model.to(device or torch.device("cpu")).eval().requires_grad_(False)


def generator_digest(large: Path, small: Path) -> str:
    """Digest of both models, 16 hex digits."""
    parts = [file_sha256(folder / name) for folder in (large, small) for name in (CONFIG, WEIGHTS)]
    return sha256("\n".join(parts).encode())[:16]
