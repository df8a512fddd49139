"""A list of recordings in whatever format it has: manifest, table, Kaldi directory, or folders named by class."""

from __future__ import annotations

import os
from pathlib import Path

from speechgru.audio import find_audio
from speechgru.data.kaldi import read_kaldi
from speechgru.data.label_folders import read_label_folders
from speechgru.data.manifest import read_manifest
from speechgru.data.splits import split_of
from speechgru.data.table import read_table
from speechgru.data.utterance import Utterance
from speechgru.errors import DataError

MANIFESTS = (".jsonl", ".json")
TABLES = (".csv", ".tsv")


def read_recordings(path: str | os.PathLike[str]) -> dict[str, list[Utterance]]:
    """The utterances at ``path`` by split; those of no named split under "".

    A file is a JSON-lines manifest (.jsonl, .json) or a table (.csv, .tsv). In a folder, these are looked for in this
    order:

    1. ``wav.scp``, here or in folders named by split: Kaldi; a ``metadata`` list in those folders: Hugging Face.
    2. lists named by split: ``train.jsonl``, ``dev.tsv`` ... (manifests or tables).
    3. one list: the one called manifest or metadata, else the only one there is.
    4. folders named by class.

    Raises:
        DataError: nothing there, several lists to choose from, or what is found is wrong.
    """
    path = Path(os.path.expanduser(path))
    if os.path.isfile(path):  # Path.is_file raises for names that are too long
        return _list(path)
    if not os.path.isdir(path):
        raise DataError(f"{path.absolute()}: is not there; give a manifest, a table or a folder of recordings")
    if (path / "wav.scp").exists():
        return {"": read_kaldi(path)}
    names = sorted(one.name for one in path.iterdir() if not one.name.startswith("."))
    directories = [name for name in names if split_of(name) and (path / name / "wav.scp").exists()]
    _check_one_each(path, directories)
    if directories:
        return {split_of(name) or "": read_kaldi(path / name) for name in directories}
    described = {name: _metadata(path / name) for name in names if split_of(name)}
    _check_one_each(path, [name for name, list_ in described.items() if list_ is not None])
    if any(described.values()):
        return {
            split_of(name) or "": [one for rows in _list(list_).values() for one in rows]
            for name, list_ in described.items()
            if list_ is not None
        }
    lists = [name for name in names if Path(name).suffix.lower() in MANIFESTS + TABLES and (path / name).is_file()]
    named = [name for name in lists if split_of(Path(name).stem)]
    _check_one_each(path, named)
    if named:
        return {
            split_of(Path(name).stem) or "": [one for rows in _list(path / name).values() for one in rows]
            for name in named
        }
    if len(lists) > 1:
        lists = [name for name in lists if Path(name).stem.lower() in ("manifest", "metadata")] or lists
    if len(lists) > 1:
        raise DataError(f"{path}: several lists ({', '.join(lists[:5])}); name the one that is meant")
    return _list(path / lists[0]) if lists else read_label_folders(path)


def is_listed(path: str | os.PathLike[str]) -> bool:
    """Whether ``path`` is a list of recordings or a folder with one, rather than the recordings themselves."""
    path = Path(os.path.expanduser(path))
    if path.is_dir():
        return any(one.suffix.lower() in MANIFESTS + TABLES or one.name == "wav.scp" for one in path.iterdir())
    return path.suffix.lower() in MANIFESTS + TABLES


def listed_or_found(path: str | os.PathLike[str]) -> dict[str, list[Utterance]]:
    """The utterances of a list by split, or, under "", every recording of a folder at any depth, a file or a glob.

    Raises:
        AudioError: nothing there, or no audio.
        DataError: the list is wrong.
    """
    if is_listed(path):
        return read_recordings(path)
    return {"": [Utterance(audio) for audio in find_audio([os.path.expanduser(path)])]}


def _check_one_each(path: Path, names: list[str]) -> None:
    splits = [split_of(Path(name).stem) for name in names]
    for split in splits:
        if splits.count(split) > 1:
            raise DataError(f"{path}: several lists of the {split} split ({', '.join(names)}); keep one of each")


def _metadata(folder: Path) -> Path | None:
    """The list that describes the recordings of a folder, if there is one."""
    return next((one for suffix in TABLES + MANIFESTS if (one := folder / f"metadata{suffix}").is_file()), None)


def _list(path: Path) -> dict[str, list[Utterance]]:
    suffix = path.suffix.lower()
    if suffix in TABLES:
        return read_table(path)
    if suffix in MANIFESTS:
        return {"": read_manifest(path)}
    raise DataError(f"{path}: {suffix or 'no suffix'} is no list of recordings; use {' '.join(MANIFESTS + TABLES)}")
