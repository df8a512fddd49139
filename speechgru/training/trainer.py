"""The training loop: epochs of batches, validation after each, a checkpoint from which a killed run goes on to the bit.

Nothing random is remembered: the order of the data follows from (seed, epoch), the augmentation of an utterance from
(seed, epoch, utterance), dropout and masks of a step from (seed, step). So the state of a run is its tensors and a few
counters, and a run resumed from them ends as the uninterrupted one does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from speechgru.cells.subnormals import flushed_subnormals
from speechgru.data.batching import Batch, BatchLoader
from speechgru.data.utterance import Utterance, checksum
from speechgru.errors import ConfigError, DataError, Interrupted, SpeechGRUError
from speechgru.evaluation.tasks import task_of
from speechgru.recognizer import Recognizer
from speechgru.tokens import Tokens
from speechgru.training.average import ExponentialAverage
from speechgru.training.checkpoint import (
    load_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)
from speechgru.training.distributed import World
from speechgru.training.interruption import Interruption
from speechgru.training.logging import MetricsLog
from speechgru.training.messages import epoch_line
from speechgru.training.objective import Objective, Precision
from speechgru.training.progress import Progress
from speechgru.training.run_settings import go_on
from speechgru.training.selection import Selection


@dataclasses.dataclass
class TrainerConfig:
    """Settings of the training loop.

    Attributes:
        epochs: passes over the training set, at least 1.
        batch_size: utterances of a step in each process, at least 1.
        accumulate: steps whose gradients are summed into one update, at least 1.
        gradient_clip: largest norm of the gradient; 0 means no limit.
        precision: fp32, or bf16 autocast (the recurrent cells stay in fp32 on CPU).
        ema_decay: exponential average of the weights that is validated and kept instead of the weights; 0 means none.
        average_last: also try the mean of the last so many epochs at the end; 0 means none.
        mixup: strength of mixing pairs of waveforms and their targets (alpha of 1710.09412); 0 means none.
        consistency: weight of the disagreement between two differently masked copies of every utterance (2410.05101,
            which has 0.2), of a CTC head; 0 means one copy. A step takes about twice as long.
        monitor: the validation figure that chooses the best epoch; None means accuracy of labels, wer of transcripts.
        patience: stop after so many epochs without a new best; 0 means never.
        max_nonfinite: consecutive steps without a finite gradient that are skipped before the run stops, at least 1.
        checkpoint_s: seconds between checkpoints inside an epoch (there is always one after it), above 0.
        workers: processes that read and augment audio; 0 means the training process does.
        cache_mb: memory for decoded audio in each process, in MB; 0 means none.
        max_duration_s: longer utterances are left out and counted; 0 means no limit.
        device: auto (cuda where there is one), cpu, cuda, cuda:<number> or mps.
        threads: CPU threads of the matrix products; 0 means torch's choice.
        tensorboard: also write TensorBoard files (extra ``log``).
    """

    epochs: int = 30
    batch_size: int = 32
    accumulate: int = 1
    gradient_clip: float = 5.0
    precision: Precision = Precision.fp32
    ema_decay: float = 0.0
    average_last: int = 0
    mixup: float = 0.0
    consistency: float = 0.0
    monitor: str | None = None
    patience: int = 0
    max_nonfinite: int = 5
    checkpoint_s: float = 120.0
    workers: int = 0
    cache_mb: int = 1024
    max_duration_s: float = 0.0
    device: str = "auto"
    threads: int = 0
    tensorboard: bool = False

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate", "max_nonfinite"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: at least 1")
        amounts = ("gradient_clip", "average_last", "mixup", "consistency", "patience")
        for name in (*amounts, "workers", "cache_mb", "max_duration_s", "threads"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name}={getattr(self, name)}: at least 0")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"ema_decay={self.ema_decay}: from 0 to below 1")
        if not self.checkpoint_s > 0:
            raise ConfigError(f"checkpoint_s={self.checkpoint_s}: above 0")


class TrainingStopped(SpeechGRUError):
    """Training ended before its time; the message says why and how to go on."""


class Trainer:
    """Trains a recognizer; its folder then holds ``model/`` (the best epoch), metrics.jsonl, curves.png, a checkpoint.

    Args:
        recognizer: the model, as initialised.
        train: utterances to learn from.
        valid: utterances to choose the best epoch on.
        config: settings of the loop.
        optimizer: a function of the module giving its optimizer.
        schedule: a function of the number of steps; it gives a function from a step to the learning rate's factor.
        augment: augmentation of waveforms and frames, or None.
        seed: of the data order, augmentation, dropout and masks.
        folder: where everything is written.
        world: this process among those of torchrun.
        kept: the labels of the finished model, the first of the recognizer's; None means all of them.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        train: list[Utterance],
        valid: list[Utterance],
        config: TrainerConfig,
        optimizer: Callable[[nn.Module], torch.optim.Optimizer],
        schedule: Callable[[int], Callable[[int], float]],
        augment: Any,
        seed: int,
        folder: Path,
        world: World,
        kept: Tokens | None = None,
    ) -> None:
        if not train:
            raise DataError("the training split has no utterances; check data= and its root")
        if not valid:
            raise DataError(
                "the validation split has no utterances, so no epoch could be chosen; check data= and its root"
            )
        self.task = task_of(recognizer.task)
        monitor = self.task.monitor(config.monitor, recognizer.task)
        if config.consistency and not recognizer.head.scores_frames:
            raise ConfigError(f"trainer.consistency={config.consistency:g}: compares frames; 0 without head=ctc")
        self.recognizer = recognizer.to(world.device)
        self.config, self.seed, self.folder, self.world = config, seed, folder, world
        shared: dict[str, Any] = {
            "target": self.task.target(recognizer),
            "sample_rate": recognizer.sample_rate,
            "batch_size": config.batch_size,
        }
        shared |= {"seed": seed, "workers": config.workers, "cache_mb": config.cache_mb}
        shared |= {"max_duration_s": config.max_duration_s or None}
        self.loader = BatchLoader(
            train, augment=augment, shuffle=True, rank=world.rank, world_size=world.size, **shared
        )
        self.valid_loader = BatchLoader(valid, **shared)
        where = folder if world.leads else None
        self.selection = Selection(recognizer, self.task, self.valid_loader, monitor, config.average_last, where, kept)
        self.objective: nn.Module = Objective(recognizer, augment, config.precision, config.mixup, config.consistency)
        world.same(recognizer)
        if world.size > 1:
            self.objective = nn.parallel.DistributedDataParallel(self.objective)
        self.optimizer = optimizer(recognizer)
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]
        updates = len(self.loader) // config.accumulate
        if not updates:
            raise DataError(
                f"{len(train)} training utterances make no update of {config.batch_size} x {config.accumulate} x "
                f"{world.size}; lower trainer.batch_size or trainer.accumulate"
            )
        self.schedule = schedule(updates * config.epochs)
        self.average = ExponentialAverage(recognizer, config.ema_decay) if config.ema_decay else None
        self.progress = Progress()
        self.interruption = Interruption()
        self.unreadable: dict[str, None] = {}

    def resume(self, path: Path) -> None:
        """Goes on from the checkpoint at ``path``."""
        tensors, state = load_checkpoint(path)
        if state["seed"] != self.seed:
            raise ConfigError(
                f"seed={self.seed}: the checkpoint {path} was written with seed={state['seed']}; use that"
            )
        then, now = state.get("data"), self._data()
        if then not in (None, now):
            counts = " and ".join(f"{then[split]} {split} utterances (now {now[split]})" for split in SPLITS)
            raise DataError(
                f"{path}: the run began with other recordings: {counts}; put them back, or begin again with "
                "overwrite=true"
            )
        try:
            self.recognizer.load_state_dict(tensors["model"])
            restore_optimizer(self.optimizer, tensors.get("optimizer", {}))
        except (RuntimeError, KeyError, ValueError) as error:
            raise ConfigError(
                f"{path} belongs to another model or optimizer; resume with the settings it began with"
            ) from error
        self.progress = Progress(**state["progress"])
        if self.average is not None:
            self.average.updates = state["average_updates"]
            self.average.tensors = {name: tensor.to(self.world.device) for name, tensor in tensors["average"].items()}
        self.selection.last = [tensors[f"last{number}"] for number in range(state["snapshots"])]

    def fit(self) -> Progress:
        """Trains until the last epoch, early stopping, an interruption or too many non-finite steps.

        Raises:
            Interrupted: Ctrl-C or SIGTERM; a checkpoint is written.
            TrainingStopped: the gradient stays non-finite.
        """
        torch.set_num_threads(self.config.threads or torch.get_num_threads())
        log = MetricsLog(self.folder, self.config.tensorboard) if self.world.leads else None
        if log is not None:
            log.truncate_after(self.progress.step, self.progress.epoch)
        if not self.progress.step:
            self._fit_statistics()
        progress = self.progress
        closing = contextlib.closing(log) if log is not None else contextlib.nullcontext()
        with self.interruption, flushed_subnormals(), closing:
            self._checkpoint()
            while not progress.trained:
                before_s = progress.seconds
                self._epoch()
                row = self._validate()
                progress.epoch += 1
                progress.batch = 0
                stale = progress.epoch - progress.best_epoch
                stopped = bool(self.config.patience) and stale >= self.config.patience
                progress.trained = progress.epoch >= self.config.epochs or stopped
                if progress.trained:
                    row |= self.selection.try_mean_of_last(progress)
                if log is not None:
                    log.write(progress.step, epoch=progress.epoch, **row)
                    log.draw()
                    line = epoch_line(progress, self.config.epochs, row, progress.seconds - before_s)
                    print(line, file=sys.stderr, flush=True)
                progress.begin_epoch()
                self.world.same(self.recognizer)
                self._checkpoint()
        return progress

    def mark_finished(self) -> None:
        """Writes into the checkpoint that everything else is written."""
        self.progress.finished = True
        self._checkpoint()

    def _epoch(self) -> None:
        progress, config = self.progress, self.config
        self.recognizer.train()
        saved = began = time.monotonic()
        updates = len(self.loader) // config.accumulate
        batches = self.loader.epoch(progress.epoch, start_batch=progress.batch)
        best = "" if progress.best is None else f" best {abs(progress.best):.4f}"
        bar = tqdm(
            total=updates,
            initial=progress.batch // config.accumulate,
            desc=f"epoch {progress.epoch + 1}/{config.epochs}{best}",
            unit="step",
            file=sys.stderr,
            leave=False,
            disable=None if self.world.leads else True,  # None: silent when the output is not a terminal
        )
        waiting: list[Batch] = []
        for batch in batches:
            waiting.append(batch)
            progress.batch += 1
            if len(waiting) < config.accumulate:
                continue
            self._update(waiting)
            waiting = []
            bar.update()
            if progress.steps_in_epoch % 5 == 0:
                bar.set_postfix_str(f"loss {progress.loss_sum / max(1, progress.loss_count):.3f}")
            now = time.monotonic()
            signal = self.world.largest(self.interruption.signal)
            stop = signal > 0
            if stop or now - saved > config.checkpoint_s:
                progress.seconds += now - began
                saved = began = now
                self._checkpoint()
            if stop:
                bar.close()
                raise Interrupted(f"interrupted after step {progress.step}; {go_on(self.folder)}", signal)
            if progress.batch // config.accumulate >= updates:
                break
        bar.close()
        progress.seconds += time.monotonic() - began

    def _update(self, batches: list[Batch]) -> None:
        """One step of the optimizer over ``batches``."""
        progress, config, device = self.progress, self.config, self.world.device
        factor = self.schedule(progress.step + progress.nonfinite)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor
        self.optimizer.zero_grad(set_to_none=True)
        batches = [self._feasible(batch) for batch in batches]
        loss_sum, count = 0.0, sum(len(batch.utterances) for batch in batches)
        total = max(1.0, self.world.sum(count))
        for number, batch in enumerate(batches):
            progress.unreadable += len(batch.errors)
            self.unreadable |= dict.fromkeys(batch.errors)
            if not batch.utterances and self.world.size == 1:
                continue
            seed = _seed(self.seed, progress.step + progress.nonfinite, number, self.world.rank)
            torch.manual_seed(seed)
            last = number == len(batches) - 1
            sync = contextlib.nullcontext() if last or self.world.size == 1 else self.objective.no_sync()  # type: ignore[operator]
            with sync:
                moved = [None if one is None else one.to(device) for one in _tensors(batch)]
                losses = self.objective(*moved, seed)
                # DistributedDataParallel takes the mean over processes, whose batches may differ by one utterance.
                (losses.sum() * (self.world.size / total)).backward()
            loss_sum += float(losses.detach().sum())
        parameters = [parameter for parameter in self.recognizer.parameters() if parameter.grad is not None]
        limit = config.gradient_clip or math.inf
        norm = float(nn.utils.clip_grad_norm_(parameters, limit))
        # After DistributedDataParallel's mean the norm is the same in every process, so all of them skip or none.
        if not math.isfinite(norm):
            self._skip(batches)
            return
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.recognizer)
        progress.step += 1
        progress.steps_in_epoch += 1
        progress.nonfinite_run = 0
        progress.norm_sum += norm
        progress.clipped += norm > limit
        progress.loss_sum += loss_sum
        progress.loss_count += count
        progress.examples += round(total)

    def _feasible(self, batch: Batch) -> Batch:
        """The batch without the transcripts that its frames cannot hold: faster speech has fewer frames."""
        if not batch.utterances:
            return batch
        frames = self.recognizer.output_lengths(batch.lengths)
        keep = self.recognizer.head.feasible(frames, batch.targets, batch.target_lengths)
        self.progress.infeasible += int((~keep).sum())
        return batch if bool(keep.all()) else batch.rows(keep)

    def _skip(self, batches: list[Batch]) -> None:
        progress = self.progress
        progress.nonfinite += 1
        progress.nonfinite_run += 1
        if progress.nonfinite_run >= self.config.max_nonfinite:
            files = ", ".join(utterance.audio for batch in batches for utterance in batch.utterances[:3])
            raise TrainingStopped(
                f"the gradient was not finite in {progress.nonfinite_run} steps in a row (the last one with {files}); "
                "lower optimizer.learning_rate or trainer.gradient_clip, or check those recordings"
            )

    def _validate(self) -> dict[str, Any]:
        """Validates and returns the row of the epoch."""
        began = time.monotonic()
        found = self.selection.validate(self.progress, self.average.tensors if self.average is not None else None)
        self.progress.seconds += time.monotonic() - began
        if self.recognizer.head.scores_frames:
            found |= {"infeasible": self.progress.infeasible}
        utterances = len(self.loader.utterances)
        remark = self.task.remark(
            self.selection.found, self.recognizer, self.progress.epoch + 1, self.config.epochs, utterances
        )
        if remark and self.world.leads:
            print(remark, file=sys.stderr)
        # Of the last step; the optimizer of a run resumed after it does not know.
        rate = self.peaks[0] * self.schedule(max(0, self.progress.step + self.progress.nonfinite - 1))
        return self.progress.row() | found | {"learning_rate": rate}

    def _fit_statistics(self) -> None:
        """Statistics of the training set for features that keep them in the model."""
        if not self.recognizer.features.needs_fit:
            return
        batches = BatchLoader(
            self.loader.utterances,
            target=None,
            sample_rate=self.recognizer.sample_rate,
            batch_size=self.config.batch_size,
            seed=self.seed,
            max_duration_s=self.config.max_duration_s or None,
        )
        device = self.world.device
        self.recognizer.features.fit(
            (b.waveforms.to(device), b.lengths.to(device)) for b in batches.epoch(0) if b.utterances
        )
        if self.average is not None:
            self.average = ExponentialAverage(self.recognizer, self.config.ema_decay)

    def _data(self) -> dict[str, Any]:
        """What the run learns from and is judged by, wherever the files are: how many utterances, and a checksum."""
        train, valid = self.loader.utterances, self.valid_loader.utterances
        return {"training": len(train), "validation": len(valid), "checksum": checksum([*train, *valid])}

    def _checkpoint(self) -> None:
        if not self.world.leads:
            return
        groups = {"model": self.recognizer.state_dict(), "optimizer": optimizer_tensors(self.optimizer)}
        if self.average is not None:
            groups["average"] = self.average.tensors
        groups |= {f"last{number}": tensors for number, tensors in enumerate(self.selection.last)}
        state = {
            "seed": self.seed,
            "data": self._data(),
            "monitor": self.selection.monitor,
            "progress": dataclasses.asdict(self.progress),
            "average_updates": self.average.updates if self.average is not None else 0,
            "snapshots": len(self.selection.last),
        }
        save_checkpoint(self.folder, groups, state)


SPLITS = ("training", "validation")


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def _tensors(batch: Batch) -> tuple[Tensor | None, ...]:
    return batch.waveforms, batch.lengths, batch.targets, batch.target_lengths
