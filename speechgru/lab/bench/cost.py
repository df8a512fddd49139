"""What a recurrent model costs: operations, a training step, the answer to one utterance, memory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from speechgru.cells import Cell
from speechgru.encoders import RecurrentEncoder
from speechgru.encoders.recurrent import RecurrentLayer
from speechgru.errors import SpeechGRUError
from speechgru.export.speed import torch_answer
from speechgru.lab.bench.timing import interleaved_ms
from speechgru.plain import Record
from speechgru.recognizer import Recognizer
from speechgru.registry import entry, name_of

BATCH, DURATION_S = 32, 1.0


def costs(folders: dict[str, Path], repeats: int = 20, steps: int = 5) -> dict[str, Record]:
    """What each of several models costs, the models taking turns so that a slow spell of the machine hits them all.

    The recordings are noise of 1 s; all other sizes are the models' own.

    Args:
        folders: the model folders, by name.
        repeats: measured answers of each model, at least 1.
        steps: measured training steps of each model, at least 1.

    Returns:
        By name: ``macs_per_s``, multiply-accumulates of the recurrent layers for a second of audio, by the formulas of
        the cells; ``latency_ms``, the median time from one waveform of 1 s to its scores; ``step_ms``, the median
        time of a training step (forward, loss, backward) of 32 such waveforms; ``step_mb``, by how many megabytes such
        a step raises the memory of a fresh process at its peak, None without Linux.

    Raises:
        ModelError: a folder cannot be loaded.
        SpeechGRUError: the fresh process failed.
    """
    loaded = {name: Recognizer.load(folder) for name, folder in folders.items()}
    latency = interleaved_ms({name: torch_answer(model) for name, model in loaded.items()}, repeats)
    step = interleaved_ms({name: training_step(model) for name, model in loaded.items()}, steps, 1, settle=False)
    return {
        name: {
            "macs_per_s": macs_per_s(model),
            "latency_ms": round(latency[name], 2),
            "step_ms": round(step[name], 1),
            "step_mb": _memory_of_a_fresh_process(folders[name]),
        }
        for name, model in loaded.items()
    }


def macs_per_s(model: Recognizer) -> int:
    """Multiply-accumulates of the recurrent layers for one second of audio, by the formulas of their cells."""
    rate = 1 / model.frame_s  # of the last layer; below a layer that joins frames the rate is as many times higher
    total = 0.0
    assert isinstance(model.encoder, RecurrentEncoder)
    for layer in reversed(model.encoder.layers):
        assert isinstance(layer, RecurrentLayer)
        for cell in (layer.forward_cell, layer.backward_cell):
            if cell is not None:
                total += rate * _macs(cell, layer.config.cell)
        rate *= layer.factor
    return round(total)


def _macs(cell: Cell, config: object) -> int:
    formula = entry("cell", name_of("cell", config)).component.multiply_accumulates  # type: ignore[attr-defined]
    return formula(cell.input_size, cell.hidden_size, config)


def training_step(model: Recognizer, batch: int = BATCH) -> Callable[[], None]:
    """A function that computes the loss and all gradients of a batch of noise."""
    generator = torch.Generator().manual_seed(0)
    samples = round(DURATION_S * model.sample_rate)
    waveforms = 0.1 * torch.randn(batch, samples, generator=generator)
    lengths = torch.full((batch,), samples)
    if model.head.scores_frames:
        targets = torch.randint(1, len(model.tokens), (batch, 5), generator=generator)
    else:
        targets = torch.randint(len(model.tokens), (batch,), generator=generator)
    target_lengths = torch.full((batch,), 5)

    def step() -> None:
        model.train()
        model.zero_grad(set_to_none=True)
        scores, frames = model(waveforms, lengths)
        model.head.loss(scores, frames, targets, target_lengths).mean().backward()

    return step


def _memory_of_a_fresh_process(folder: Path) -> float | None:
    command = [sys.executable, "-m", "speechgru.lab.bench.cost", str(folder)]
    # Without large pages, which would be counted whole, whatever is in them.
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads()), "THP_MEM_ALLOC_ENABLE": "0"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SpeechGRUError(f"{folder}: no training step in a fresh process ({done.stderr.strip().splitlines()[-1]})")
    return float(done.stdout) if done.stdout.strip() else None


def _peak_of_a_step(model: Recognizer) -> float | None:
    """Megabytes between what this process holds and the most it holds during a training step."""
    training_step(model, batch=2)()  # what is loaded or compiled at the first call is not part of a step
    step = training_step(model)
    try:
        # This makes Linux forget the peak so far.
        Path("/proc/self/clear_refs").write_text("5")
        before = _status_mb("VmRSS")
        step()
        return round(_status_mb("VmHWM") - before, 1)
    except OSError:
        return None


def _status_mb(name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


if __name__ == "__main__":
    peak = _peak_of_a_step(Recognizer.load(sys.argv[1]))
    if peak is not None:
        print(peak)
