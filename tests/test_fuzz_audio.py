"""Damaged recordings of every format: one line of error or a waveform, never anything else.

Recordings are made and damaged at the time of the test, by a generator of fixed seed: what fails can be made again.
"""

from __future__ import annotations

import io
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
import soundfile

from speechgru.audio import read_audio, read_blocks
from speechgru.errors import AudioError

RATE = 16_000
FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "wav24": ("WAV", "PCM_24"),
    "wav_float": ("WAV", "FLOAT"),
    "wav_mu_law": ("WAV", "ULAW"),
    "rf64": ("RF64", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "sph": ("NIST", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
}
FFMPEG_FORMATS = ("m4a", "aac", "webm", "mkv")
FIELDS = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
DAMAGES = ("bits", "header bits", "header field", "truncate", "append", "swap", "repeat", "delete", "zeros")
# Silence packs a hundredfold, and a header may say that a sample has fewer bits.
MOST_SAMPLES = 100 * RATE
MOST_MEGABYTES = 400


def speechlike(channels: int) -> np.ndarray:
    """A second that rises and falls, with noise: nothing that a codec packs to nothing."""
    t = np.arange(RATE) / RATE
    noise = np.random.default_rng(0).standard_normal((RATE, channels))
    voice = np.sin(2 * np.pi * (150 * t + 40 * np.sin(2 * np.pi * 3 * t)))[:, None]
    return (0.3 * np.sin(np.pi * t)[:, None] * (voice + 0.1 * noise)).astype(np.float32)


def recording(name: str, channels: int) -> bytes:
    """The second as a file of a format."""
    kind, subtype = FORMATS[name]
    file = io.BytesIO()
    soundfile.write(file, speechlike(channels), RATE, format=kind, subtype=subtype)
    return file.getvalue()


def damaged(data: bytes, how: str, rng: np.random.Generator) -> bytes:
    """The bytes with one kind of damage at a random place."""
    out = bytearray(data)
    size = int(rng.integers(1, max(2, min(2000, len(out) // 3))))
    first, second = sorted(int(place) for place in rng.integers(0, len(out) - size, 2))
    block = out[first : first + size]
    if how in ("bits", "header bits"):
        most = len(out) if how == "bits" else min(128, len(out))
        for bit in rng.integers(0, 8 * most, rng.integers(1, 17)):
            out[bit // 8] ^= 1 << bit % 8
    elif how == "header field":
        order = "little" if rng.integers(2) else "big"
        place = int(rng.integers(0, min(128, len(out) - 4)))
        out[place : place + 4] = int(rng.choice(FIELDS)).to_bytes(4, order)
    elif how == "truncate":
        del out[int(rng.integers(0, len(out))) :]
    elif how == "append":
        out += rng.bytes(int(rng.integers(1, 5000)))
    elif how == "swap":
        out[first : first + size], out[second : second + size] = out[second : second + size], block
    elif how == "repeat":
        out[second:second] = block
    elif how == "delete":
        del out[first : first + size]
    else:
        out[first : first + size] = bytes(size)
    return bytes(out)


def outcome(data: bytes, whole: bool) -> np.ndarray | str:
    """The waveform, or the line of the error; anything else fails the test."""
    try:
        if whole:
            waveform = read_audio(data)[0].numpy()
        else:
            waveform = np.concatenate([block for block, _ in read_blocks(data, block_s=0.2)])
    except AudioError as error:
        return str(error)
    assert waveform.dtype == np.float32
    assert np.isfinite(waveform).all()
    assert 0 < len(waveform) <= MOST_SAMPLES
    return waveform


def check(data: bytes, sound: np.ndarray | None = None) -> bool:
    """Whether it is refused; whole and in blocks must agree on that and, undamaged (without ``sound``), on the samples.

    But for a damaged file that is ``sound`` where it is not refused: what is lost only leads to the next block.
    """
    whole, blocks = outcome(data, True), outcome(data, False)
    for one in (whole, blocks):
        assert not isinstance(one, str) or len(one.splitlines()) == 1
    if isinstance(whole, str) or isinstance(blocks, str):
        for one in (whole, blocks):
            assert isinstance(one, str) or np.array_equal(one, sound)
        return True
    assert whole.shape == blocks.shape
    if sound is None:  # after damage decoders that remember what came before go on from wherever a read ended
        assert np.abs(whole - blocks).max() <= 1e-5
    return False


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """A file that hangs the reader, or fills the memory, fails."""

    def hangs(number: int, frame: FrameType | None) -> None:
        raise TimeoutError("a damaged file was not read in two minutes")

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    old = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, old)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown / (1 << 20 if sys.platform == "darwin" else 1 << 10) < MOST_MEGABYTES


def fuzz(name: str, data: bytes, rounds: int, seed: int) -> int:
    """Each damage ``rounds`` times; how many files were refused."""
    sound, refused = outcome(data, True), 0
    assert not isinstance(sound, str)
    for place, how in enumerate(DAMAGES):
        for turn in range(rounds):
            rng = np.random.default_rng([seed, place, turn])
            broken = damaged(data, how, rng)
            try:
                refused += check(broken, sound)
            except BaseException as error:
                error.add_note(f"{name}, {how}, turn {turn} of seed {seed}: {len(broken)} bytes")
                raise
    return refused


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_recordings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """252 files. The sound file itself is read; some of the damaged ones are refused, or nothing was damaged."""
    monkeypatch.setenv("PATH", "")  # ffmpeg takes a quarter of a second a file; test_damaged_recordings_by_the_thousand
    for channels in (1, 2):
        data = recording(name, channels)
        assert check(data) is False
        assert fuzz(name, data, 1, channels) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("channels", [1, 2])
def test_damaged_recordings_by_the_thousand(name: str, channels: int) -> None:
    """5,040 files."""
    assert fuzz(name, recording(name, channels), 20, 100 + channels) > 0


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize("suffix", FFMPEG_FORMATS)
def test_damaged_recordings_for_ffmpeg(tmp_path: Path, suffix: str) -> None:
    """108 files."""
    soundfile.write(tmp_path / "a.wav", speechlike(1), RATE)
    path = tmp_path / f"a.{suffix}"
    subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", path], check=True)
    assert check(path.read_bytes()) is False
    assert fuzz(suffix, path.read_bytes(), 3, 7) > 0
