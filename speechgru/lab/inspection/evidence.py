"""What every frame adds to the score of every label: the classification head taken apart, exactly."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechgru.errors import ModelError
from speechgru.heads import ClassificationHead
from speechgru.heads.pooling import AttentionPooling, BestFramePooling, EndsPooling, MaxPooling, MeanPooling
from speechgru.lengths import valid_frames


class Evidence(NamedTuple):
    """The scores of a classification head as a sum over frames.

    Attributes:
        added: what each frame adds to each score, (batch, time, labels); zeros beyond the lengths.
        bias: the part of each score that no frame adds, (batch, labels).
        attention: the share of each frame in each attention head's mean, (batch, time, heads); None without attention.
    """

    added: Tensor
    bias: Tensor
    attention: Tensor | None


def evidence(head: ClassificationHead, hidden: Tensor, lengths: Tensor) -> Evidence:
    """Takes the scores apart: ``added.sum(1) + bias`` is what the head gives in eval mode.

    A pooled vector is a sum of frames, each feature weighted by the frame's share in it. The output layer is linear,
    and so is the ReLU of an embedding, once it is known which values it lets through. Each frame's part of the vector
    can therefore be scored by itself. (The shares depend on all frames; they are taken as given.)

    Args:
        head: any classification head.
        hidden: the encoder's output, (batch, time, hidden).
        lengths: (batch,)
    """
    if isinstance(head.pooling, BestFramePooling):
        scores = head.frame_scores(hidden)
        return Evidence(scores * head.pooling.shares(scores, lengths), torch.zeros_like(scores[:, 0]), None)
    attention = head.pooling.weights(hidden, lengths) if isinstance(head.pooling, AttentionPooling) else None
    parts = hidden * _shares(head.pooling, hidden, lengths, attention)
    bias = torch.zeros_like(parts[:, 0])
    if head.embedding is not None:
        passed = head.embed(hidden, lengths) > 0
        parts = F.linear(parts, head.embedding.weight) * passed[:, None]
        bias = head.embedding.bias * passed
    return Evidence(F.linear(parts, head.output.weight), head.output(bias), attention)


def _shares(pooling: nn.Module, hidden: Tensor, lengths: Tensor, attention: Tensor | None) -> Tensor:
    """How much of each feature of each frame goes into the pooled vector, (batch, time, hidden)."""
    time, size = hidden.shape[1:]
    valid = valid_frames(lengths, time)[..., None]
    if attention is not None:
        return attention.repeat_interleave(size // attention.shape[2], 2)
    if isinstance(pooling, MeanPooling):
        return (valid / lengths.clamp(min=1)[:, None, None]).expand(-1, -1, size)
    frames = torch.arange(time, device=hidden.device)[:, None]
    if isinstance(pooling, MaxPooling):
        chosen = hidden.masked_fill(~valid, float("-inf")).argmax(1)
    elif isinstance(pooling, EndsPooling):
        chosen = (lengths - 1)[:, None].repeat(1, size)
        if pooling.bidirectional:
            chosen[:, size // 2 :] = 0
    else:
        raise ModelError(f"{type(pooling).__name__}: what a frame adds to a score is not known for this pooling")
    return ((frames == chosen[:, None]) & valid).to(hidden.dtype)
