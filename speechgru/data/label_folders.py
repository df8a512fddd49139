"""Folders named by class: ``yes/*.wav no/*.wav``, with train / valid / test folders above them or not."""

from __future__ import annotations

import os
from pathlib import Path

from speechgru.audio import SUFFIXES
from speechgru.data.splits import speaker_of, split_of
from speechgru.data.utterance import Utterance
from speechgru.errors import DataError

_NOT_CLASSES = ("_background_noise_",)


def read_label_folders(root: str | os.PathLike[str]) -> dict[str, list[Utterance]]:
    """The recordings below a folder by split ("" where no folder names one), sorted by path.

    Layout: ``[train|valid|test/]<label>/[<speaker>/]<file>``. Every folder right below ``root`` is a class, unless one
    of them is called train (or training): then they are splits and the classes are below. The speaker is the folder
    between class and file, or the part before ``_nohash_`` in the file name (Speech Commands), else unknown. Hidden
    files, ``_background_noise_`` and files that are no audio are skipped.

    Raises:
        DataError: no such folder, no class folders, or a class without recordings.
    """
    root = Path(root)
    folders = _folders(root)
    if not any(split_of(name) == "train" for name in folders):
        return {"": _classes(root, folders)}
    found: dict[str, list[Utterance]] = {}
    for name in folders:
        split = split_of(name)
        if split is None:
            raise DataError(f"{root / name}: is neither train, valid nor test as those beside it; move it away")
        found.setdefault(split, []).extend(_classes(root / name, _folders(root / name)))
    return found


def recordings_in(folder: str | os.PathLike[str]) -> dict[str, str]:
    """The recordings directly in a folder, ``{name without suffix: path}``, by name; a .wav replaces a twin .flac."""
    found: dict[str, str] = {}
    with os.scandir(folder) as entries:
        for name in sorted(entry.name for entry in entries if not entry.name.startswith(".")):
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in SUFFIXES and (stem not in found or suffix.lower() == ".wav"):
                found[stem] = os.path.join(folder, name)
    return dict(sorted(found.items()))


def _folders(root: Path) -> list[str]:
    if not root.is_dir():
        raise DataError(f"{root.absolute()}: no such folder; say where the recordings are with data.root=FOLDER")
    names = sorted(one.name for one in root.iterdir() if one.is_dir() and not one.name.startswith("."))
    names = [name for name in names if name not in _NOT_CLASSES]
    if not names:
        raise DataError(f"{root}: has no folders; put the recordings of each class into a folder named like the class")
    return names


def _classes(root: Path, names: list[str]) -> list[Utterance]:
    found: list[Utterance] = []
    for name in names:
        before = len(found)
        for folder, folders, _ in os.walk(root / name):
            folders[:] = sorted(one for one in folders if not one.startswith("."))
            # Only the path from the class on: a folder above may have the name of the class.
            paths = [(path, os.path.relpath(path, root)) for path in recordings_in(folder).values()]
            found += [Utterance(path, label=name, speaker=speaker_of(below, name)) for path, below in paths]
        if len(found) == before:
            raise DataError(f"{root / name}: no recordings in this class folder; add some or remove the folder")
    return found
