"""Speech Commands (Google): one-second recordings of 35 English words by 2,618 speakers.

- Licence: CC BY 4.0 (Pete Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition", 1804.03209).
- Size: version 0.02 has 105,829 clips, 16 kHz, about 29 hours; 2.43 GB to download, 3.3 GB unpacked.
- URL: http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz; the test clips of the classes "unknown" and
  "silence" come from http://download.tensorflow.org/data/speech_commands_test_set_v0.02.tar.gz (113 MB).
- Layout::

    <word>/<speaker>_nohash_<n>.wav         (.flac and other formats soundfile reads work too)
    _background_noise_/*.wav                long recordings; the class _silence_ is cut from them
    _silence_/*.wav  _unknown_/*.wav        optional: those of the canonical test set
    validation_list.txt  testing_list.txt   official splits, one <word>/<name>.wav per line

A part of the tree is enough: only the folders of the wanted words have to be there.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import math
import os
import random
import re
from pathlib import Path

from speechgru.audio import audio_info
from speechgru.data.corpora.corpus import Corpus, check_split, existing_root, refuse_occupied
from speechgru.data.label_folders import recordings_in
from speechgru.data.utterance import Utterance
from speechgru.errors import ConfigError, DataError
from speechgru.registry import register
from speechgru.text_files import read_lines

DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
COMMANDS = ["yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"]
MINI = ["yes", "no", "up", "down", "left", "right", "go", "stop"]
OTHERS = ["backward", "bed", "bird", "cat", "dog", "follow", "forward", "happy", "house", "learn", "marvin", "sheila"]
ALL = sorted([*DIGITS, *COMMANDS, *OTHERS, "tree", "visual", "wow"])
GROUPS = {"all": ALL, "commands": COMMANDS, "digits": DIGITS, "mini": MINI}

UNKNOWN, SILENCE, NOISE = "_unknown_", "_silence_", "_background_noise_"
LISTS = {"valid": "validation_list.txt", "test": "testing_list.txt"}


class SplitRule(enum.Enum):
    """How clips are divided: ``auto`` takes the lists where both are there and the hash otherwise."""

    auto = "auto"
    lists = "lists"
    hash = "hash"


@dataclasses.dataclass
class SpeechCommandsConfig:
    """Which words, and how the classes and splits are made.

    Attributes:
        root: the folder with one folder per word.
        words: words or groups of words in the order of the classes: all (35), commands (10), digits (10), mini (the
            8 of mini_speech_commands). ``[commands]`` with unknown and silence is the official 12-class task.
        unknown: adds the class ``_unknown_``, drawn from the other words.
        silence: adds the class ``_silence_``, one-second cuts of the background noise at drawn volumes.
        unknown_percent: number of unknown clips, in percent of the wanted clips of the split.
        silence_percent: number of silence clips, likewise.
        strange: words that are never in training, as a user's words would be; all their clips of train and valid are
            used for validation, as ``_unknown_``. Needs unknown.
        split: auto, lists (official files) or hash (official rule on the speaker's name, 10 % valid and 10 % test).
        seed: draws the unknown and silence clips; the same seed gives the same clips.
    """

    root: str = "data/speech_commands"
    words: list[str] = dataclasses.field(default_factory=lambda: ["mini"])
    unknown: bool = False
    silence: bool = False
    unknown_percent: float = 10.0
    silence_percent: float = 10.0
    strange: list[str] = dataclasses.field(default_factory=list)
    split: SplitRule = SplitRule.auto
    seed: int = 59185

    def __post_init__(self) -> None:
        if not self.words:
            raise ConfigError(f"words=[]: name at least one word or group ({', '.join(GROUPS)})")
        for word in self.words:
            if not word or word.startswith("_") or "/" in word or "\\" in word or word in (".", ".."):
                raise ConfigError(f"words={word!r}: a word is the name of a folder and does not begin with '_'")
        for key in ("unknown_percent", "silence_percent"):
            if not 0 < getattr(self, key) <= 1000:
                raise ConfigError(f"{key}={getattr(self, key)}: above 0 and at most 1000")
        if self.strange and not self.unknown:
            raise ConfigError(f"strange={self.strange}: such words are unknown ones; set unknown=true")


@register("data", "speech_commands", SpeechCommandsConfig)
class SpeechCommands(Corpus):
    """Speech Commands as a classification task over any list of its words.

    The classes ``_unknown_`` and ``_silence_`` follow TensorFlow's ``examples/speech_commands/input_data.py``: each has
    ``ceil(percent / 100 * wanted clips of the split)`` clips; unknown clips are a shuffled draw from the other words,
    silence clips are random one-second cuts of the background noise times a volume from U(0, 1). Unlike there, both are
    drawn once, by ``seed``. The test split uses the canonical clips where the tree has the folders ``_silence_`` and
    ``_unknown_`` (the latter only for words among the ten commands, which it excludes): 4,890 clips for the 12-class
    task.

    Args:
        config: see :class:`SpeechCommandsConfig`.
    """

    sample_rate = 16000

    def __init__(self, config: SpeechCommandsConfig):
        super().__init__(config)
        self.words = list(dict.fromkeys(word for name in config.words for word in GROUPS.get(name, [name])))

    def labels(self) -> list[str]:
        """The words as configured, then ``_unknown_`` and ``_silence_`` where asked for."""
        return self.words + [UNKNOWN] * self.config.unknown + [SILENCE] * self.config.silence

    def utterances(self, split: str) -> list[Utterance]:
        """The wanted words in class order, each sorted by name, then unknown, then silence."""
        check_split(split)
        root = existing_root(self.config.root, "speech_commands")
        folders = sorted(
            entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(("_", "."))
        )
        for word in self.words:
            if word not in folders:
                raise DataError(
                    f"{root}: no folder {word!r} of data.words; it has {', '.join(folders) or 'no folder at all'}"
                )
        rule = _Rule(root, self.config.split)
        wanted = [one for word in self.words for one in _clips(root, word, word, split, rule)]
        found = list(wanted)
        if self.config.unknown:
            found += self._unknown(root, split, rule, [word for word in folders if word not in self.words], len(wanted))
        if self.config.silence:
            found += self._silence(root, split, len(wanted))
        if not found:
            raise DataError(
                f"{root}: no recordings of {', '.join(self.words)} in the {split} split; is the tree complete?"
            )
        return found

    def _unknown(self, root: Path, split: str, rule: _Rule, others: list[str], wanted: int) -> list[Utterance]:
        if split == "test" and (root / UNKNOWN).is_dir() and set(self.words) <= set(COMMANDS):
            return _canonical(root, UNKNOWN)
        strange = [word for word in others if word in self.config.strange]
        if split != "test":
            others = [word for word in others if word not in strange]
        clips = [one for word in others for one in _clips(root, word, UNKNOWN, split, rule)]
        if not clips and wanted:
            raise DataError(f"{root}: unknown=true needs folders of other words with {split} clips; there are none")
        random.Random(f"{self.config.seed}/unknown/{split}").shuffle(clips)
        clips = clips[: math.ceil(wanted * self.config.unknown_percent / 100)]
        if split == "valid":
            clips += [
                one
                for word in strange
                for each in ("train", "valid")
                for one in _clips(root, word, UNKNOWN, each, rule)
            ]
        return clips

    def _silence(self, root: Path, split: str, wanted: int) -> list[Utterance]:
        if split == "test" and (root / SILENCE).is_dir():
            return _canonical(root, SILENCE)
        noises = list(recordings_in(root / NOISE).values()) if (root / NOISE).is_dir() else []
        lengths_s = {path: audio_info(path).duration_s for path in noises}
        noises = [path for path in noises if lengths_s[path] > 1.0]
        if not noises:
            raise DataError(
                f"{root / NOISE}: silence=true needs recordings longer than 1 s there; run `speechgru prepare`"
            )
        draw = random.Random(f"{self.config.seed}/silence/{split}")
        clips = []
        for _ in range(math.ceil(wanted * self.config.silence_percent / 100)):
            path = draw.choice(noises)
            # Whole samples, so that the cut is the same on every machine; -60 dB stands for the volume zero.
            start = draw.randrange(max(1, int((lengths_s[path] - 1.0) * self.sample_rate)))
            gain_db = 20.0 * math.log10(max(draw.random(), 1e-3))
            clips.append(
                Utterance(path, label=SILENCE, start_s=start / self.sample_rate, duration_s=1.0, gain_db=gain_db)
            )
        return clips

    def prepare(self, progress: bool = True) -> None:
        """Download both archives (2.5 GB), check them, unpack them to ``config.root``; does nothing if that is done."""
        from speechgru.data.download import fetch_archive

        root = Path(os.path.expanduser(self.config.root))
        missing = [name for name in (*LISTS.values(), NOISE, *ALL) if not (root / name).exists()]
        if missing:
            refuse_occupied(root, missing)
            fetch_archive(URL, root, sha256=SHA256, progress=progress)
        canonical = tuple(name for name in (SILENCE, UNKNOWN) if not (root / name).exists())
        if canonical:
            fetch_archive(TEST_URL, root, only=canonical, progress=progress)


URL = "http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz"
SHA256 = "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58"
TEST_URL = "http://download.tensorflow.org/data/speech_commands_test_set_v0.02.tar.gz"


def which_set(name: str) -> str:
    """The split of a clip by the SHA-1 of its speaker: ``which_set`` of input_data.py (README of the dataset).

    All clips of a speaker (the name before ``_nohash_``) fall into one split, and stay there when clips are added.
    """
    speaker = re.sub(r"_nohash_.*$", "", Path(name).name)
    most = 2**27 - 1
    percent = (int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % (most + 1)) * (100.0 / most)
    return "valid" if percent < 10 else "test" if percent < 20 else "train"


class _Rule:
    """The split of every clip of one tree, by the official lists or by the hash."""

    def __init__(self, root: Path, split: SplitRule):
        missing = [name for name in LISTS.values() if not (root / name).is_file()]
        if split is SplitRule.lists and missing:
            raise DataError(f"{root / missing[0]}: is missing; use data.split=hash, which gives the same splits")
        self._listed: dict[str, str] | None = None
        if split is not SplitRule.hash and not missing:
            self._listed = {
                line.strip().rpartition(".")[0]: split_name
                for split_name, name in LISTS.items()
                for line in read_lines(root / name)
            }

    def __call__(self, word: str, stem: str) -> str:
        return which_set(stem) if self._listed is None else self._listed.get(f"{word}/{stem}", "train")


def _clips(root: Path, word: str, label: str, split: str, rule: _Rule) -> list[Utterance]:
    return [
        Utterance(path, text=word, label=label, speaker=stem.partition("_nohash_")[0])
        for stem, path in recordings_in(root / word).items()
        if rule(word, stem) == split
    ]


def _canonical(root: Path, label: str) -> list[Utterance]:
    found = [Utterance(path, label=label) for path in recordings_in(root / label).values()]
    if not found:
        raise DataError(f"{root / label}: holds no recordings; remove the folder or fill it from {TEST_URL}")
    return found
