"""What every corpus can do, whatever its layout on disk."""

from __future__ import annotations

import abc
import inspect
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speechgru.data.splits import SPLITS
from speechgru.data.utterance import Utterance
from speechgru.errors import DataError


class Corpus(abc.ABC):
    """A set of recordings in three splits. Subclasses are registered in the family "data", one file each.

    Attributes:
        config: the settings; ``config.root`` is the folder of the corpus, relative to the working directory.
        sample_rate: sample rate of the models trained on this corpus, in Hz.
        fold: what a cross-validation holds out in this split, such as a speaker; empty without a cross-validation.
        test_of: names of the parts of the test split, where they can be chosen; rows of results show them.
        can_fold: whether its settings ``folds`` and ``fold`` can be used to make a cross-validation of it.
        split_rule: how the recordings were divided into splits, in words, where that is worth saying.
    """

    sample_rate: int = 16000
    fold: str = ""
    test_of: Sequence[str] = ()
    can_fold: bool = False
    split_rule: str = ""

    def __init__(self, config: Any):
        self.config = config

    @classmethod
    def about(cls) -> dict[str, str]:
        """What the docstring of the corpus (its module's, or its own) says: title, licence, size, url, a line each."""
        text = inspect.getdoc(inspect.getmodule(cls)) or ""
        if "- Licence:" not in text:
            text = inspect.getdoc(cls) or text
        facts = {"title": text.partition("\n")[0].rstrip(".")}
        for key in ("licence", "size", "url"):
            # An item of the list, with the indented lines that continue it.
            found = re.search(rf"^- {key}: *(.+(?:\n  +\S.*)*)", text, re.MULTILINE | re.IGNORECASE)
            facts[key] = " ".join(found[1].split()).rstrip(".") if found else ""
        return facts

    @abc.abstractmethod
    def utterances(self, split: str) -> list[Utterance]:
        """The utterances of "train", "valid" or "test", always in the same order.

        Raises:
            DataError: the folder is not there or not what it should be, or there is no such split.
        """

    @abc.abstractmethod
    def labels(self) -> list[str] | None:
        """The class names in the order of a classifier's outputs; None for a corpus of transcripts."""

    def prepare(self, progress: bool = True) -> None:
        """Download or make the recordings below ``config.root``; quick if that is done already.

        Raises:
            DataError: the corpus cannot be fetched; the message says what to do instead.
        """
        raise DataError(f"{type(self).__name__} has nothing to prepare: point data.root at recordings of your own")


def check_split(split: str) -> None:
    """DataError unless ``split`` is one of :data:`SPLITS`."""
    if split not in SPLITS:
        raise DataError(f"split {split!r} is not known (known: {', '.join(SPLITS)})")


def existing_root(root: str, corpus: str) -> Path:
    """The folder of a corpus; if it is missing, a DataError that names the two ways to fix that."""
    path = Path(os.path.expanduser(root))
    if not path.is_dir():
        raise DataError(
            f"{path.absolute()}: the folder of {corpus} is not there; "
            f"run `speechgru prepare {corpus}` or say where it is with data.root=FOLDER"
        )
    return path


def refuse_occupied(root: Path, missing: list[str]) -> None:
    """DataError if there is something in ``root``; for use before a download into it."""
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DataError(
            f"{root.absolute()}: is not empty and lacks {', '.join(missing[:3])}{' ...' if len(missing) > 3 else ''}; "
            "move it away or choose another folder with data.root=FOLDER (a part of the corpus needs no prepare)"
        )
