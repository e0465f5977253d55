"""Which device computes, and how many threads a CPU gives."""

import os

import torch


def pick_device() -> torch.device:
    """CUDA when there is one, else CPU; FLYWHEEL_DEVICE overrides."""
    wanted = os.environ.get("FLYWHEEL_DEVICE", "")
    return torch.device(wanted or ("cuda" if torch.cuda.is_available() else "cpu"))


def prepare_cpu() -> None:
    """Treat denormal numbers as zero: they slow a CPU's multiplications many times over and carry no information."""
    torch.set_flush_denormal(True)
