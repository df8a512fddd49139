"""Spoken commands, numbers, times and spelled words in synthetic voices, with the time of every word.

- Licence: free; the recordings are made on this machine by espeak-ng (extra synth).
- Size: 3,000 sentences of about three seconds in 150 voices, 16 kHz, two and a half hours, about 200 MB.
- URL: https://github.com/espeak-ng/espeak-ng makes the speech; nothing is downloaded.
- Layout: ``<split>/<voice>-<number>.flac``; a manifest ``<split>.jsonl`` and the times of the words ``<split>.ctm`` per
  split, ``settings.json``.

The voices are those of the corpus ``synth``: each vocal tract belongs to one split. So does each sentence, by a hash of
its words, so that no sentence of the test is in training.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from speechgru.data.corpora.corpus import SPLITS, check_split
from speechgru.data.corpora.made import MadeCorpus
from speechgru.data.corpora.synth import record, write_flac
from speechgru.data.manifest import write_manifest
from speechgru.data.splits import hash_percent
from speechgru.data.utterance import Utterance
from speechgru.errors import ConfigError
from speechgru.registry import build, component, register
from speechgru.synthesis import Espeak, EspeakConfig, Speech, Synthesiser, Word
from speechgru.synthesis.espeak import MOST_VOICES
from speechgru.synthesis.speech import part_of

UNITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
TEENS = ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
LETTERS = "abcdefghijklmnopqrstuvwxyz"
ROOMS = ["kitchen", "bedroom", "garden", "garage", "cellar", "bathroom"]
THINGS = ["light", "lamp", "radio", "fan", "heater", "oven", "camera", "printer"]
OPENINGS = ["door", "window", "gate", "blind", "drawer"]
LEVELS = ["volume", "heating", "brightness", "alarm", "speed"]
NAMES = ["anna", "boris", "clara", "david", "emma", "felix", "grace", "henry"]
SOUNDS = ["music", "news", "weather", "song", "story", "message"]

_GAP_S = 0.2  # at least, after the last word


@dataclasses.dataclass
class SynthSentencesConfig:
    """How much is said.

    Attributes:
        root: the folder the corpus is made in.
        sentences: how many sentences in all splits together, 100 to 100,000: 70 % train, 10 % valid, 20 % test.
        voices: how many voices, 10 to 380, in the same shares.
        sample_rate: of the recordings, in Hz, 8000 to 48000 (espeak-ng itself speaks at 22050).
        seed: another seed says other sentences; the voices and their splits stay.
        synthesiser: who speaks. Kokoro gives no times of words: each sentence is one entry.
    """

    root: str = "data/synth_sentences"
    sentences: int = 3000
    voices: int = 150
    sample_rate: int = 16000
    seed: int = 0
    synthesiser: Any = component("synthesiser", EspeakConfig)

    def __post_init__(self) -> None:
        for key, value, low, high in (
            ("sentences", self.sentences, 100, 100_000),
            ("voices", self.voices, 10, MOST_VOICES),
            ("sample_rate", self.sample_rate, 8000, 48000),
            ("seed", self.seed, 0, 2**31 - 1),
        ):
            if not low <= value <= high:
                raise ConfigError(f"{key}={value}: from {low} to {high}")


@register("data", "synth_sentences", SynthSentencesConfig)
class SynthSentences(MadeCorpus):
    """Sentences spoken by espeak-ng's voices, as transcripts; no voice and no sentence is in two splits.

    Args:
        config: see :class:`SynthSentencesConfig`.
    """

    made_by = "synth_sentences"

    def __init__(self, config: SynthSentencesConfig):
        super().__init__(config)
        self.sample_rate = config.sample_rate

    def labels(self) -> None:
        """None: these are transcripts."""
        return

    def make(self, folder: Path, progress: bool) -> None:
        """Writes the recordings one by one (a minute on one core); the voices take turns."""
        from tqdm import tqdm

        config = self.config
        synthesiser: Synthesiser = build("synthesiser", config.synthesiser)
        with tqdm(total=config.sentences, desc="synthesising", unit="clip", disable=not progress, leave=False) as bar:
            for split in SPLITS:
                found, times, heard = [], [], synthesiser.voices(split, config.voices)
                for number in range(part_of(split, config.sentences)):
                    voice = heard[number % len(heard)]
                    text, clip, words = say_sentence(split, number, voice, config.seed, config.sample_rate, synthesiser)
                    path = folder / split / f"{voice}-{number}.flac"
                    write_flac(path, clip, config.sample_rate)
                    duration_s = len(clip) / config.sample_rate
                    found.append(Utterance(str(path), text=text, speaker=voice, duration_s=duration_s))
                    times += [_ctm(path.stem, word) for word in words]
                    bar.update()
                write_manifest(folder / f"{split}.jsonl", found)
                (folder / f"{split}.ctm").write_text("".join(times), "utf-8")


def say_sentence(
    split: str,
    number: int,
    voice: str,
    seed: int = 0,
    sample_rate: int = 16000,
    synthesiser: Synthesiser | None = None,
) -> tuple[str, np.ndarray, list[Word]]:
    """A sentence of a split as a recording would be: drawn words, pitch, pace, melody, level, noise and room around it.

    It depends on these arguments alone; espeak speaks where no synthesiser is given.

    Returns:
        The text, the waveform (samples,) float32, and its words with their times in the waveform.
    """
    text = sentence(split, number, seed)
    traits = np.random.default_rng([seed, zlib.crc32(voice.encode())])
    pitch, rate_wpm = traits.uniform(30, 70), traits.uniform(130, 200)
    rng = np.random.default_rng([seed, zlib.crc32(voice.encode()), zlib.crc32(text.encode()), number])
    speech = (synthesiser or Espeak()).speak(
        text,
        voice,
        rate_wpm=round(rate_wpm * rng.uniform(0.9, 1.1)),
        pitch=round(pitch + rng.uniform(-15, 15)),
        pitch_range=round(rng.uniform(20, 90)),
        seed=int(rng.integers(2**31)),
    )
    return text, *_recorded(speech, sample_rate, rng)


def sentence(split: str, number: int, seed: int = 0) -> str:
    """Sentence ``number`` of a split, in lower-case words; equal ones are all in one split."""
    check_split(split)
    rng = np.random.default_rng([seed, SPLITS.index(split), number])
    while True:
        kind = _KINDS[int(rng.integers(len(_KINDS)))]
        text = kind(rng)
        if split_of_sentence(text) == split:
            return text


def split_of_sentence(text: str) -> str:
    """The split that this sentence belongs to."""
    percent = hash_percent(text)
    return "valid" if percent < 10 else "test" if percent < 30 else "train"


def cardinal(number: int) -> str:
    """A number from 0 to 9999 in British words: "four thousand and thirty two"."""
    if not 0 <= number <= 9999:
        raise ConfigError(f"number={number}: from 0 to 9999")
    thousands, hundreds, rest = number // 1000, number // 100 % 10, number % 100
    words = [f"{UNITS[thousands]} thousand"] if thousands else []
    words += [f"{UNITS[hundreds]} hundred"] if hundreds else []
    if rest or not words:
        words += [*(["and"] if words else []), _below_hundred(rest)]
    return " ".join(words)


def _below_hundred(number: int) -> str:
    if number < 10:
        return UNITS[number]
    if number < 20:
        return TEENS[number - 10]
    return TENS[number // 10 - 2] + (f" {UNITS[number % 10]}" if number % 10 else "")


def _pick(rng: np.random.Generator, words: list[str]) -> str:
    return words[int(rng.integers(len(words)))]


def _number(rng: np.random.Generator) -> str:
    # Drawn evenly, nine in ten would have four digits.
    digits = int(rng.choice(4, p=[0.1, 0.3, 0.3, 0.3])) + 1
    return cardinal(int(rng.integers(10**digits)))


def _time(rng: np.random.Generator) -> str:
    hour = [*UNITS[1:], *TEENS[:3]][int(rng.integers(12))]
    style = int(rng.integers(4))
    if style == 0:
        return f"{hour} o'clock"
    if style == 1:
        return f"{_pick(rng, ['half past', 'quarter past', 'quarter to'])} {hour}"
    minute = int(rng.integers(1, 60))
    return f"{hour} {'oh ' if minute < 10 else ''}{_below_hundred(minute)}"


def _switch(rng: np.random.Generator) -> str:
    return f"turn {_pick(rng, ['on', 'off'])} the {_pick(rng, ROOMS)} {_pick(rng, THINGS)}"


def _open(rng: np.random.Generator) -> str:
    return f"{_pick(rng, ['open', 'close', 'lock'])} the {_pick(rng, ROOMS)} {_pick(rng, OPENINGS)}"


def _level(rng: np.random.Generator) -> str:
    return f"set the {_pick(rng, LEVELS)} to {_number(rng)}"


def _play(rng: np.random.Generator) -> str:
    verb, sound = _pick(rng, ["play", "stop", "pause", "repeat"]), _pick(rng, SOUNDS)
    return f"{verb} the {sound}" + (f" in the {_pick(rng, ROOMS)}" if rng.random() < 0.5 else "")


def _appointment(rng: np.random.Generator) -> str:
    return f"{_pick(rng, ['call', 'meet', 'remind', 'wake'])} {_pick(rng, NAMES)} at {_time(rng)}"


def _spelled(rng: np.random.Generator) -> str:
    # espeak-ng reads a lone a in a sentence as the article.
    letters = rng.choice(list(LETTERS[1:]), int(rng.integers(2, 6)))
    return f"spell {' '.join(letters)}"


_KINDS: list[Callable[[np.random.Generator], str]] = [
    _number,
    _switch,
    _open,
    _level,
    _play,
    _appointment,
    _time,
    _spelled,
]


def _recorded(speech: Speech, sample_rate: int, rng: np.random.Generator) -> tuple[np.ndarray, list[Word]]:
    spoken = speech.waveform[: round((speech.words[-1].end_s + 0.05) * speech.sample_rate)]
    clip, start_s = record(spoken, speech.sample_rate, sample_rate, rng, room_s=_GAP_S + float(rng.uniform(0, 0.6)))
    return clip, [Word(start_s + word.start_s, start_s + word.end_s, word.text) for word in speech.words]


def _ctm(name: str, word: Word) -> str:
    """A line of NIST's CTM; words spoken as one with an underscore between them."""
    return f"{name} 1 {word.start_s:.4f} {word.end_s - word.start_s:.4f} {word.text.replace(' ', '_')}\n"
