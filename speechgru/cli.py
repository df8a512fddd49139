"""The command ``speechgru``: finds the subcommand, and turns every expected error into one line.

A subcommand is a module of ``speechgru.commands`` with ``add_arguments(parser)`` and ``run(arguments) -> int``; it is
imported only when it is called, so that ``speechgru --help`` answers at once.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
from typing import NoReturn

from speechgru.errors import ConfigError, Interrupted, SpeechGRUError

COMMANDS = {
    "train": "train a model (Hydra: recipe=..., any key=value, --cfg job, --multirun)",
    "evaluate": "measure a trained model on a split and write results.json and a report (Hydra)",
    "runs": "list training runs side by side, best first, with what differs among their settings",
    "compare": "set runs of several recurrent cells side by side: accuracy, size, speed, memory",
    "latency": "set how accurate models are against how long they wait for what follows",
    "classify": "label recordings: files, folders, globs or - (standard input)",
    "transcribe": "turn recordings into text, subtitles and word times",
    "align": "tell when each word of a known text is spoken (TextGrid, CTM, JSON)",
    "lm": "train an n-gram language model from text or a corpus",
    "tune": "choose a language model's weight on validation data, and put it into the model",
    "prepare": "fetch or build a corpus",
    "recipes": "list, show or copy the training recipes",
    "models": "list the models that ship inside, or show one's card",
    "inspect": "look at a model's gates over a recording, its memory and its gradients",
    "bench": "time this package against its peers on this machine",
}

USAGE_ERROR, FAILED_ITEMS = 2, 1


def main(arguments: list[str] | None = None) -> int:
    """Runs one subcommand; returns the exit code.

    0; 1 for failed items; 2 for a usage error; 130 after Ctrl-C, 143 after SIGTERM.
    """
    # Read when torch loads its OpenMP. Threads that wait by spinning keep each other from the cores as soon as anything
    # else runs: on two busy cores an epoch then took 500 s instead of 12.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Read at the first allocation: large pages spare a tenth of the time of training on Linux, where tensors of
    # megabytes come and go at each step.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if words[0] in ("-V", "--version"):
        from speechgru import __version__

        print(f"speechgru {__version__}")
        return 0
    try:
        return _run(words[0], words[1:])
    except SpeechGRUError as error:
        if debug:
            raise
        print(f"speechgru {words[0]}: {error}", file=sys.stderr)
        if isinstance(error, Interrupted):
            return 128 + error.signal
        return USAGE_ERROR if isinstance(error, ConfigError) else FAILED_ITEMS
    except KeyboardInterrupt:
        if debug:
            raise
        print(f"speechgru {words[0]}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output went away, as in `speechgru classify ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(name: str, words: list[str]) -> int:
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"no such command{hint} (known: {', '.join(COMMANDS)})")
    command = importlib.import_module(f"speechgru.commands.{name}")
    if hasattr(command, "run_hydra"):
        return command.run_hydra(words)
    parser = _Parser(prog=f"speechgru {name}", description=COMMANDS[name], allow_abbrev=False)
    command.add_arguments(parser)
    return command.run(parser.parse_args(words))


class _Parser(argparse.ArgumentParser):
    """argparse with errors of one line: its own print the usage as well."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message} ({self.prog} --help tells the options)")


def _help() -> str:
    width = max(map(len, COMMANDS))
    rows = "\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())
    return (
        "speechgru: small, exact, fast recurrent models of speech and audio\n\n"
        f"usage: speechgru COMMAND ...\n\n{rows}\n\n"
        "speechgru COMMAND --help tells a command's options; --debug shows the traceback of an error."
    )


if __name__ == "__main__":
    sys.exit(main())
