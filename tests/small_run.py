"""A training run of a second or two, in this process or as a command, and what two such runs must have in common."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from speechgru.config import compose, plain
from speechgru.errors import Interrupted
from speechgru.training.progress import Progress
from speechgru.training.run import train
from speechgru.training.trainer import Trainer

SMALL = [
    "features.sample_rate=8000",
    "features.mels=12",
    "features.normalization=none",  # a steady tone minus its own mean is nothing
    "encoder.hidden_size=12",
    "encoder.num_layers=1",
    "head.attention_heads=2",
    "optimizer.learning_rate=0.01",
    "trainer.batch_size=8",
    "trainer.epochs=4",
    "trainer.ema_decay=0.9",
    "augment.noise.probability=0.5",
    "augment.shift.probability=0.5",
    "augment.spectrogram.time_masks=1",
    "trainer.threads=1",
]


def run(corpus: Path, folder: Path, *overrides: str) -> Progress:
    """Trains in this process; returns the progress."""
    config = compose("train", ["data=folder", f"data.root={corpus}", *SMALL, *overrides])
    return train(config, folder, plain(config))


def cut(monkeypatch: pytest.MonkeyPatch, corpus: Path, folder: Path, updates: int, *overrides: str) -> None:
    """Trains until Ctrl-C comes after so many updates."""
    update = Trainer._update

    def watched(self: Trainer, batches: list) -> None:
        update(self, batches)
        if self.progress.step == updates:
            self.interruption.signal = 2

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_update", watched)
        with pytest.raises(Interrupted, match=f"after step {updates}; go on with speechgru train run_dir=") as stop:
            run(corpus, folder, *overrides)
    assert stop.value.signal == 2


def command(corpus: Path, folder: Path, *overrides: str) -> list[str]:
    """The same training as a command of its own."""
    words = ["train", "data=folder", "~recipe", f"data.root={corpus}", *SMALL, f"run_dir={folder}", *overrides]
    return ["-m", "speechgru.cli", *words]


ALONE = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")} | {
    "OMP_NUM_THREADS": "1"
}


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Everything in a run's checkpoint: weights, averages, optimizer."""
    return load_file(folder / "checkpoint.safetensors")


def rows(folder: Path) -> list[dict]:
    """metrics.jsonl without the clock."""
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in found]


def same(first: Path, second: Path) -> None:
    """Bit-equal checkpoints, kept models and logs."""
    a, b = tensors(first), tensors(second)
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name
    for name, tensor in load_file(first / "model" / "model.safetensors").items():
        assert torch.equal(tensor, load_file(second / "model" / "model.safetensors")[name]), name
    assert rows(first) == rows(second)
