"""The segmentation network with its normalisation inside, built from names.

Input is the image as it is stored (RGB, 0..255), so an exported network scores exactly as the trained one did.
"""

import inspect
import os
from collections.abc import Sequence

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from flywheel.errors import ConfigError, WeightsUnavailable

STRIDE = 32  # px; every encoder halves at most five times, so sides are padded to a multiple of this
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class SegmenterNet(nn.Module):
    """An smp network behind a fixed normalisation."""

    def __init__(self, body: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.body = body
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def _normalised(self, images: Tensor) -> Tensor:
        return (images / 255.0 - self.get_buffer("mean")) / self.get_buffer("std")

    def forward(self, images: Tensor) -> Tensor:
        """images: (N, 3, H, W) float RGB in [0, 255], H and W multiples of 32. Returns logits (N, K + 1, H, W)."""
        return self.body(self._normalised(images))

    def features(self, images: Tensor) -> Tensor:
        """Deepest encoder channels averaged over the image: (N, 3, H, W) as in `forward` -> (N, D)."""
        deepest = self.body.get_submodule("encoder")(self._normalised(images))[-1]
        return deepest.mean(dim=(2, 3))


def build_network(
    *,
    architecture: str,
    encoder: str,
    encoder_weights: str,
    encoder_depth: int,
    decoder_channels: Sequence[int],
    channels: int,
    seed: int,
) -> SegmenterNet:
    """A fresh network for `channels` = K + 1 classes; its random weights come from `seed` alone.

    decoder_channels: one width per decoder stage; architectures with one decoder width take the first, the others
    do without. encoder_weights: "" starts from scratch, otherwise the name of a set that smp can fetch.
    Raises ConfigError for names that do not fit together, WeightsUnavailable when the weights cannot be had.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body = _create_body(architecture, encoder, encoder_weights, encoder_depth, decoder_channels, channels)
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    if encoder_weights:
        settings = smp.encoders.get_preprocessing_params(encoder, encoder_weights)
        mean, std = tuple(settings["mean"]), tuple(settings["std"])
    net = SegmenterNet(body, mean, std)
    _drop_unused_stages(net, f"{architecture} on {encoder}, encoder_depth {encoder_depth}")
    return net.to(memory_format=torch.channels_last)  # a fifth faster on a CPU at 64 px


def _create_body(
    architecture: str, encoder: str, weights: str, depth: int, decoder_channels: Sequence[int], channels: int
) -> nn.Module:
    kind = smp.MODEL_ARCHITECTURES_MAPPING.get(architecture.lower())
    if kind is None:
        known = ", ".join(sorted(known.__name__ for known in smp.MODEL_ARCHITECTURES_MAPPING.values()))
        raise ConfigError(f"train_segmenter.architecture = {architecture!r}: not in smp; choose one of {known}")
    if weights and os.environ.get("FLYWHEEL_OFFLINE") == "1":
        raise WeightsUnavailable(
            f"encoder_weights {weights!r} of {encoder} would be fetched, but FLYWHEEL_OFFLINE=1; "
            'set train_segmenter.encoder_weights: "" to start from scratch, or allow the network'
        )
    options: dict[str, object] = {}
    taken = inspect.signature(kind.__init__).parameters.get("decoder_channels")
    if taken is not None:  # one width (DeepLab, PAN, UPerNet) or one per stage (Unet and its kin)
        options["decoder_channels"] = decoder_channels[0] if isinstance(taken.default, int) else tuple(decoder_channels)
    try:
        return smp.create_model(
            architecture,
            encoder_name=encoder,
            encoder_weights=weights or None,
            encoder_depth=depth,
            classes=channels,
            **options,
        )
    except (KeyError, ValueError, TypeError, AttributeError, RuntimeError, OSError) as err:
        reason = str(err).strip().splitlines()[0] if str(err).strip() else type(err).__name__
        if weights and not isinstance(err, KeyError):
            raise WeightsUnavailable(
                f"encoder_weights {weights!r} of {encoder} could not be fetched ({reason}); check the network, "
                'or set train_segmenter.encoder_weights: "" to start from scratch'
            ) from err
        raise ConfigError(
            f"train_segmenter: {architecture} on {encoder} with encoder_depth {depth} and decoder_channels "
            f"{list(decoder_channels)} cannot be built ({reason}); choose names that fit, and one decoder width per "
            "encoder stage"
        ) from err


def _drop_unused_stages(net: SegmenterNet, what: str) -> None:
    """Remove encoder stages that a shallow depth never calls; they hold most of the weights (ResNet-18: 10 of 11 M).

    One run over a blank image finds them, and shows that the network keeps the image's size.
    """
    encoder = net.body.get_submodule("encoder")
    called: set[nn.Module] = set()
    hooks = [module.register_forward_hook(lambda module, *_: called.add(module)) for module in encoder.modules()]
    net.eval()
    side = 2 * STRIDE
    try:
        with torch.no_grad():
            size = tuple(net(torch.zeros(1, 3, side, side)).shape[2:])
    finally:
        for hook in hooks:
            hook.remove()
        net.train()
    if size != (side, side):
        raise ConfigError(
            f"train_segmenter: {what} answers {size} px for {(side, side)} px; choose another encoder_depth"
        )
    for name, child in list(encoder.named_children()):
        if not any(module in called for module in child.modules()):
            setattr(encoder, name, nn.Identity())
