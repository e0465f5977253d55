"""How this process was started: alone, or as one of several by `accelerate launch` or `torchrun`."""

import os


def process_count() -> int:
    """How many processes the launcher started; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def process_rank() -> int:
    """This process's number, from 0."""
    return int(os.environ.get("RANK", "0"))


def leads() -> bool:
    """Whether this is the process that writes files and speaks."""
    return process_rank() == 0
