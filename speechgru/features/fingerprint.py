"""A few numbers that say what a features module computes, to be stored with a model and compared when it is loaded."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from speechgru import compiled
from speechgru.plain import Record


class Fingerprinted(Protocol):
    """The part of a features module that is used here."""

    training: bool
    sample_rate: int

    def __call__(self, waveforms: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, samples) -> (batch, time, feature), frames."""

    def train(self, mode: bool = True) -> object:
        """Set training or evaluation mode."""

    def buffers(self) -> Iterator[Tensor]:
        """Tables and statistics."""


def chirp(sample_rate: int) -> Tensor:
    """Half a second rising from 50 Hz to 0.45 times the sample rate at half of full scale, float32 ``(samples,)``."""
    time_s = torch.arange(sample_rate // 2, dtype=torch.float64) / sample_rate
    low_hz, high_hz = 50.0, 0.45 * sample_rate
    phase = 2 * math.pi * (low_hz * time_s + (high_hz - low_hz) * time_s.square())
    return (0.5 * torch.sin(phase)).float()


def fingerprint(features: Fingerprinted) -> Record:
    """Features of a fixed chirp in evaluation mode: ``{"sample_rate", "frames", "size", "values"}``, fit for JSON.

    ``values`` are eight frames spread over the chirp, ``size`` numbers each, rounded to 1e-5.
    """
    training = features.training
    features.train(False)
    try:
        # Every load computes half a second of sound: too little to start a compiler for.
        with torch.no_grad(), compiled.disabled():
            device = next(features.buffers()).device
            frames = features(chirp(features.sample_rate)[None].to(device))[0][0].cpu()
    finally:
        features.train(training)
    rows = torch.linspace(0, len(frames) - 1, 8).long()
    values = [[round(value, 5) for value in row] for row in frames[rows].tolist()]
    return {"sample_rate": features.sample_rate, "frames": len(frames), "size": frames.shape[1], "values": values}


def fingerprint_difference(expected: Record, found: Record) -> float:
    """Largest difference between two fingerprints' values; infinite where their sizes or rates differ."""
    if any(expected.get(key) != found.get(key) for key in ("sample_rate", "frames", "size")):
        return math.inf
    first, second = torch.tensor(expected["values"]), torch.tensor(found["values"])
    return float((first - second).abs().max()) if first.shape == second.shape else math.inf
