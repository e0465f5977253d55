"""Where a segmenter's training starts: from the base checkpoint, pretrained on simulated surfaces, where that fits.

The base lies in this package as safetensors in half precision (`pretrain.py` makes it). Its body moves to any product;
its last layer, which knows the simulated classes, becomes a first guess of "some defect" for every class of a product.
"""

from pathlib import Path

import torch

from flywheel.files import file_sha256
from flywheel.segmenter.model import CONFIG_FILE, WEIGHTS_FILE, SegmenterConfig, load_segmenter, read_config
from flywheel.segmenter.network import SegmenterNet

BASE = Path(__file__).parent / "base"
HEAD = "body.segmentation_head.0"  # smp's last convolution


def fits(source: SegmenterConfig, target: SegmenterConfig) -> bool:
    """Whether two segmenters have the same layers but for the last."""
    return all(
        getattr(source, name) == getattr(target, name)
        for name in ("architecture", "encoder", "encoder_depth", "decoder_channels")
    )


def start_from_base(net: SegmenterNet, config: SegmenterConfig, folder: Path = BASE) -> bool:
    """Give `net` the weights of the base in `folder`; False, and nothing done, when there is none that fits `config`.

    Each defect class starts as the mean of the base's defect classes, plus the fresh weights that tell classes apart.
    """
    if not (folder / CONFIG_FILE).exists() or not fits(read_config(folder), config):
        return False
    carry_over(load_segmenter(folder, torch.device("cpu")).net, net)
    return True


def base_digest() -> str:
    """Digest of the base's weights, "" without a base."""
    file = BASE / WEIGHTS_FILE
    return file_sha256(file) if file.exists() else ""


@torch.no_grad()
def carry_over(source: SegmenterNet, target: SegmenterNet) -> None:
    """Copy every layer of `source` but the last, whose classes differ."""
    fresh = target.state_dict()
    taken = {}
    for name, value in source.state_dict().items():
        if name.startswith(HEAD):
            defect = value[1:].mean(dim=0, keepdim=True).expand_as(fresh[name][1:])
            taken[name] = torch.cat([value[:1], defect + fresh[name][1:]])
        else:
            taken[name] = value
    target.load_state_dict(taken)
