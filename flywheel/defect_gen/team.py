"""The processes that train one generator together, a GPU each, as `accelerate launch` or `torchrun` start them."""

from typing import Any

import torch
from torch import Tensor, nn

from flywheel.errors import ConfigError
from flywheel.launch import leads, process_count, process_rank


def share(batch: int, rank: int, size: int) -> range:
    """Slots of process `rank` of `size`. Raises ConfigError unless all get equally many."""
    if batch % size:
        raise ConfigError(
            f"batch {batch} cannot be shared equally by {size} processes; change batch in params.yaml or the "
            f"launcher's number of processes"
        )
    each = batch // size
    return range(rank * each, (rank + 1) * each)


class Team:
    """What a training asks of its fellow processes; with one process, nothing.

    rank, size: this process's number and how many there are. leads: whether it writes files. device: where it computes.
    """

    def __init__(self, device: torch.device) -> None:
        """Join the processes that were started together. They meet through `accelerate`, imported for several alone."""
        self.device, self.rank, self.size, self.leads = device, process_rank(), process_count(), leads()
        self.accelerator: Any = None
        if self.size > 1:
            from accelerate import Accelerator
            from accelerate.utils import DistributedDataParallelKwargs

            same = DistributedDataParallelKwargs(broadcast_buffers=False)  # statistics are equal and never change
            # numbers are train.py's business, whatever the launcher's own configuration says
            self.accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision="no", kwargs_handlers=[same])
            self.device = self.accelerator.device

    def share(self, batch: int) -> range:
        """This process's slots of a batch. Raises ConfigError unless all processes get equally many."""
        return share(batch, self.rank, self.size)

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network whose gradients are the mean over all processes (DistributedDataParallel)."""
        return network if self.accelerator is None else self.accelerator.prepare_model(network)

    def mean(self, value: Tensor) -> Tensor:
        """Mean of `value` over all processes."""
        return value if self.accelerator is None else self.accelerator.reduce(value, reduction="mean")

    def part(self) -> None:
        """Wait for all, then leave the process group. Needed once, when nothing is left to do together."""
        if self.accelerator is not None:
            self.accelerator.wait_for_everyone()
            self.accelerator.end_training()
