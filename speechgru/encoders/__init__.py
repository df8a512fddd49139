"""Encoders: (batch, time, feature) and lengths in, (batch, time, hidden) and lengths out."""

from speechgru.encoders.convolution import Convolution, ConvolutionConfig
from speechgru.encoders.gru import GRUEncoder, GRUEncoderConfig, Merge
from speechgru.encoders.latency_controlled import LatencyControlledConfig, LatencyControlledEncoder
from speechgru.encoders.look_ahead import LookAheadConfig, LookAheadEncoder

__all__ = [
    "Convolution",
    "ConvolutionConfig",
    "GRUEncoder",
    "GRUEncoderConfig",
    "LatencyControlledConfig",
    "LatencyControlledEncoder",
    "LookAheadConfig",
    "LookAheadEncoder",
    "Merge",
]
