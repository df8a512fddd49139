"""The chain of augmentations of a training run; each is off until its probability is set."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from speechgru.augment.bandwidth import Bandwidth, BandwidthConfig
from speechgru.augment.equalizer import Equalizer, EqualizerConfig
from speechgru.augment.gain import Gain, GainConfig
from speechgru.augment.noise import Noise, NoiseConfig
from speechgru.augment.pause import Pause, PauseConfig
from speechgru.augment.room import Room, RoomConfig
from speechgru.augment.shift import Shift, ShiftConfig
from speechgru.augment.spectrogram import SpecAugment, SpecAugmentConfig
from speechgru.augment.speed import Speed, SpeedConfig
from speechgru.augment.vocal_tract import VocalTract, VocalTractConfig
from speechgru.registry import register

Waveform = TypeVar("Waveform", Tensor, np.ndarray)


@dataclasses.dataclass
class AugmentConfig:
    """Settings of :class:`Augment`, in the order of application; with its defaults it does nothing.

    Attributes:
        speed, shift, pause, room, noise, equalizer, bandwidth, gain: of the waveform, in the loader's workers.
        vocal_tract, spectrogram: of the features, in the training loop.
    """

    speed: SpeedConfig = dataclasses.field(default_factory=SpeedConfig)
    shift: ShiftConfig = dataclasses.field(default_factory=ShiftConfig)
    pause: PauseConfig = dataclasses.field(default_factory=PauseConfig)
    room: RoomConfig = dataclasses.field(default_factory=RoomConfig)
    noise: NoiseConfig = dataclasses.field(default_factory=NoiseConfig)
    equalizer: EqualizerConfig = dataclasses.field(default_factory=EqualizerConfig)
    bandwidth: BandwidthConfig = dataclasses.field(default_factory=BandwidthConfig)
    gain: GainConfig = dataclasses.field(default_factory=GainConfig)
    vocal_tract: VocalTractConfig = dataclasses.field(default_factory=VocalTractConfig)
    spectrogram: SpecAugmentConfig = dataclasses.field(default_factory=SpecAugmentConfig)


@register("augment", "standard", AugmentConfig)
class Augment:
    """Speaker, then room, then noise, then microphone: the order in which sound meets them.

    Training only: at evaluation neither method is called. The same generator state gives the same result; the global
    random states of torch and numpy are neither read nor changed.

    Raises:
        AudioError: a folder of noises or responses is missing or holds no audio.
    """

    def __init__(self, config: AugmentConfig) -> None:
        self.config = config
        self._waveform: list[Callable[[np.ndarray, int, np.random.Generator], np.ndarray]] = [
            Speed(config.speed),
            Shift(config.shift),
            Pause(config.pause),
            Room(config.room),
            Noise(config.noise),
            Equalizer(config.equalizer),
            Bandwidth(config.bandwidth),
            Gain(config.gain),
        ]
        self._spectrogram: list[Callable[[Tensor, Tensor, torch.Generator], Tensor]] = [
            VocalTract(config.vocal_tract),
            SpecAugment(config.spectrogram),
        ]

    def waveform(self, waveform: Waveform, sample_rate: int, rng: np.random.Generator) -> Waveform:
        """A clip ``(samples,)``, float32 on the CPU, augmented; speed and pauses change its length, nothing is clipped.

        A tensor gives a tensor, an array an array. The input is never written into; where no augmentation is drawn, the
        input itself is returned.
        """
        samples = given = waveform.numpy() if isinstance(waveform, Tensor) else waveform
        for augmentation in self._waveform:
            samples = augmentation(samples, sample_rate, rng)
        if samples is given:
            return waveform
        return torch.from_numpy(samples) if isinstance(waveform, Tensor) else samples

    def spectrogram(self, features: Tensor, lengths: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Features ``(batch, time, feature)`` with lengths ``(batch,)`` augmented; the lengths stay as they are.

        Frames beyond an utterance's length stay as they are, and the features given are not written into.
        """
        for augmentation in self._spectrogram:
            features = augmentation(features, lengths, generator)
        return features, lengths
