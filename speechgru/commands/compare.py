"""``speechgru compare``: runs of several recurrent cells side by side, in accuracy, size, speed and memory."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechgru.errors import ConfigError, DataError, SpeechGRUError

if TYPE_CHECKING:
    from speechgru.lab.comparison.comparison import Comparison

_EPILOG = """\
A run that has no results of the test yet is evaluated first. The models of a corpus take turns while they are timed,
with noise of 1 s: a training step of 32, and the answer to one. Memory is what such a step adds at its peak in a fresh
process. The seconds of an epoch are those of the quickest, over all seeds: other work of the machine only ever adds.

example:
  speechgru train --multirun recipe=cells_fsdd seed=0,1,2 cell=gru,lstm,rnn resume=true
  speechgru compare runs/cells_fsdd
"""

# What a comparison keeps of a run's results; the rest stands in the run's own folder.
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``speechgru compare``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("runs", nargs="+", metavar="FOLDER", help="a folder of runs, such as runs/cells_fsdd")
    parser.add_argument("--repeats", type=int, default=20, help="measured answers of each model (default: 20)")
    parser.add_argument("--threads", type=int, default=1, help="processor threads (default: 1)")
    parser.add_argument(
        "--recipe_dir", metavar="DIR", help="write results.json, two pictures and the tables of README.md there"
    )
    parser.add_argument(
        "--readme",
        metavar="FILE",
        help="write the tables into FILE, between <!-- cells --> and <!-- /cells -->",
    )


def run(arguments: argparse.Namespace) -> int:
    """Evaluates and times what is there, and prints or writes the tables; 1 where a run could not be measured.

    Raises:
        ConfigError: an option is out of range, or no run is there.
        DataError: a seed of a cell is there twice.
    """
    for name in ("repeats", "threads"):
        if getattr(arguments, name) < 1:
            raise ConfigError(f"--{name} {getattr(arguments, name)}: at least 1")
    if arguments.recipe_dir and not Path(arguments.recipe_dir).is_dir():
        raise ConfigError(f"--recipe_dir {arguments.recipe_dir}: no such folder")
    if arguments.readme and not Path(arguments.readme).is_file():
        raise ConfigError(f"--readme {arguments.readme}: no such file")
    import torch

    from speechgru.evaluation.results import update_readme
    from speechgru.lab.comparison.comparison import compare, comparison_markdown
    from speechgru.registry import names

    before = torch.get_num_threads()
    torch.set_num_threads(arguments.threads)
    try:
        finished = {Path(one): finished_runs(Path(one)) for one in arguments.runs}
        records, failed = _records([run for runs in finished.values() for run in runs])
        if not records:
            raise ConfigError(
                f"{' '.join(arguments.runs)}: no run to compare; train some first (speechgru train --multirun cell=...)"
            )
        not_run = [folder.name for folder, runs in finished.items() if not runs]
        comparison = compare([record for _, record in records], _costs(records, arguments.repeats), not_run)
    finally:
        torch.set_num_threads(before)
    tables = comparison_markdown(comparison, names("cell"))
    print(tables)
    if arguments.recipe_dir:
        _write(Path(arguments.recipe_dir), comparison, tables)
    if arguments.readme:
        update_readme(arguments.readme, tables, "cells")
    return int(failed > 0)


def finished_runs(folder: Path) -> list[Path]:
    """The folders of finished runs in ``folder`` and below; those that are not finished are told."""
    begun = sorted({path.parent for name in ("metrics.jsonl", "run.json") for path in folder.rglob(name)})
    if not begun:
        print(f"{folder}: no run in it", file=sys.stderr)
    found = []
    for run in begun:
        if (run / "run.json").is_file():
            found.append(run)
        else:
            print(f"{run}: not finished, left out; train it on with resume=true", file=sys.stderr)
    return found


def _records(runs: list[Path]) -> tuple[list[tuple[Path, dict[str, Any]]], int]:
    """What is kept of each run, and how many could not be measured."""
    records, failed = [], 0
    for run in runs:
        try:
            records.append((run, _record(run)))
        except SpeechGRUError as error:
            print(f"{run}: {error}", file=sys.stderr)
            failed += 1
    return records, failed


def _record(run: Path) -> dict[str, Any]:
    from speechgru.evaluation.results import read_results
    from speechgru.training.logging import read_metrics

    results = run / "evaluation" / "test" / "results.json"
    tensors = run / "model" / "model.safetensors"
    if not results.is_file() or not tensors.is_file() or results.stat().st_mtime < tensors.stat().st_mtime:
        from speechgru.commands.evaluate import evaluate
        from speechgru.config import EvaluateConfig

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


def _costs(records: list[tuple[Path, dict[str, Any]]], repeats: int) -> dict[tuple[str, str], dict[str, Any]]:
    """The costs by dataset and cell, of the first run of each: they do not depend on the seed."""
    from speechgru.lab.bench.cost import costs

    folders: dict[str, dict[str, Path]] = {}
    for run, record in records:
        folders.setdefault(record["dataset"], {}).setdefault(record["model"], run / "model")
    found = {}
    for dataset, models in folders.items():
        print(f"timing {len(models)} models of {dataset}", file=sys.stderr, flush=True)
        for cell, cost in costs(models, repeats, max(1, repeats // 4)).items():
            found[dataset, cell] = cost
    return found


def _write(folder: Path, comparison: Comparison, tables: str) -> None:
    from speechgru.evaluation.results import update_readme, write_results
    from speechgru.lab.comparison.comparison import PICTURES
    from speechgru.lab.comparison.pictures import accuracy_picture, cost_picture

    write_results(folder / "results.json", comparison)
    accuracy_picture(comparison, folder / "accuracy.png")
    cost_picture(comparison, folder / "cost.png")
    if (folder / "README.md").is_file():
        update_readme(folder / "README.md", f"{tables}\n\n{PICTURES}")
