"""Compiles, before anybody waits for it, what models run and what the training of a cell runs."""

from __future__ import annotations

import torch
from torch import Tensor

from speechgru.decoding import GreedyDecoder
from speechgru.encoders import Convolution, GRUEncoder
from speechgru.recognizer import Recognizer
from speechgru.streaming.stream import StreamConfig

# One row, few rows and many rows may use different kernels.
_BATCHES = (1, 3, 32)


def warm_up_model(recognizer: Recognizer) -> None:
    """Runs a model on short noises, alone and together, and as a stream; this reads its language model."""
    rate, noise = recognizer.sample_rate, _noise(recognizer)
    for batch in _BATCHES:
        waveforms = [noise, *[noise[: rate // 2]] * (batch - 1)]
        if recognizer.head.verb == "transcribe":
            recognizer.transcribe_waveforms(waveforms)
            recognizer.transcribe_waveforms(waveforms[:1], GreedyDecoder(recognizer.tokens, recognizer.units))
        else:
            recognizer.classify_waveforms(waveforms)
    warm_up_stream(recognizer)


def warm_up_stream(recognizer: Recognizer, config: StreamConfig | None = None) -> None:
    """Feeds a second of noise to a stream of a model, with a configuration."""
    stream = recognizer.stream(config)
    stream.feed(_noise(recognizer), recognizer.sample_rate)
    stream.flush()


def _noise(recognizer: Recognizer) -> Tensor:
    """A second of noise (samples,)."""
    return torch.randn(recognizer.sample_rate, generator=torch.Generator().manual_seed(0)) / 100


def warm_up_training(cell: str) -> None:
    """Runs training steps of a few frames in a convolution and in an encoder of a cell.

    Raises:
        ConfigError: no cell has this name.
    """
    front, encoder = Convolution(40), GRUEncoder(8, cell=cell, hidden_size=8, num_layers=1)
    for batch in _BATCHES:
        lengths = torch.full((batch,), 4)
        front(torch.randn(batch, 4, 40), lengths)[0].sum().backward()
        encoder(torch.randn(batch, 4, 8), lengths)[0].sum().backward()
