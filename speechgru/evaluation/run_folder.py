"""What the folder of a training run says about the run, its epochs and the corpus its model was trained on."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import speechgru.data.corpora  # noqa: F401  the import registers the corpora a model can name
from speechgru.errors import ConfigError, DataError
from speechgru.plain import Record
from speechgru.registry import from_plain

if TYPE_CHECKING:
    from speechgru.recognizer import Recognizer

METRICS = "metrics.jsonl"


def own_data(recognizer: Recognizer, folder: Path, root: str = "") -> Any:
    """The settings of the corpus a model was trained on.

    Args:
        recognizer: the model.
        folder: its model folder.
        root: where the recordings are; empty takes the place that the run beside the model folder names, if it still
            exists.

    Raises:
        ConfigError: the model does not say which corpus.
    """
    plain = recognizer.config.data
    if not plain:
        raise ConfigError(f"{folder} does not say which corpus it was trained on; add data=... to the command")
    settings = from_plain(plain, "data", f"{folder / 'config.yaml'}: data")
    root = root or _trained_on(folder)
    return dataclasses.replace(settings, root=root) if root else settings


def _trained_on(folder: Path) -> str:
    root = run_of(folder).get("settings", {}).get("data", {}).get("root", "")
    return root if root and Path(root).exists() else ""


def run_of(folder: Path) -> Record:
    """What the training run beside the model folder says of itself; empty where the folder was moved away."""
    try:
        return json.loads((folder.parent / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def finished_runs(folder: Path) -> list[Path]:
    """The folders of finished runs in ``folder`` and below; those that are not finished are reported."""
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


def read_metrics(path: str | os.PathLike[str]) -> list[Record]:
    """The rows of a ``metrics.jsonl`` (or of the folder that holds one); a half-written last line is dropped.

    Raises:
        DataError: no such file, or a line other than the last is not a JSON object with an integer ``step``.
    """
    file = Path(path)
    if file.is_dir():
        file = file / METRICS
    try:
        lines = file.read_bytes().split(b"\n")
    except OSError as error:
        raise DataError(
            f"{file}: no metrics can be read ({error.strerror}); give the folder of a training run"
        ) from None
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = _row(line)
        if row is not None:
            rows.append(row)
        elif number < len(lines):  # Only a half-written last line, with no newline after it, is dropped.
            raise DataError(f"{file}: line {number} is not a JSON object with a step; remove the line")
    return rows


def _row(line: bytes) -> Record | None:
    try:
        row = json.loads(line, parse_constant=lambda _: None)
    except ValueError:
        return None
    return row if isinstance(row, dict) and type(row.get("step")) is int else None
