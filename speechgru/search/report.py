"""What a search leaves beside its trials: a table of them and two pictures."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from speechgru.files import write_atomically
from speechgru.search.pictures import coordinates_picture, importance_picture
from speechgru.search.search import Search
from speechgru.search.trial_line import brief, seconds_of
from speechgru.wording import duration, table

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

SHOWN = 10
STATES = {"COMPLETE": "complete", "PRUNED": "stopped early", "FAIL": "failed", "RUNNING": "running", "WAITING": "waits"}


def write_report(search: Search, study: optuna.Study, trials: Sequence[FrozenTrial]) -> None:
    """Writes the table, ``coordinates.png`` and, once there are two complete trials, ``importance.png``.

    Args:
        search: what was searched for.
        study: its trials.
        trials: those of them that count.
    """
    write_table(search, trials)
    complete = [one for one in trials if one.state.name == "COMPLETE"]
    if not complete:
        return
    title = f"{search.name}: {len(complete)} complete trials of {len(trials)}"
    picture = coordinates_picture(complete, search.ranges, search.metric, search.higher, title=title)
    write_atomically(search.folder / "coordinates.png", picture)
    shares = importances(study) if len(complete) > 1 else {}
    if shares:
        title = f"{search.name}: what decided the validation {search.metric}"
        write_atomically(search.folder / "importance.png", importance_picture(shares, title=title))


def write_table(search: Search, trials: Sequence[FrozenTrial]) -> None:
    """Writes ``trials.csv``: the trials that count, in order."""
    write_atomically(search.folder / "trials.csv", _csv(search, trials))


def importances(study: optuna.Study) -> dict[str, float]:
    """The share of each setting in what distinguishes the best trials from all trials (PED-ANOVA, 2304.10255)."""
    import optuna

    with warnings.catch_warnings():  # of methods that may change, and of few trials
        warnings.simplefilter("ignore")
        return optuna.importance.get_param_importances(study)


def best_table(search: Search, trials: Sequence[FrozenTrial]) -> str:
    """The best complete trials as a table for a terminal."""
    complete = [one for one in trials if one.state.name == "COMPLETE"]
    ranked = sorted(complete, key=lambda one: -one.values[0] if search.higher else one.values[0])[:SHOWN]
    keys = list(search.ranges)
    rows = [
        [str(one.number), f"{one.values[0]:.4f}", *(brief(one.params[key]) for key in keys), duration(seconds_of(one))]
        for one in ranked
    ]
    return table(["trial", search.metric, *keys, "time"], rows, left=1)


def _csv(search: Search, trials: Sequence[FrozenTrial]) -> str:
    keys = list(search.ranges)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "state", search.metric, "epochs", "seconds", *keys, "run", "failure"])
    for one in trials:
        value = one.values[0] if one.values else ""
        run, failure = (one.user_attrs.get(name, "") for name in ("folder", "failure"))
        epochs = max(one.intermediate_values, default=0)
        drawn = [one.params.get(key, "") for key in keys]
        writer.writerow(
            [one.number, STATES[one.state.name], value, epochs, f"{seconds_of(one):.1f}", *drawn, run, failure]
        )
    return text.getvalue()
