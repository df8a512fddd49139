"""``speechgru compare``: runs of several recurrent cells side by side, in accuracy, size, speed and memory."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from speechgru.commands.checks import at_least_one
from speechgru.errors import ConfigError

if TYPE_CHECKING:
    from speechgru.lab.comparison.comparison import Comparison

_EPILOG = """\
A run that has no test results yet is evaluated first. The models of a corpus take turns while they are timed on noise
of 1 s: a training step with a batch of 32, and the answer to one. Memory is what such a step adds at its peak in a
fresh process. The seconds of an epoch are those of the fastest epoch, over all seeds: other work of the machine only
ever adds time.

example:
  speechgru train --multirun recipe=cells_fsdd seed=0,1,2 cell=gru,lstm,rnn resume=true
  speechgru compare runs/cells_fsdd

With --searches every cell has settings of its own, which speechgru tune found, and nothing is timed. The command
writes tuned.json, learning_rate.png and the tables between <!-- tuned --> and <!-- /tuned -->, which also show what
results.json says about the GRU's settings. What was written before about other cells and seeds stays.

  speechgru compare runs/tuned --searches runs/tune --recipe_dir recipes/cells
"""


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

    parser.add_argument(
        "--searches", metavar="DIR", help="the studies of speechgru tune in which each cell's settings were found"
    )


def run(arguments: argparse.Namespace) -> int:
    """Evaluates and times what is there, and prints or writes the tables; 1 where a run could not be measured.

    Raises:
        ConfigError: an option is out of range, or no run is there.
        DataError: a seed of a cell is there twice.
    """
    at_least_one(arguments, "repeats", "threads")
    if arguments.recipe_dir and not Path(arguments.recipe_dir).is_dir():
        raise ConfigError(f"--recipe_dir {arguments.recipe_dir}: no such folder")
    if arguments.readme and not Path(arguments.readme).is_file():
        raise ConfigError(f"--readme {arguments.readme}: no such file")
    if arguments.searches:
        return _compare_tuned(arguments)
    from speechgru.evaluation.results import update_readme
    from speechgru.evaluation.run_folder import finished_runs
    from speechgru.lab.bench.timing import threads
    from speechgru.lab.comparison.comparison import compare, comparison_markdown
    from speechgru.lab.comparison.runs import measured_costs, measured_records, refuse_doubles
    from speechgru.registry import names

    with threads(arguments.threads):
        finished = {Path(one): finished_runs(Path(one)) for one in arguments.runs}
        runs = [run for folder in finished.values() for run in folder]
        refuse_doubles(runs)
        records, failed = measured_records(runs)
        if not records:
            raise ConfigError(
                f"{' '.join(arguments.runs)}: no run to compare; train some first (speechgru train --multirun cell=...)"
            )
        not_run = [folder.name for folder, runs in finished.items() if not runs]
        comparison = compare([record for _, record in records], measured_costs(records, arguments.repeats), not_run)
    tables = comparison_markdown(comparison, names("cell"))
    print(tables)
    if arguments.recipe_dir:
        _write(Path(arguments.recipe_dir), comparison, tables)
    if arguments.readme:
        update_readme(arguments.readme, tables, "cells")
    return int(failed > 0)


def _write(folder: Path, comparison: Comparison, tables: str) -> None:
    from speechgru.evaluation.results import update_readme, write_results
    from speechgru.lab.comparison.comparison import PICTURES
    from speechgru.lab.comparison.pictures import accuracy_picture, cost_picture

    write_results(folder / "results.json", comparison)
    accuracy_picture(comparison, folder / "accuracy.png")
    cost_picture(comparison, folder / "cost.png")
    if (folder / "README.md").is_file():
        update_readme(folder / "README.md", f"{tables}\n\n{PICTURES}")


def _compare_tuned(arguments: argparse.Namespace) -> int:
    """Compares cells that have settings of their own; 1 where a run could not be measured."""
    from speechgru.evaluation.results import update_readme, write_results
    from speechgru.evaluation.run_folder import finished_runs
    from speechgru.lab.comparison.rate_picture import rate_picture
    from speechgru.lab.comparison.searches import read_searches
    from speechgru.lab.comparison.tuned import merged, read_tuned, read_untuned, tuned_runs
    from speechgru.lab.comparison.tuned_page import tuned_markdown

    folder = Path(arguments.recipe_dir) if arguments.recipe_dir else None
    searches = read_searches(Path(arguments.searches))
    old = read_tuned(folder / "tuned.json" if folder else None)
    if not searches and not old["searches"]:
        raise ConfigError(f"--searches {arguments.searches}: no search in it; make one first (speechgru tune)")
    runs = [run for one in arguments.runs for run in finished_runs(Path(one))]
    records, failed = tuned_runs(runs, searches)
    content = merged(old, searches, records)
    tables = tuned_markdown(content, read_untuned(folder / "results.json" if folder else None))
    print(tables)
    if folder:
        write_results(folder / "tuned.json", content)
        rate_picture(content["searches"], folder / "learning_rate.png")
        if (folder / "README.md").is_file():
            update_readme(folder / "README.md", tables, "tuned")
    return int(failed > 0)
