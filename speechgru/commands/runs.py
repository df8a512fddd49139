"""``speechgru runs``: the training runs in a folder side by side, best first."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from pathlib import Path

from speechgru.errors import ConfigError

_EPILOG = """\
A setting is shown where it differs among the runs. The validation figure is the one that chose the best epoch. The test
figure is what speechgru evaluate found and wrote; nothing is computed here. A run that stopped goes on with
speechgru train run_dir=RUN resume=true.

examples:
  speechgru runs
  speechgru runs runs/sweep -f csv
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``speechgru runs``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("folder", nargs="?", default="runs", metavar="DIR", help="where to look (default: runs)")
    parser.add_argument("-f", "--output_format", default="txt", choices=["txt", "csv", "json"], help="(default: txt)")


def run(arguments: argparse.Namespace) -> int:
    """Prints the table.

    Raises:
        ConfigError: no run is there.
    """
    from speechgru.training.run_table import COLUMNS, changed_settings, find_runs, read_runs, run_rows, run_table

    folders = find_runs(Path(arguments.folder))
    if not folders:
        raise ConfigError(f"{arguments.folder}: no run in it; name the folder that holds some (speechgru runs DIR)")
    runs = read_runs(folders)
    if arguments.output_format == "txt":
        print(run_table(runs))
    elif arguments.output_format == "csv":
        writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(run_rows(runs))
    else:
        changed = changed_settings(runs)
        records = [
            {
                "run": str(one.folder),
                "state": one.state,
                "changed": {key: one.settings[key] for key in changed if key in one.settings},
                "epochs": one.epochs,
                "planned_epochs": one.planned,
                "metric": one.metric,
                "validation": one.best,
                "test": one.test,
                "seconds": round(one.seconds, 1),
            }
            for one in runs
        ]
        print(json.dumps(records, indent=2))
    return 0
