"""From utterances to padded batches, in an order that (seed, epoch) fixes, whatever the number of workers."""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset, Sampler

from speechgru.data.cache import WaveformCache
from speechgru.data.order import count_batches, epoch_batches, shard_batches
from speechgru.data.reading import measure_s, read_utterance
from speechgru.data.shards.reading import shard_of
from speechgru.data.shards.remote import is_fetched_when_read
from speechgru.data.surroundings import Surroundings
from speechgru.data.target import Target
from speechgru.data.utterance import Utterance
from speechgru.errors import AudioError, ConfigError, DataError


@dataclasses.dataclass
class Batch:
    """Utterances side by side, padded with zeros.

    Attributes:
        waveforms: (batch, samples) float32, zero from each length on.
        lengths: (batch,) int64, in samples.
        targets: int64; for labels, the index of each (batch,); for transcripts, the indices of their units (batch,
            longest), zero from each length on.
        target_lengths: (batch,) int64, the units of each transcript; all 1 for labels: a label is one token.
        utterances: what each row is.
        errors: one line for each utterance of this batch that could not be used. If none can be used, the batch is
            empty (no rows), never missing: the number of batches does not change.
    """

    waveforms: torch.Tensor
    lengths: torch.Tensor
    targets: torch.Tensor
    target_lengths: torch.Tensor
    utterances: list[Utterance]
    errors: list[str]

    def __len__(self) -> int:
        return len(self.utterances)

    def rows(self, keep: torch.Tensor) -> Batch:
        """The batch without the rows where ``keep``, bool (batch,), is False."""
        kept = [one for one, stays in zip(self.utterances, keep.tolist(), strict=True) if stays]
        waveforms, lengths, targets, target_lengths = (
            one[keep] for one in (self.waveforms, self.lengths, self.targets, self.target_lengths)
        )
        return Batch(waveforms, lengths, targets, target_lengths, kept, self.errors)


class WaveformAugment(Protocol):
    """Changes waveforms in training."""

    def waveform(self, waveform: torch.Tensor, sample_rate: int, rng: np.random.Generator) -> torch.Tensor:
        """(samples,) -> (samples,)"""


class Join(Protocol):
    """Puts an utterance after another one in training."""

    def __call__(
        self,
        index: int,
        waveform: torch.Tensor,
        read: Callable[[int], torch.Tensor],
        sample_rate: int,
        rng: np.random.Generator,
    ) -> tuple[Utterance, torch.Tensor]:
        """The utterance ``index`` and its recording (samples,), or two joined; ``read`` gives another's recording."""


class BatchLoader:
    """Reads, augments and batches utterances; the same arguments give the same batches, bit for bit.

    The order is that of :func:`speechgru.data.order.epoch_batches`; for recordings in shards (tar files) it is that of
    :func:`speechgru.data.order.shard_batches`. The randomness of the augmentation of an utterance is derived from
    (seed, epoch, index), so it depends neither on the workers nor on where in the epoch reading begins.

    Args:
        utterances: what to read.
        target: gives the training target of an utterance; None leaves ``targets`` at zero (for statistics and
            inference).
        sample_rate: of the batches, in Hz.
        batch_size: largest number of utterances in a batch, at least 1.
        seed: of order and augmentation, at least 0.
        augment: changes each waveform; None at evaluation.
        join: puts utterances behind others; None at evaluation.
        surroundings: cuts windows of background and mixes recordings into them, before the augmentation; None without
            background.
        shuffle: draw the order anew each epoch and batch utterances of similar duration; False keeps the order given.
        workers: processes that read; 0 reads in this one.
        cache_mb: memory for decoded audio, in MB; kept after resampling and before augmentation.
        max_duration_s: longer utterances are left out and named in ``errors``; None for no limit.
        shard_buffer: largest number of recordings in shards that are shuffled together, at least 1.
        rank: this process among ``world_size``.
        world_size: processes that share an epoch: every utterance is read by exactly one of them.

    Raises:
        ConfigError: an argument out of range.
        DataError: no utterances, fewer utterances than processes, or an utterance that has no ``target``.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        target: Callable[[Utterance], Target] | None,
        sample_rate: int,
        *,
        batch_size: int = 32,
        seed: int = 0,
        augment: WaveformAugment | None = None,
        join: Join | None = None,
        surroundings: Surroundings | None = None,
        shuffle: bool = False,
        workers: int = 0,
        cache_mb: float = 1024,
        max_duration_s: float | None = None,
        shard_buffer: int = 10_000,
        rank: int = 0,
        world_size: int = 1,
    ):
        _check("batch_size", batch_size, batch_size >= 1, "at least 1")
        _check("seed", seed, seed >= 0, "at least 0")
        _check("workers", workers, workers >= 0, "at least 0")
        _check("cache_mb", cache_mb, cache_mb >= 0, "at least 0")
        _check("max_duration_s", max_duration_s, max_duration_s is None or max_duration_s > 0, "above 0")
        _check("shard_buffer", shard_buffer, shard_buffer >= 1, "at least 1")
        if len(utterances) < world_size:
            raise DataError(f"{len(utterances)} utterances for {world_size} processes: at least one each is needed")
        self.utterances = list(utterances)
        self.batch_size, self.seed, self.shuffle = batch_size, seed, shuffle
        self.rank, self.world_size = rank, world_size
        self.shard_buffer = shard_buffer
        self._shards = [sys.intern(shard_of(one.audio)) for one in self.utterances]
        self._headers: list[tuple[float, str]] | None = None
        self._chosen: list[int] | None = None
        self._sampler = _Batches()
        cache = WaveformCache(len(utterances), cache_mb)
        self._loader: DataLoader[_Item] = DataLoader(
            _Recordings(self.utterances, target, sample_rate, seed, augment, join, surroundings, cache, max_duration_s),
            batch_sampler=self._sampler,
            num_workers=workers,
            persistent_workers=workers > 0,
            collate_fn=_collate,
            # Its own generator: DataLoader draws a number per epoch, and the global one belongs to the model.
            generator=torch.Generator(),
        )

    def choose(self, indices: list[int] | None) -> None:
        """Epochs use only these of the ``utterances`` from now on; None: all."""
        self._chosen = indices

    def batches(self, epoch: int) -> list[list[int]]:
        """The indices into ``utterances`` of every batch of this process in ``epoch``."""
        durations_s, chosen = self._measured(), self._chosen
        if chosen is None:
            return self._ordered(durations_s, self._shards, epoch)
        if durations_s is not None:
            durations_s = [durations_s[index] for index in chosen]
        shards = [self._shards[index] for index in chosen]
        return [[chosen[place] for place in batch] for batch in self._ordered(durations_s, shards, epoch)]

    def _ordered(self, durations_s: list[float] | None, shards: list[str], epoch: int) -> list[list[int]]:
        if self.shuffle and any(shards):
            ordered = functools.partial(shard_batches, durations_s, shards, buffer=self.shard_buffer)
        else:
            ordered = functools.partial(epoch_batches, durations_s, len(shards), shuffle=self.shuffle)
        return ordered(
            batch_size=self.batch_size,
            seed=self.seed,
            epoch=epoch,
            rank=self.rank,
            world_size=self.world_size,
        )

    def __len__(self) -> int:
        """The number of batches of an epoch (of shards that of epoch 0; others may differ a little)."""
        if not any(self._shards):
            count = len(self.utterances) if self._chosen is None else len(self._chosen)
            return count_batches(count, self.batch_size, self.world_size)
        return len(self.batches(0))

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from ``start_batch`` on: exactly those a whole pass gives from there on."""
        self._sampler.keys = [[(epoch, index) for index in batch] for batch in self.batches(epoch)[start_batch:]]
        yield from self._loader

    def __iter__(self) -> Iterator[Batch]:
        """The batches of epoch 0."""
        return self.epoch(0)

    def _measured(self) -> list[float] | None:
        """Durations of all utterances in seconds, or None where the order does not need them."""
        sorts = self.shuffle and len(self.utterances) > self.batch_size * self.world_size
        return [duration_s for duration_s, _ in self._read_headers()] if sorts else None

    def unreadable(self) -> list[str]:
        """One line for every utterance whose recording is not there or has no header; nothing is decoded."""
        return [error for _, error in self._read_headers() if error]

    def _read_headers(self) -> list[tuple[float, str]]:
        """The duration of each utterance in seconds, and why it cannot be read, or nothing."""
        if self._headers is None:
            self._headers = [_header(utterance) for utterance in self.utterances]
        return self._headers


class _Batches(Sampler[list[tuple[int, int]]]):
    """The batches of the epoch about to be read, as (epoch, index): the workers need to know both."""

    def __init__(self) -> None:
        self.keys: list[list[tuple[int, int]]] = []

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return iter(self.keys)

    def __len__(self) -> int:
        return len(self.keys)


@dataclasses.dataclass
class _Item:
    utterance: Utterance
    target: Target
    waveform: torch.Tensor | None
    error: str = ""


class _Recordings(Dataset[_Item]):
    """Reads one utterance: from the cache or the file, then augmented."""

    def __init__(
        self,
        utterances: list[Utterance],
        target: Callable[[Utterance], Target] | None,
        sample_rate: int,
        seed: int,
        augment: WaveformAugment | None,
        join: Join | None,
        surroundings: Surroundings | None,
        cache: WaveformCache,
        max_duration_s: float | None,
    ):
        self.utterances, self.sample_rate, self.seed, self.augment = utterances, sample_rate, seed, augment
        self.join, self.surroundings, self.cache = join, surroundings, cache
        self.max_duration_s = max_duration_s
        self.target = target
        self.targets = [0 if target is None else target(utterance) for utterance in utterances]

    def __getitem__(self, key: tuple[int, int]) -> _Item:
        epoch, index = key
        utterance, target = self.utterances[index], self.targets[index]
        try:
            rng, waveform = np.random.default_rng([self.seed, epoch, index]), self._read(index)
            if self.join is not None:
                utterance, waveform = self.join(index, waveform, self._read, self.sample_rate, rng)
                if utterance is not self.utterances[index] and self.target is not None:
                    target = self.target(utterance)
            if self.surroundings is not None:
                waveform = self.surroundings.around(index, waveform, self.sample_rate, rng, self._read)
            if self.augment is not None:
                waveform = self.augment.waveform(waveform, self.sample_rate, rng)
        except AudioError as error:
            return _Item(utterance, target, None, str(error))
        return _Item(utterance, target, waveform)

    def _read(self, index: int) -> torch.Tensor:
        utterance, waveform = self.utterances[index], self.cache.get(index)
        if waveform is None:
            if self.max_duration_s is not None and (duration_s := measure_s(utterance)) > self.max_duration_s:
                limit = f"max_duration_s={self.max_duration_s:g}"
                raise AudioError(f"{utterance.audio}: lasts {duration_s:.2f} s, more than {limit}; left out")
            waveform = read_utterance(utterance, self.sample_rate)
            if self.surroundings is not None:
                waveform = self.surroundings.recorded(index, waveform, self.sample_rate, self.seed)
            self.cache.put(index, waveform)
        return waveform


def _collate(items: list[_Item]) -> Batch:
    rows = [(item, item.waveform) for item in items if item.waveform is not None]
    lengths = torch.tensor([len(waveform) for _, waveform in rows], dtype=torch.int64)
    waveforms = pad_sequence([one for _, one in rows], batch_first=True) if rows else torch.zeros(0, 0)
    targets, target_lengths = _targets([item.target for item, _ in rows])
    return Batch(
        waveforms=waveforms,
        lengths=lengths,
        targets=targets,
        target_lengths=target_lengths,
        utterances=[item.utterance for item, _ in rows],
        errors=[item.error for item in items if item.waveform is None],
    )


def _targets(targets: list[Target]) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels side by side, or transcripts padded with zeros, and their lengths."""
    transcripts = [target for target in targets if isinstance(target, list)]
    if not transcripts:
        return torch.tensor(targets, dtype=torch.int64), torch.ones(len(targets), dtype=torch.int64)
    lengths = torch.tensor([len(target) for target in transcripts], dtype=torch.int64)
    return pad_sequence([torch.tensor(one, dtype=torch.int64) for one in transcripts], batch_first=True), lengths


def _header(utterance: Utterance) -> tuple[float, str]:
    """How long an utterance lasts in seconds (0 where it cannot be read), and what is wrong with it, if anything."""
    try:
        duration_s = measure_s(utterance)
    except AudioError as error:
        return 0.0, str(error)
    audio = utterance.audio
    is_there = os.path.exists(audio) or os.path.isfile(shard_of(audio)) or is_fetched_when_read(audio)
    return duration_s, "" if is_there else f"{audio}: no such file"


def _check(key: str, value: float | None, legal: bool, text: str) -> None:
    if not legal:
        raise ConfigError(f"{key}={value}: {text}")
