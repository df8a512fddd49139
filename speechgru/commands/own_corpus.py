"""The corpus a model was trained on, and what its run says of itself."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import speechgru.data.corpora  # noqa: F401  the import registers the corpora a model can name
from speechgru.errors import ConfigError
from speechgru.registry import from_plain

if TYPE_CHECKING:
    from speechgru.recognizer import Recognizer


def own_data(recognizer: Recognizer, folder: Path, root: str = "") -> Any:
    """The settings of the corpus a model was trained on.

    Args:
        recognizer: the model.
        folder: its model folder.
        root: where the recordings are; empty takes what the run beside the model folder says, where they still are.

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


def run_of(folder: Path) -> dict[str, Any]:
    """What the training run beside the model folder says of itself; empty where the folder was moved away."""
    try:
        return json.loads((folder.parent / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
