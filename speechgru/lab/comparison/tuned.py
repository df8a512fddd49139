"""Cells that each have settings of their own: what the searches found, and the runs that were trained with it.

Everything is kept as plain values in ``tuned.json``: ``searches``, one for each dataset and cell, and ``runs``, the
records of a comparison with, in addition, ``learning_rate``, ``settings`` (the others that were searched),
``best_epoch`` and ``last_fall`` (per cent).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from speechgru.errors import DataError
from speechgru.evaluation.run_folder import read_metrics
from speechgru.lab.comparison.runs import measured_records, refuse_doubles
from speechgru.lab.comparison.searches import RATE, best_trial, others_of, rate_of
from speechgru.plain import Record

LAST = 5  # the gain over the last fifth of the epochs is reported


def read_untuned(path: Path | None) -> list[Record]:
    """The summary of the comparison in which every cell had the GRU's settings; empty where there is none.

    Raises:
        DataError: it is damaged.
    """
    if path is None or not path.is_file():
        return []
    try:
        return list(json.loads(path.read_text(encoding="utf-8"))["summary"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not the results of a comparison ({error!r}); compare again") from None


def read_tuned(path: Path | None) -> Record:
    """What ``tuned.json`` holds; nothing where there is none.

    Raises:
        DataError: it is damaged.
    """
    if path is None or not path.is_file():
        return {"searches": [], "runs": []}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {"searches": list(content["searches"]), "runs": list(content["runs"])}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not the file of tuned cells ({error!r}); delete it and compare again") from None


def tuned_runs(runs: list[Path], searches: Sequence[Record]) -> tuple[list[Record], int]:
    """The records of the runs that have the settings a search found, and how many could not be measured.

    Raises:
        DataError: a cell has the same seed twice.
    """
    refuse_doubles(runs)
    measured, failed = measured_records(runs)
    found = {(one["dataset"], one["cell"]): best_trial(one) for one in searches}
    records = []
    for run, record in measured:
        best = found.get((record["dataset"], record["model"]))
        if best is None:
            print(f"{run}: no search over {record['model']} on {record['dataset']}; left out", file=sys.stderr)
            continue
        settings = json.loads((run / "run.json").read_text(encoding="utf-8"))["settings"]
        values = {RATE: settings["optimizer"]["learning_rate"]}
        values |= {key: _value(settings, key) for key in others_of(best)}
        if values != best["settings"]:
            print(f"{run}: has not the settings that the search found; left out", file=sys.stderr)
            continue
        records.append(record | {"learning_rate": rate_of(best), "settings": others_of(best)} | _end_of(run))
    return records, failed


def _value(settings: Record, key: str) -> object:
    """The value of a setting; that of ``cell.x`` is kept below ``encoder.cell``."""
    *path, leaf = f"encoder.{key}".split(".") if key.startswith("cell.") else key.split(".")
    node = settings
    for part in path:
        node = node.get(part, {})
    return node.get(leaf)


def _end_of(run: Path) -> Record:
    """The epoch that was kept, and by how many per cent the lowest validation loss still fell in the last epochs."""
    said = json.loads((run / "run.json").read_text(encoding="utf-8"))
    losses = [row["valid_loss"] for row in read_metrics(run) if row.get("valid_loss") is not None]
    return {"best_epoch": said["best_epoch"], "last_fall": last_fall(losses)}


def last_fall(losses: Sequence[float]) -> float | None:
    """By how many per cent the last fifth of the epochs lowered the lowest loss; None for fewer than five."""
    before = losses[: len(losses) - len(losses) // LAST]
    if len(losses) < LAST or not min(before) > 0:
        return None
    return round(100 * (1 - min(losses) / min(before)), 2)


def merged(old: Record, searches: Sequence[Record], runs: Sequence[Record]) -> Record:
    """The old content with new searches and runs in the place of those of the same cell (and seed).

    Runs whose settings are no longer those that their cell's search found are dropped.
    """
    kept = {(one["dataset"], one["cell"]): one for one in [*old["searches"], *searches]}
    found = {key: best_trial(one) for key, one in kept.items()}
    records = {(one["dataset"], one["model"], one["seed"]): one for one in [*old["runs"], *runs]}
    valid = [
        one
        for (dataset, cell, _), one in records.items()
        if (dataset, cell) in found
        and one["learning_rate"] == rate_of(found[dataset, cell])
        and one["settings"] == others_of(found[dataset, cell])
    ]
    return {"searches": list(kept.values()), "runs": valid}
