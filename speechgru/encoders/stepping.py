"""What an encoder keeps of streams between two steps: frames that wait for later ones, and the states of cells.

The state of several streams is that of one stream with more rows, and each row may be anywhere in its stream.
:func:`split` takes it apart into a vector for each stream; :func:`stack` makes a state for one step of some of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from speechgru.errors import ConfigError
from speechgru.lengths import valid_frames

_MOST_WIDTH = 1 << 20  # frames, some hours


@dataclasses.dataclass(frozen=True)
class Waiting:
    """The frames from the next window on, as far as they are known.

    Attributes:
        frames: (batch, window - 1, ...), of which each row's first ``held`` are valid.
        held: how many each row has, int64 (batch,); below 0 where frames still to come are between two windows.
    """

    frames: Tensor
    held: np.ndarray


@dataclasses.dataclass(frozen=True)
class EncoderState:
    """What an encoder keeps of a batch of streams between two steps; a step returns a new one and leaves this as it is.

    Attributes:
        front_end: frames that wait before each layer of the front end.
        layers: frames that wait before each recurrent layer, to be joined.
        ahead: frames that wait for what the encoder sees ahead: one entry, or none.
        cells: state of each layer's cell, (batch, state).
    """

    front_end: tuple[Waiting, ...]
    layers: tuple[Waiting, ...]
    ahead: tuple[Waiting, ...]
    cells: tuple[Tensor, ...]

    @property
    def waiting(self) -> tuple[Waiting, ...]:
        """All frames that wait, in the order of the layers."""
        return (*self.front_end, *self.layers, *self.ahead)


@dataclasses.dataclass(frozen=True)
class Windows:
    """Windows over a stream of frames; one is complete when its last frame has come, or the stream has ended.

    Window j covers the frames ``j * stride - before`` to ``j * stride - before + width - 1``; outside of the stream are
    zeros. There is one window for each ``j * stride`` within the stream.
    """

    width: int
    stride: int = 1
    before: int = 0

    def start(self, like: Tensor, shape: Sequence[int], batch: int) -> Waiting:
        """Before the first frame of ``batch`` streams, of frames of this shape and of the type of ``like``.

        Raises:
            ConfigError: the window is too wide to be held.
        """
        if self.width > _MOST_WIDTH:
            raise ConfigError(f"{self.width:,} frames that a stream waits for: at most {_MOST_WIDTH:,}; lower chunk")
        return Waiting(like.new_zeros(batch, self.width - 1, *shape), np.full(batch, self.before))

    def slide(
        self, waiting: Waiting, frames: Tensor, lengths: Sequence[int], ended: Sequence[bool]
    ) -> tuple[Tensor, list[int], Waiting]:
        """Takes frames in.

        Args:
            waiting: what the last call gave.
            frames: (batch, time, ...).
            lengths: valid frames of each row.
            ended: whether these are the last frames of each row.

        Returns:
            the stretch under all complete windows, (batch, longest, ...), zeros beyond what a row has; how many windows
            each row has in it; and what waits now.
        """
        if len(waiting.held) == 1:
            return self._slide_one(waiting, frames, lengths[0], ended[0])
        held, waited = waiting.held, self.width - 1
        known = held + np.asarray(lengths)
        counts = np.maximum(0, (known - self.width) // self.stride + 1)
        if any(ended):
            counts = np.where(ended, -(-np.maximum(0, known - self.before) // self.stride), counts)
        most, read = int(counts.max()), counts * self.stride
        span = (most - 1) * self.stride + self.width if most else 0
        # The places of the stretch's frames, then of those that go on waiting, counted from the first that waited.
        places = np.arange(span + waited)
        places = np.where(places < span, places, places - span + read[:, None])
        # Where each is found: first come those that waited, then those that have come, and at the end one of zeros.
        index = np.where(places < held[:, None], places, places - held[:, None] + waited)
        index[places >= known[:, None]] = waited + frames.shape[1]
        joined = torch.cat([waiting.frames, frames, frames.new_zeros(len(held), 1, *frames.shape[2:])], 1)
        index += joined.shape[1] * np.arange(len(held))[:, None]
        chosen = torch.from_numpy(index.ravel()).to(frames.device)
        found = joined.flatten(0, 1).index_select(0, chosen).view(*index.shape, *frames.shape[2:])
        left = np.minimum(known - read, waited)
        return found[:, :span], counts.tolist(), Waiting(found[:, span:], left)

    def _slide_one(
        self, waiting: Waiting, frames: Tensor, length: int, ended: bool
    ) -> tuple[Tensor, list[int], Waiting]:
        """The same for one stream alone, whose frames are already one after the other: a fifth of the time."""
        held, waited = int(waiting.held[0]), self.width - 1
        known = held + length
        count = max(0, (known - self.width) // self.stride + 1)
        if ended:
            count = -(-max(0, known - self.before) // self.stride)
        read = count * self.stride
        parts = [waiting.frames[:, : max(held, 0)], frames[:, max(-held, 0) : length]]
        if beyond := read + waited - max(known, 0):
            parts.append(frames.new_zeros(1, beyond, *frames.shape[2:]))
        joined = torch.cat(parts, 1)
        span = read - self.stride + self.width if count else 0
        left = np.array([min(known - read, waited)])
        # A copy: a stream that is idle must not keep the memory of a whole chunk.
        return joined[:, :span], [count], Waiting(joined[:, read:].clone(), left)


class Row(NamedTuple):
    """What is kept of one stream among several.

    Attributes:
        values: its frames that wait and the states of its cells, one after the other, (values,).
        held: how many frames wait at each place, int64 (places,).
    """

    values: Tensor
    held: np.ndarray


Kept = EncoderState | Row
"""What is kept of one stream: a state after a step that it took alone, which the next such step takes as it is."""


def split(state: EncoderState) -> Sequence[Kept]:
    """Each stream of a state by itself."""
    return [state] if len(state.cells[0]) == 1 else _rows(state)


def _rows(state: EncoderState) -> list[Row]:
    parts = [*(one.frames for one in state.waiting), *state.cells]
    values = torch.cat([part.flatten(1) for part in parts], 1)
    held = np.stack([one.held for one in state.waiting], 1)
    # Copies: a stream that is idle must not keep the others' memory.
    return [Row(own.clone(), places.copy()) for own, places in zip(values.unbind(), held, strict=True)]


def stack(streams: Sequence[Kept], like: EncoderState) -> EncoderState:
    """The state of several streams for one step, in their order; ``like`` is any state of their encoder."""
    if len(streams) == 1 and isinstance(streams[0], EncoderState):
        return streams[0]
    rows = [row for one in streams for row in (_rows(one) if isinstance(one, EncoderState) else [one])]
    shapes = [part.shape[1:] for part in (*(one.frames for one in like.waiting), *like.cells)]
    values = torch.stack([row.values for row in rows]).split([shape.numel() for shape in shapes], 1)
    parts = iter([part.view(len(rows), *shape) for part, shape in zip(values, shapes, strict=True)])
    held = iter(np.stack([row.held for row in rows], 1))
    front_end, layers, ahead = (
        tuple(Waiting(next(parts), next(held)) for _ in places) for places in (like.front_end, like.layers, like.ahead)
    )
    return EncoderState(front_end, layers, ahead, tuple(part.contiguous() for part in parts))  # as kernels need them


def within(counts: Sequence[int], frames: Tensor) -> Tensor:
    """The frames (batch, time, ...) with zeros beyond each row's ``counts``."""
    if min(counts) == frames.shape[1]:
        return frames
    valid = valid_frames(torch.tensor(counts, device=frames.device), frames.shape[1])
    return frames.masked_fill(~valid[..., None], 0.0)
