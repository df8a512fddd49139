"""What a run says on stderr while it trains: one line per epoch, and the recordings that it could not use."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from speechgru.errors import DataError
from speechgru.evaluation.intervals import wilson_interval
from speechgru.plain import Record
from speechgru.training.progress import Progress
from speechgru.wording import duration

SHOWN = 5


def epoch_line(progress: Progress, epochs: int, row: Record, seconds: float) -> str:
    """The outcome of an epoch: its losses, the validation figures, whether it is kept, and its duration.

    Args:
        progress: after the epoch.
        epochs: how many there will be.
        row: of ``metrics.jsonl``.
        seconds: how long the epoch took, with its validation.
    """
    figures = [f"train loss {row['train_loss']:.4f}", f"validation loss {row['valid_loss']:.4f}"]
    figures += [
        f"{name.removeprefix('valid_')} {value:.4f}"
        for name, value in row.items()
        if name.startswith("valid_") and name != "valid_loss"
    ]
    best = "kept" if row["best"] else f"best {progress.best_figure or 0.0:.4f} in epoch {progress.best_epoch}"
    return f"epoch {progress.epoch}/{epochs}: {', '.join(figures)} ({best}), {duration(seconds)}"


def left_out(lines: Sequence[str], of: int, split: str) -> str:
    """Which recordings cannot be used: how many, and the first few with the reason.

    Args:
        lines: one for each, the recording and the reason.
        of: how many recordings there are.
        split: ``training`` or ``validation``.
    """
    head = f"{len(lines)} of {of} {split} recordings cannot be used and are left out:"
    return "\n".join([head, *(f"  {line}" for line in lines[:SHOWN]), *(["  ..."] if len(lines) > SHOWN else [])])


# With fewer recordings than this, a figure of the validation set says little.
FEW = 100


def report_unreadable(lines: list[str], of: int, split: str) -> None:
    """Says which recordings cannot be used.

    Raises:
        DataError: none of them can.
    """
    if len(lines) == of:
        raise DataError(f"none of the {of} {split} recordings can be used; the first: {lines[0]}")
    if lines:
        print(left_out(lines, of, split), file=sys.stderr)


def few_to_choose_on(count: int) -> str:
    """The message on a validation set with so few recordings that all of them could be used in turn."""
    low, high = wilson_interval(round(0.9 * count), count)
    return (
        f"{count} validation utterances are few: where 90 % are right, the truth may be {100 * low:.0f} to "
        f"{100 * high:.0f} %; to judge by all recordings in turn: "
        "speechgru train --multirun data.folds=5 data.fold=0,1,2,3,4 ..."
    )
