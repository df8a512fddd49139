"""Several runs side by side: what differs among their settings, how far each came, and how good it is."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from speechgru.errors import SpeechGRUError
from speechgru.evaluation.results import read_results
from speechgru.evaluation.run_folder import METRICS
from speechgru.evaluation.tasks import TASKS
from speechgru.plain import Record
from speechgru.training.checkpoint import NAME, read_state
from speechgru.training.lock import is_held
from speechgru.training.progress import Progress
from speechgru.training.run_settings import SETTINGS, SUMMARY, flat, read_settings
from speechgru.wording import duration, table


@dataclasses.dataclass
class Run:
    """What the folder of a run says.

    Attributes:
        folder: where it is.
        state: finished, running, stopped (resume=true goes on), not begun, failed at its start, or why the folder
            cannot be read.
        overrides: the settings of its command line; empty where they are not known.
        settings: all of them by dotted key.
        epochs: completed.
        planned: epochs it was to have.
        metric: what chose the best epoch: accuracy, wer, cer or loss; empty before the first checkpoint.
        best: its value on the validation set; None before the first epoch.
        seconds: of training.
        test: what evaluations of the test split found, by name; never computed here.
    """

    folder: Path
    state: str
    overrides: list[str] = dataclasses.field(default_factory=list)
    settings: Record = dataclasses.field(default_factory=dict)
    epochs: int = 0
    planned: int | None = None
    metric: str = ""
    best: float | None = None
    seconds: float = 0.0
    test: dict[str, float] = dataclasses.field(default_factory=dict)


def find_runs(folder: Path) -> list[Path]:
    """The folders of runs in ``folder`` and below."""
    marks = (SETTINGS, NAME, SUMMARY, METRICS)
    return sorted({path.parent for mark in marks for path in folder.rglob(mark)})


def read_runs(folders: Iterable[Path]) -> list[Run]:
    """The runs in ``folders``, best first; those without a figure come last."""
    runs = [_read(folder) for folder in folders]
    return sorted(runs, key=lambda run: (run.best is None, run.metric, _rank(run)))


def _rank(run: Run) -> float:
    best = run.best or 0.0
    return -best if run.metric == "accuracy" else best


def _read(folder: Path) -> Run:
    if not folder.is_dir():
        return Run(folder, "failed at its start")
    try:
        stored = read_settings(folder)
        settings = stored["settings"] if stored is not None else _summary(folder).get("settings", {})
        run = Run(folder, "not begun", settings=flat(settings), planned=settings.get("trainer", {}).get("epochs"))
        run.overrides = stored["overrides"] if stored is not None else []
        if (folder / NAME).is_file():
            state = read_state(folder / NAME)
            progress = Progress.read(state, folder / NAME)
            run.state = "finished" if progress.finished else "stopped"
            run.epochs, run.seconds, run.metric = progress.epoch, progress.seconds, state.get("monitor", "")
            run.best = progress.best_figure
        if run.state != "finished" and is_held(folder):
            run.state = "running"
        run.test = _tested(folder)
    except SpeechGRUError as error:
        return Run(folder, str(error))
    return run


def _summary(folder: Path) -> Record:
    try:
        return json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _tested(folder: Path) -> dict[str, float]:
    """What evaluations of the current model found on the test split: ``accuracy``, ``wer``, ``wer, beam`` ..."""
    found = {}
    for path in sorted(folder.glob("evaluation/*/results.json")):
        model = folder / "model" / "model.safetensors"
        if not model.is_file() or path.stat().st_mtime < model.stat().st_mtime:
            continue  # of an earlier model
        for record in read_results(path):
            if record.get("split") == "test":
                measure = TASKS[record["task"]].judged_by[0].key
                decoder = record.get("decoder") or "greedy"
                found[measure if decoder == "greedy" else f"{measure}, {decoder}"] = record[measure]
    return found


# Settings that say where a run is kept, not how it is made.
_PLACES = ("name", "run_dir", "resume", "overwrite")

COLUMNS = ("run", "changed", "epochs", "validation", "test", "time", "state")


def run_rows(runs: Sequence[Run]) -> list[dict[str, str]]:
    """The runs as text by the names of :data:`COLUMNS`; of the settings, those that not all runs were given."""
    known = [set(run.overrides) for run in runs if run.overrides]
    shared = set.intersection(*known) if known else set()
    rows = []
    for run in runs:
        values = " ".join(one for one in run.overrides if one not in shared and not one.startswith("name="))
        best = "" if run.best is None else f"{run.metric or 'best'} {run.best:.4f}"
        test = "; ".join(f"{name} {value:.4f}" for name, value in run.test.items())
        epochs = str(run.epochs) if run.planned is None else f"{run.epochs}/{run.planned}"
        took = duration(run.seconds) if run.seconds else ""
        rows.append(dict(zip(COLUMNS, (str(run.folder), values, epochs, best, test, took, run.state), strict=True)))
    return rows


def changed_settings(runs: Sequence[Run]) -> list[str]:
    """The settings that differ among the runs, except where the runs are kept."""
    readable = [run.settings for run in runs if run.settings]
    keys = dict.fromkeys(key for settings in readable for key in settings)
    absent = object()
    return [
        key
        for key in keys
        if key not in _PLACES
        and any(settings.get(key, absent) != readable[0].get(key, absent) for settings in readable)
    ]


def run_table(runs: Sequence[Run]) -> str:
    """The rows as a table for a terminal; empty columns are left out. Then come the lines of cross-validations."""
    rows = run_rows(runs)
    columns = [column for column in COLUMNS if any(row[column] for row in rows)]
    shown = table(columns, [[row[column] for column in columns] for row in rows], left=len(columns))
    return "\n".join([shown, *cross_validations(runs)])


def cross_validations(runs: Sequence[Run]) -> list[str]:
    """A line for each group of finished runs that differ in ``data.fold`` alone: mean and deviation over its folds."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        if run.state == "finished" and run.settings.get("data.folds"):
            same = {key: value for key, value in run.settings.items() if key not in (*_PLACES, "data.fold")}
            groups.setdefault(json.dumps(same, sort_keys=True, default=str), []).append(run)
    lines = []
    for group in groups.values():
        folds = group[0].settings["data.folds"]
        figures = {f"validation {group[0].metric}": [one.best for one in group if one.best is not None]}
        for name in dict.fromkeys(name for one in group for name in one.test):
            figures[f"test {name}"] = [one.test[name] for one in group if name in one.test]
        told = ", ".join(_mean(name, values) for name, values in figures.items() if len(values) > 1)
        lines += [f"{len(group)} of {folds} folds, mean and standard deviation: {told}"] if told else []
    return lines


def _mean(name: str, values: list[float]) -> str:
    over = f" ({len(values)} folds)" if name.startswith("test") else ""
    return f"{name} {statistics.fmean(values):.4f} +- {statistics.stdev(values):.4f}{over}"
