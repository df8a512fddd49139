"""What an encoder keeps of streams between two steps: frames that wait for later ones, and the states of cells.

The state of several streams is that of one with more rows: :func:`stack` sets states beside each other for one step,
:func:`split` takes them apart. Rows may be anywhere in their stream.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from speechgru.lengths import valid_frames


@dataclasses.dataclass(frozen=True)
class Waiting:
    """The frames from the next window on, as far as they are known.

    Attributes:
        frames: (batch, window - 1, ...), of which each row's first ``held`` count.
        held: of each row; below 0 where frames to come lie between two windows.
    """

    frames: Tensor
    held: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class EncoderState:
    """What an encoder keeps of a batch of streams between two steps; a step returns a new one and leaves this as it is.

    Attributes:
        front_end: frames that wait before each layer of the front end.
        layers: before each recurrent layer, to be joined.
        ahead: for what the encoder sees ahead: one, or none.
        cells: state of each layer's cell, (batch, state).
    """

    front_end: tuple[Waiting, ...]
    layers: tuple[Waiting, ...]
    ahead: tuple[Waiting, ...]
    cells: tuple[Tensor, ...]

    @property
    def batch(self) -> int:
        """How many streams it is of."""
        return len(self.cells[0])


@dataclasses.dataclass(frozen=True)
class Windows:
    """Windows over a stream of frames; one is complete when its last frame has come, or the stream has ended.

    Window j covers the frames ``j * stride - before`` to ``j * stride - before + width - 1``; outside of the stream are
    zeros. There is one for each ``j * stride`` within the stream.
    """

    width: int
    stride: int = 1
    before: int = 0

    def start(self, like: Tensor, shape: Sequence[int], batch: int) -> Waiting:
        """Before the first frame of ``batch`` streams, of frames of this shape and of the type of ``like``."""
        return Waiting(like.new_zeros(batch, self.width - 1, *shape), (self.before,) * batch)

    def slide(
        self, waiting: Waiting, frames: Tensor, lengths: Sequence[int], ended: Sequence[bool]
    ) -> tuple[Tensor, list[int], Waiting]:
        """Takes frames in.

        Args:
            waiting: what the last call gave.
            frames: (batch, time, ...).
            lengths: valid ones of each row.
            ended: whether they are a row's last.

        Returns:
            the stretch under all complete windows, (batch, longest, ...), zeros beyond what a row has; how many windows
            each row has in it; and what waits now.
        """
        rows = list(zip(waiting.held, lengths, ended, strict=True))
        known = [held + length for held, length, _ in rows]
        counts = [
            -(-max(0, have - self.before) // self.stride) if end else max(0, (have - self.width) // self.stride + 1)
            for have, (_, _, end) in zip(known, rows, strict=True)
        ]
        if len(rows) == 1 and not ended[0] and waiting.held[0] >= 0:
            return self._slide_one(waiting, frames[:, : lengths[0]], counts)
        span = (max(counts) - 1) * self.stride + self.width if any(counts) else 0
        stretch = frames.new_zeros(len(rows), max(span, *known, 0), *frames.shape[2:])
        kept = torch.zeros_like(waiting.frames)
        left = []
        for row, (held, length, _) in enumerate(rows):
            begin = max(held, 0)
            stretch[row, :begin] = waiting.frames[row, :begin]
            if known[row] > begin:
                stretch[row, begin : known[row]] = frames[row, max(-held, 0) : length]
            read = counts[row] * self.stride
            left.append(min(known[row] - read, self.width - 1))
            if left[row] > 0:
                kept[row, : left[row]] = stretch[row, read : read + left[row]]
        return stretch[:, :span], counts, Waiting(kept, tuple(left))

    def _slide_one(self, waiting: Waiting, frames: Tensor, counts: list[int]) -> tuple[Tensor, list[int], Waiting]:
        """One stream that goes on, which is the most common: the same without a place for each row."""
        known = torch.cat((waiting.frames[:, : waiting.held[0]], frames), 1)
        read = counts[0] * self.stride
        left = known[:, read:]
        missing = self.width - 1 - left.shape[1]
        kept = F.pad(left, (0, 0) * (left.dim() - 2) + (0, missing)) if missing else left.clone()
        span = read - self.stride + self.width if read else 0
        return known[:, :span], counts, Waiting(kept, (known.shape[1] - read,))


def stack(states: Sequence[EncoderState]) -> EncoderState:
    """The states of several streams as one, in their order."""
    if len(states) == 1:
        return states[0]
    return EncoderState(
        front_end=_stacked([state.front_end for state in states]),
        layers=_stacked([state.layers for state in states]),
        ahead=_stacked([state.ahead for state in states]),
        cells=tuple(torch.cat(rows) for rows in zip(*(state.cells for state in states), strict=True)),
    )


def split(state: EncoderState) -> list[EncoderState]:
    """The state of each stream."""
    if state.batch == 1:
        return [state]
    return [
        EncoderState(
            front_end=_row(state.front_end, row),
            layers=_row(state.layers, row),
            ahead=_row(state.ahead, row),
            cells=tuple(cell[row : row + 1].clone() for cell in state.cells),
        )
        for row in range(state.batch)
    ]


def within(counts: Sequence[int], frames: Tensor) -> Tensor:
    """The frames (batch, time, ...) with zeros beyond each row's ``counts``."""
    if min(counts) == frames.shape[1]:
        return frames
    valid = valid_frames(torch.tensor(counts, device=frames.device), frames.shape[1])
    return frames.masked_fill(~valid[..., None], 0.0)


def _stacked(streams: Sequence[tuple[Waiting, ...]]) -> tuple[Waiting, ...]:
    return tuple(
        Waiting(torch.cat([one.frames for one in place]), tuple(itertools.chain(*(one.held for one in place))))
        for place in zip(*streams, strict=True)
    )


def _row(waiting: tuple[Waiting, ...], row: int) -> tuple[Waiting, ...]:
    return tuple(Waiting(one.frames[row : row + 1].clone(), one.held[row : row + 1]) for one in waiting)
