"""Making features comparable between microphones and speakers: subtract a mean, divide by a standard deviation."""

from __future__ import annotations

import enum

import torch
from torch import Tensor

from speechgru.lengths import valid_frames

# Where the statistics come from: nowhere; the utterance; a window sliding over it; the training set ("global").
# Written in this form because `global` is a keyword; Normalization["global"] names the member.
Normalization = enum.Enum("Normalization", ["none", "utterance", "sliding", "global"])

# The smallest standard deviation to divide by: it keeps a constant feature (digital silence) at 0 and not at 0/0.
SMALLEST_STD = 1e-3


def normalize_utterance(features: Tensor, lengths: Tensor, variance: bool) -> Tensor:
    """Each feature of each utterance to mean 0 and, if ``variance``, standard deviation 1 over its valid frames.

    ``features`` are ``(batch, time, feature)``; frames beyond a length come back undefined. The standard deviation is
    the population's (divided by the number of frames) and is taken as 1e-3 where it is smaller.
    """
    valid = valid_frames(lengths, features.shape[1])[..., None]
    count = lengths.clamp(min=1)[:, None, None]
    # Relative to the first frame: the deviations of a constant feature are then 0, not the rounding error of a mean.
    shifted = features - features[:, :1]
    mean = (shifted * valid).sum(1, keepdim=True) / count
    centred = (shifted - mean) * valid
    if not variance:
        return centred
    spread = centred.square().sum(1, keepdim=True) / count
    return centred / spread.clamp(min=SMALLEST_STD**2).sqrt()


def window_bounds(time: Tensor, frames: int | Tensor, past: int, lookahead: int, minimum: int) -> tuple[Tensor, Tensor]:
    """Frames ``[low, high)`` whose statistics normalise frame ``time`` of an utterance of ``frames`` frames.

    From ``past`` frames before it to ``lookahead`` frames after it, both included, cut at the ends of the utterance;
    near the beginning at least the utterance's first ``minimum`` frames (Kaldi's sliding CMVN, without center, where
    lookahead is 0).
    """
    low = (time - past).clamp(min=0)
    high = (time + lookahead + 1).clamp(min=minimum)
    return low, torch.minimum(high, torch.as_tensor(frames, device=time.device))


def normalize_by_sums(features: Tensor, total: Tensor, squares: Tensor, count: Tensor, variance: bool) -> Tensor:
    """Normalise with float64 sums of ``count`` frames and of their squares; all shaped like ``features``."""
    mean = total / count
    centred = features.double() - mean
    if variance:
        spread = squares / count - mean.square()
        centred = centred / spread.clamp(min=SMALLEST_STD**2).sqrt()
    return centred.to(features.dtype)


def running_sums(features: Tensor) -> tuple[Tensor, Tensor]:
    """Float64 sums of the first 0, 1, 2, ... frames of ``(batch, time, feature)`` and of their squares."""
    wide = torch.nn.functional.pad(features.double(), (0, 0, 1, 0))
    return wide.cumsum(1), wide.square().cumsum(1)


def normalize_sliding(
    features: Tensor, lengths: Tensor, past: int, lookahead: int, minimum: int, variance: bool
) -> Tensor:
    """Sliding-window mean and variance normalisation of ``(batch, time, feature)``; see :func:`window_bounds`.

    With ``lookahead=0`` equals torchaudio.functional.sliding_window_cmn(cmn_window=past, min_cmn_window=minimum) to
    1e-4. Sums are float64 and run from the first frame on, so that a stream can continue them to the bit.
    """
    total, squares = running_sums(features)
    time = torch.arange(features.shape[1], device=features.device)[None].expand(features.shape[0], -1)
    low, high = window_bounds(time, lengths[:, None], past, lookahead, minimum)
    high = torch.maximum(high, low + 1)  # only frames beyond the length are touched by this

    def between(sums: Tensor) -> Tensor:
        width = sums.shape[2]
        return sums.gather(1, high[..., None].expand(-1, -1, width)) - sums.gather(
            1, low[..., None].expand(-1, -1, width)
        )

    return normalize_by_sums(features, between(total), between(squares), (high - low)[..., None], variance)
