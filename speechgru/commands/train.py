"""``speechgru train``: composes a run with Hydra and trains it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from speechgru.commands.hydra_job import hydra_main
from speechgru.config import plain
from speechgru.registry import name_of
from speechgru.training.run import TrainConfig, train
from speechgru.training.selection import monitor_for


def run_hydra(words: list[str]) -> int:
    """Runs the training that the overrides ``words`` describe, or what Hydra's own flags ask for."""
    return hydra_main("train", words, lambda config, folder: _run(config, folder, words))


def _run(config: TrainConfig, folder: Path, words: list[str]) -> None:
    progress = train(config, folder, plain(config), words)
    if os.environ.get("RANK", "0") != "0":
        return  # of the processes of torchrun one speaks
    monitor = monitor_for(name_of("head", config.head), config.trainer.monitor).name
    figure = "" if progress.best is None else f", best validation {monitor} {abs(progress.best):.4f}"
    print(
        f"{progress.epoch} epochs in {progress.seconds:.0f} s{figure} (epoch {progress.best_epoch})\n"
        f"learning curves: {folder / 'curves.png'}\n"
        f"next: speechgru evaluate model={folder / 'model'}",
        file=sys.stderr,
    )
    print(folder / "model")
