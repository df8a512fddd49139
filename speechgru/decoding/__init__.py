"""Decodes the scores of a CTC head into token sequences with times: NumPy in. Only flashlight needs torch."""

from speechgru.decoding.beam import BeamConfig, BeamDecoder
from speechgru.decoding.flashlight import FlashlightConfig, FlashlightDecoder
from speechgru.decoding.greedy import GreedyConfig, GreedyDecoder
from speechgru.decoding.hypothesis import Hypothesis

__all__ = [
    "BeamConfig",
    "BeamDecoder",
    "FlashlightConfig",
    "FlashlightDecoder",
    "GreedyConfig",
    "GreedyDecoder",
    "Hypothesis",
]
