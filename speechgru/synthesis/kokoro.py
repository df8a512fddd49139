"""The synthesiser ``kokoro``: Kokoro-82M, a neural synthesiser of natural quality (extra ``kokoro``).

Its weights and voices (Apache-2.0, https://github.com/thewh1teagle/kokoro-onnx) are files that the user downloads; they
are given by path, and nothing fetches them. It runs at about real time on one core.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from speechgru.errors import ConfigError, SpeechGRUError
from speechgru.registry import register
from speechgru.synthesis.espeak_ng import RATE_WPM
from speechgru.synthesis.speech import Speech, Word, share_of

# Its English voices: American and British (a, b), female and male (f, m).
# fmt: off
SPEAKERS = {
    "train": (
        "af_heart", "am_adam", "bf_alice", "bm_daniel", "af_bella", "am_echo", "bf_isabella", "bm_george", "af_alloy",
        "am_fenrir", "af_aoede", "am_michael", "af_jessica", "am_onyx", "af_nicole", "am_puck", "af_river", "am_santa",
        "af_sarah",
    ),
    "valid": ("af_kore", "am_liam", "bf_lily", "bm_fable"),
    "test": ("af_nova", "am_eric", "bf_emma", "bm_lewis", "af_sky"),
}
# fmt: on
MOST_VOICES = 2000  # no bound of the mixtures; a corpus of two clips of each takes an hour
_SEED = 0  # of the mixtures
_BEYOND = 1.4  # the sum of a mixture's parts before its smallest is lowered
_USUAL_WPM = 175
_SPEED = (0.5, 2.0)

_one_at_a_time = threading.Lock()


@dataclasses.dataclass
class KokoroConfig:
    """Where Kokoro's files are.

    Attributes:
        model: its weights, an ONNX file such as kokoro-v1.0.onnx.
        voices: its voices, such as voices-v1.0.bin.
        threads: CPU threads, 0 or more; 0 means as many as the machine has.
    """

    model: str = ""
    voices: str = ""
    threads: int = 1

    PLACES: ClassVar = ("model", "voices", "threads")  # their values do not change the speech

    def __post_init__(self) -> None:
        if self.threads < 0:
            raise ConfigError(f"threads={self.threads}: at least 0")


@register("synthesiser", "kokoro", KokoroConfig)
class Kokoro:
    """Kokoro-82M through kokoro-onnx: 28 English voices, and mixtures of two to four of them.

    A voice is one of Kokoro's own ("af_heart"), or several with their percentages ("af_heart70+am_adam45+af_sky-15";
    without percentages in equal parts), whose voice vectors are added; all of a mixture belong to the same split. In
    half of the mixtures the smallest part is below its share, often below 0: such a voice lies beyond the others, away
    from it. Pitch and melody are the voice's own: ``pitch``, ``pitch_range`` and ``seed`` have no effect.

    Args:
        config: see :class:`KokoroConfig`.
    """

    def __init__(self, config: KokoroConfig | None = None) -> None:
        self.config = config or KokoroConfig()

    def voices(self, split: str, count: int) -> list[str]:
        """The voices of a split in a corpus of ``count`` voices, 10 to 2,000: the single ones, then mixtures."""
        share = share_of(split, count, MOST_VOICES)
        rng = np.random.default_rng([_SEED, list(SPEAKERS).index(split)])
        found = list(SPEAKERS[split][:share])
        while len(found) < share:
            if (mixture := _mixture(SPEAKERS[split], rng)) not in found:
                found.append(mixture)
        return found

    def speak(
        self, text: str, voice: str, *, rate_wpm: int = 175, pitch: int = 50, pitch_range: int = 50, seed: int = 0
    ) -> Speech:
        """Speaks a text; the same arguments give the same samples on one machine and version.

        Raises:
            ConfigError: an empty text, a rate out of its range, an unknown voice, or no files given.
            SpeechGRUError: the extra is not installed, or Kokoro fails.
        """
        if not text.strip() or "\0" in text:
            raise ConfigError(f"text={text!r}: at least one character, and no NUL")
        if not RATE_WPM[0] <= rate_wpm <= RATE_WPM[1]:
            raise ConfigError(f"rate_wpm={rate_wpm}: from {RATE_WPM[0]} to {RATE_WPM[1]}")
        with _one_at_a_time:
            engine = _engine(*_files(self.config), self.config.threads)
            style = _style(engine, voice)
            speed = min(max(rate_wpm / _USUAL_WPM, _SPEED[0]), _SPEED[1])
            language = "en-gb" if voice.startswith("b") else "en-us"
            try:
                samples, sample_rate = engine.create(text, voice=style, speed=speed, lang=language)
            except Exception as error:  # the library documents no exceptions
                raise SpeechGRUError(f"Kokoro cannot say {text!r}: {' '.join(str(error).split())}") from error
        waveform = np.asarray(samples, np.float32)
        return Speech(waveform, int(sample_rate), _bounds(text, waveform, int(sample_rate)))


def _mixture(speakers: Sequence[str], rng: np.random.Generator) -> str:
    """Two to four of the voices with drawn percentages that add up to 100, the largest first."""
    names = rng.choice(speakers, rng.integers(2, 5), replace=False)
    parts = np.sort(rng.dirichlet(np.ones(len(names))))[::-1]
    if rng.random() < 0.5:
        parts *= _BEYOND
        parts[-1] -= parts.sum() - 1
    percent = np.round(100 * parts).astype(int)
    percent[0] += 100 - percent.sum()
    return "+".join(f"{name}{share}" for name, share in zip(names, percent, strict=True))


def _bounds(text: str, waveform: np.ndarray, sample_rate: int) -> list[Word]:
    """The text as one word, from the first to the last sample within 40 dB of the loudest; no word for silence."""
    loud = np.flatnonzero(np.abs(waveform) > 0.01 * np.abs(waveform).max(initial=0.0))
    if not len(loud):
        return []
    return [Word(int(loud[0]) / sample_rate, (int(loud[-1]) + 1) / sample_rate, text.strip())]


def _files(config: KokoroConfig) -> tuple[str, str]:
    paths = []
    for key, value in (("model", config.model), ("voices", config.voices)):
        path = Path(os.path.expanduser(value))
        if not value or not path.is_file():
            there = f"{value}: no such file" if value else "is not given"
            raise ConfigError(
                f"synthesiser.{key} {there}; download kokoro-v1.0.onnx and voices-v1.0.bin "
                f"(https://github.com/thewh1teagle/kokoro-onnx) and say where they are: synthesiser.{key}=FILE"
            )
        paths.append(str(path.resolve()))
    return paths[0], paths[1]


@functools.lru_cache(maxsize=1)
def _engine(model: str, voices: str, threads: int) -> Any:
    try:
        import kokoro_onnx
        import onnxruntime
    except ImportError as error:
        raise SpeechGRUError(
            f"the synthesiser kokoro needs kokoro-onnx ({error}): pip install 'speechgru[kokoro]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return kokoro_onnx.Kokoro.from_session(session, voices)
    except Exception as error:  # the two libraries document no exceptions
        reason = " ".join(str(error).split())[:200]
        raise SpeechGRUError(f"{model} and {voices} are not Kokoro's weights and voices ({reason})") from error


def _style(engine: Any, voice: str) -> np.ndarray:
    parts = voice.split("+")
    known = list(engine.get_voices())
    style = np.zeros((), np.float32)
    for part in parts:
        named = re.fullmatch(r"([^\d-]+)(-?\d+)?", part)
        name = named[1] if named else part
        if named is None or name not in known:
            raise ConfigError(f"voice={voice}: {name!r} is not a voice of Kokoro (known: {', '.join(known)})")
        share = int(named[2]) / 100 if named[2] else 1 / len(parts)
        style = style + np.float32(share) * engine.get_voice_style(name)
    return style
