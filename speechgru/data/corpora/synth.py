"""Spoken words in synthetic voices: a corpus that is made in seconds, where nothing can be downloaded.

- Licence: free; the recordings are made on this machine by espeak-ng (extra synth) or another synthesiser.
- Size: 4,500 clips of about a second (ten digits, 150 voices, 3 takes), 16 kHz, 75 minutes, about 90 MB.
- URL: https://github.com/espeak-ng/espeak-ng makes the speech; nothing is downloaded.
- Layout: ``<split>/<word>/<voice>-<take>.flac``, a manifest ``<split>.jsonl`` per split, ``settings.json``.

A voice is an accent of English spoken by one of espeak-ng's variants (a vocal tract: "en-gb-scotland+f3"), with a pitch
and a pace of its own. Each variant belongs to one split, so training has no voice of valid or test, in any accent; the
accents are in all splits. Takes differ in pitch, pace, melody, level, noise and position.
"""

from __future__ import annotations

import dataclasses
import io
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from speechgru.data.corpora.corpus import SPLITS
from speechgru.data.corpora.made import MadeCorpus
from speechgru.data.manifest import write_manifest
from speechgru.data.utterance import Utterance
from speechgru.errors import ConfigError
from speechgru.registry import build, component, register
from speechgru.synthesis import Espeak, EspeakConfig, Synthesiser
from speechgru.synthesis.espeak import MOST_VOICES

_CLIP_S = 1.0


@dataclasses.dataclass
class SynthConfig:
    """Which words are spoken, and how often.

    Attributes:
        root: the folder the corpus is made in.
        words: what is said; each is a class. Anything espeak-ng can read, without ``/``.
        voices: how many voices, 10 to 380: 70 % train, 10 % valid, 20 % test.
        takes: how often each voice says each word, 1 to 100.
        sample_rate: of the clips, in Hz, 8000 to 48000 (espeak-ng itself speaks at 22050).
        seed: another seed gives other pitches, paces, noises; the voices and their splits stay.
        synthesiser: who speaks.
    """

    root: str = "data/synth_digits"
    words: list[str] = dataclasses.field(
        default_factory=lambda: ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    )
    voices: int = 150
    takes: int = 3
    sample_rate: int = 16000
    seed: int = 0
    synthesiser: Any = component("synthesiser", EspeakConfig)

    def __post_init__(self) -> None:
        _check_words(self.words)
        for key, value, low, high in (
            ("voices", self.voices, 10, MOST_VOICES),
            ("takes", self.takes, 1, 100),
            ("sample_rate", self.sample_rate, 8000, 48000),
            ("seed", self.seed, 0, 2**31 - 1),
        ):
            if not low <= value <= high:
                raise ConfigError(f"{key}={value}: from {low} to {high}")


@register("data", "synth", SynthConfig)
class Synth(MadeCorpus):
    """Words spoken by the voices of a synthesiser, split by speaker.

    Args:
        config: see :class:`SynthConfig`.
    """

    made_by = "synth"

    def __init__(self, config: SynthConfig):
        super().__init__(config)
        self.sample_rate = config.sample_rate

    def labels(self) -> list[str]:
        """The words, in the order of ``config.words``."""
        return list(self.config.words)

    def make(self, folder: Path, progress: bool) -> None:
        """Writes the clips by voice, word and take (half a minute on one core)."""
        from tqdm import tqdm

        config = self.config
        total = config.voices * len(config.words) * config.takes
        synthesiser: Synthesiser = build("synthesiser", config.synthesiser)
        with tqdm(total=total, desc="synthesising", unit="clip", disable=not progress, leave=False) as bar:
            for split in SPLITS:
                found = []
                heard = synthesiser.voices(split, config.voices)
                for clip in synthesise_words(
                    config.words, heard, config.takes, config.seed, config.sample_rate, synthesiser
                ):
                    found.append(_save(clip, folder / split, config.sample_rate))
                    bar.update()
                write_manifest(folder / f"{split}.jsonl", found)


class SpokenWord(NamedTuple):
    """One synthesised clip: ``waveform`` (samples,) float32, full scale at 1, of ``word`` in a ``voice``."""

    waveform: np.ndarray
    word: str
    voice: str
    take: int


def synthesise_words(
    words: Sequence[str],
    voices: Sequence[str],
    takes: int = 1,
    seed: int = 0,
    sample_rate: int = 16000,
    synthesiser: Synthesiser | None = None,
) -> Iterator[SpokenWord]:
    """Clips of words as recordings would be: drawn pitch, pace, melody, level, noise and position in about a second.

    A clip depends on its word, voice, take and the seed alone, not on what else is asked for.

    Args:
        words: what is said.
        voices: names as the synthesiser takes them; its ``voices`` gives those of a split.
        takes: clips of each word in each voice.
        seed: of everything drawn, from 0.
        sample_rate: of the clips, in Hz.
        synthesiser: who speaks; espeak unless said.

    Yields:
        By voice, word and take: at least 1 s, more only for words that last longer.

    Raises:
        ConfigError: an unknown voice, or a word that cannot be spoken.
    """
    _check_words(words)
    synthesiser = synthesiser or Espeak()
    for voice in voices:
        traits = np.random.default_rng([seed, zlib.crc32(voice.encode())])
        pitch, rate_wpm = traits.uniform(30, 70), traits.uniform(130, 220)
        for word in words:
            for take in range(takes):
                rng = np.random.default_rng([seed, zlib.crc32(voice.encode()), zlib.crc32(word.encode()), take])
                speech = synthesiser.speak(
                    word + str(rng.choice(["", ".", "!", "?", ","])),
                    voice,
                    rate_wpm=round(rate_wpm * rng.uniform(0.85, 1.15)),
                    pitch=round(pitch + rng.uniform(-15, 15)),
                    pitch_range=round(rng.uniform(20, 90)),
                    seed=int(rng.integers(2**31)),
                )
                if not speech.words or not speech.waveform.any():
                    raise ConfigError(f"words: {word!r} cannot be spoken; write it in letters")
                last = round((speech.words[-1].end_s + 0.05) * speech.sample_rate)
                clip, _ = record(speech.waveform[:last], speech.sample_rate, sample_rate, rng, least_s=_CLIP_S)
                yield SpokenWord(clip, word, voice, take)


def record(
    speech: np.ndarray, from_hz: int, to_hz: int, rng: np.random.Generator, *, least_s: float = 0.0, room_s: float = 0.1
) -> tuple[np.ndarray, float]:
    """The speech somewhere in a longer clip, at a drawn level, in noise of a drawn colour and level.

    Args:
        speech: (samples,) at ``from_hz``.
        from_hz: its rate.
        to_hz: the rate of the clip.
        rng: draws position, colour and levels.
        least_s: shortest clip in seconds.
        room_s: the clip is at least this many seconds longer than the speech.

    Returns:
        The clip, (samples,) float32, and where the speech begins in it, in seconds.
    """
    import soxr

    speech = soxr.resample(speech, from_hz, to_hz)
    spoken = len(speech)
    samples = max(round(least_s * to_hz), spoken + round(room_s * to_hz))
    # Spectrum falling by 0 to 6 dB per octave above 50 Hz: between hiss and rumble.
    slope = rng.uniform(0, 1)
    frequencies = np.fft.rfftfreq(samples, 1 / to_hz)
    shape = np.maximum(frequencies, 50.0) ** -slope
    noise = np.fft.irfft(shape * np.fft.rfft(rng.standard_normal(samples)), samples)
    rms = float(np.sqrt(np.mean(np.square(speech))))
    noise *= rms * 10 ** (-rng.uniform(10, 45) / 20) / np.sqrt(np.mean(np.square(noise)))
    start = int(rng.integers(samples - spoken + 1))
    noise[start : start + spoken] += speech
    peak_db = rng.uniform(-20, -1)
    return (noise * (10 ** (peak_db / 20) / np.abs(noise).max())).astype(np.float32), start / to_hz


def _save(clip: SpokenWord, folder: Path, sample_rate: int) -> Utterance:
    path = folder / clip.word.replace(" ", "_") / f"{clip.voice}-{clip.take}.flac"
    write_flac(path, clip.waveform, sample_rate)
    duration_s = len(clip.waveform) / sample_rate
    return Utterance(str(path), text=clip.word, label=clip.word, speaker=clip.voice, duration_s=duration_s)


def write_flac(path: Path, waveform: np.ndarray, sample_rate: int) -> None:
    """Writes 16-bit FLAC, whole or not at all, and makes its folder."""
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    # Through memory and not flushed: libsndfile would sync its own file to the disk, which takes longer than making the
    # clip.
    encoded = io.BytesIO()
    soundfile.write(encoded, waveform, sample_rate, format="FLAC", subtype="PCM_16")
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_bytes(encoded.getbuffer())
    temporary.replace(path)


def _check_words(words: Sequence[str]) -> None:
    for word in words:
        if not isinstance(word, str) or not re.search(r"\w", word) or re.search(r"[/\\\0\n]", word):
            raise ConfigError(
                f"words: {word!r} is not a word to say: letters, no slash (quote numbers, yes, no and the like)"
            )
    folders = [word.replace(" ", "_").casefold() for word in words]
    if not folders or len(set(folders)) != len(folders):
        raise ConfigError(f"words={list(words)}: at least one, each once")
