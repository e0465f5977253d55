"""Which device computes, and in which numbers."""

import os

import torch


def pick_device() -> torch.device:
    """CUDA when there is one, else CPU; FLYWHEEL_DEVICE overrides."""
    wanted = os.environ.get("FLYWHEEL_DEVICE", "")
    return torch.device(wanted or ("cuda" if torch.cuda.is_available() else "cpu"))


def prepare_cpu() -> None:
    """Treat denormal numbers as zero: they slow a CPU's multiplications many times over and carry no information."""
    torch.set_flush_denormal(True)


def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 natively; elsewhere it would be slower than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)  # Ampere; older ones emulate it
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
