"""What searches found for each cell: the studies that ``speechgru tune`` left, as plain values."""

from __future__ import annotations

import contextlib
import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from speechgru.errors import DataError
from speechgru.evaluation.tasks import task_of
from speechgru.plain import Record

RATE = "optimizer.learning_rate"
TABLE = "trials.csv"
_OWN = ("trial", "state", "epochs", "seconds", "run", "failure")  # the columns that are neither setting nor figure


def read_searches(folder: Path) -> list[Record]:
    """The searches in ``folder`` and below that have a complete trial, each as :func:`read_search` gives it."""
    found = []
    for table in sorted(folder.rglob(TABLE)):
        try:
            found.append(read_search(table.parent))
        except DataError as error:
            print(f"{error}; left out", file=sys.stderr)
    if not found:
        print(f"{folder}: no search in it", file=sys.stderr)
    return found


def read_search(folder: Path) -> Record:
    """One study.

    Returns:
        ``dataset``, ``cell``, ``metric``, ``higher``, ``epochs`` (of a trial), ``seed``, ``seconds`` (of all trials),
        ``machine`` and ``date`` (of the last complete trial) and ``trials``: for each that has ended, its ``state``,
        ``value`` (None where there is none), ``epochs``, ``seconds`` and ``settings`` by key.

    Raises:
        DataError: its table or the run of a trial cannot be read, or the learning rate was not searched.
    """
    try:
        rows = list(csv.DictReader((folder / TABLE).read_text(encoding="utf-8").splitlines()))
        keys = [key for key in rows[0] if key not in _OWN]
        metric, keys = keys[0], keys[1:]
        rows = [row for row in rows if row["state"] not in ("waits", "running")]
        trials = [_trial(row, metric, keys, folder) for row in rows]
    except (OSError, IndexError, KeyError, ValueError) as error:
        raise DataError(f"{folder / TABLE}: not the table of a search ({error!r})") from None
    if RATE not in keys:
        raise DataError(f"{folder / TABLE}: {RATE} was not searched")
    complete = [row for row in rows if row["state"] == "complete"]
    if not complete:
        raise DataError(f"{folder / TABLE}: no complete trial")
    path = folder / "trials" / complete[-1]["run"] / "run.json"
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        settings = said["settings"]
        higher = task_of(settings["head"]["name"]).monitors[metric]
        about = {"dataset": settings["data"]["name"], "cell": settings["encoder"]["cell"]["name"]}
        about |= {"metric": metric, "higher": higher, "epochs": settings["trainer"]["epochs"], "seed": said["seed"]}
        about |= {"seconds": round(sum(one["seconds"] for one in trials), 1)}
        return about | {"machine": said["machine"], "date": said["date"], "trials": trials}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: says nothing of a search over a cell ({error!r})") from None


def _trial(row: dict[str, str], metric: str, keys: Sequence[str], folder: Path) -> Record:
    value, seconds = row[metric], float(row["seconds"])
    if row["state"] == "complete":  # the run knows its training time, even if it was done in parts
        run = folder / "trials" / row["run"] / "run.json"
        with contextlib.suppress(OSError, KeyError, TypeError, ValueError):
            seconds = float(json.loads(run.read_text(encoding="utf-8"))["wall_clock_s"])
    return {
        "state": row["state"],
        "value": float(value) if value else None,
        "epochs": int(row["epochs"]),
        "seconds": seconds,
        "settings": {key: _number(row[key]) for key in keys},
    }


def _number(text: str) -> float | str:
    with contextlib.suppress(ValueError):
        return float(text)
    return text


def best_trial(search: Record) -> Record:
    """The complete trial with the best figure, the earliest among equals."""
    complete = [one for one in search["trials"] if one["state"] == "complete"]
    return min(complete, key=lambda one: -one["value"] if search["higher"] else one["value"])


def rate_of(trial: Record) -> float:
    """The learning rate of a trial."""
    return float(trial["settings"][RATE])


def others_of(trial: Record) -> Record:
    """The settings of a trial other than the learning rate."""
    return {key: value for key, value in trial["settings"].items() if key != RATE}


def curve(search: Record) -> list[Record]:
    """The trials whose other settings are those of the first trial, from the lowest learning rate on."""
    first = others_of(search["trials"][0])
    return sorted((one for one in search["trials"] if others_of(one) == first), key=rate_of)
