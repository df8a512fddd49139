"""Encoders: (batch, time, feature) and lengths in, (batch, time, hidden) and lengths out."""

from speechgru.encoders.convolution import Convolution, ConvolutionConfig
from speechgru.encoders.gru import GRUEncoder
from speechgru.encoders.latency_controlled import LatencyControlledConfig, LatencyControlledEncoder
from speechgru.encoders.look_ahead import LookAheadConfig, LookAheadEncoder
from speechgru.encoders.recurrent import RecurrentEncoder
from speechgru.encoders.recurrent_config import GRUEncoderConfig, Merge

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
    "RecurrentEncoder",
]
