"""What happened during training, one JSON object per line in ``metrics.jsonl``, and in TensorBoard if asked for.

A row has ``step`` and any other numbers. The pictures know these names: ``epoch``, ``learning_rate``, ``train_loss``,
``valid_loss`` and any other ``train_...`` / ``valid_...`` (``valid_accuracy``). A number that is NaN or infinite is
written as null, because JSON cannot express it.
"""

from __future__ import annotations

import errno
import json
import math
import os
import pathlib
import time
from typing import Any

from speechgru.errors import ConfigError, DataError
from speechgru.evaluation.run_folder import METRICS, read_metrics
from speechgru.files import write_atomically
from speechgru.plain import Record

SECONDS_BETWEEN_DRAWINGS = 10.0


class MetricsLog:
    """Appends rows to ``metrics.jsonl`` in ``folder``; each is in the file when :meth:`write` returns.

    An existing file is continued; a last line cut by kill -9 is removed first. Use it in one process only.

    Args:
        folder: where the file is (made if need be).
        tensorboard: also write the numbers as TensorBoard scalars to ``folder/tensorboard``.

    Raises:
        ConfigError: TensorBoard is asked for but not installed.
        DataError: the file that is there is broken, or cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str], tensorboard: bool = False) -> None:
        self.path = pathlib.Path(folder) / METRICS
        self._writer_class = _summary_writer() if tensorboard else None
        self._writer: Any = None
        self._purge_step: int | None = None
        self._drawn = time.monotonic()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists():
                self._replace(read_metrics(self.path))
            # Unbuffered: a row is one write to the operating system, which outlives the process.
            self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written ({error.strerror}); choose another folder") from None

    def write(self, step: int, **values: object) -> None:
        """Append one row: ``step`` (optimizer steps done) and numbers, strings, None or one-element tensors."""
        row = {"step": int(step)} | {name: _plain(value) for name, value in values.items()}
        line = json.dumps(row, allow_nan=False).encode() + b"\n"
        if self._file.write(line) < len(line):  # the beginning of a row fitted; a resumed run drops it
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        os.fsync(self._file.fileno())  # before the checkpoint that knows of the row
        if self._writer_class:
            if self._writer is None:
                self._writer = self._writer_class(str(self.path.parent / "tensorboard"), purge_step=self._purge_step)
            for name, value in row.items():
                if name != "step" and isinstance(value, (int, float)):
                    self._writer.add_scalar(_tag(name), value, row["step"])
            self._writer.flush()

    def truncate_after(self, step: int, epoch: int | None = None) -> None:
        """Forget the rows later than ``step``, or of a later ``epoch``: a run resumed there writes them again.

        A run killed after the last step of an epoch may have written the epoch's row, but not yet that the epoch is
        over.
        """
        rows = read_metrics(self.path)
        self._file.close()
        last = math.inf if epoch is None else epoch
        kept = [row for row in rows if row["step"] <= step and row.get("epoch", 0) <= last]
        self._replace(kept)
        self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115
        self._purge_step = min([row["step"] for row in rows if row not in kept], default=step + 1)
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def draw(self, last: bool) -> None:
        """Draws the learning curves so far, ``curves.png`` beside the file; before the last one at most every 10 s."""
        # A drawing takes a third of a second, which is longer than many epochs.
        if not last and time.monotonic() - self._drawn < SECONDS_BETWEEN_DRAWINGS:
            return
        from speechgru.evaluation.pictures import learning_curves

        self._drawn = time.monotonic()
        write_atomically(self.path.with_name("curves.png"), learning_curves(read_metrics(self.path)))

    def _replace(self, rows: list[Record]) -> None:
        """Replaces the rows of the file by ``rows`` in one move, so that a kill leaves the old file or the new one."""
        write_atomically(self.path, b"".join(json.dumps(row).encode() + b"\n" for row in rows))

    def close(self) -> None:
        """Close the files; writing is over."""
        self._file.close()
        if self._writer is not None:
            self._writer.close()

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class NullLog:
    """A log that keeps nothing, because only one process of a run writes."""

    def write(self, step: int, **values: object) -> None:
        """Writes nothing."""

    def truncate_after(self, step: int, epoch: int | None = None) -> None:
        """Forgets nothing."""

    def draw(self, last: bool) -> None:
        """Draws nothing."""

    def __enter__(self) -> NullLog:
        return self

    def __exit__(self, *exception: object) -> None:
        pass


def open_log(folder: pathlib.Path | None, tensorboard: bool) -> MetricsLog | NullLog:
    """The log of a run in ``folder``; None where another process writes it."""
    return NullLog() if folder is None else MetricsLog(folder, tensorboard)


def _plain(value: object) -> str | float | None:
    if value is None or isinstance(value, (str, bool)):
        return value
    value = value.item() if hasattr(value, "item") else value
    assert isinstance(value, (int, float)), f"a metric is a number, not {type(value).__name__}"
    return value if math.isfinite(value) else None


def _tag(name: str) -> str:
    """``valid_loss`` -> ``loss/valid``: TensorBoard shows one card group per part before the slash."""
    part, _, measure = name.partition("_")
    return f"{measure}/{part}" if part in ("train", "valid", "test") and measure else name


def _summary_writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ConfigError(
            "tensorboard=true needs an extra that is not installed: pip install 'speechgru[log]'"
        ) from None
    return SummaryWriter
