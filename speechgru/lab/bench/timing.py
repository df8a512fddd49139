"""Timing that a noisy machine cannot distort: candidates take turns in one process, and the median counts."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from speechgru.errors import SpeechGRUError
from speechgru.plain import Record


def interleaved_ms(
    candidates: Mapping[str, Callable[[], object]],
    repeats: int,
    warmup: int = 3,
    settle: bool = True,
    clock: Callable[[], float] | None = None,
) -> dict[str, float]:
    """Median duration of a call of each candidate, in milliseconds.

    The candidates take turns, so that a slow spell of the machine hits all of them, and every other round goes
    backwards, so that none always runs after the same neighbour.

    Args:
        candidates: what to call, by name.
        repeats: measured rounds, at least 1.
        warmup: rounds before them that do not count, at least 0.
        settle: call each candidate once, untimed, right before it is timed, so that none pays for a neighbour that
            fills the cache.
        clock: seconds; None means the processor time of this process where torch has one thread, and the elapsed time
            otherwise.
    """
    if clock is None:
        clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    taken: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(-warmup, repeats):
        order = list(candidates.items())
        for name, candidate in reversed(order) if turn % 2 else order:
            if settle:
                candidate()
            start = clock()
            candidate()
            if turn >= 0:
                taken[name].append(1000 * (clock() - start))
    return {name: statistics.median(durations) for name, durations in taken.items()}


def row(name: str, ours_ms: float, peer: str = "", peer_ms: float | None = None) -> Record:
    """A line of the table: name, ours_ms, peer, peer_ms and ratio (peer_ms / ours_ms); None where there is no peer."""
    ratio = None if peer_ms is None else peer_ms / ours_ms
    return {"name": name, "ours_ms": ours_ms, "peer": peer, "peer_ms": peer_ms, "ratio": ratio}


def check_equal(name: str, found: Tensor, expected: Tensor, peer: str = "torch.nn.GRU", within: float = 1e-4) -> None:
    """Refuses to compare the times of ``name`` and ``peer`` where they do not compute the same.

    Raises:
        SpeechGRUError: two values are ``within`` or more apart, or are no numbers.
    """
    furthest = float((found - expected).abs().max())
    if not furthest < within:
        raise SpeechGRUError(f"bench {name} differs from {peer} by {furthest:.2g}, so the times mean nothing")


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Limits torch's threads and those of the libraries below numpy until the block ends."""
    # It reaches the BLAS of numpy, which torch's own setting does not.
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threadpool_limits(count):
            yield
    finally:
        torch.set_num_threads(before)
