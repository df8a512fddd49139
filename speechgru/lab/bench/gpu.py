"""How fast every cell trains on a GPU, beside torch.nn.GRU there, which is cuDNN's."""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

import speechgru.cells  # noqa: F401  registers them
from speechgru.lab.bench.timing import check_equal, interleaved_ms, row
from speechgru.plain import Record
from speechgru.registry import build, entry, names

SIZE, FRAMES, BATCH = 256, 300, 32


def bench_gpu(repeats: int = 10, device: str = "cuda") -> list[Record]:
    """A training step of every registered cell, 256 -> 256, 32 rows of 300 frames, in float32 and under autocast.

    One direction, one layer, all rows full; the list is empty where torch sees no CUDA device.

    Raises:
        SpeechGRUError: a cell does not compute on the GPU what it computes on the CPU.
    """
    if device == "cuda" and not torch.cuda.is_available():
        print("bench gpu: torch sees no CUDA device here, so it has no rows", file=sys.stderr)
        return []
    generator = torch.Generator().manual_seed(0)
    sequence = torch.randn(BATCH, FRAMES, SIZE, generator=generator)
    cells = {name: build("cell", entry("cell", name).config(), SIZE, SIZE) for name in names("cell")}
    there = {name: copy.deepcopy(cell).to(device) for name, cell in cells.items()}
    # By default cuDNN takes TF32 for float32, which is 1e-3 off.
    with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        for name, cell in cells.items():
            found = there[name].eval()(sequence[:2].to(device))[0].cpu()
            check_equal(f"{name} on {device}", found, cell.eval()(sequence[:2])[0], "the CPU")
    peer = "torch.nn.GRU"
    there[peer] = nn.GRU(SIZE, SIZE, batch_first=True).to(device)
    rows = []
    for precision, autocast in (("float32", False), ("bfloat16", True)):
        steps = {name: _step(module, sequence.to(device), autocast) for name, module in there.items()}
        taken = interleaved_ms(steps, repeats, settle=False, clock=time.perf_counter)
        rows += [
            row(f"{name}, training step, {BATCH} x {FRAMES} frames, {precision}", taken[name], peer, taken[peer])
            for name in cells
        ]
    return rows


def _step(module: nn.Module, sequence: Tensor, autocast: bool) -> Callable[[], object]:
    def step() -> None:
        module.train().zero_grad()
        with torch.autocast(sequence.device.type, torch.bfloat16, enabled=autocast):
            hidden = module(sequence)[0]
        hidden.float().square().mean().backward()
        if sequence.device.type == "cuda":
            torch.cuda.synchronize()

    return step
