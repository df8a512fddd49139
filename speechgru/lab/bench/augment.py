"""What each augmentation costs a training run, in time per clip of one second."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from speechgru.augment import Augment, AugmentConfig
from speechgru.lab.bench.timing import interleaved_ms, row
from speechgru.plain import Record

SAMPLE_RATE = 16000
BATCH = 32


def bench_augment(repeats: int = 30) -> list[Record]:
    """Every augmentation alone, applied to every clip, then all of them; there is no peer.

    Augmentations of the waveform take one clip of 16,000 samples. Those of the features take a batch of 32 x 100 frames
    x 40 bands, and their time is divided by 32. Noise is measured as drawn (synthetic) and from a recording that is in
    the cache.
    """
    import soundfile

    draw = np.random.default_rng(0)
    waveform = (0.1 * draw.standard_normal(SAMPLE_RATE)).astype(np.float32)
    features = torch.randn(BATCH, 100, 40, generator=torch.Generator().manual_seed(0))
    lengths = torch.full((BATCH,), 100)
    with tempfile.TemporaryDirectory() as folder:
        recording = str(Path(folder) / "noise.wav")
        soundfile.write(recording, 0.1 * draw.standard_normal(10 * SAMPLE_RATE), SAMPLE_RATE)
        candidates: dict[str, Callable[[], object]] = {}
        parts = {
            "speed": _always("speed"),
            "shift": _always("shift"),
            "room, synthetic": _always("room"),
            "noise, synthetic": _always("noise"),
            "noise, recorded": _always("noise", folder=recording),
            "gain": _always("gain"),
            "all of the waveform": _always("speed", "shift", "room", "noise", "gain"),
        }
        for name, config in parts.items():
            candidates[name] = _on_waveform(Augment(config), waveform)
        parts = {
            "vocal tract": _always("vocal_tract"),
            "masks of SpecAugment": _always("spectrogram"),
            "all of the features": _always("vocal_tract", "spectrogram"),
        }
        in_batch = set(parts)
        for name, config in parts.items():
            candidates[name] = _on_features(Augment(config), features, lengths)
        taken = interleaved_ms(candidates, repeats)
    return [row(f"{name}, a clip", taken[name] / (BATCH if name in in_batch else 1)) for name in candidates]


def _always(*names: str, **settings: object) -> AugmentConfig:
    """The config with the named augmentations applied to every clip, with ``settings`` changed in each."""
    config = AugmentConfig()
    for name in names:
        setattr(config, name, dataclasses.replace(getattr(config, name), probability=1.0, **settings))
    return config


def _on_waveform(augment: Augment, waveform: np.ndarray) -> Callable[[], object]:
    rng = np.random.default_rng(0)
    return lambda: augment.waveform(waveform, SAMPLE_RATE, rng)


def _on_features(augment: Augment, features: torch.Tensor, lengths: torch.Tensor) -> Callable[[], object]:
    generator = torch.Generator().manual_seed(0)
    return lambda: augment.spectrogram(features, lengths, generator)
