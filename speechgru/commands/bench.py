"""``speechgru bench``: this package beside its peers on this machine, in one process."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import json
import sys
import time
from collections.abc import Container
from pathlib import Path

from speechgru.commands.checks import at_least_one
from speechgru.errors import ConfigError
from speechgru.plain import Record

BENCHES = {
    "features": "MFCC against torchaudio and librosa",
    "encoder": "bidirectional GRU, training step, against torch.nn.GRU, packed and padded",
    "inference": "stacked GRU, recordings, batches and a frame of a stream, against torch.nn.GRU and onnxruntime",
    "cells": "every recurrent cell, training step and inference, against torch.nn.GRU",
    "gpu": "every recurrent cell, training step on a GPU, against torch.nn.GRU there; no rows without one",
    "augment": "cost of each augmentation for a 1 s clip",
    "load": "reading and resampling a recording, against librosa",
    "decoding": "CTC beam search, against flashlight and pyctcdecode",
    "start": "classify and transcribe in a fresh process, from start to end, against import torch",
}

_EPILOG = (
    "benches (default: all):\n"
    + "\n".join(f"  {name:9} {text}" for name, text in BENCHES.items())
    + """

The candidates take turns in one process. Times are medians: processor time on one thread, clock time on more threads.
ratio is peer / ours, so above 1 this package is faster. The most that the machine can do, in products of matrices and
in reading memory, is measured in the same run and printed below the table.
All benches but start are warm: an untimed first call compiles and loads. Rows of two threads are clock time.
The encoder's peer needs many seconds for one training step over 1000 frames; --quick leaves that step out.
"""
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``speechgru bench``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("benches", nargs="*", metavar="BENCH", help=", ".join(BENCHES))
    parser.add_argument("--repeats", type=int, default=20, help="measured rounds (default: 20)")
    parser.add_argument("--threads", type=int, default=1, help="processor threads (default: 1)")
    parser.add_argument("--quick", action="store_true", help="leave out what takes minutes")
    parser.add_argument(
        "--readme",
        metavar="FILE",
        help="write the table between <!-- bench --> and <!-- /bench --> of FILE; other benches' rows stay",
    )
    parser.add_argument(
        "--short", metavar="FILE", help="write a few of its rows between <!-- speed --> and <!-- /speed --> of FILE"
    )
    parser.add_argument("--json", metavar="FILE", help="write the rows and the machine to FILE as well")


def run(arguments: argparse.Namespace) -> int:
    """Runs the benches and prints their rows as they come.

    Raises:
        ConfigError: no such bench, or an option is out of range.
        SpeechGRUError: a bench found that it and its peer do not compute the same.
    """
    at_least_one(arguments, "repeats", "threads")
    for name in arguments.benches:
        if name not in BENCHES:
            raise ConfigError(f"no bench is called {name} (known: {', '.join(BENCHES)})")
    if arguments.json and not Path(arguments.json).absolute().parent.is_dir():
        raise ConfigError(f"--json {arguments.json}: its folder is not there")
    from speechgru.evaluation.machine import describe_machine
    from speechgru.evaluation.results import update_readme
    from speechgru.lab.bench.limits import in_words, machine_limits
    from speechgru.lab.bench.selection import HEADING, chosen_rows
    from speechgru.lab.bench.timing import threads
    from speechgru.wording import markdown_grid, table

    rows, names = [], list(dict.fromkeys(arguments.benches or BENCHES))
    with threads(arguments.threads):
        machine = describe_machine()
        about = f"{machine['cpu']}, {arguments.threads} of {machine['cores']} cores, torch {machine['torch']}"
        when = f"{about}, {time.strftime('%Y-%m-%d')}:"
        stands = _standing(arguments.readme, names, when) if arguments.readme else []
        print(f"{about}; medians of {arguments.repeats} rounds", file=sys.stderr)
        limits = machine_limits()
        for name in names:
            print(f"bench {name} ...", file=sys.stderr, flush=True)
            function = getattr(importlib.import_module(f"speechgru.lab.bench.{name}"), f"bench_{name}")
            options = {"quick": arguments.quick} if name == "encoder" else {}
            rows += [{"bench": name, **row} for row in function(arguments.repeats, **options)]
    versions = {row["peer"]: _version(row["peer"]) for row in rows if row["peer"]}
    heading, cells = ["bench", "", "peer", "ours", "peer's", "ratio"], [_cells(row, versions) for row in rows]
    print(table(heading, cells, left=3))
    print(f"\n{in_words(limits)}", file=sys.stderr)
    shown = sorted([*stands, *cells], key=lambda row: list(BENCHES).index(row[0]))
    whole = heading, ["---"] * 3 + ["---:"] * 3, *shown
    short = HEADING, ["---"] * 2 + ["---:"] * 3, *chosen_rows(shown)
    for file, lines, mark in ((arguments.readme, whole, "bench"), (arguments.short, short, "speed")):
        if file:
            below = f"\n\n{in_words(limits)}" if lines is whole else ""
            text = f"{when}\n\n{markdown_grid(lines)}{below}"
            update_readme(file, text, mark)
    if arguments.json:
        result = {"date": time.strftime("%Y-%m-%d"), "machine": machine, "repeats": arguments.repeats, "limits": limits}
        rows = [{**row, "peer_version": versions.get(row["peer"], "")} for row in rows]
        Path(arguments.json).write_text(json.dumps({**result, "rows": rows}, indent=2) + "\n", encoding="utf-8")
    return 0


def _standing(file: str, measured: Container[str], when: str) -> list[list[str]]:
    """The rows of a page that come from benches other than the measured ones.

    Raises:
        ConfigError: they come from another machine or day.
    """
    lines: list[str] = []
    with contextlib.suppress(OSError):  # reported when the table is written
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    rows = [line[2:-2].split(" | ") for line in lines if line.startswith("| ")]
    found = [row for row in rows if len(row) == 6 and row[0] in BENCHES and row[0] not in measured]
    if found and when not in lines:
        raise ConfigError(
            f"--readme {file}: its rows of {found[0][0]} are not of this machine and day ({when[:-1]}); run all benches"
        )
    return found


def _cells(row: Record, versions: dict[str, str]) -> list[str]:
    if row["peer_ms"] is None:
        return [row["bench"], row["name"], "", _duration(row["ours_ms"]), "", ""]
    peer = f"{row['peer']} {versions[row['peer']]}"
    times = [_duration(row["ours_ms"]), _duration(row["peer_ms"]), f"{row['ratio']:.2f}x"]
    return [row["bench"], row["name"], peer, *times]


def _duration(value_ms: float) -> str:
    if value_ms < 1:
        return f"{1000 * value_ms:.0f} us"
    return f"{value_ms:.2f} ms" if value_ms < 100 else f"{value_ms:.0f} ms"


def _version(peer: str) -> str:
    try:
        return importlib.metadata.version(peer.split(".")[0].split(" ")[0])
    except importlib.metadata.PackageNotFoundError:
        return ""
