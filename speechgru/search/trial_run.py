"""One trial: a training in a process of its own, watched from here.

A process of its own gives back the memory of a GPU, and a crash of one trial does not affect another. The command is
one that anybody can type.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from speechgru.errors import DataError, SpeechGRUError, one_line
from speechgru.evaluation.run_folder import METRICS, read_metrics
from speechgru.overrides import quote
from speechgru.plain import Record
from speechgru.search.with_parent import SECONDS_TO_STOP
from speechgru.training.lock import is_held
from speechgru.training.run_settings import progress_of

SECONDS_BETWEEN_LOOKS = 0.2


class TrialFailed(SpeechGRUError):
    """A training that ended without a figure; the message is what it said."""


class TrialRun:
    """A training while the ``with`` block lasts; what still runs at its end is stopped at a checkpoint.

    Args:
        words: its settings, as on the command line of ``speechgru train``.
        folder: of the run. A run that is already there is resumed.
    """

    def __init__(self, words: Sequence[str], folder: Path) -> None:
        self.words, self.folder = list(words), folder
        self.log = folder.with_name(f"{folder.name}.log")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> TrialRun:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        while is_held(self.folder):  # by a training whose search was killed, and which is stopping
            time.sleep(SECONDS_BETWEEN_LOOKS)
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "speechgru.search.with_parent", "train", *self.settings()],
                stdin=subprocess.PIPE,  # with_parent.py says why
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the search, which stops the training
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        process = self._process
        assert process is not None
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(SECONDS_TO_STOP)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdin is not None:
            process.stdin.close()

    def settings(self) -> list[str]:
        """The words of the command; recipes that make a folder for each cell below ``run_dir`` make none here."""
        place = str(self.folder)
        return [*self.words, quote("run_dir", place), quote("hydra.run.dir", place), "resume=true"]

    def epochs(self, metric: str) -> Iterator[tuple[int, float]]:
        """Each epoch's number, from 1, with its validation figure, as soon as it is over; ends with the training.

        Args:
            metric: accuracy, wer, ...

        Raises:
            TrialFailed: the training failed.
        """
        assert self._process is not None
        told, running = 0, True
        while running:
            running = self._process.poll() is None
            for row in self._rows():
                value = row.get(f"valid_{metric}")
                if row.get("epoch", 0) > told:
                    told = row["epoch"]
                    if value is not None:
                        yield told, value
            if running:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(SECONDS_BETWEEN_LOOKS)
        if self._process.returncode:
            raise TrialFailed(self._last_words(self._process.returncode))

    def figure(self, higher: bool) -> float:
        """The validation figure of the epoch that the finished training kept.

        Args:
            higher: whether more of it is better; if not, a run keeps the figure negated.

        Raises:
            TrialFailed: there is none.
        """
        progress = progress_of(self.folder)
        if progress is None or not progress.finished or progress.best is None:
            raise TrialFailed(f"{self.folder} holds no finished run")
        return progress.best if higher else -progress.best

    def _rows(self) -> list[Record]:
        if not (self.folder / METRICS).is_file():
            return []
        try:
            return read_metrics(self.folder)
        except DataError:  # the file was replaced a moment ago
            return []

    def _last_words(self, code: int) -> str:
        """Why the training ended."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        said = lines[-1].removeprefix("speechgru train: ") if lines else ""
        return one_line(said) if code > 0 and said else f"ended by signal {-code}" if code < 0 else f"exit code {code}"
