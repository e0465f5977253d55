"""Exponential moving average of a model's weights, with warm-up."""

import torch
from torch import Tensor, nn


def ema_decay(updates: int, longest: float) -> float:
    """Decay after `updates` earlier updates: min(longest, (1 + n) / (10 + n)), so that short runs forget the start.

    A decay of 0.9999 from the first step leaves a short run's average at its random start.
    """
    return min(longest, (1 + updates) / (10 + updates))


class Ema:
    """The averaged weights of one model."""

    def __init__(self, model: nn.Module, longest: float) -> None:
        self.longest = longest
        self.updates = 0
        self.weights = [parameter.detach().clone() for parameter in model.parameters()]

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        decay = ema_decay(self.updates, self.longest)
        torch._foreach_lerp_(self.weights, [parameter.detach() for parameter in model.parameters()], 1 - decay)
        self.updates += 1

    @torch.no_grad()
    def copy_to(self, model: nn.Module) -> None:
        """Make `model` the average."""
        for parameter, weight in zip(model.parameters(), self.weights, strict=True):
            parameter.copy_(weight)

    def state(self) -> dict[str, list[Tensor] | int]:
        return {"updates": self.updates, "weights": self.weights}

    def load(self, state: dict) -> None:
        self.updates = state["updates"]
        for weight, saved in zip(self.weights, state["weights"], strict=True):
            weight.copy_(saved)
