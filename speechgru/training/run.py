"""One training run from a typed config: builds the parts, trains, and leaves a model folder with its card."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from speechgru.data.background import BackgroundConfig, WithBackground
from speechgru.data.corpora.corpus import Corpus
from speechgru.data.splits import SPLITS
from speechgru.data.surroundings import Surroundings
from speechgru.data.utterance import Utterance
from speechgru.errors import ConfigError, DataError, Interrupted, TrainingStopped
from speechgru.evaluation.card import CardConfig, card_of_run, write_card
from speechgru.evaluation.machine import describe_machine
from speechgru.evaluation.tasks import task_of
from speechgru.heads.units import check_units
from speechgru.model_folder import RecognizerConfig
from speechgru.plain import Record
from speechgru.recognizer import Recognizer
from speechgru.registry import MISSING, build, name_of, to_plain
from speechgru.shipped import model_path
from speechgru.text import Units
from speechgru.tokens import Tokens
from speechgru.training.budget import within_budget
from speechgru.training.checkpoint import NAME, checksum
from speechgru.training.distributed import World, join_world
from speechgru.training.hard_negatives import HardNegatives
from speechgru.training.lock import only_run
from speechgru.training.messages import FEW, few_to_choose_on, report_unreadable
from speechgru.training.method import Method
from speechgru.training.progress import Progress
from speechgru.training.run_settings import (
    begin,
    clear_run,
    earlier_run,
    go_on,
    not_shared,
    read_settings,
    write_run,
)
from speechgru.training.starting_point import start_from
from speechgru.training.targets import describe, usable, write_left_out
from speechgru.training.trainer import Trainer
from speechgru.training.trainer_config import TrainerConfig
from speechgru.training.trainer_state import restore_state


@dataclasses.dataclass
class TrainConfig:
    """One training run, complete.

    Attributes:
        name: names the run's folder, runs/<name>.
        run_dir: where the run writes.
        seed: fixes weights, data order, augmentation and dropout; at least 0.
        resume: go on with the run in run_dir; ``run_dir=X resume=true`` alone takes the settings it began with. Only
            where and how it is computed may differ: trainer.device, threads, workers, cache_mb, checkpoint_s and
            tensorboard, and the root of recordings that were moved. To train longer, begin a run with init_from.
        overwrite: discard the run that is in run_dir.
        parameters: largest number of parameters of the whole model: the encoder gets the largest hidden_size that keeps
            to it; 0 leaves encoder.hidden_size as it is.
        features: what is computed from a recording, frame by frame.
        augment: how training recordings are changed, anew in each epoch.
        cell: the recurrent cell of the encoder.
        front_end: what comes before the encoder and reduces the number of frames; null means nothing.
        encoder: the recurrent network over the frames.
        head: what is learned: classification of whole recordings, or ctc for transcripts.
        units: what transcripts are written in, for head=ctc.
        data: the corpus; for your own recordings, data=folder.
        synthesiser: who speaks in a corpus that is made here, such as wake_word.
        optimizer: how weights follow gradients.
        schedule: how the learning rate changes over a run.
        background: recordings of any length without the words, for a classifier that listens all the time.
        trainer: the loop.
        extra_data: a second corpus whose training split is used as well (recordings that are in data too are left out).
            Labels that data lacks are trained like the others and dropped from the finished model.
        card: what the model's card says beyond its numbers.
        init_from: a trained model to begin with, given as the name of a shipped one or a folder. Its features and
            encoder are used, and what its head knows of the labels; empty means fresh weights. A larger
            encoder.num_layers puts fresh layers on top.
        freeze_encoder: the encoder of init_from stays as it is; only the head and fresh layers are trained.
        recipe: a complete run from conf/recipe.
    """

    name: str = "run"
    run_dir: str = MISSING
    seed: int = 0
    resume: bool = False
    overwrite: bool = False
    parameters: int = 0
    features: Any = MISSING
    augment: Any = None
    cell: Any = MISSING
    front_end: Any = None
    encoder: Any = MISSING
    head: Any = MISSING
    units: Any = None
    data: Any = MISSING
    optimizer: Any = MISSING
    schedule: Any = MISSING
    extra_data: Any = None
    background: BackgroundConfig = dataclasses.field(default_factory=BackgroundConfig)
    synthesiser: Any = None
    trainer: TrainerConfig = dataclasses.field(default_factory=TrainerConfig)
    card: CardConfig = dataclasses.field(default_factory=CardConfig)
    init_from: str = ""
    freeze_encoder: bool = False

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigError(f"seed={self.seed}: at least 0")
        if self.parameters < 0:
            raise ConfigError(f"parameters={self.parameters}: at least 0 (0 leaves encoder.hidden_size as it is)")
        if self.parameters and self.init_from:
            raise ConfigError(
                f"parameters={self.parameters}: the size of the encoder is that of init_from; leave one out"
            )
        if self.freeze_encoder and not self.init_from:
            raise ConfigError("freeze_encoder=true: a fresh encoder has learned nothing; add init_from=MODEL")


def train(config: TrainConfig, folder: Path, settings: Record, words: Sequence[str] = ()) -> Progress:
    """Trains what ``config`` describes.

    Args:
        config: the run.
        folder: where it writes.
        settings: the same config as plain values, kept in ``run.json``.
        words: the overrides of the command line, for the record.

    Returns:
        How the run went; a run that was finished before is not run again.

    Raises:
        ConfigError: the folder holds another run, a setting does not fit the data, or the processes of torchrun see
            different checkpoints.
        DataError: the corpus is not there or lacks a split.
        Interrupted: by Ctrl-C or SIGTERM.
        TrainingStopped: the gradient stayed non-finite, or a file cannot be written.
    """
    if config.resume and config.overwrite:
        raise ConfigError("resume=true and overwrite=true: go on with the run or discard it; leave one of them out")
    leads = os.environ.get("RANK", "0") == "0"  # only one of the processes of torchrun writes
    with _told(folder), only_run(folder) if leads else contextlib.nullcontext():
        before = None if config.overwrite else earlier_run(folder, settings, config.resume)
        if config.resume and leads and not (folder / NAME).is_file():
            print(f"{folder} holds no checkpoint yet; the run begins", file=sys.stderr)
        try:
            with join_world(config.trainer.device) as world:
                # If the first process finds the run finished, it must be so for all, or the others would wait for it.
                if not (config.overwrite or world.agrees(checksum(folder))):
                    raise not_shared(folder)
                if before is not None and before.finished:
                    if leads:
                        print(f"{folder}: already finished with these settings, nothing trained", file=sys.stderr)
                    return before
                return _train(config, folder, None if before else settings, words, world)
        except BaseException:
            if leads and not any((folder / name).exists() for name in (NAME, "model")):
                clear_run(folder)  # a start that failed leaves nothing
            raise


@contextlib.contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Says how to go on after Ctrl-C or when the disk is full."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted(f"interrupted; {_again(folder)}", signal.SIGINT) from error
    except BrokenPipeError:
        raise
    except OSError as error:
        reason = f"{error.filename or folder}: {error.strerror or error}"
        raise TrainingStopped(f"{reason}; once that is mended {_again(folder)}") from error


def _again(folder: Path) -> str:
    return go_on(folder) if (folder / NAME).is_file() else "begin again, nothing was trained yet"


def _train(config: TrainConfig, folder: Path, settings: Record | None, words: Sequence[str], world: World) -> Progress:
    corpus: Corpus = build("data", config.data)
    extra: list[Corpus] = [build("data", config.extra_data)] if config.extra_data is not None else []
    units: Units | None = build("units", config.units) if config.units is not None else None
    check_units(name_of("head", config.head), units)
    task = task_of(name_of("head", config.head))
    heard = WithBackground(corpus, config.background) if listens(config.background) else None
    judged = corpus if heard is None else heard
    learn, choose = judged.utterances("train") + _unseen(corpus, extra), judged.utterances("valid")
    data = portable(to_plain(config.data, "data"))
    parts = RecognizerConfig(config.features, config.encoder, config.head, data=data, units=config.units)
    tokens, kept = task.outputs(judged, extra, learn, units)
    if config.parameters:
        parts.encoder = within_budget(parts, tokens, config.parameters)
    torch.manual_seed(config.seed)
    recognizer = Recognizer(parts, tokens)
    recognizer.units = units  # knows the sub-words it learned
    learn, not_learned = usable(task, recognizer, learn, "train")
    choose, not_chosen = usable(task, recognizer, choose, "valid")
    left = not_learned + not_chosen
    if config.init_from:
        start_from(recognizer, config.init_from, model_path(config.init_from), freeze=config.freeze_encoder)
    trainer = Trainer(
        recognizer,
        learn,
        choose,
        config.trainer,
        Method(
            lambda module: build("optimizer", config.optimizer, module),
            lambda steps: build("schedule", config.schedule, steps),
            build("augment", config.augment) if config.augment is not None else None,
            config.seed,
            *_background(config, heard, learn, world),
        ),
        folder,
        world,
        kept=kept,
    )
    if config.resume and (folder / NAME).is_file():
        restore_state(trainer, folder / NAME)
    if world.leads:
        if settings is not None:
            begin(folder, settings, words)
        write_left_out(folder, left)
        if left:
            print(describe(left, folder), file=sys.stderr)
        _announce(trainer, corpus)
        for split, loader in (("training", trainer.loader), ("validation", trainer.valid_loader)):
            report_unreadable(loader.unreadable(), len(loader.utterances), split)
    trainer.fit()
    recognizer.get_submodule("encoder").requires_grad_(True)  # its parameters are the model's, too
    if world.leads:
        report_unreadable(list(trainer.unreadable), len(trainer.loader.utterances), "training")
        _finish(trainer, config, [corpus, *extra], kept or tokens)
    trainer.mark_finished()
    return trainer.progress


def listens(config: BackgroundConfig) -> bool:
    """Whether there is any background."""
    return bool(config.recordings or config.noises)


def _background(
    config: TrainConfig, heard: WithBackground | None, learn: list[Utterance], world: World
) -> tuple[Surroundings | None, HardNegatives | None]:
    """What training uses of the background, and which windows of it each epoch has."""
    if heard is None:
        return None, None
    if config.background.hard and world.size > 1:
        raise ConfigError(f"background.hard={config.background.hard}: needs one process; 0 with torchrun")
    surroundings = Surroundings(config.background, learn, heard.windows("train"))
    return surroundings, HardNegatives(config.background, learn, surroundings.rows, config.seed)


def _finish(trainer: Trainer, config: TrainConfig, corpora: list[Corpus], tokens: Tokens) -> None:
    """Writes what comes after the last epoch: the model's last changes, its card and ``run.json``.

    Each file is whole or not there, and writing it again gives the same; so a run killed here does all of this again.
    """
    folder, recognizer, progress = trainer.folder, trainer.recognizer, trainer.progress
    begun = read_settings(folder) or {"command": "", "overrides": [], "settings": {}}
    summary = {
        "name": config.name,
        "task": recognizer.task,
        "seed": config.seed,
        "parameters": recognizer.parameter_count(),
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        "best_valid": progress.best_figure,
        "updates": progress.step,
        "examples": progress.examples,
        "nonfinite_steps": progress.nonfinite,
        "wall_clock_s": round(progress.seconds, 1),
        "date": time.strftime("%Y-%m-%d"),
        "processes": trainer.world.size,
        "machine": describe_machine(str(trainer.world.device)),
        "command": begun["command"],
        "overrides": begun["overrides"],
        "training_data": [_facts(one) for one in corpora],
        "settings": begun["settings"] | {"encoder": to_plain(recognizer.config.encoder, "encoder")},
    }
    finished = Recognizer.load(folder / "model")
    if trainer.task.finish(finished, trainer.valid_loader.epoch(0)):
        finished.save(folder / "model")
    write_card(folder / "model", card_of_run(summary, trainer.task.classes(tokens), recognizer.sample_rate, []))
    write_run(folder, summary)


def portable(data: Record) -> Record:
    """Settings of a corpus without absolute paths, which mean something on one machine only."""
    return {
        key: portable(value) if isinstance(value, dict) else value
        for key, value in data.items()
        if not (isinstance(value, str) and os.path.isabs(value))
    }


def _unseen(corpus: Corpus, extra: list[Corpus]) -> list[Utterance]:
    """The training utterances of further corpora whose recordings are in no split of the first one."""
    own = {utterance.audio for split in SPLITS for utterance in corpus.utterances(split)} if extra else set()
    try:
        return [one for other in extra for one in other.utterances("train") if one.audio not in own]
    except DataError as error:  # a corpus does not know that it is the second one
        raise DataError(str(error).replace("data.root=", "extra_data.root=")) from error


def _facts(corpus: Corpus) -> dict[str, str]:
    """What a card says of a corpus."""
    about = corpus.about()
    return {"name": about["title"], "license": about["licence"], "url": about["url"]}


def _announce(trainer: Trainer, corpus: Corpus) -> None:
    recognizer, world = trainer.recognizer, trainer.world
    where = str(world.device) if world.size == 1 else f"{world.size} x {world.device.type}"
    counts = [len(trainer.loader.utterances), len(trainer.valid_loader.utterances), _test_count(corpus)]
    rule = f" ({corpus.split_rule})" if corpus.split_rule else ""
    frozen = sum(one.numel() for one in recognizer.parameters() if not one.requires_grad)
    size = f"{recognizer.parameter_count() + frozen:,} parameters" + (f", {frozen:,} of them frozen," if frozen else "")
    print(
        f"{type(corpus).__name__}: {counts[0]} training, {counts[1]} validation and {counts[2]} test utterances{rule}, "
        f"{len(recognizer.tokens)} {trainer.task.outputs_are}; {size} on {where}",
        file=sys.stderr,
    )
    if corpus.can_fold and counts[1] < FEW:
        print(few_to_choose_on(counts[1]), file=sys.stderr)


def _test_count(corpus: Corpus) -> int:
    """How many utterances there are for evaluate; a corpus may have none."""
    try:
        return len(corpus.utterances("test"))
    except DataError:
        return 0
