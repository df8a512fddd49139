"""The command ``speechgru``: finds the subcommand, and turns every expected error into one line.

A subcommand is a module of ``speechgru.commands`` with ``add_arguments(parser)`` and ``run(arguments) -> int``; it is
imported only when it is called, so that ``speechgru --help`` answers at once.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import gc
import importlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from speechgru.compiling import COMPILING
from speechgru.errors import ConfigError, Interrupted, SpeechGRUError

COMMANDS = {
    "train": "train a model: a recipe, or settings key=value",
    "evaluate": "measure a trained model on a split and write results.json and a report",
    "runs": "list training runs side by side, best first, with what differs among their settings",
    "compare": "set runs of several recurrent cells side by side: accuracy, size, speed, memory",
    "compare-speakers": "tell whether two recordings are of one speaker, and how often that is right",
    "latency": "set how accurate models are against how long they wait for what follows",
    "classify": "label recordings: files, folders, globs or - (standard input)",
    "transcribe": "turn recordings into text, subtitles and word times",
    "join-parts": "count and join what classify or transcribe wrote in parts (--part 3/64)",
    "detect": "measure a detector of words: misses at false alarms an hour; choose its threshold",
    "listen": "tell words and labels while they are said: microphone, file or pipe",
    "serve": "answer over HTTP and WebSocket, as OpenAI's clients ask for transcripts",
    "align": "tell when each word of a known text is spoken (TextGrid, CTM, JSON)",
    "lm": "train an n-gram language model from text or a corpus",
    "tune": "search for the settings of a training with the best validation figure",
    "tune-lm": "choose a language model's weight on validation data, and put it into the model",
    "prepare": "fetch or build a corpus",
    "shard": "write a list of recordings into tar files, which training reads in order (data=shards)",
    "settings": "explain the settings of train and evaluate: units, ranges, defaults",
    "recipes": "list, show or copy the training recipes",
    "warm-up": "compile what the shipped models run, before it is needed",
    "models": "list the models that ship inside, or show one's card",
    "push": "put a trained model on the Hugging Face Hub",
    "export": "write a trained model as ONNX or C, which run without this package, once it is proved the same",
    "formats": "set the formats of a model side by side: difference, size, speed beside torch",
    "inspect": "look at a model's gates over a recording, its memory and its gradients",
    "bench": "time this package against its peers on this machine",
}

USAGE_ERROR, FAILED_ITEMS = 2, 1


def main(arguments: list[str] | None = None) -> int:
    """Runs one subcommand; returns the exit code.

    0; 1 for failed items; 2 for a usage error; 130 after Ctrl-C, 141 when the reader of its output is gone, 143 after
    SIGTERM: the codes that a shell reports for a command that a signal ended.
    """
    # Read when torch loads its OpenMP. As soon as anything else runs, threads that wait by spinning keep each other off
    # the cores: on two busy cores an epoch then took 500 s instead of 12.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Read at the first allocation: large pages save a tenth of the training time on Linux, where tensors of megabytes
    # are allocated and freed at each step.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    is_program = arguments is None
    if is_program:
        _fill_closed_descriptors()
        if sys.stderr is None:  # closed (2>&-); print would write messages to standard output
            sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until Python ends
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    with _terminable() as terminated:
        try:
            try:
                with COMPILING.told() if is_program else contextlib.nullcontext():
                    return _answer(words)
            finally:  # a full disk or a closed pipe is found here, and not when Python has ended
                if sys.stdout is not None:
                    sys.stdout.flush()
                if is_program:
                    # Otherwise Python searches all of torch for garbage before it ends, which takes half a second.
                    gc.freeze()
        except (SpeechGRUError, KeyboardInterrupt, OSError) as error:
            if is_program and isinstance(error, KeyboardInterrupt | Interrupted):
                # Further signals change nothing while Python ends.
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if debug and not isinstance(error, BrokenPipeError):
                raise
            code = _tell(" ".join(["speechgru", *words[:1]]), error)
            return 128 + signal.SIGTERM if terminated else code


def _answer(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if words[0] in ("-V", "--version"):
        from speechgru import __version__

        print(f"speechgru {__version__}")
        return 0
    return _run(words[0], words[1:])


def _tell(command: str, error: SpeechGRUError | KeyboardInterrupt | OSError) -> int:
    """Prints one line on standard error for the error that ended a command; returns the exit code."""
    code, message = FAILED_ITEMS, str(error)
    if isinstance(error, Interrupted):
        code = 128 + error.signal
    elif isinstance(error, ConfigError):
        code = USAGE_ERROR
    elif isinstance(error, KeyboardInterrupt):
        code, message = 128 + signal.SIGINT, "interrupted"
    elif isinstance(error, OSError):
        _drop_output()
        if isinstance(error, BrokenPipeError):  # the reader went away, as in `speechgru classify ... | head`
            return 141
        where = error.filename or "the output cannot be written"
        message = f"{where}: {error.strerror or error}; fix that and try again"
    with contextlib.suppress(OSError):
        if sys.stderr is not None:
            print(f"{command}: {message}", file=sys.stderr, flush=True)
    return code


def _drop_output() -> None:
    """If standard output cannot be written any more, what it still holds goes to the null device when Python ends."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fill_closed_descriptors() -> None:
    """Keeps the next file opened after ``>&-`` from being standard output to every library below Python."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


@contextlib.contextmanager
def _terminable() -> Iterator[list[int]]:
    """SIGTERM ends a command as Ctrl-C does, and closes what is open; the list holds the signal once it has come."""
    came: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        came.append(number)
        raise KeyboardInterrupt

    try:
        free = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        if free:
            signal.signal(signal.SIGTERM, end)
    except ValueError:  # not the main thread: the caller handles signals
        free = False
    try:
        yield came
    finally:
        if free and signal.getsignal(signal.SIGTERM) is end:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _run(name: str, words: list[str]) -> int:
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"no such command{hint} (known: {', '.join(COMMANDS)})")
    if name in ("train", "evaluate") and {"-h", "--help"} & set(words):
        from speechgru.commands.hydra_help import help_of

        print(help_of(name))
        return 0
    command = importlib.import_module(f"speechgru.commands.{name.replace('-', '_')}")
    if hasattr(command, "run_hydra"):
        return command.run_hydra(words)
    parser = _Parser(prog=f"speechgru {name}", description=COMMANDS[name], allow_abbrev=False)
    command.add_arguments(parser)
    return command.run(parser.parse_args(words))


class _Parser(argparse.ArgumentParser):
    """argparse with one-line errors: its own errors print the usage as well."""

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
