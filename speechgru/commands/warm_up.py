"""``speechgru warm-up``: compiles now what would otherwise be compiled when it is first run."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable

from speechgru.commands.recordings import load_recognizer
from speechgru.compiled import cache_root, usable
from speechgru.compiling import COMPILING
from speechgru.errors import ConfigError
from speechgru.shipped import model_names, model_path

_EPILOG = """\
What is compiled is kept for this user, for all folders and environments with the same version; nothing is compiled
twice. Without warm-up, the first command that needs a kernel compiles it, and says so.

examples:
  speechgru warm-up                      what the models that ship inside run, a minute or two
  speechgru warm-up --training gru       also what trains a model with cell=gru
  speechgru warm-up --training           the training of every cell, several minutes
  speechgru warm-up runs/mine/model
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``speechgru warm-up``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("models", nargs="*", metavar="MODEL", help="default: the models that ship inside")
    parser.add_argument("--training", nargs="*", metavar="CELL", help="also the training of these cells, or of all")


def run(arguments: argparse.Namespace) -> int:
    """Compiles what is not compiled yet, and prints how long that took.

    Raises:
        ConfigError: no such model or cell.
        ModelError: a model folder cannot be loaded.
    """
    if not usable():
        raise ConfigError("NUMBA_DISABLE_JIT: nothing is compiled where it is set; unset it")
    root = cache_root()
    if root is None:
        raise ConfigError("no folder can be written to keep machine code in; name one in NUMBA_CACHE_DIR")
    from speechgru.registry import entry, names
    from speechgru.warming import warm_up_model, warm_up_training

    cells = arguments.training or (names("cell") if arguments.training is not None else [])
    for cell in cells:
        entry("cell", cell)  # complains before anything is compiled
    folders = {model: model_path(model) for model in arguments.models or model_names()}
    for model, folder in folders.items():
        _tell(model, functools.partial(warm_up_model, load_recognizer(folder, "cpu", None, None)))
    for cell in cells:
        _tell(f"training of {cell}", functools.partial(warm_up_training, cell))
    print(f"kept in {root}")
    return 0


def _tell(what: str, work: Callable[[], None]) -> None:
    before = COMPILING.seconds
    work()
    spent = COMPILING.seconds - before
    print(f"{what}\t{f'compiled in {spent:.1f} s' if spent else 'already warm'}", flush=True)
