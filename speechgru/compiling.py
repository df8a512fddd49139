"""Says what is compiled in this process, and how long that takes, to the user who waits for it."""

from __future__ import annotations

import contextlib
import functools
import sys
import time
from collections.abc import Iterator
from pathlib import Path


class Compiling:
    """The kernels that are compiled in this process, not loaded from the folder that keeps them.

    Attributes:
        seconds: time spent with the compiler so far.
    """

    seconds = 0.0

    def __init__(self) -> None:
        self._kept: dict[object, Path | None] = {}
        self._depth = self._listeners = 0
        self._began = self._told_seconds = 0.0
        self._announced = False
        self._place: Path | None = None

    def add(self, kernel: object, kept: Path | None) -> None:
        """Counts a kernel's compilation from now on; ``kept`` is where its machine code goes."""
        self._kept[kernel] = kept

    def begin(self, kernel: object) -> None:
        """The compiler begins with a kernel: one of ours or, within one of ours, another's."""
        if not self._depth and kernel not in self._kept:
            return
        self._depth += 1
        if self._depth == 1:
            self._began = time.perf_counter()
            if self._listeners and not self._announced:
                self._announced, self._place = True, self._kept[kernel]
                once = "once" if self._place else "every time, for no folder can be written to keep it in"
                _say(f"speechgru: compiling for this machine, {once}; it may take a minute")

    def end(self) -> None:
        """The compiler has finished the kernel that it began last."""
        if self._depth:
            self._depth -= 1
            if not self._depth:
                self.seconds += time.perf_counter() - self._began

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """Inside, a line on standard error says that something is compiled; at the end a line says how long it took."""
        self._listeners += 1
        try:
            yield
        finally:
            self._listeners -= 1
            if self._announced:
                where = f", kept in {self._place}" if self._place else ""
                _say(f"speechgru: compiled in {self.seconds - self._told_seconds:.1f} s{where}")
                self._told_seconds, self._announced = self.seconds, False


def _say(line: str) -> None:
    from tqdm import tqdm  # keeps a progress bar on the same terminal whole

    with contextlib.suppress(OSError, ValueError):  # it is closed
        if sys.stderr is not None:
            tqdm.write(line, file=sys.stderr)
            sys.stderr.flush()


COMPILING = Compiling()


@functools.cache
def listen() -> Compiling:
    """:data:`COMPILING`; from now on numba notifies it when a compilation begins and ends."""
    from numba.core import event

    class Listener(event.Listener):
        def on_start(self, event: event.Event) -> None:
            COMPILING.begin(event.data["dispatcher"])

        def on_end(self, event: event.Event) -> None:
            COMPILING.end()

    event.register("numba:compile", Listener())
    return COMPILING
