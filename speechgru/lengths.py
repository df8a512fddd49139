"""Rows of different lengths in one padded batch: which frames are valid, and how many are left after a reduction.

A batch is (batch, time, ...); its lengths are int64 (batch,), valid frames before padding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from speechgru.errors import ConfigError


def valid_frames(lengths: Tensor, time: int) -> Tensor:
    """True where a frame belongs to its row: (batch,) -> (batch, time)."""
    return torch.arange(time, device=lengths.device) < lengths[:, None]


def full_lengths(sequence: Tensor) -> Tensor:
    """The lengths of a batch (batch, time, ...) without padding: int64 (batch,), on its device."""
    return torch.full((sequence.shape[0],), sequence.shape[1], dtype=torch.int64, device=sequence.device)


def divided(lengths: Tensor, factor: int) -> Tensor:
    """How many frames are left when every ``factor`` frames, or a last incomplete group, become one: rounded up."""
    return lengths if factor == 1 else -(-lengths // factor)


def packed(sequence: Tensor, lengths: Tensor) -> Tensor:
    """The valid frames of all rows, one row after the other: (batch, time, feature) -> (1, sum of lengths, feature)."""
    found: Tensor = _Packed.apply(sequence, lengths.tolist())
    return found


class _Packed(torch.autograd.Function):
    """torch's own gradient of the same would make a whole batch of zeros for each row."""

    @staticmethod
    def forward(ctx: Any, sequence: Tensor, lengths: list[int]) -> Tensor:
        ctx.shape, ctx.lengths = sequence.shape, lengths
        return torch.cat([row[:length] for row, length in zip(sequence, lengths, strict=True)])[None]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        at_sequence = gradient.new_zeros(ctx.shape)
        for row, part in zip(at_sequence, gradient[0].split(ctx.lengths), strict=True):
            row[: len(part)] = part
        return at_sequence, None


def reverse_within(sequence: Tensor, lengths: Tensor | None) -> Tensor:
    """Each row's first ``lengths`` frames in reverse order, the padding left where it is: (batch, time, feature)."""
    if lengths is None:
        return sequence.flip(1)
    frames = torch.arange(sequence.shape[1], device=sequence.device)
    mirrored = lengths[:, None] - 1 - frames
    order = torch.where(mirrored >= 0, mirrored, frames)
    return sequence.gather(1, order[..., None].expand_as(sequence))


def last_valid(states: Tensor, lengths: Tensor | None, state: Tensor) -> Tensor:
    """The state after each row's last frame, ``state`` where a row has none: (batch, time, size) -> (batch, size)."""
    if lengths is None:
        return states[:, -1] if states.shape[1] else state
    if not states.shape[1]:
        return state
    last = (lengths - 1).clamp(min=0)[:, None, None].expand(-1, 1, states.shape[2])
    return torch.where(lengths[:, None] > 0, states.gather(1, last).squeeze(1), state)


def check_lengths(lengths: Tensor, sequence: Tensor) -> bool:
    """Checks the lengths of (batch, time, feature); the values only where reading them costs nothing.

    Returns:
        Whether the values were read and all rows are full.

    Raises:
        ConfigError: not whole numbers, one for each row; or, on a CPU and outside of tracing, below 0 or above time.
    """
    batch, time = sequence.shape[:2]
    if lengths.is_floating_point():
        raise ConfigError(f"lengths={lengths.tolist()}: whole numbers of frames are expected, no shares of the longest")
    legal, full = lengths.shape == (batch,), False
    tracing = torch.jit.is_tracing() or torch.compiler.is_exporting()
    # On another device, reading the values would wait for the device.
    if legal and batch and lengths.device.type == "cpu" and not tracing:
        least, most = (int(one) for one in lengths.aminmax())
        legal, full = least >= 0 and most <= time, least == time
    if not legal:
        raise ConfigError(f"lengths={lengths.tolist()}: one for each of {batch} rows, from 0 to their {time} frames")
    return full
