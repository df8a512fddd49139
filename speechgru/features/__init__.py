"""Waveforms to frames: log-mel and MFCC in the conventions of librosa, torchaudio and Kaldi, whole or in chunks."""

from speechgru.features.convention import Convention, LogScale, Padding, Window
from speechgru.features.deltas import deltas
from speechgru.features.fingerprint import fingerprint, fingerprint_difference
from speechgru.features.log_mel import LogMel, LogMelConfig
from speechgru.features.mfcc import MFCC, MFCCConfig
from speechgru.features.normalization import Normalization
from speechgru.features.stream import FeatureStream

__all__ = [
    "MFCC",
    "Convention",
    "FeatureStream",
    "LogMel",
    "LogMelConfig",
    "LogScale",
    "MFCCConfig",
    "Normalization",
    "Padding",
    "Window",
    "deltas",
    "fingerprint",
    "fingerprint_difference",
]
