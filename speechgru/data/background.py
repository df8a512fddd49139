"""Background: recordings of any length in which none of the words is said, used in windows."""

from __future__ import annotations

import dataclasses
import math
from pathlib import PurePath

from speechgru.data.corpora.corpus import Corpus
from speechgru.data.reading import measure_s
from speechgru.data.recordings import listed_or_found
from speechgru.data.splits import SPLITS, hash_percent
from speechgru.data.utterance import Utterance
from speechgru.errors import AudioError, ConfigError, DataError

UNKNOWN, SILENCE = "_unknown_", "_silence_"
_VALID_PERCENT = 10.0
_BLOCK_S = 60.0  # a recording that no list puts into a split is held out minute by minute for validation
_SHORTEST_S = 0.1  # a rest of the last minute up to this length is not used


@dataclasses.dataclass
class BackgroundConfig:
    """Continuous sound in training and validation, for a classifier that listens all the time.

    Attributes:
        recordings: folders, files or lists of recordings of any length in which none of the words is said, such as
            [talk, music.jsonl]; their windows have the label ``_unknown_``. From lists with splits, train and valid are
            used; from others, one minute in ten is held out for validation.
        noises: the same without speech; their windows have the label ``_silence_`` where there is such a label.
        window_s: length of a window, 0.5 to 10 seconds. Its position is drawn anew in each epoch.
        windows: how many of all windows an epoch uses; 0 means all.
        hard: share of those that are hard negatives: the windows that the model took most for a word when it last saw
            them. The others are drawn. 0 to 1, and 0 where windows=0.
        laid: share of the other recordings that are mixed into a window of background, at a drawn position, 0 to 1.
        min_snr_db, max_snr_db: the signal-to-noise ratio, the power of a recording over that of the background it is
            mixed into, is drawn uniformly between these two, in dB, -20 to 60.
        pieces: share of the windows of speech that are replaced by a piece of the speech, 0.2 to 0.8 seconds long,
            mixed into other background, 0 to 1. Such pieces sound like words that nobody listed, in as many voices as
            there are.
        coded: share of the other recordings that are coded once with Opus and decoded, 0 to 1: if only the background
            was coded, a model would learn to detect the coding instead of words.
    """

    recordings: list[str] = dataclasses.field(default_factory=list)
    noises: list[str] = dataclasses.field(default_factory=list)
    window_s: float = 2.0
    windows: int = 0
    hard: float = 0.0
    laid: float = 0.7
    min_snr_db: float = -5.0
    max_snr_db: float = 40.0
    pieces: float = 0.0
    coded: float = 0.0

    def __post_init__(self) -> None:
        if not 0.5 <= self.window_s <= 10:
            raise ConfigError(f"background.window_s={self.window_s}: from 0.5 to 10 seconds")
        if self.windows < 0:
            raise ConfigError(f"background.windows={self.windows}: at least 0 (0 means all)")
        for name in ("hard", "laid", "pieces", "coded"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"background.{name}={getattr(self, name)}: from 0 to 1")
        if self.hard and not self.windows:
            raise ConfigError(f"background.hard={self.hard}: needs background.windows, of which it is a share")
        if not -20 <= self.min_snr_db <= self.max_snr_db <= 60:
            raise ConfigError(
                f"background.min_snr_db={self.min_snr_db}, max_snr_db={self.max_snr_db}: from -20 to 60, the first at "
                "most the second"
            )


class WithBackground(Corpus):
    """A corpus with background in its training and validation splits; ``_unknown_`` is one of its labels.

    A row of background is a stretch of a recording up to two windows long: a window can be drawn from it, and nothing
    longer is ever decoded. A recording shorter than a window is one row.

    Args:
        corpus: the words.
        config: see :class:`BackgroundConfig`.

    Raises:
        ConfigError: the corpus has no labels.
    """

    def __init__(self, corpus: Corpus, config: BackgroundConfig) -> None:
        super().__init__(corpus.config)
        self.corpus, self.background = corpus, config
        self.sample_rate, self.split_rule, self.can_fold = corpus.sample_rate, corpus.split_rule, corpus.can_fold
        labels = corpus.labels()
        if labels is None:
            raise ConfigError("background: is for words, and this corpus has transcripts; leave background out")
        self._labels = labels if UNKNOWN in labels else [*labels, UNKNOWN]
        self._windows: dict[str, list[Utterance]] = {}

    def labels(self) -> list[str]:
        """The labels of the corpus, and ``_unknown_``."""
        return list(self._labels)

    def utterances(self, split: str) -> list[Utterance]:
        """The utterances of the corpus, then the background; the test split is that of the corpus."""
        return self.corpus.utterances(split) + (self.windows(split) if split != "test" else [])

    def windows(self, split: str) -> list[Utterance]:
        """The rows of background of a split.

        Raises:
            DataError: an entry is not there, or the training split has none.
            AudioError: an entry is not there or holds no audio.
        """
        if split not in self._windows:
            silence = SILENCE if SILENCE in self._labels else UNKNOWN
            found = []
            for label, entries in ((UNKNOWN, self.background.recordings), (silence, self.background.noises)):
                for entry in entries:
                    rows = _stretches(entry, split, self.background.window_s)
                    if not rows and split == "train":
                        raise DataError(
                            f"{entry}: has no background for training; name other recordings or leave it out"
                        )
                    found += [dataclasses.replace(one, text="", label=label) for one in rows]
            self._windows[split] = found
        return self._windows[split]


def _stretches(entry: str, split: str, window_s: float) -> list[Utterance]:
    """The rows of one entry: stretches of up to two windows."""
    rows = listed_or_found(entry)
    named = [name for name in SPLITS if rows.get(name)]
    if named:
        return [row for one in rows.get(split, []) for row in _cut(one, _length_s(one), window_s)]
    divided: dict[bool, list[Utterance]] = {False: [], True: []}  # by whether they are held out
    for one in rows.get("", []):
        length_s = _length_s(one)
        for minute in range(max(1, math.ceil((length_s - _SHORTEST_S) / _BLOCK_S))):
            part = dataclasses.replace(one, start_s=one.start_s + minute * _BLOCK_S)
            held_out = hash_percent(f"{PurePath(one.audio).name}/{minute}") < _VALID_PERCENT
            divided[held_out] += _cut(part, min(_BLOCK_S, length_s - minute * _BLOCK_S), window_s)
    if not divided[False]:  # even if it is little, it is for training
        divided = {False: divided[True], True: []}
    return divided[split == "valid"]


def _cut(recording: Utterance, length_s: float, window_s: float) -> list[Utterance]:
    """Stretches of a recording, one beginning at every window; the last one takes the rest, below two windows."""
    if not length_s:
        return [recording]
    found = []
    for number in range(max(1, int(length_s / window_s))):
        left_s = length_s - number * window_s
        duration_s = left_s if left_s < 2 * window_s else 2 * window_s
        start_s = recording.start_s + number * window_s
        found.append(dataclasses.replace(recording, start_s=start_s, duration_s=duration_s))
    return found


def _length_s(recording: Utterance) -> float:
    """The duration in seconds; 0 for a recording that cannot be read: the loader leaves it out and reports it."""
    try:
        return measure_s(recording)
    except AudioError:
        return 0.0
