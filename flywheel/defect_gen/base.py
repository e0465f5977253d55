"""Where a generator's training starts: the last generation's weights, the base checkpoint, or nothing.

The base checkpoints were pretrained on simulated cloth and procedural surfaces (`pretrain.py`) and lie in this package
as safetensors in half precision. Weights are carried over by channel, so a product may have other classes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from flywheel.defect_gen.encoding import RGB, PatchBasis
from flywheel.defect_gen.model_folder import CONFIG, load_denoiser, read_config
from flywheel.defect_gen.unet import Denoiser, DenoiserConfig

BASE = Path(__file__).parent / "base"
SLOTS = 12  # class channels of the base; which class sits in which is drawn anew for every pretraining sample
SLOT = "slot-"


def start_folder(
    kind: Literal["large", "small"], previous: Path, wanted: Literal["previous", "base", "scratch"]
) -> Path | None:
    """The folder whose weights the training starts from; None for a start from scratch.

    previous: the last generation's model folder; the base where it is missing or empty. `wanted` "base" passes it over.
    """
    if wanted == "scratch":
        return None
    if wanted == "previous" and (previous / CONFIG).exists() and not read_config(previous).get("empty"):
        return previous
    return BASE / kind if (BASE / kind / CONFIG).exists() else None


def load_start(folder: Path | None, config: DenoiserConfig) -> Denoiser | None:
    """The model in `folder` if its layers fit `config`, else None: patch, widths and kind must be equal."""
    if folder is None:
        return None
    source = load_denoiser(folder)
    fits = all(
        getattr(source.config, name) == getattr(config, name) for name in ("kind", "patch", "channels", "prediction")
    )
    return source if fits else None


def patch_basis(source: Denoiser) -> PatchBasis:
    """The basis in whose components `source` thinks; a model that starts from it must keep it."""
    return PatchBasis.from_whole(source.basis, source.config.patch)


def class_origins(classes: Sequence[str], known: Sequence[str]) -> list[int]:
    """For each class the number of the class of `known` whose weights it takes.

    The class of the same name; one without a namesake takes the next slot in turn, first those that no namesake holds.
    """
    folded = [name.casefold() for name in known]
    named = {name: folded.index(name.casefold()) for name in classes if name.casefold() in folded}
    free = [number for number in range(len(known)) if number not in named.values()] or list(range(len(known)))
    others = iter(range(len(classes)))
    return [named[name] if name in named else free[next(others) % len(free)] for name in classes]


@torch.no_grad()
def carry_over(source: Denoiser, target: Denoiser) -> None:
    """Give `target` the weights of `source`; both have the same layers, but may draw other classes.

    Only the first and last layer and the one that hears the wishes know classes: their parts for a class come from the
    class that `class_origins` names.
    """
    area = target.config.patch**2
    origins = class_origins(target.config.classes, source.config.classes)
    groups = [*range(RGB + 1), *(RGB + 1 + number for number in origins)]  # RGB, background, classes
    numbers = torch.cat([torch.arange(group * area, (group + 1) * area) for group in groups])
    wishes = torch.tensor([*origins, len(source.config.classes)])  # the last input says "not told"
    state = source.state_dict()
    for name, parameter in target.named_parameters():
        value = state[name]
        if name == "unet.conv_in.weight":
            value = value[:, numbers]
        elif name in ("unet.conv_out.weight", "unet.conv_out.bias"):
            value = value[numbers]
        elif name == "wanted.weight":
            value = value[:, wishes]
        parameter.copy_(value)
