"""Which utterances form which batch: a function of (seed, epoch) alone, the same in every process."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np


def count_batches(count: int, batch_size: int, world_size: int = 1) -> int:
    """The number of batches each process makes of ``count`` utterances, so that none is left without one.

    (With ``batch_size=1`` and a remainder, one batch holds two.)
    """
    return min(-(-count // (batch_size * world_size)), count // world_size)


def epoch_batches(
    durations_s: Sequence[float] | None,
    count: int,
    *,
    batch_size: int,
    batch_s: float | None = None,
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
        durations_s: of all utterances; None where neither pools nor ``batch_s`` need them.
        count: number of utterances, at least ``world_size``.
        batch_size: most utterances of a batch in one process.
        batch_s: most seconds of a batch in one process, padding included; one longer utterance makes a batch alone.
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
    if batch_s is None:
        global_batches = [part.tolist() for part in parts]
    else:
        assert durations_s is not None
        global_batches = _by_seconds(order.tolist(), durations_s, batch_s, batch_size, world_size)
    if shuffle:
        global_batches = [global_batches[index] for index in rng.permutation(len(global_batches))]
    return [batch[rank::world_size] for batch in global_batches]


def shard_batches(
    durations_s: Sequence[float] | None,
    shards: Sequence[str],
    *,
    buffer: int,
    batch_size: int,
    batch_s: float | None = None,
    pool_batches: int = 20,
    seed: int = 0,
    epoch: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> list[list[int]]:
    """As :func:`epoch_batches`, shuffled, but so that the shards are read one after the other.

    The order of the shards is drawn; their utterances, in that order, are cut into buffers; and each buffer is shuffled
    and cut into batches as a small epoch of its own. So whoever reads needs at once only the shards that a buffer
    reaches into.

    Args:
        durations_s: of all utterances; None where neither pools nor ``batch_s`` need them.
        shards: in which shard each utterance is; those of one shard are neighbours.
        buffer: most utterances that are shuffled together, but ``batch_size`` in each process at least.
        batch_size: as for :func:`epoch_batches`, as are the others.
        batch_s: likewise.
        pool_batches: likewise.
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
    batches = []
    for number, window in enumerate(np.array_split(order, -(-len(order) // most))):
        inner = epoch_batches(
            None if durations_s is None else np.asarray(durations_s)[window].tolist(),
            len(window),
            batch_size=batch_size,
            batch_s=batch_s,
            pool_batches=pool_batches,
            seed=int(rng.integers(2**62)),
            epoch=number,
            rank=rank,
            world_size=world_size,
        )
        batches += [window[batch].tolist() for batch in inner]
    return batches


def _by_seconds(
    order: list[int], durations_s: Sequence[float], batch_s: float, batch_size: int, world_size: int
) -> list[list[int]]:
    batches: list[list[int]] = []
    current: list[int] = []
    longest = 0.0
    for index in order:
        grown = max(longest, durations_s[index])
        share = -(-(len(current) + 1) // world_size)
        # Every process gets at least one utterance of a step, however long.
        if len(current) >= world_size and (share > batch_size or share * grown > batch_s):
            batches.append(current)
            current, grown = [], durations_s[index]
        current.append(index)
        longest = grown
    missing = world_size - len(current)
    if batches and missing > 0:
        current = batches[-1][-missing:] + current
        batches[-1] = batches[-1][:-missing]
        if len(batches[-1]) < world_size:
            current = batches.pop() + current
    batches.append(current)
    return batches
