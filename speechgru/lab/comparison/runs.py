"""The runs of a comparison: their results, measured where there are none yet, and the costs of their models."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import sys
from pathlib import Path

from speechgru.errors import DataError, SpeechGRUError
from speechgru.evaluation.evaluate import EvaluateConfig, evaluate
from speechgru.evaluation.results import read_results
from speechgru.evaluation.run_folder import read_metrics
from speechgru.lab.bench.cost import costs
from speechgru.plain import Record

# What a comparison keeps of a run's results; the rest is in the run's own folder.
KEPT = [
    "format",
    "task",
    "dataset",
    "split",
    "model",
    "decoder",
    "parameters",
    "seed",
    "fold",
    "n",
    "failed",
    "correct",
]
KEPT += ["accuracy", "words", "wer", "cer", "interval", "train_wall_clock_s", "machine", "date", "command"]


def refuse_doubles(runs: list[Path]) -> None:
    """Checks that a cell has one run for each seed: runs with two settings of a cell are not two seeds of it.

    Raises:
        DataError: two runs trained on the same data with the same cell and seed.
    """
    seen: dict[tuple[str, str, int], Path] = {}
    for run in runs:
        try:
            said = json.loads((run / "run.json").read_text(encoding="utf-8"))
            cell, data = said["settings"]["encoder"]["cell"]["name"], said["settings"]["data"]
            other = seen.setdefault((json.dumps(data, sort_keys=True), cell, said["seed"]), run)
        except (OSError, KeyError, TypeError, ValueError):
            continue  # reported where the run is measured
        if other != run:
            common = os.path.commonpath([other.parent, run.parent]) or "."
            raise DataError(
                f"{other} and {run} are both cell={cell} with seed {said['seed']}; leave one of them out "
                f"(speechgru runs {shlex.quote(common)} tells what differs)"
            )


def measured_records(runs: list[Path]) -> tuple[list[tuple[Path, Record]], int]:
    """What is kept of each run, and how many could not be measured."""
    records, failed = [], 0
    for run in runs:
        try:
            records.append((run, _record(run)))
        except SpeechGRUError as error:
            print(f"{run}: {error}", file=sys.stderr)
            failed += 1
    return records, failed


def _record(run: Path) -> Record:
    results = run / "evaluation" / "test" / "results.json"
    tensors = run / "model" / "model.safetensors"
    if not results.is_file() or not tensors.is_file() or results.stat().st_mtime < tensors.stat().st_mtime:
        print(f"evaluating {run / 'model'}", file=sys.stderr, flush=True)
        evaluate(
            EvaluateConfig(model=str(run / "model"), device="cpu"), ["speechgru", "evaluate", f"model={run}/model"]
        )
    (record,) = read_results(results)
    try:
        said = json.loads((run / "run.json").read_text(encoding="utf-8"))
        settings = said["settings"]
        encoder = settings["encoder"]
        own = {"model": encoder["cell"]["name"], "command": said["command"]}
        sizes = {"hidden_size": encoder["hidden_size"], "budget": settings["parameters"], "epochs": said["epochs"]}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{run / 'run.json'}: says nothing of a recurrent cell ({error!r}); leave the run out"
        ) from None
    marks = [0.0, *(row["seconds"] for row in read_metrics(run) if row.get("seconds") is not None)]
    taken = [later - earlier for earlier, later in itertools.pairwise(marks)]
    epoch_s = round(min(taken), 2) if taken else None
    return {key: {**record, **own}[key] for key in KEPT if key in record} | sizes | {"epoch_s": epoch_s}


def measured_costs(records: list[tuple[Path, Record]], repeats: int) -> dict[tuple[str, str], Record]:
    """The costs by dataset and cell, from the first run of each: they do not depend on the seed."""
    folders: dict[str, dict[str, Path]] = {}
    for run, record in records:
        folders.setdefault(record["dataset"], {}).setdefault(record["model"], run / "model")
    found = {}
    for dataset, models in folders.items():
        print(f"timing {len(models)} models of {dataset}", file=sys.stderr, flush=True)
        for cell, cost in costs(models, repeats, max(1, repeats // 4)).items():
            found[dataset, cell] = cost
    return found
