"""The training loop: epochs of batches, validation after each, a checkpoint to continue a killed run bit for bit.

Nothing random is remembered: the order of the data follows from (seed, epoch), the augmentation of an utterance from
(seed, epoch, utterance), dropout and masks of a step from (seed, step). So the state of a run is its tensors and a few
counters, and a run resumed from them ends as the uninterrupted one does.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from speechgru.augment import Augment
from speechgru.cells.subnormals import flushed_subnormals
from speechgru.data.batching import Batch, BatchLoader
from speechgru.data.utterance import Utterance
from speechgru.errors import ConfigError, DataError, Interrupted, TrainingStopped
from speechgru.evaluation.tasks import task_of
from speechgru.plain import Record
from speechgru.recognizer import Recognizer
from speechgru.tokens import Tokens
from speechgru.training.average import ExponentialAverage
from speechgru.training.distributed import World
from speechgru.training.interruption import Interruption
from speechgru.training.joining import Joining
from speechgru.training.logging import open_log
from speechgru.training.messages import epoch_line
from speechgru.training.method import Method
from speechgru.training.objective import Objective
from speechgru.training.progress import Progress
from speechgru.training.run_settings import go_on
from speechgru.training.selection import Selection
from speechgru.training.trainer_config import TrainerConfig
from speechgru.training.trainer_state import save_state


class Trainer:
    """Trains a recognizer; its folder then holds ``model/`` (the best epoch), metrics.jsonl, curves.png, a checkpoint.

    Args:
        recognizer: the model, as initialised.
        train: training utterances.
        valid: utterances to choose the best epoch on.
        config: settings of the loop.
        method: optimizer, schedule, augmentation and seed.
        folder: where everything is written.
        world: this process among those of torchrun.
        kept: the labels of the finished model, which are the first of the recognizer's; None means all of them.

    Raises:
        ConfigError: a setting does not fit the head.
        DataError: a split is empty, or too small for one update.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        train: list[Utterance],
        valid: list[Utterance],
        config: TrainerConfig,
        method: Method,
        folder: Path,
        world: World,
        kept: Tokens | None = None,
    ) -> None:
        self.task = task_of(recognizer.task)
        monitor = self.task.monitor(config.monitor, recognizer.task)
        if config.consistency and not recognizer.head.scores_frames:
            raise ConfigError(f"trainer.consistency={config.consistency:g}: compares frames; 0 without head=ctc")
        if config.join and not recognizer.head.scores_frames:
            raise ConfigError(f"trainer.join={config.join:g}: joins transcripts; 0 without head=ctc")
        self.recognizer = recognizer.to(world.device)
        self.config, self.seed, self.folder, self.world = config, method.seed, folder, world
        self.surroundings, self.negatives = method.surroundings, method.negatives
        self.loader = self._loader(train, "training", method.augment)
        self._choose(0)
        self.valid_loader = self._loader(valid, "validation")
        self.updates = len(self.loader) // config.accumulate
        if not self.updates:
            raise DataError(
                f"{len(train)} training utterances make no update of {config.batch_size} x {config.accumulate} x "
                f"{world.size}; lower trainer.batch_size or trainer.accumulate"
            )
        where = folder if world.leads else None
        self.selection = Selection(recognizer, self.task, self.valid_loader, monitor, config.keep_last, where, kept)
        self.objective: nn.Module = Objective(
            recognizer, method.augment, config.precision, config.mixup, config.consistency
        )
        world.same(recognizer.state_dict().values())
        if world.size > 1:
            self.objective = nn.parallel.DistributedDataParallel(self.objective)
        self.optimizer = method.optimizer(recognizer)
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]
        self.schedule = method.schedule(self.updates * config.epochs)
        self.average = ExponentialAverage(recognizer, config.ema_decay) if config.ema_decay else None
        self.progress = Progress()
        self.interruption = Interruption()
        self.unreadable: dict[str, None] = {}  # in order, each once

    def _loader(self, utterances: list[Utterance], split: str, augment: Augment | None = None) -> BatchLoader:
        if not utterances:
            use = "nothing can be learned" if split == "training" else "no epoch could be chosen"
            raise DataError(f"the {split} split has no utterances, so {use}; check data= and its root")
        config, learns = self.config, split == "training"
        return BatchLoader(
            utterances,
            target=self.task.target(self.recognizer),
            sample_rate=self.recognizer.sample_rate,
            augment=augment,
            join=Joining(utterances, config.join) if learns and config.join else None,
            surroundings=self.surroundings if learns else None,
            shuffle=learns,
            batch_size=config.batch_size,
            seed=self.seed,
            workers=config.workers,
            cache_mb=config.cache_mb,
            max_duration_s=config.max_duration_s or None,
            rank=self.world.rank if learns else 0,
            world_size=self.world.size if learns else 1,
        )

    def _choose(self, epoch: int) -> None:
        """Draws the windows of background that the epoch uses."""
        if self.negatives is not None:
            self.negatives.draw(epoch)
            self.loader.choose(self.negatives.indices())

    def fit(self) -> Progress:
        """Trains until the last epoch, early stopping, an interruption or too many non-finite steps.

        Raises:
            Interrupted: Ctrl-C or SIGTERM; a checkpoint is written.
            TrainingStopped: the gradient stays non-finite.
        """
        torch.set_num_threads(self.config.threads or torch.get_num_threads())
        progress, log = self.progress, open_log(self.folder if self.world.leads else None, self.config.tensorboard)
        log.truncate_after(progress.step, progress.epoch)
        if not progress.step:
            self._fit_statistics()
        with self.interruption, flushed_subnormals(), log:
            self._checkpoint()
            while not progress.trained:
                began_s = progress.seconds

                # One pass over the training set, then the figures of the validation set; the best weights are kept.
                self._epoch()
                self._share()
                row = self._validate()
                progress.epoch, progress.batch = progress.epoch + 1, 0

                # Was it the last one?
                stale = progress.epoch - progress.best_epoch
                stopped = bool(self.config.patience) and stale >= self.config.patience
                stopped = self.world.largest(int(stopped and self.world.leads)) > 0
                progress.trained = progress.epoch >= self.config.epochs or stopped

                # If the run is killed before the checkpoint below, a resumed run writes all of this again.
                log.write(progress.step, epoch=progress.epoch, **row)
                log.draw(last=progress.trained)
                self.world.say(epoch_line(progress, self.config.epochs, row, progress.seconds - began_s))
                progress.begin_epoch()
                self._choose(progress.epoch)
                self._checkpoint()
        return progress

    def _share(self) -> None:
        """Gives every process the statistics of the first one, which each gathers from its own batches."""
        self.world.same(self.recognizer.state_dict().values())
        if self.average is not None:
            self.world.same(self.average.tensors.values())

    def mark_finished(self) -> None:
        """Writes into the checkpoint that everything else is written."""
        self.progress.finished = True
        self._checkpoint()

    def _checkpoint(self) -> None:
        if self.world.leads:
            save_state(self)

    def _epoch(self) -> None:
        progress, config = self.progress, self.config
        self.recognizer.train()
        for module in self.recognizer.get_submodule("encoder").modules():
            weights = list(module.parameters())
            if weights and not any(one.requires_grad for one in weights):
                module.eval()  # frozen: its statistics stay, and it has no dropout
        saved = began = time.monotonic()
        updates = self.updates
        batches = self.loader.epoch(progress.epoch, start_batch=progress.batch)
        best = "" if progress.best_figure is None else f" best {progress.best_figure:.4f}"
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

        # The learning rate of this step.
        factor = self.schedule(progress.step + progress.nonfinite)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor

        # The gradient: the sum over all utterances of these batches, in all processes, over their number.
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
            if self.negatives is not None:
                self.negatives.note(batch.utterances, losses.detach())

        # A gradient that is too long is shortened; one that is not finite is skipped. After DistributedDataParallel's
        # mean the norm is the same in every process, so all of them skip or none.
        parameters = [parameter for parameter in self.recognizer.parameters() if parameter.grad is not None]
        limit = config.gradient_clip or math.inf
        norm = float(nn.utils.clip_grad_norm_(parameters, limit))
        if not math.isfinite(norm):
            self._skip(batches)
            return

        # The update, and what the log says of it.
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

    def _validate(self) -> Record:
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
        if remark:
            self.world.say(remark)
        # The rate of the last step; the optimizer of a run resumed after that step does not know it.
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
            surroundings=self.surroundings,
            max_duration_s=self.config.max_duration_s or None,
        )
        batches.choose(self.negatives.indices() if self.negatives is not None else None)
        device = self.world.device
        self.recognizer.features.fit(
            (b.waveforms.to(device), b.lengths.to(device)) for b in batches.epoch(0) if b.utterances
        )
        if self.average is not None:
            self.average = ExponentialAverage(self.recognizer, self.config.ema_decay)


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def _tensors(batch: Batch) -> tuple[Tensor | None, ...]:
    return batch.waveforms, batch.lengths, batch.targets, batch.target_lengths
