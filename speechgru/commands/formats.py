"""``speechgru formats``: what each format of each model costs and gives, as the table of docs/export.md."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from speechgru.commands.checks import at_least_one
from speechgru.errors import ConfigError
from speechgru.shipped import model_names, model_path, model_title

_EPILOG = """\
Each model is written in every format of speechgru export, compared with the model on drawn sounds, and timed on a
second of noise; the formats take turns on one thread. Differences are the largest of a score; ms are medians of
processor time, with C compiled with -O3 -march=native. If a model cannot have a format, the row says why.

examples:
  speechgru formats                                  the shipped models
  speechgru formats runs/mine/model
  speechgru formats --readme docs/export.md          as a table between <!-- formats --> and <!-- /formats -->
  speechgru formats --parts --readme docs/export.md  cells, encoders, heads and features instead: <!-- export -->
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``speechgru formats``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("models", nargs="*", metavar="MODEL", help="folders or names (default: those that ship)")
    parser.add_argument("--parts", action="store_true", help="ONNX of every cell, encoder, head and normalisation")
    parser.add_argument("--repeats", type=int, default=20, help="measured rounds (default: 20)")
    parser.add_argument("--readme", metavar="FILE", help="write the table into FILE, between its marks")


def run(arguments: argparse.Namespace) -> int:
    """Measures, and prints or writes the table.

    Raises:
        ConfigError: no such model, or an option that does not go with another.
        ModelError: a model cannot be loaded.
        DataError: the file of ``--readme`` has no place for the table.
        SpeechGRUError: the extra ``export`` is not installed.
    """
    at_least_one(arguments, "repeats")
    if arguments.parts and arguments.models:
        raise ConfigError(f"{arguments.models[0]}: --parts measures models of its own; name none")
    models = [(model_title(name), model_path(name)) for name in arguments.models or model_names()]
    from speechgru.export.folder import require_onnx

    require_onnx()
    from speechgru.lab.bench.timing import threads

    with threads(1):
        heading, rows = _parts(arguments.repeats) if arguments.parts else _models(models, arguments.repeats)
    left = 3 if arguments.parts else 2
    text = _table(heading, rows, left)
    if arguments.readme:
        from speechgru.evaluation.results import update_readme

        update_readme(arguments.readme, text, "export" if arguments.parts else "formats")
    return 0


def _models(models: list[tuple[str, Path]], repeats: int) -> tuple[list[str], list[list[str]]]:
    from speechgru.lab.formats import HEADING, format_rows

    rows = []
    for name, folder in models:
        print(f"formats of {name} ...", file=sys.stderr, flush=True)
        rows += format_rows(name, folder, repeats)
    return HEADING, rows


def _parts(repeats: int) -> tuple[list[str], list[list[str]]]:
    from speechgru.lab.format_parts import HEADING, part_rows

    rows = []
    for row in part_rows(repeats):
        print(" ".join(row), file=sys.stderr, flush=True)
        rows.append(row)
    return HEADING, rows


def _table(heading: list[str], rows: list[list[str]], left: int) -> str:
    """Prints the table; returns it in Markdown, with the machine and the date."""
    import onnxruntime

    from speechgru.evaluation.machine import describe_machine
    from speechgru.wording import markdown_cell, markdown_grid, table

    print(table(heading, rows, left))
    machine = describe_machine()
    about = (
        f"{machine['cpu']}, one thread, torch {machine['torch']}, onnxruntime {onnxruntime.__version__}, "
        f"{time.strftime('%Y-%m-%d')}:"
    )
    lines = ["---"] * left + ["---:"] * (len(heading) - left)
    return f"{about}\n\n{markdown_grid([heading, lines, *([markdown_cell(one) for one in row] for row in rows)])}"
