"""This process among those that torchrun started; a single process is a world of one."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import os
import sys
from collections.abc import Iterable, Iterator

import torch
import torch.distributed as dist
from torch import Tensor

from speechgru.devices import find_device


@dataclasses.dataclass(frozen=True)
class World:
    """This process among all.

    Attributes:
        rank: its number, 0 for the one that writes files and prints.
        size: how many there are.
        device: where its model is.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def say(self, line: str) -> None:
        """Prints a line on stderr, in one process."""
        if self.leads:
            print(line, file=sys.stderr, flush=True)

    def largest(self, value: int) -> int:
        """The largest ``value`` of all processes."""
        if self.size == 1:
            return value
        most = torch.tensor(value, device=self.device)
        dist.all_reduce(most, dist.ReduceOp.MAX)
        return int(most)

    def agrees(self, value: int) -> bool:
        """Whether ``value`` is the same in all processes."""
        return self.largest(value) == -self.largest(-value)

    def sum(self, value: float) -> float:
        """The sum of ``value`` over all processes."""
        if self.size == 1:
            return value
        total = torch.tensor(
            value, dtype=torch.float64 if self.device.type != "mps" else torch.float32, device=self.device
        )
        dist.all_reduce(total)
        return float(total)

    def same(self, tensors: Iterable[Tensor]) -> None:
        """Gives every process what these tensors are in the first one."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)


@contextlib.contextmanager
def join_world(device: str) -> Iterator[World]:
    """Joins the processes torchrun started (gloo on CPU, nccl on CUDA), or runs alone.

    Args:
        device: what :func:`speechgru.devices.find_device` knows; ``cuda`` gives each process on a machine its own.

    Raises:
        ConfigError: the device is not there.
    """
    rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    place = find_device(device, "trainer.device=")
    if place == torch.device("cuda"):
        place = find_device(f"cuda:{os.environ.get('LOCAL_RANK', 0)}", "trainer.device=")
    if size == 1:
        yield World(0, 1, place)
        return
    if place.type == "cuda":
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield World(rank, size, place)
    finally:
        # DistributedDataParallel refers to itself, so it would outlive the group, and be destroyed with the interpreter
        # while its threads run.
        gc.collect()
        dist.destroy_process_group()
