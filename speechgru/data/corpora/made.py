"""Corpora that are made on this machine: whole or not at all, and never taken for one made with other settings."""

from __future__ import annotations

import abc
import hashlib
import json
import os
import shutil
import tempfile
import time
from pathlib import Path

from speechgru.data.corpora.corpus import Corpus, check_split, existing_root
from speechgru.data.manifest import read_manifest
from speechgru.data.utterance import Utterance
from speechgru.errors import DataError
from speechgru.registry import to_plain
from speechgru.synthesis import EspeakConfig

_SETTINGS = "settings.json"
_ABANDONED_S = 3600.0


class MadeCorpus(Corpus):
    """A corpus whose recordings are made, with a manifest ``<split>.jsonl`` per split beside ``settings.json``.

    Attributes:
        made_by: the name it is registered under.
        format: version of how it is made; a folder of another format is not taken for this corpus.
        goes_on: whether ``make`` keeps what it finds, so that a stopped run goes on where it was.
    """

    made_by: str
    format: int = 1
    goes_on: bool = False

    @property
    def folder(self) -> Path:
        """Where the corpus is."""
        return Path(os.path.expanduser(self.config.root))

    def utterances(self, split: str) -> list[Utterance]:
        """The recordings of a split, in the order they were made."""
        check_split(split)
        root = existing_root(str(self.folder), self.made_by)
        self._check_settings(root)
        return read_manifest(root / f"{split}.jsonl")

    def prepare(self, progress: bool = True) -> None:
        """Make the corpus in ``config.root``; does nothing if it is there already.

        The folder appears whole or not at all.

        Raises:
            DataError: the folder holds something else, or cannot be written.
            SpeechGRUError: the extra ``synth`` is not installed.
        """
        root = self.folder.resolve()
        if root.is_dir() and any(root.iterdir()):
            self._check_settings(root)
            return None
        try:
            root.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps(self._settings(), indent=2, ensure_ascii=False) + "\n"
            building = self._building(root, text)
            try:
                _remove_abandoned(root, building)
                self.make(building, progress)
                (building / _SETTINGS).write_text(text, "utf-8")
                if root.is_dir():
                    root.rmdir()
                building.rename(root)
            finally:
                if not self.goes_on:
                    shutil.rmtree(building, ignore_errors=True)
        except OSError as error:
            if root.is_dir() and (root / _SETTINGS).is_file():
                return self._check_settings(root)  # another process was quicker
            raise DataError(
                f"{root}: cannot be written ({error.strerror or error}); free some space or choose root=FOLDER"
            ) from error

    def _building(self, root: Path, settings: str) -> Path:
        """The folder that becomes the corpus: a new one, or that of a stopped run with these settings."""
        if self.goes_on:
            building = root.parent / f".{root.name}.building-{hashlib.sha256(settings.encode()).hexdigest()[:8]}"
            building.mkdir(exist_ok=True)
        else:
            building = Path(tempfile.mkdtemp(prefix=f".{root.name}.building-", dir=root.parent))
            building.chmod(0o755)
        return building

    @abc.abstractmethod
    def make(self, folder: Path, progress: bool) -> None:
        """Writes the recordings and manifests into a folder, empty unless :attr:`goes_on`."""

    def _settings(self) -> dict[str, object]:
        settings = {key: value for key, value in to_plain(self.config).items() if key != "root"}
        for key in getattr(getattr(self.config, "synthesiser", None), "PLACES", ()):
            del settings["synthesiser"][key]
        if settings.get("synthesiser") == to_plain(EspeakConfig(), "synthesiser"):
            del settings["synthesiser"]  # not in folders made before there was another synthesiser
        return {"format": self.format, **settings}

    def _check_settings(self, root: Path) -> None:
        """DataError unless the folder was made with the settings of this corpus."""
        try:
            made = json.loads((root / _SETTINGS).read_text("utf-8"))
            differing = {key: made.get(key) for key, value in self._settings().items() if made.get(key) != value}
        except (OSError, ValueError, AttributeError):
            raise DataError(
                f"{root}: is not a folder made by `speechgru prepare {self.made_by}`; choose another root=FOLDER"
            ) from None
        if differing:
            wanted = ", ".join(f"{key}={self._settings()[key]}" for key in differing)
            there = ", ".join(f"{key}={value}" for key, value in differing.items())
            raise DataError(
                f"{root}: was made with {there}, not {wanted}; remove the folder or choose another root=FOLDER"
            )


def _remove_abandoned(root: Path, building: Path) -> None:
    """Removes what killed runs left behind; a run still at work has touched or written to its folder recently.

    The folder ``building`` stays, however old it is: the run that goes on is in it.
    """
    for folder in set(root.parent.glob(f".{root.name}.building-*")) - {building}:
        if time.time() - max(path.stat().st_mtime for path in (folder, *folder.glob("*/*"))) > _ABANDONED_S:
            shutil.rmtree(folder, ignore_errors=True)
