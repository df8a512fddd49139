"""The files that ``speechgru inspect`` writes, and a one-line error where it cannot write them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from speechgru.errors import ConfigError, SpeechGRUError
from speechgru.plain import Record


def folder_of(name: str) -> Path:
    """The folder of -o, made if it is not there; ConfigError where it cannot be."""
    try:
        Path(name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"-o {name}: cannot be made ({error.strerror}); choose another folder") from error
    return Path(name)


def write(path: Path, writer: Callable[..., object], content: object, **options: object) -> None:
    """``writer(content, path, **options)``; ConfigError where it cannot write."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        writer(content, path, **options)
    except OSError as error:
        raise ConfigError(f"-o: {path} cannot be written ({error.strerror}); choose another folder") from error


def write_json(path: Path, content: Record) -> None:
    """Writes plain values as JSON."""
    from speechgru.files import write_atomically

    write(path, lambda text, to: write_atomically(to, text.encode()), json.dumps(content, indent=1) + "\n")


def read_records(path: Path) -> list[Record]:
    """The ``runs`` that :func:`write_json` wrote before; none where there is no file.

    Raises:
        SpeechGRUError: the file holds something else.
    """
    if not path.is_file():
        return []
    try:
        return list(json.loads(path.read_text(encoding="utf-8"))["runs"])
    except (ValueError, KeyError, TypeError) as error:
        raise SpeechGRUError(f"{path}: no results of an earlier run ({error}); move it away") from error
