"""A phrase and what must not be taken for it, in synthetic voices: what a detector of any phrase is made from.

- Licence: free; the recordings are made on this machine by espeak-ng (extra synth), and by Kokoro where its files are.
- Size: 3,000 clips of a second or two, 16 kHz, about 60 MB and a minute or two; with Kokoro 1,400 more, a second each.
- URL: https://github.com/espeak-ng/espeak-ng makes the speech; nothing is downloaded.
- Layout: ``<phrase>/<split>/<kind>/<voice>-<number>.flac``, a manifest ``<split>.jsonl`` per split, ``settings.json``.

The corpus is made when a training begins, and is there the next time; a stopped run goes on where it was. Two fifths of
the clips are the phrase, two fifths near misses (:mod:`speechgru.data.near_misses`), and one fifth other words and
sentences; of Kokoro's, seven tenths are the phrase. No voice is in two splits.
"""

from __future__ import annotations

import dataclasses
import re
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from speechgru.audio import audio_info
from speechgru.data.corpora.corpus import SPLITS, check_split
from speechgru.data.corpora.made import MadeCorpus
from speechgru.data.corpora.synth import write_flac
from speechgru.data.corpora.synth_sentences import sentence
from speechgru.data.manifest import write_manifest
from speechgru.data.near_misses import WORDS, near_misses, says
from speechgru.data.recordings import listed_or_found
from speechgru.data.splits import divide
from speechgru.data.utterance import Utterance
from speechgru.errors import ConfigError, DataError
from speechgru.registry import build, component, register
from speechgru.synthesis import Espeak, EspeakConfig, Synthesiser, pronounce
from speechgru.synthesis.speech import SHARES

UNKNOWN = "_unknown_"
_FEW_PHONES = 4  # a phrase with fewer is easily confused with others
_MOST_PHONES = 40
_NEAR_MISSES = 90
_SHARES = {"phrase": 0.4, "near": 0.4, "other": 0.2}
# Of another synthesiser's clips: what a detector lacks are people who say the phrase.
_NEURAL_SHARES = {"phrase": 0.7, "near": 0.2, "other": 0.1}
_AROUND = ("hey {}", "okay {}", "I said {}", "the word is {}", "{}, please", "{}, go on")
_ESPEAK_VOICES, _OTHER_VOICES = 300, 1000
_MARGIN_S = 0.05
_LAST_LATIN = "\u024f"


@dataclasses.dataclass
class WakeWordConfig:
    """Which phrase is listened for, and how many clips are made.

    Attributes:
        root: the folder that holds a folder for each phrase.
        phrase: the phrase to listen for, written in English words: "hey computer".
        clips: how many clips in espeak's voices, 100 to 100,000: 70 % train, 10 % valid, 20 % test.
        neural_clips: how many more clips in the voices of another synthesiser, where one is chosen (kokoro).
        own: recordings of the phrase by people, a folder of them or a list; empty means none.
        own_repeats: how often each of them is used in an epoch, at least 1.
        sample_rate: of the clips, in Hz, 8000 to 48000.
        seed: another seed draws other words, pitches and paces; the voices and their splits stay.
        synthesiser: who speaks besides espeak.
    """

    root: str = "data/wake_word"
    phrase: str = ""
    clips: int = 3000
    neural_clips: int = 1400
    own: str = ""
    own_repeats: int = 5
    sample_rate: int = 16000
    seed: int = 0
    synthesiser: Any = component("synthesiser", EspeakConfig)

    def __post_init__(self) -> None:
        self.phrase = " ".join(self.phrase.split())
        for key, value, low, high in (
            ("clips", self.clips, 100, 100_000),
            ("neural_clips", self.neural_clips, 0, 100_000),
            ("own_repeats", self.own_repeats, 1, 1000),
            ("sample_rate", self.sample_rate, 8000, 48000),
            ("seed", self.seed, 0, 2**31 - 1),
        ):
            if not low <= value <= high:
                raise ConfigError(f"{key}={value}: from {low} to {high}")


class _Clip(NamedTuple):
    kind: str
    text: str
    voice: str
    number: int
    neural: bool

    @property
    def name(self) -> str:
        return f"{self.kind}/{self.voice}-{self.number}.flac"


@register("data", "wake_word", WakeWordConfig)
class WakeWord(MadeCorpus):
    """A phrase, near misses and other speech in synthetic voices, and your own recordings of the phrase.

    Args:
        config: see :class:`WakeWordConfig`.

    Raises:
        ConfigError: a phrase that cannot be said in English.
    """

    made_by = "wake_word"
    goes_on = True

    def __init__(self, config: WakeWordConfig):
        super().__init__(config)
        self.sample_rate = config.sample_rate
        self.phones = phones_of(config.phrase)

    @property
    def folder(self) -> Path:
        """The folder of the phrase."""
        return super().folder / re.sub(r"\W+", "_", self.config.phrase.casefold())

    def labels(self) -> list[str]:
        """The phrase and ``_unknown_``."""
        return [self.config.phrase, UNKNOWN]

    def utterances(self, split: str) -> list[Utterance]:
        """The clips of a split, made if they are not there yet, then your own recordings."""
        check_split(split)
        self.prepare(progress=sys.stderr.isatty())
        return super().utterances(split) + self._own(split)

    def _own(self, split: str) -> list[Utterance]:
        if not self.config.own:
            return []
        found = listed_or_found(self.config.own)
        if len(rows := [one for part in found.values() for one in part]) < 3:
            raise DataError(f"{self.config.own}: {len(rows)} recordings; at least 3 are needed, one for each split")
        if not any(found.get(name) for name in SPLITS):
            found = divide(found, 10.0, 10.0).splits
        repeats = self.config.own_repeats if split == "train" else 1
        return [dataclasses.replace(one, label=self.config.phrase) for one in found.get(split, [])] * repeats

    def _settings(self) -> dict[str, Any]:
        settings = super()._settings()
        left = ["own", "own_repeats"]  # your own recordings are read where they are
        if isinstance(self.config.synthesiser, EspeakConfig):
            left.append("neural_clips")
        return {key: value for key, value in settings.items() if key not in left}

    def make(self, folder: Path, progress: bool) -> None:
        """Writes the clips that are not in the folder yet."""
        from tqdm import tqdm

        config = self.config
        speakers: dict[bool, Synthesiser] = {False: Espeak(), True: build("synthesiser", config.synthesiser)}
        # What the synthesiser lacks is reported now, not after all the clips of espeak.
        speakers[True].speak(config.phrase, speakers[True].voices("train", 10)[0])
        plans = {split: list(self._plan(split)) for split in SPLITS}
        total = sum(map(len, plans.values()))
        print(f"making {total:,} recordings of {config.phrase!r} and what is not, in {self.folder}", file=sys.stderr)
        with tqdm(total=total, desc="synthesising", unit="clip", disable=not progress, leave=False) as bar:
            for split, plan in plans.items():
                found = []
                for clip in plan:
                    path = folder / split / clip.name
                    if not path.is_file():
                        write_flac(path, self._say(speakers[clip.neural], clip), config.sample_rate)
                    label = config.phrase if clip.kind == "phrase" else UNKNOWN
                    found.append(
                        Utterance(
                            str(path),
                            text=clip.text,
                            label=label,
                            speaker=clip.voice,
                            duration_s=audio_info(path).duration_s,
                        )
                    )
                    bar.update()
                write_manifest(folder / f"{split}.jsonl", found)

    def _plan(self, split: str) -> Iterator[_Clip]:
        """What is said in a split, by whom; the voices take turns."""
        config = self.config
        near = near_misses(config.phrase, _NEAR_MISSES)
        counts = [(config.clips, Espeak().voices(split, _ESPEAK_VOICES), False)]
        if not isinstance(config.synthesiser, EspeakConfig):
            voices = build("synthesiser", config.synthesiser).voices(split, _OTHER_VOICES)
            counts.append((config.neural_clips, voices, True))
        for clips, voices, neural in counts:
            for kind, share in (_NEURAL_SHARES if neural else _SHARES).items():
                texts = self._texts(kind, split, round(clips * share * SHARES[split]), near, neural)
                for number, text in enumerate(texts):
                    yield _Clip(kind, text, voices[number % len(voices)], number, neural)

    def _texts(self, kind: str, split: str, count: int, near: tuple[str, ...], neural: bool) -> list[str]:
        """What is said in the clips of one kind: the phrase or a near miss, alone or among more words, or anything."""
        rng = np.random.default_rng([self.config.seed, SPLITS.index(split), len(kind), neural])
        others = _other_texts(split, count + 50, self.config.seed + neural)
        others = [text for text, said in zip(others, pronounce(others), strict=True) if not says(said, self.phones)]
        found = []
        for number in range(count):
            other = others[number % len(others)]
            text = {"phrase": self.config.phrase, "near": near[number % len(near)] if near else other}.get(kind, other)
            alone = text
            if kind != "other" and rng.random() < (0.5 if neural else 0.25):
                text = str(rng.choice(_AROUND)).format(text) if neural else f"{text}, {other}"
            end = str(rng.choice(["", ".", "!", "?", ","]))
            found.append((text + end, alone + end))
        # "Computer" is a near miss of "hey computer"; behind "hey" it is the phrase.
        said = pronounce([text for text, _ in found])
        whole = [kind == "phrase" or not says(phones, self.phones) for phones in said]
        return [text if keep else alone for (text, alone), keep in zip(found, whole, strict=True)]

    def _say(self, synthesiser: Synthesiser, clip: _Clip) -> np.ndarray:
        """The speech alone, at a drawn pace, pitch, melody and level; nothing before and after it."""
        import soxr

        rng = np.random.default_rng(
            [self.config.seed, zlib.crc32(clip.voice.encode()), zlib.crc32(clip.text.encode()), clip.number]
        )
        speech = synthesiser.speak(
            clip.text,
            clip.voice,
            rate_wpm=round(rng.uniform(120, 230)),
            pitch=round(rng.uniform(20, 85)),
            pitch_range=round(rng.uniform(20, 95)),
            seed=int(rng.integers(2**31)),
        )
        if not speech.words or not speech.waveform.any():
            raise ConfigError(f"{clip.text!r} cannot be spoken; write it in letters")
        first = max(0, round((speech.words[0].start_s - _MARGIN_S) * speech.sample_rate))
        last = round((speech.words[-1].end_s + _MARGIN_S) * speech.sample_rate)
        samples = soxr.resample(speech.waveform[first:last], speech.sample_rate, self.config.sample_rate)
        return samples * np.float32(10 ** (rng.uniform(-20, -1) / 20) / np.abs(samples).max())


def phones_of(phrase: str) -> tuple[str, ...]:
    """How a phrase is pronounced, in IPA.

    Raises:
        ConfigError: there is nothing to say, or it is not English.
    """
    if not phrase:
        raise ConfigError("phrase has no value; say what to listen for: phrase='hey computer'")
    if foreign := "".join(letter for letter in phrase if letter.isalpha() and letter > _LAST_LATIN):
        raise ConfigError(f"phrase={phrase}: {foreign!r} has no English pronunciation; write it in Latin letters")
    (phones,) = pronounce([phrase])
    if not phones:
        raise ConfigError(f"phrase={phrase}: there is nothing to say; write it in letters")
    if len(phones) > _MOST_PHONES:
        raise ConfigError(f"phrase={phrase}: {len(phones)} sounds; at most {_MOST_PHONES}, a few words")
    if len(phones) < _FEW_PHONES:
        print(
            f"phrase={phrase}: only {len(phones)} sounds, expect false alarms; longer ones are safer", file=sys.stderr
        )
    return phones


def _other_texts(split: str, count: int, seed: int) -> list[str]:
    """Sentences, and everyday words in random order; no sentence of the first kind is in two splits."""
    rng = np.random.default_rng([seed, SPLITS.index(split)])
    return [
        sentence(split, number, seed)
        if rng.random() < 0.4
        else " ".join(rng.choice(WORDS, int(rng.integers(1, 6))).tolist())
        for number in range(count)
    ]
