"""A bidirectional encoder that does not wait for the end: its backward direction reads a chunk and a little more."""

from __future__ import annotations

import dataclasses
import math
from typing import Never, Unpack

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from speechgru.cells import Cell
from speechgru.encoders.arguments import read_arguments, shows_settings
from speechgru.encoders.recurrent import RecurrentEncoder, RecurrentLayer, join_frames
from speechgru.encoders.recurrent_config import GRUEncoderConfig, GRUEncoderSettings
from speechgru.encoders.stepping import EncoderState, Windows
from speechgru.errors import ConfigError
from speechgru.lengths import divided, full_lengths, valid_frames
from speechgru.registry import register


@dataclasses.dataclass
class LatencyControlledConfig(GRUEncoderConfig):
    """Settings of the latency-controlled encoder: those of the encoder ``gru``, in two directions, and its chunks.

    All four are counted in output frames, which with a pyramid are longer than input frames.

    Attributes:
        chunk: frames whose outputs are given together, at least 1.
        right: frames after a chunk that its outputs have seen, at least 0.
        training_chunks: one of these is drawn as ``chunk`` for each batch of training, so that one model serves several
            latencies; empty means always ``chunk``.
        training_rights: one of these is drawn as ``right`` for each batch of training; empty means always ``right``.
    """

    chunk: int = 20
    right: int = 20
    training_chunks: list[int] = dataclasses.field(default_factory=lambda: [10, 20, 40])
    training_rights: list[int] = dataclasses.field(default_factory=lambda: [0, 10, 20])

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.bidirectional:
            raise ConfigError("bidirectional=False: without a backward direction nothing waits; take encoder=gru")
        for name, least in (("chunk", 1), ("right", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name}={getattr(self, name)}: at least {least}")
            drawn = getattr(self, f"training_{name}s")
            if any(frames < least for frames in drawn):
                raise ConfigError(f"training_{name}s={drawn}: each at least {least}, or empty")


class LatencyControlledSettings(GRUEncoderSettings, total=False):
    """The fields of :class:`LatencyControlledConfig` as keywords."""

    chunk: int
    right: int
    training_chunks: list[int]
    training_rights: list[int]


@shows_settings(LatencyControlledConfig)
@register("encoder", "latency_controlled", LatencyControlledConfig)
class LatencyControlledEncoder(RecurrentEncoder):
    """Recurrent layers whose backward direction starts anew for every chunk (the LC-BLSTM of 1510.08983).

    The utterance is cut into chunks. Forwards, every layer runs over all chunks without a break; backwards, it begins
    with zeros ``right`` frames after the end of each chunk, or at the end of the utterance where that comes first. The
    frames of the right context go through all layers together with their chunk, are then thrown away and computed again
    with the next chunk. So all layers together look ahead no further than one layer alone. In a stack that took each
    layer's context from finished frames of the layer below, the contexts would add up. The price is
    (chunk + right) / chunk of the work.

    The weights are those of the encoder ``gru``: with a chunk that holds the whole utterance the two encoders are the
    same. The latency is not part of the weights. ``encoder.config.chunk`` and ``encoder.config.right`` may be changed
    at any time; while training they are drawn from torch's global generator, whose seed the trainer sets in every step.

    The first frame's backward state has seen one chunk and its context, not the utterance: this state is what
    ``pooling=ends`` reads.
    """

    config: LatencyControlledConfig

    def __init__(
        self,
        input_size: int,
        config: LatencyControlledConfig | None = None,
        *positional: Never,
        **settings: Unpack[LatencyControlledSettings],
    ) -> None:
        """Settings by name are those of :class:`LatencyControlledConfig`."""
        config = read_arguments(type(self).__name__, LatencyControlledConfig, input_size, config, positional, settings)
        super().__init__(input_size, config)

    @property
    def look_ahead(self) -> int:
        """Output frame t depends on no input frame after ``t * subsampling + look_ahead``.

        It is ``chunk - 1 + right`` output frames, the look-ahead of a chunk's first frame, in input frames, plus the
        reach of a front end.
        """
        return self.reach + (self.config.chunk - 1 + self.config.right) * self.subsampling

    def run_layers(self, features: Tensor, lengths: Tensor | None) -> Tensor:
        """The recurrent layers over the front end's output, all chunks side by side."""
        frames = math.prod(self.factors)
        time = -(-features.shape[1] // frames)
        chunk, right = self._context()
        # No context goes beyond the utterance.
        chunk = min(chunk, max(time, 1))
        right = min(right, max(time - chunk, 0))
        chunks = max(-(-time // chunk), 1)
        if lengths is None:
            lengths = full_lengths(features)
        step, width = chunk * frames, (chunk + right) * frames
        features = F.pad(features, (0, 0, 0, (chunks - 1) * step + width - features.shape[1]))
        windows = features.unfold(1, width, step).transpose(2, 3)  # (batch, chunks, chunk + right, feature)
        left = (lengths[:, None] - torch.arange(chunks, device=lengths.device) * step).clamp(min=0)
        for layer, factor in zip(self.layers, self.factors, strict=True):
            assert isinstance(layer, RecurrentLayer)
            if factor > 1:
                joined = join_frames(windows.flatten(0, 1), left.flatten(), factor)
                windows, left, step = joined.unflatten(0, left.shape), divided(left, factor), step // factor
            windows, _ = _run_windows(layer, windows, left, step)
        return windows[:, :, :chunk].flatten(1, 2)[:, :time]

    @property
    def least_look_ahead(self) -> int:
        """Frames ahead that the last frame of a chunk has seen."""
        return self.look_ahead - (self.config.chunk - 1) * self.subsampling

    @property
    def streams(self) -> bool:
        """Whether the encoder can go step by step: not with a front end that has no ``step``."""
        return self.front_end is None or hasattr(self.front_end, "step")

    def start(self, batch: int = 1) -> EncoderState:
        """As :meth:`RecurrentEncoder.start`."""
        size = self.front_end.output_size if self.front_end is not None else self.input_size
        waiting = self._windows().start(next(self.parameters()), (size,), batch)
        return dataclasses.replace(super().start(batch), ahead=(waiting,))

    def step_layers(
        self, features: Tensor, counts: list[int], ended: list[bool], state: EncoderState
    ) -> tuple[Tensor, list[int], EncoderState]:
        """Runs the chunks whose right context has come, one after the other."""
        windows, frames = self._windows(), math.prod(self.factors)
        held = (state.ahead[0].held + np.asarray(counts)).tolist()
        stretch, chunks, waiting = windows.slide(state.ahead[0], features, counts, ended)
        found = [
            -(-have // frames) if end else number * self.config.chunk
            for have, end, number in zip(held, ended, chunks, strict=True)
        ]
        outputs, cells = [], state.cells
        for chunk in range(max(chunks)):
            start = chunk * windows.stride
            left = [
                min(windows.width, have - start) if chunk < number else 0
                for have, number in zip(held, chunks, strict=True)
            ]
            hidden, cells = self._run_chunk(stretch[:, start : start + windows.width], left, cells)
            outputs.append(hidden)
        hidden = torch.cat(outputs, 1) if outputs else features.new_zeros(len(features), 0, self.output_size)
        return hidden[:, : max(found)], found, dataclasses.replace(state, ahead=(waiting,), cells=cells)

    def _run_chunk(
        self, window: Tensor, left: list[int], cells: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Runs a chunk and its right context, of which each row has ``left`` frames, through all layers."""
        windows, lengths = window[:, None], torch.tensor(left, device=window.device)[:, None]
        chunk, after = self._windows().stride, []
        for layer, factor, cell in zip(self.layers, self.factors, cells, strict=True):
            assert isinstance(layer, RecurrentLayer)
            if factor > 1:
                windows = join_frames(windows[:, 0], lengths[:, 0], factor)[:, None]
                lengths, chunk = divided(lengths, factor), chunk // factor
            windows, cell = _run_windows(layer, windows, lengths, chunk, cell)
            after.append(cell)
        return windows[:, 0, : self.config.chunk], tuple(after)

    def _windows(self) -> Windows:
        """Chunks with their right contexts, in frames before the first layer."""
        frames = math.prod(self.factors)
        return Windows((self.config.chunk + self.config.right) * frames, self.config.chunk * frames)

    def _context(self) -> tuple[int, int]:
        """Chunk and right context of this batch, in output frames."""
        config = self.config
        if not self.training:
            return config.chunk, config.right
        return _drawn(config.training_chunks or [config.chunk]), _drawn(config.training_rights or [config.right])


def _drawn(choices: list[int]) -> int:
    return choices[int(torch.randint(len(choices), ()))]


def _run_windows(
    layer: RecurrentLayer, windows: Tensor, left: Tensor, chunk: int, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """One layer over every chunk and its right context.

    Args:
        layer: the layer, whose frames are already joined.
        windows: (batch, chunks, chunk + right, feature), zeros beyond the utterance.
        left: frames from the start of each chunk to the end of the utterance, (batch, chunks).
        chunk: frames of a chunk.
        state: of the forward cell before the first chunk, (batch, state); None means zeros.

    Returns:
        (batch, chunks, chunk + right, output_size), and the state of the forward cell after the last chunk.
    """
    shape = windows.shape[:3]
    width = shape[2]
    lengths = left.clamp(max=width).flatten()
    hidden, states = _run_on(layer.forward_cell, windows[:, :, :chunk], left, state)
    if width > chunk:
        beyond = (left - chunk).clamp(0, width - chunk).flatten()
        ahead, _ = layer.forward_cell(windows[:, :, chunk:].flatten(0, 1), beyond, states.flatten(0, 1))
        hidden = torch.cat((hidden, ahead.unflatten(0, shape[:2])), 2)
    assert layer.backward_cell is not None
    backward, _ = layer.backward_cell(windows.flatten(0, 1), lengths, reverse=True)
    # Side by side in time: variational dropout then drops the same values in all chunks of an utterance.
    finished = layer.finish(
        windows.flatten(1, 2),
        hidden.flatten(1, 2),
        backward.unflatten(0, shape[:2]).flatten(1, 2),
        valid_frames(lengths, width).unflatten(0, shape[:2]).flatten(1, 2),
    )
    return finished.unflatten(1, shape[1:]), states[:, -1]


def _run_on(cell: Cell, pieces: Tensor, left: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """A cell over chunks (batch, chunks, chunk, feature), each from the last state of the one before it.

    Returns:
        The outputs, and the states at the chunks' ends, (batch, chunks, state); correct wherever an utterance goes on.
    """
    if cell.state_size == cell.hidden_size and state is None:  # the output is the state, one run gives them all
        hidden = cell(pieces.flatten(1, 2), left[:, 0])[0].unflatten(1, pieces.shape[1:3])
        return hidden, hidden[:, :, -1]
    state = cell.initial_state(pieces) if state is None else state
    outputs, states = [], []
    for piece, frames in zip(pieces.unbind(1), left.unbind(1), strict=True):
        output, state = cell(piece, frames.clamp(max=pieces.shape[2]), state)
        outputs.append(output)
        states.append(state)
    return torch.stack(outputs, 1), torch.stack(states, 1)
