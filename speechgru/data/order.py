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
