"""Augmentation, in training only: of the waveform (speed, shift, pause, room, noise,
equalizer, bandwidth, gain) and of the frames (warp, masks)."""

from speechgru.augment.bandwidth import Bandwidth, BandwidthConfig, cut_above
from speechgru.augment.equalizer import Equalizer, EqualizerConfig, equalize
from speechgru.augment.gain import Gain, GainConfig
from speechgru.augment.noise import Noise, NoiseConfig, add_noise, coloured_noise
from speechgru.augment.pause import Pause, PauseConfig, background
from speechgru.augment.room import Room, RoomConfig, reverberate, synthetic_response
from speechgru.augment.shift import Shift, ShiftConfig, shifted
from speechgru.augment.spectrogram import MaskFill, SpecAugment, SpecAugmentConfig
from speechgru.augment.speed import Speed, SpeedConfig, change_speed
from speechgru.augment.standard import Augment, AugmentConfig
from speechgru.augment.vocal_tract import VocalTract, VocalTractConfig

__all__ = [
    "Augment",
    "AugmentConfig",
    "Bandwidth",
    "BandwidthConfig",
    "Equalizer",
    "EqualizerConfig",
    "Gain",
    "GainConfig",
    "MaskFill",
    "Noise",
    "NoiseConfig",
    "Pause",
    "PauseConfig",
    "Room",
    "RoomConfig",
    "Shift",
    "ShiftConfig",
    "SpecAugment",
    "SpecAugmentConfig",
    "Speed",
    "SpeedConfig",
    "VocalTract",
    "VocalTractConfig",
    "add_noise",
    "background",
    "change_speed",
    "coloured_noise",
    "cut_above",
    "equalize",
    "reverberate",
    "shifted",
    "synthetic_response",
]
