"""AN4 (CMU Census): names, addresses, numbers and dates, spelled letter by letter or spoken, 84 speakers.

- Licence: free for any use, BSD-style (Carnegie Mellon University, 1991-2005).
- Size: 948 training and 130 test utterances, 16 kHz, 49 minutes, 64 MB.
- URL: http://www.speech.cs.cmu.edu/databases/an4/an4_sphere.tar.gz
- Layout: ``etc/an4_train.fileids``, ``etc/an4_train.transcription`` (and ``an4_test``), recordings
  ``wav/an4_clstk/<speaker>/<id>.sph`` (.wav and .flac work too; ``wav`` may be missing); or a table ``manifest.tsv``
  with the columns audio, text, speaker and split.

The corpus has no validation split: some training speakers are held out.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from pathlib import Path

from speechgru.data.corpora.corpus import Corpus, check_split, existing_root, refuse_occupied
from speechgru.data.label_folders import recordings_in
from speechgru.data.sphinx import read_transcriptions
from speechgru.data.splits import held_out_speakers
from speechgru.data.table import read_table
from speechgru.data.utterance import Utterance
from speechgru.errors import ConfigError, DataError
from speechgru.files import replacing
from speechgru.registry import register
from speechgru.text_files import read_lines

URL = "http://www.speech.cs.cmu.edu/databases/an4/an4_sphere.tar.gz"
UTTERANCES = {"train": 948, "test": 130}


@dataclasses.dataclass
class AN4Config:
    """Where the corpus is and how many speakers are for validation.

    Attributes:
        root: the folder that holds ``etc`` and ``wav``, or ``manifest.tsv``.
        valid_speakers: training speakers held out for validation, 1 to 40.
    """

    root: str = "data/an4"
    valid_speakers: int = 7

    def __post_init__(self) -> None:
        if not 1 <= self.valid_speakers <= 40:
            raise ConfigError(f"valid_speakers={self.valid_speakers}: from 1 to 40")


@register("data", "an4", AN4Config)
class AN4(Corpus):
    """AN4 as transcripts: the test split is the official one; no speaker is in two splits.

    The validation split has ``valid_speakers`` speakers of the training set. They are drawn by a hash of their names,
    so that they are always the same, with women (f...) and men (m...) in proportion. Names that differ in a number at
    the end (mdcs, mdcs2) may be one person and count as one.

    Args:
        config: see :class:`AN4Config`.
    """

    def labels(self) -> None:
        """None: AN4 has transcripts."""
        return

    def utterances(self, split: str) -> list[Utterance]:
        """The utterances of a split, in the order of the corpus's lists."""
        check_split(split)
        if split == "test":
            return self._read()["test"]
        found = self._read()["train"]
        people = [one.speaker.rstrip("0123456789") for one in found]
        held_out = held_out_speakers(people, self.config.valid_speakers, group=_sex)
        return [one for one, who in zip(found, people, strict=True) if (who in held_out) == (split == "valid")]

    def _read(self) -> dict[str, list[Utterance]]:
        return _read(existing_root(self.config.root, "an4"))

    def prepare(self, progress: bool = True) -> None:
        """Download the corpus (64 MB) to ``config.root``; does nothing if its 1,078 utterances are there.

        The server states no checksum, so the utterances are counted instead. Beside each headerless ``.raw`` recording,
        as the corpus's other archives have them, a .flac is written.
        """
        from speechgru.data.download import fetch_archive

        root = Path(os.path.expanduser(self.config.root))
        if any(root.glob("**/*.raw")):
            _convert_raw(root, progress)
        _read.cache_clear()
        if not (root / "etc").is_dir() and not (root / "manifest.tsv").is_file():
            refuse_occupied(root, ["etc", "wav"])
            fetch_archive(URL, root, strip=1, progress=progress)
        counts = {split: len(found) for split, found in self._read().items()}
        if counts != UTTERANCES:
            raise DataError(f"{root}: {counts} utterances instead of {UTTERANCES}; remove the folder and prepare again")


def _sex(speaker: str) -> str:
    return speaker[:1]


@functools.cache
def _read(root: Path) -> dict[str, list[Utterance]]:
    """The utterances of the two official splits."""
    if (root / "manifest.tsv").is_file():
        found = read_table(root / "manifest.tsv")
    else:
        found = {split: _listed(root, split) for split in UTTERANCES}
    for split in UTTERANCES:
        if not found.get(split):
            raise DataError(f"{root}: no recordings in the {split} split; is the folder complete?")
    return {split: found[split] for split in UTTERANCES}


def _listed(root: Path, split: str) -> list[Utterance]:
    """The utterances that Sphinx's lists in ``etc`` name and whose recordings are there."""
    path = root / "etc" / f"an4_{split}.transcription"
    texts = read_transcriptions(path)
    folders: dict[Path, dict[str, str]] = {}
    found = []
    for name in read_lines(root / "etc" / f"an4_{split}.fileids"):
        place = Path(name.strip())
        folder = next((one for one in (root / "wav" / place.parent, root / place.parent) if one.is_dir()), None)
        if not name.strip() or folder is None:
            continue
        if folder not in folders:
            folders[folder] = recordings_in(folder)
        if place.name not in texts:
            raise DataError(f"{path}: has no line for {place.name!r}; unpack the corpus again")
        audio = folders[folder].get(place.name)
        if audio is not None:
            found.append(Utterance(audio, text=texts[place.name], speaker=place.parent.name))
        elif (folder / f"{place.name}.raw").is_file():
            raise DataError(
                f"{folder / place.name}.raw: has no header; run `speechgru prepare an4 root={root}`, "
                "which writes a .flac beside it"
            )
    return found


def _convert_raw(root: Path, progress: bool) -> None:
    """Writes every 16-bit, 16 kHz ``.raw`` as .flac, in the byte order in which neighbouring samples differ less."""
    import numpy as np
    import soundfile
    from tqdm import tqdm

    for path in tqdm(sorted(root.glob("**/*.raw")), desc="raw to flac", disable=None if progress else True):
        fresh = path.with_suffix(".flac")
        if fresh.exists():
            continue
        content = path.read_bytes()
        orders = [np.frombuffer(content[: len(content) // 2 * 2], order) for order in ("<i2", ">i2")]
        samples = min(orders, key=lambda one: np.abs(np.diff(one.astype(np.float64))).sum())
        with replacing(fresh) as temporary:
            soundfile.write(temporary, samples.astype(np.int16), 16000, format="FLAC", subtype="PCM_16")
