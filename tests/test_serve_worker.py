"""The thread that computes for all who ask. Oracles: functions whose batches are written down."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

pytest.importorskip("prometheus_client", reason="needs the extra serve")

from speechgru.serving.metrics import Metrics
from speechgru.serving.worker import Asked, CalledOff, Worker


class Sums:
    """Adds up waveforms, and refuses negative ones; its first batch waits until the gate is open."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun, self.gate = threading.Event(), threading.Event()

    def __call__(self, waveforms):
        self.batches.append([len(one) for one in waveforms])
        self.begun.set()
        assert self.gate.wait(30)
        if any(one.min() < 0 for one in waveforms):
            raise ValueError("negative")
        return [float(one.sum()) for one in waveforms]


def submitted(batch_size: int, lengths: list[int], sums: Sums) -> list[float]:
    """The sums of ones of these lengths, all submitted while the first is computed."""
    with Worker(batch_size, Metrics()) as worker:
        results = [worker.submit(sums, torch.ones(lengths[0]))]
        assert sums.begun.wait(30)
        results += [worker.submit(sums, torch.ones(length)) for length in lengths[1:]]
        sums.gate.set()
        return [result.result(30) for result in results]


def test_batches_hold_what_waits_and_is_of_similar_length():
    """Oracle: by hand. The longest is at most 1.5 times the shortest; padded, 30 seconds at 16 kHz at most."""
    for batch_size, lengths, batches in (
        (16, [5, 100, 149, 400, 120, 151, 500], [[5], [100, 149, 120], [400, 500], [151]]),
        (2, [5, 100, 101, 102, 103], [[5], [100, 101], [102, 103]]),
        (1, [5, 5, 5], [[5], [5], [5]]),
        (16, [5, 200_000, 200_000, 200_000, 500_000], [[5], [200_000, 200_000], [200_000], [500_000]]),
    ):
        sums = Sums()
        assert submitted(batch_size, lengths, sums) == lengths
        assert sums.batches == batches


def test_the_one_at_fault_fails_alone():
    """Oracle: the others' sums."""
    sums = Sums()
    with Worker(16, Metrics()) as worker:
        first = worker.submit(sums, torch.ones(3))
        assert sums.begun.wait(30)
        results = [worker.submit(sums, sign * torch.ones(4)) for sign in (1.0, -1.0, 2.0)]
        sums.gate.set()
        assert (first.result(30), results[0].result(30), results[2].result(30)) == (3, 4, 8)
        with pytest.raises(ValueError, match="negative"):
            results[1].result(30)


def test_what_nobody_waits_for_is_not_computed():
    """Oracle: the batches. What was begun is finished; the worker serves the next; at its end nobody waits for ever."""
    sums = Sums()
    with ThreadPoolExecutor(2) as threads, Worker(1, Metrics()) as worker:
        asked, other = Asked(worker), Asked(worker)
        answer = threads.submit(asked.compute, sums, [torch.ones(1), torch.ones(2), torch.ones(3)])
        assert sums.begun.wait(30)
        asked.call_off()
        sums.gate.set()
        with pytest.raises(CalledOff):
            answer.result(30)
        assert other.compute(sums, [torch.ones(7)]) == [7]
        with pytest.raises(CalledOff):
            asked.compute(sums, [torch.ones(8)])
        assert [1] in sums.batches
        assert [7] in sums.batches
        assert not {2, 3} & {length for batch in sums.batches for length in batch}
    assert worker.submit(sums, torch.ones(1)).cancelled()
