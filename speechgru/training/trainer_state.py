"""What a checkpoint has of a trainer: everything that changes while it trains."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Protocol

from torch.optim import Optimizer

from speechgru.data.batching import BatchLoader
from speechgru.data.utterance import checksum
from speechgru.errors import ConfigError, DataError
from speechgru.plain import Record
from speechgru.recognizer import Recognizer
from speechgru.training.average import ExponentialAverage
from speechgru.training.checkpoint import load_checkpoint, optimizer_tensors, restore_optimizer, save_checkpoint
from speechgru.training.distributed import World
from speechgru.training.hard_negatives import HardNegatives
from speechgru.training.progress import Progress
from speechgru.training.selection import Selection


class Training(Protocol):
    """The parts of a :class:`~speechgru.training.trainer.Trainer` that are kept, or compared with what was kept."""

    seed: int
    folder: Path
    world: World
    recognizer: Recognizer
    optimizer: Optimizer
    average: ExponentialAverage | None
    selection: Selection
    loader: BatchLoader
    valid_loader: BatchLoader
    negatives: HardNegatives | None
    progress: Progress


def save_state(trainer: Training) -> None:
    """Writes the checkpoint into the trainer's folder."""
    average = trainer.average
    groups = {"model": trainer.recognizer.state_dict(), "optimizer": optimizer_tensors(trainer.optimizer)}
    if average is not None:
        groups["average"] = average.tensors
    if trainer.negatives is not None:
        groups["negatives"] = trainer.negatives.state()
    state = {
        "seed": trainer.seed,
        "data": _data(trainer),
        "monitor": trainer.selection.monitor,
        "progress": dataclasses.asdict(trainer.progress),
        "average_updates": average.updates if average is not None else 0,
    }
    save_checkpoint(trainer.folder, groups, state)


def restore_state(trainer: Training, path: Path) -> None:
    """Puts a trainer into the state in which the checkpoint at ``path`` was written.

    Raises:
        ConfigError: it was written with another seed, model or optimizer.
        DataError: it was written with other recordings.
        ModelError: the file is damaged.
    """
    tensors, state = load_checkpoint(path)
    if state["seed"] != trainer.seed:
        raise ConfigError(f"seed={trainer.seed}: the checkpoint {path} was written with seed={state['seed']}; use that")
    then, now = state.get("data"), _data(trainer)
    if then not in (None, now):
        counts = " and ".join(
            f"{then[name]} {name} utterances (now {now[name]})" for name in ("training", "validation")
        )
        raise DataError(
            f"{path}: the run began with other recordings: {counts}; put them back, or begin again with overwrite=true"
        )
    try:
        trainer.recognizer.load_state_dict(tensors["model"])
        restore_optimizer(trainer.optimizer, tensors.get("optimizer", {}))
    except (RuntimeError, KeyError, ValueError) as error:
        raise ConfigError(
            f"{path} belongs to another model or optimizer; resume with the settings it began with"
        ) from error
    trainer.progress = Progress.read(state, path)
    if trainer.average is not None:
        device = trainer.world.device
        trainer.average.updates = state["average_updates"]
        trainer.average.tensors = {name: tensor.to(device) for name, tensor in tensors["average"].items()}
    if trainer.negatives is not None:
        trainer.negatives.restore(tensors["negatives"])
        trainer.loader.choose(trainer.negatives.indices())


def _data(trainer: Training) -> Record:
    """The training and validation data, wherever the files are: how many utterances, and a checksum."""
    train, valid = trainer.loader.utterances, trainer.valid_loader.utterances
    return {"training": len(train), "validation": len(valid), "checksum": checksum([*train, *valid])}
