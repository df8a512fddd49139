"""Two loops over frames at once: the directions of a layer, each on a core of its own."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

WORTH = 1_000_000  # multiplications, some 100 us: starting a thread takes as long
_pool: contextvars.ContextVar[ThreadPoolExecutor | None] = contextvars.ContextVar("another thread", default=None)
_begin: contextvars.ContextVar[Callable[[Callable[[], None]], None] | None] = contextvars.ContextVar(
    "starts a loop in another thread", default=None
)


def is_worth(frames: Tensor, hidden_size: int) -> bool:
    """Whether two loops over these frames (batch, time, ...) should run at once."""
    work = frames.shape[0] * frames.shape[1] * hidden_size * hidden_size
    return not torch.compiler.is_compiling() and work >= WORTH and torch.get_num_threads() > 1


@contextlib.contextmanager
def another_thread(wanted: bool = True) -> Iterator[None]:
    """Inside, :func:`side_by_side` has another thread: a new one, which treats subnormal numbers as the caller does."""
    if not wanted:
        yield
        return
    with ThreadPoolExecutor(1) as pool:
        before = _pool.set(pool)
        try:
            yield
        finally:
            _pool.reset(before)


@contextlib.contextmanager
def side_by_side() -> Iterator[None]:
    """Inside, the first loop that a cell runs without a gradient goes to another thread; at the end all are done.

    Do not read a cell's results before the end. The loops release Python's lock and share nothing, so every value is
    the same as in one thread.
    """
    pool = _pool.get()
    if pool is None:
        yield
        return
    waiting: list[Future[None]] = []

    def begin(run: Callable[[], None]) -> None:
        if waiting:
            run()
        else:
            waiting.append(pool.submit(run))

    before = _begin.set(begin)
    try:
        yield
    finally:
        _begin.reset(before)
        for one in waiting:
            one.result()  # raises what the loop raised


def run(loop: Callable[[], None]) -> None:
    """Runs a loop whose results are not read before the end of :func:`side_by_side`."""
    begin = _begin.get()
    if begin is None:
        loop()
    else:
        begin(loop)
