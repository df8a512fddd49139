"""Which utterances form which batch: a function of (seed, epoch) alone, the same in every process."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np


def count_batches(count: int, batch_size: int, world_size: int = 1) -> int:
    """The number of batches each process makes of ``count`` utterances, so that no process has an empty batch.

    (With ``batch_size=1`` and a remainder, one batch holds two.)
    """
    return min(-(-count // (batch_size * world_size)), count // world_size)


def epoch_batches(
    durations_s: Sequence[float] | None,
    count: int,
    *,
    batch_size: int,
    shuffle: bool = True,
    pool_batches: int = 20,
    seed: int = 0,
    epoch: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> list[list[int]]:
    """The batches of one process in one epoch, as indices of utterances.

    Shuffled: all utterances are permuted, cut into pools of ``pool_batches`` batches, sorted by duration inside each
    pool (so that a batch needs little padding), cut into batches, and the order of the batches is permuted. Not
    shuffled: the order given.

    Batches are as even as possible: 10 utterances at ``batch_size=8`` make 5 + 5, not 8 + 2. Every utterance is in
    exactly one batch of exactly one process; all processes have the same number of batches, and inside a step their
    batches differ by at most one utterance and none is empty.

    Args:
        durations_s: of all utterances; None where no pools need them.
        count: number of utterances, at least ``world_size``.
        batch_size: largest number of utterances in a batch of one process.
        shuffle: whether the order is drawn from (seed, epoch).
        pool_batches: batches sorted by duration together; 1 does not sort.
        seed: of the order.
        epoch: of the order.
        rank: this process.
        world_size: number of processes.
    """
    assert count >= world_size >= 1
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(count) if shuffle else np.arange(count)
    parts = np.array_split(order, count_batches(count, batch_size, world_size))
    if durations_s is not None and shuffle and pool_batches > 1:
        lengths = np.asarray(durations_s)
        edges = [*np.cumsum([0, *map(len, parts)])[::pool_batches].tolist(), count]
        for start, end in itertools.pairwise(edges):
            pool = order[start:end]
            pool[:] = pool[np.argsort(lengths[pool], kind="stable")]  # parts are views of order
    global_batches = [part.tolist() for part in parts]
    if shuffle:
        global_batches = [global_batches[index] for index in rng.permutation(len(global_batches))]
    return [batch[rank::world_size] for batch in global_batches]


def shard_batches(
    durations_s: Sequence[float] | None,
    shards: Sequence[str],
    *,
    buffer: int,
    batch_size: int,
    seed: int = 0,
    epoch: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> list[list[int]]:
    """As :func:`epoch_batches`, shuffled, but the shards are read one after the other.

    The order of the shards is drawn. Their utterances, in that order, are cut into buffers. Each buffer is shuffled and
    cut into batches as a small epoch of its own. So a reader needs at once only the shards that a buffer reaches into.

    Args:
        durations_s: of all utterances; None where no pools need them.
        shards: the shard of each utterance; the utterances of one shard are neighbours.
        buffer: largest number of utterances that are shuffled together; at least ``batch_size`` in each process are.
        batch_size: as for :func:`epoch_batches`, as are the others.
        seed: likewise.
        epoch: likewise.
        rank: likewise.
        world_size: likewise.
    """
    rng = np.random.default_rng([seed, epoch])
    runs = [
        np.array([place for place, _ in run]) for _, run in itertools.groupby(enumerate(shards), lambda one: one[1])
    ]
    order = np.concatenate([runs[index] for index in rng.permutation(len(runs))])
    most = max(buffer, batch_size * world_size)
    windows = min(-(-len(order) // most), len(order) // world_size)
    batches = []
    for number, window in enumerate(np.array_split(order, windows)):
        inner = epoch_batches(
            None if durations_s is None else np.asarray(durations_s)[window].tolist(),
            len(window),
            batch_size=batch_size,
            seed=int(rng.integers(2**62)),
            epoch=number,
            rank=rank,
            world_size=world_size,
        )
        batches += [window[batch].tolist() for batch in inner]
    return batches
