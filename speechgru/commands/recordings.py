"""What the commands that take recordings share: finding them, loading the model, terminals and pipes."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar

from speechgru.audio import list_audio
from speechgru.devices import find_device
from speechgru.errors import AudioError, ConfigError, DataError
from speechgru.recordings.lines import JSON_ESCAPES
from speechgru.recordings.parts import Stretch
from speechgru.shipped import default_model, model_path

if TYPE_CHECKING:  # imported when it is needed: a mistyped option is answered without waiting for torch
    from speechgru.recognizer import Recognizer

Item = TypeVar("Item")

# What commands do with a model that has one of these heads, or another head for the same task.
_VERBS = {"classification": "classify", "ctc": "transcribe"}


def find_recordings(arguments: list[str]) -> list[tuple[str, str]]:
    """(path, error) of every recording the arguments name; an argument that names none is an item with its error.

    Raises:
        ConfigError: none of the arguments names a recording.
    """
    items: list[tuple[str, str]] = []
    for argument in arguments:
        try:
            items += list_audio(argument)
        except AudioError as error:
            items.append((argument, str(error)))
    if all(error for _, error in items):
        raise ConfigError(items[0][1])
    return items


def listed_recordings(arguments: list[str]) -> list[Stretch]:
    """As :func:`find_recordings`; an argument that is a list (.jsonl, .json, .csv, .tsv) gives its recordings.

    Raises:
        ConfigError: none of the arguments names a recording, or a list is wrong.
    """
    from speechgru.data.recordings import MANIFESTS, TABLES, read_recordings
    from speechgru.data.table import read_rows

    items: list[Stretch] = []
    for argument in arguments:
        if not argument.lower().endswith((*MANIFESTS, *TABLES)):
            try:
                items += [Stretch(*found) for found in list_audio(argument)]
            except AudioError as error:
                items.append(Stretch(argument, str(error)))
            continue
        try:
            if argument.lower().endswith(TABLES) and os.path.isfile(
                os.path.expanduser(argument)
            ):  # in the order of its rows, whatever their splits
                listed = [one for _, one in read_rows(os.path.expanduser(argument))]
            else:
                listed = [one for split in read_recordings(argument).values() for one in split]
        except DataError as error:
            raise ConfigError(str(error)) from None
        items += [Stretch(one.audio, "", one.start_s, one.duration_s) for one in listed]
    if all(item.error for item in items):
        raise ConfigError(items[0].error)
    return items


def load_recognizer(model: str | Path | None, device: str, threads: int | None, task: str | None) -> Recognizer:
    """The model of ``-m``, the name of a shipped one or a folder, on ``--device`` with ``--threads``.

    Args:
        model: what ``-m`` names; None takes a shipped model of this task (without a task: classification).
        device: auto (cuda where there is one), cpu, cuda, cuda:<number> or mps.
        threads: processor threads; None leaves the choice to torch.
        task: the head it must have, ``classification`` or ``ctc``; None: any.

    Raises:
        ConfigError: no such model or device, or a model of another task.
        ModelError: the model folder cannot be loaded.
    """
    folder = model_folder(model, task or "classification")
    with _without_collector():
        place = find_device(device, "--device ")
        import torch

        from speechgru.recognizer import Recognizer

    if threads is not None:
        torch.set_num_threads(threads)
    recognizer = Recognizer.load(folder, place)
    if task is not None and recognizer.head.verb != _VERBS[task]:
        mend = f"; try speechgru {recognizer.head.verb}" if recognizer.head.verb in _VERBS.values() else ""
        raise ConfigError(f"-m {folder}: a model with a {recognizer.task} head does not {_VERBS[task]}{mend}")
    return recognizer


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """For imports: they leave no garbage, and looking for it takes a tenth of their time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def model_folder(model: str | Path | None, task: str) -> Path:
    """The folder of ``-m``; ConfigError where there is none."""
    if model is None:
        folder = default_model(task)
        if folder is None:
            raise ConfigError(
                f"no model that can {_VERBS[task]} ships with this version; give the folder of a trained one with -m"
            )
        return folder
    try:
        return model_path(model)
    except ConfigError as error:
        raise ConfigError(f"-m {error}") from None


def progress(items: Iterable[Item], total: int, description: str, hidden: bool = False) -> Iterator[Item]:
    """The items, with a progress bar on standard error; no bar if that is not a terminal, or if ``hidden``."""
    from tqdm import tqdm

    hidden = hidden or sys.stderr is None or not sys.stderr.isatty()
    return iter(tqdm(items, total=total, unit="file", desc=description, disable=hidden))


def standard_output(json: bool = False, needed: bool = True) -> TextIO:
    """Standard output, ready for file names, which may not be valid UTF-8 and may not fit the terminal's encoding.

    Args:
        json: JSON is written, which stays JSON in every encoding.
        needed: if false, a closed standard output (``>&-``) takes what it is given and loses it.

    Raises:
        ConfigError: standard output is closed, and needed.
    """
    if sys.stdout is None:
        if needed:
            raise ConfigError("standard output is closed; name a folder with -o")
        return io.StringIO()
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure:
        utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
        if json:
            reconfigure(encoding=None if utf8 else "ascii", errors=JSON_ESCAPES)
        else:
            reconfigure(errors="surrogateescape" if utf8 else "backslashreplace")
    return sys.stdout


def on_terminal() -> bool:
    """Whether a person reads standard output as it comes."""
    return sys.stdout is not None and sys.stdout.isatty()
