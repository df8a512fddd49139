"""How fast every cell is beside torch.nn.GRU, and LSTM and RNN beside their own modules, on batches without padding."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

import speechgru.cells  # noqa: F401  registers them
from speechgru.lab.bench.timing import check_equal, interleaved_ms, row
from speechgru.plain import Record
from speechgru.registry import build, entry, names

SIZE, FRAMES, BATCH = 128, 100, 32
# The torch module of each cell that has one: both must give the same numbers. Every cell has nn.GRU as its peer.
MODULES: dict[str, type[nn.Module]] = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}
NORMALIZED = ("gru", "lstm")  # with layer norm inside, which torch's modules do not have


def bench_cells(repeats: int = 10) -> list[Record]:
    """A training step and the answer for a single sequence, of every registered cell: 128 -> 128, 100 frames.

    One direction, one layer, all rows full, so that a peer without lengths does no useless work.

    Raises:
        SpeechGRUError: a cell that torch has too does not compute the same as torch's.
    """
    generator = torch.Generator().manual_seed(0)
    cells = {name: build("cell", entry("cell", name).config(), SIZE, SIZE) for name in names("cell")}
    cells |= {
        f"{name} with layer_norm": build("cell", entry("cell", name).config(layer_norm=True), SIZE, SIZE)
        for name in NORMALIZED
    }
    modules = {f"torch.nn.{kind.__name__}": kind(SIZE, SIZE, batch_first=True) for kind in MODULES.values()}
    for name, kind in MODULES.items():
        _copy(cells[name], modules[f"torch.nn.{kind.__name__}"])
    rows = []
    for batch, measure in ((BATCH, _step), (1, _inference)):
        sequence = torch.randn(batch, FRAMES, SIZE, generator=generator)
        for name, kind in MODULES.items():
            peer = f"torch.nn.{kind.__name__}"
            with torch.no_grad():
                check_equal(name, cells[name](sequence)[0], modules[peer](sequence)[0], peer)
        candidates = {name: measure(module, sequence) for name, module in (cells | modules).items()}
        taken = interleaved_ms(candidates, repeats, warmup=min(1, repeats - 1), settle=batch == 1)
        what = "training step" if measure is _step else "inference"
        for name in cells:
            own = f"torch.nn.{MODULES.get(name.split()[0], nn.GRU).__name__}"
            for peer in dict.fromkeys((own, "torch.nn.GRU")):
                rows.append(row(f"{name}, {what}, {batch} x {FRAMES} frames", taken[name], peer, taken[peer]))
    return rows


def _step(module: nn.Module, sequence: Tensor) -> Callable[[], object]:
    def step() -> None:
        module.train().zero_grad()
        module(sequence)[0].square().mean().backward()

    return step


def _inference(module: nn.Module, sequence: Tensor) -> Callable[[], object]:
    def infer() -> None:
        module.eval()
        with torch.no_grad():
            module(sequence)

    return infer


def _copy(cell: nn.Module, module: nn.Module) -> None:
    with torch.no_grad():
        for name, parameter in cell.named_parameters():
            module.get_parameter(f"{name}_l0").copy_(parameter)
