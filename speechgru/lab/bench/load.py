"""How fast a recording is read and resampled, beside librosa."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from speechgru.audio import read_audio
from speechgru.lab.bench.timing import interleaved_ms, row
from speechgru.plain import Record


def bench_load(repeats: int = 30) -> list[Record]:
    """A 1 s file into a 16 kHz mono waveform: wav and flac at 16 kHz, stereo wav at 44.1 kHz.

    librosa resamples with the same filter (soxr's HQ) and averages the channels too.
    """
    import librosa
    import numpy as np
    import soundfile

    noise = np.random.default_rng(0)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for suffix, rate, channels in (("wav", 16000, 1), ("flac", 16000, 1), ("wav", 44100, 2)):
            path = str(Path(folder) / f"{rate}.{suffix}")
            soundfile.write(path, 0.1 * noise.standard_normal((rate, channels)), rate)
            taken = interleaved_ms(
                {
                    "ours": functools.partial(read_audio, path, 16000),
                    "librosa.load": functools.partial(librosa.load, path, sr=16000),
                },
                repeats,
            )
            name = f"read 1 s, {suffix} {rate / 1000:g} kHz, {channels} channel{'s' * (channels > 1)}"
            rows.append(row(name, taken["ours"], "librosa.load", taken["librosa.load"]))
    return rows
