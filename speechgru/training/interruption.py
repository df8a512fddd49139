"""Ctrl-C and SIGTERM ask a run to stop at a point from which it can go on later."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from types import FrameType


class Interruption:
    """While entered, the first Ctrl-C or SIGTERM only sets :attr:`signal`; a second one is not held back.

    Attributes:
        signal: which one came; 0 while none has.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}

    def __enter__(self) -> Interruption:
        with contextlib.suppress(ValueError):  # not the main thread: the caller handles signals
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        signal.signal(number, self._before[number])
