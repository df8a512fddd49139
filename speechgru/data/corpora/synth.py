"""Spoken words in synthetic voices: a corpus that is made in seconds, where nothing can be downloaded.

- Licence: free; the recordings are made on this machine by espeak-ng (extra ``synth``).
- Size: 4,500 clips of about a second (ten digits, 150 voices, 3 takes), 16 kHz, 75 minutes, about 90 MB.
- URL: none, nothing is downloaded; https://github.com/espeak-ng/espeak-ng makes the speech.
- Layout: ``<split>/<word>/<voice>-<take>.flac``, a manifest ``<split>.jsonl`` per split, ``settings.json``.

A voice is an accent of English spoken by one of espeak-ng's variants (a vocal tract: "en-gb-scotland+f3"), with a pitch
and a pace of its own. Each variant belongs to one split, so the voices of valid and test are ones that training has not
heard in any accent; the accents are in all splits. Takes differ in pitch, pace, melody, level, noise and position.
"""

from __future__ import annotations

import dataclasses
import io
import json
import re
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from speechgru.data.corpora.corpus import SPLITS, Corpus, check_split, existing_root
from speechgru.data.manifest import read_manifest, write_manifest
from speechgru.data.utterance import Utterance
from speechgru.errors import ConfigError, DataError
from speechgru.registry import register
from speechgru.synthesis import ACCENTS, speak

# espeak-ng's variants that sound like a person, one of each group of near twins (left out: robots, whispers, echoes).
# fmt: off
SPEAKERS = {
    "train": (
        "f1", "m2", "Alicia", "m4", "f3", "Diogo", "belinda", "m5", "f5", "Jacky", "grandma", "m6", "shelby", "m8",
        "zac", "Alex", "Lee", "Marco", "Mario", "Michael", "Mike", "Storm", "antonio", "boris", "david", "grandpa",
        "gustave", "iven4", "klatt4", "norbert", "pablo", "rob", "sandro", "victor",
    ),
    "valid": ("f4", "m1", "Andrea", "Denis", "anika", "ed", "quincy", "edward"),
    "test": ("f2", "m3", "Annie", "m7", "steph", "Gene", "linda", "Andy", "paul", "adam", "Nguyen", "travis"),
}
# fmt: on
SHARES = {"train": 0.7, "valid": 0.1, "test": 0.2}
MOST_VOICES = 380

_FORMAT = 1  # of the recipe below; a folder of another format is not mistaken for this one
_SETTINGS = "settings.json"
_CLIP_S = 1.0
_ABANDONED_S = 3600.0


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
    """

    root: str = "data/synth_digits"
    words: list[str] = dataclasses.field(
        default_factory=lambda: ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    )
    voices: int = 150
    takes: int = 3
    sample_rate: int = 16000
    seed: int = 0

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
class Synth(Corpus):
    """Words spoken by espeak-ng's voices, split by speaker.

    Args:
        config: see :class:`SynthConfig`.
    """

    def __init__(self, config: SynthConfig):
        super().__init__(config)
        self.sample_rate = config.sample_rate

    def labels(self) -> list[str]:
        """The words, in the order of ``config.words``."""
        return list(self.config.words)

    def utterances(self, split: str) -> list[Utterance]:
        """The clips of a split, by voice, word and take."""
        check_split(split)
        root = existing_root(self.config.root, "synth")
        self._check_settings(root)
        return read_manifest(root / f"{split}.jsonl")

    def prepare(self, progress: bool = True) -> None:
        """Make the corpus in ``config.root`` (half a minute on one core); nothing if it is there already.

        The folder appears whole or not at all.

        Raises:
            DataError: the folder holds something else, or cannot be written.
            SpeechGRUError: the extra ``synth`` is not installed.
        """
        root = Path(self.config.root).expanduser().resolve()
        if root.is_dir() and any(root.iterdir()):
            self._check_settings(root)
            return None
        try:
            root.parent.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(root)
            building = Path(tempfile.mkdtemp(prefix=f".{root.name}.building-", dir=root.parent))
            try:
                building.chmod(0o755)
                self._write(building, progress)
                if root.is_dir():
                    root.rmdir()
                building.rename(root)
            finally:
                shutil.rmtree(building, ignore_errors=True)
        except OSError as error:
            if root.is_dir() and (root / _SETTINGS).is_file():
                return self._check_settings(root)  # another process was quicker
            raise DataError(
                f"{root}: cannot be written ({error.strerror or error}); free some space or choose root=FOLDER"
            ) from error

    def _write(self, folder: Path, progress: bool) -> None:
        from tqdm import tqdm

        config = self.config
        total = config.voices * len(config.words) * config.takes
        with tqdm(total=total, desc="synthesising", unit="clip", disable=not progress, leave=False) as bar:
            for split in SPLITS:
                found = []
                heard = voices(split, config.voices)
                for clip in synthesise_words(config.words, heard, config.takes, config.seed, config.sample_rate):
                    found.append(_save(clip, folder / split, config.sample_rate))
                    bar.update()
                write_manifest(folder / f"{split}.jsonl", found)
        (folder / _SETTINGS).write_text(json.dumps(self._settings(), indent=2, ensure_ascii=False) + "\n", "utf-8")

    def _settings(self) -> dict[str, Any]:
        settings = {key: value for key, value in dataclasses.asdict(self.config).items() if key != "root"}
        return {"format": _FORMAT, **settings, "words": list(self.config.words)}

    def _check_settings(self, root: Path) -> None:
        """DataError unless the folder was made with the settings of this corpus."""
        try:
            made = json.loads((root / _SETTINGS).read_text("utf-8"))
            differing = {key: made.get(key) for key, value in self._settings().items() if made.get(key) != value}
        except (OSError, ValueError, AttributeError):
            raise DataError(
                f"{root}: is not a folder made by `speechgru prepare synth`; choose another root=FOLDER"
            ) from None
        if differing:
            wanted = ", ".join(f"{key}={self._settings()[key]}" for key in differing)
            there = ", ".join(f"{key}={value}" for key, value in differing.items())
            raise DataError(
                f"{root}: was made with {there}, not {wanted}; remove the folder or choose another root=FOLDER"
            )


class SpokenWord(NamedTuple):
    """One synthesised clip: ``waveform`` (samples,) float32, full scale at 1, of ``word`` in a ``voice``."""

    waveform: np.ndarray
    word: str
    voice: str
    take: int


def voices(split: str, count: int) -> list[str]:
    """The voices of a split ("en-us+f3") in a corpus of ``count`` voices, 10 to 380; no variant is in two splits.

    A larger count adds voices and changes none.
    """
    check_split(split)
    if not 10 <= count <= MOST_VOICES:
        raise ConfigError(f"voices={count}: from 10 to {MOST_VOICES}")
    share = {name: round(SHARES[name] * count) for name in ("valid", "test")}
    share["train"] = count - sum(share.values())
    speakers = SPEAKERS[split]
    found = []
    for index in range(share[split]):
        # The first round gives every speaker one accent, the next round the next accent.
        number, speaker = divmod(index, len(speakers))
        found.append(f"{ACCENTS[(speaker + number) % len(ACCENTS)]}+{speakers[speaker]}")
    return found


def synthesise_words(
    words: Sequence[str], voices: Sequence[str], takes: int = 1, seed: int = 0, sample_rate: int = 16000
) -> Iterator[SpokenWord]:
    """Clips of words as recordings would be: drawn pitch, pace, melody, level, noise and position in about a second.

    A clip depends on its word, voice, take and the seed alone, not on what else is asked for.

    Args:
        words: what is said.
        voices: names as :func:`speechgru.synthesis.speak` takes them; :func:`voices` gives those of a split.
        takes: clips of each word in each voice.
        seed: of everything drawn, from 0.
        sample_rate: of the clips, in Hz.

    Yields:
        By voice, word and take: at least 1 s, more only for words that last longer.

    Raises:
        ConfigError: an unknown voice, or a word that cannot be spoken.
    """
    _check_words(words)
    for voice in voices:
        traits = np.random.default_rng([seed, zlib.crc32(voice.encode())])
        pitch, rate_wpm = traits.uniform(30, 70), traits.uniform(130, 220)
        for word in words:
            for take in range(takes):
                rng = np.random.default_rng([seed, zlib.crc32(voice.encode()), zlib.crc32(word.encode()), take])
                speech = speak(
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
                yield SpokenWord(
                    _record(speech.waveform[:last], speech.sample_rate, sample_rate, rng), word, voice, take
                )


def _record(speech: np.ndarray, from_hz: int, to_hz: int, rng: np.random.Generator) -> np.ndarray:
    """The speech somewhere in a clip of at least a second, at a drawn level, in noise of a drawn colour and level."""
    import soxr

    speech = soxr.resample(speech, from_hz, to_hz)
    spoken = len(speech)
    samples = max(round(_CLIP_S * to_hz), spoken + round(0.1 * to_hz))
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
    return (noise * (10 ** (peak_db / 20) / np.abs(noise).max())).astype(np.float32)


def _save(clip: SpokenWord, folder: Path, sample_rate: int) -> Utterance:
    import soundfile

    path = folder / clip.word.replace(" ", "_") / f"{clip.voice}-{clip.take}.flac"
    path.parent.mkdir(parents=True, exist_ok=True)
    # Through memory: a file of its own libsndfile would sync to the disk, which takes longer than making the clip.
    encoded = io.BytesIO()
    soundfile.write(encoded, clip.waveform, sample_rate, format="FLAC", subtype="PCM_16")
    path.write_bytes(encoded.getbuffer())
    duration_s = len(clip.waveform) / sample_rate
    return Utterance(str(path), text=clip.word, label=clip.word, speaker=clip.voice, duration_s=duration_s)


def _check_words(words: Sequence[str]) -> None:
    for word in words:
        if not isinstance(word, str) or not re.search(r"\w", word) or re.search(r"[/\\\0\n]", word):
            raise ConfigError(
                f"words: {word!r} is not a word to say: letters, no slash (quote numbers, yes, no and the like)"
            )
    folders = [word.replace(" ", "_").casefold() for word in words]
    if not folders or len(set(folders)) != len(folders):
        raise ConfigError(f"words={list(words)}: at least one, each once")


def _remove_abandoned(root: Path) -> None:
    """What killed runs left behind; a run that is still at it touches its folder, or has written to it just now."""
    for folder in root.parent.glob(f".{root.name}.building-*"):
        if time.time() - max(path.stat().st_mtime for path in (folder, *folder.glob("*/*"))) > _ABANDONED_S:
            shutil.rmtree(folder, ignore_errors=True)
