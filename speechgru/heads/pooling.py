"""From the frames of an utterance to one vector, by ways that never look at padding."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from speechgru.errors import ConfigError
from speechgru.lengths import valid_frames


class MeanPooling(nn.Module):
    """The mean of the valid frames."""

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """(batch, time, hidden), (batch,) -> (batch, hidden); a row without frames gives zeros."""
        valid = valid_frames(lengths, hidden.shape[1])[..., None]
        return hidden.masked_fill(~valid, 0.0).sum(1) / lengths.clamp(min=1)[:, None]


class MaxPooling(nn.Module):
    """The largest value of each feature over the valid frames."""

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """(batch, time, hidden), (batch,) -> (batch, hidden); a row without frames gives zeros."""
        if not hidden.shape[1]:
            return hidden.new_zeros(hidden.shape[0], hidden.shape[2])
        valid = valid_frames(lengths, hidden.shape[1])[..., None]
        largest = hidden.masked_fill(~valid, float("-inf")).amax(1)
        return largest.masked_fill((lengths < 1)[:, None], 0.0)


class BestFramePooling(nn.Module):
    """The score of each label in the frame that speaks most for it; for a background label the mean over all frames.

    Unlike the other poolings it takes scores of frames, not their hidden values.

    Args:
        background: whether each label is a background label, bool (labels,).
    """

    background: Tensor

    def __init__(self, background: Tensor) -> None:
        super().__init__()
        self.register_buffer("background", background, persistent=False)

    def shares(self, scores: Tensor, lengths: Tensor) -> Tensor:
        """How much of each frame's score goes into the utterance's: (batch, time, labels), zeros in the padding."""
        every = valid_frames(lengths, scores.shape[1])[..., None] / lengths.clamp(min=1)[:, None, None]
        return torch.where(self.background, every, best_frames(scores, lengths).to(every.dtype)).to(scores.dtype)

    def forward(self, scores: Tensor, lengths: Tensor) -> Tensor:
        """(batch, time, labels), (batch,) -> (batch, labels); a row without frames gives zeros."""
        return (scores * self.shares(scores, lengths)).sum(1)


def best_frames(scores: Tensor, lengths: Tensor) -> Tensor:
    """True in the one valid frame where each score is largest: (batch, time, scores) -> the same shape."""
    time = scores.shape[1]
    if not time:
        return scores > 0
    valid = valid_frames(lengths, time)[..., None]
    best = scores.masked_fill(~valid, float("-inf")).argmax(1)
    return (torch.arange(time, device=scores.device)[:, None] == best[:, None]) & valid


class EndsPooling(nn.Module):
    """The forward half of the last valid frame beside the backward half of the first.

    Those are the two states that have seen the whole utterance. The last frame alone is not one: its backward half has
    seen a single frame. For a one-directional encoder it is the last valid frame.
    """

    def __init__(self, input_size: int, directions: int) -> None:
        super().__init__()
        if directions == 0:
            raise ConfigError(
                "head.pooling=ends: the encoder mixes its two directions; set encoder.merge=concat and "
                "encoder.projection_size=0, or choose head.pooling=attention"
            )
        if directions == 2 and input_size % 2:
            raise ConfigError(
                f"pooling=ends: {input_size} hidden values cannot be two halves; merge the directions by concat"
            )
        self.bidirectional = directions == 2
        self.output_size = input_size

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """(batch, time, hidden), (batch,) -> (batch, hidden); a row without frames gives zeros."""
        if not hidden.shape[1]:
            return hidden.new_zeros(hidden.shape[0], hidden.shape[2])
        index = (lengths - 1).clamp(min=0)[:, None, None].expand(-1, 1, hidden.shape[2])
        last = hidden.gather(1, index).squeeze(1)
        if self.bidirectional:
            half = hidden.shape[2] // 2
            last = torch.cat((last[:, :half], hidden[:, 0, half:]), 1)
        return last.masked_fill((lengths < 1)[:, None], 0.0)


class AttentionPooling(nn.Module):
    """Several learned weighted means side by side, each over its own slice of the features.

    Head k scores every valid frame with ``v_k . tanh(W h_t)``, turns the scores into weights by a softmax over time and
    averages its slice of the features with them (self-attentive pooling, Lin et al., 1703.03130, eq. 6, with the slices
    of multi-head attention, 1706.03762, 3.2.2).
    """

    def __init__(self, input_size: int, heads: int) -> None:
        super().__init__()
        if heads < 1 or input_size % heads:
            raise ConfigError(f"attention_heads={heads}: at least 1 and a divisor of the {input_size} hidden values")
        self.heads = heads
        self.key = nn.Linear(input_size, input_size // heads)
        self.score = nn.Linear(input_size // heads, heads)
        self.output_size = input_size

    def weights(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """The share of each frame in each head's mean: (batch, time, heads), summing to one over valid frames."""
        scores = self.score(torch.tanh(self.key(hidden)))
        valid = valid_frames(lengths, hidden.shape[1])[..., None]
        # The smallest finite number, not minus infinity: a row without frames would turn into NaN.
        return torch.softmax(scores.float().masked_fill(~valid, torch.finfo(torch.float32).min), 1) * valid

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """(batch, time, hidden), (batch,) -> (batch, hidden); a row without frames gives zeros."""
        slices = hidden.unflatten(2, (self.heads, self.output_size // self.heads))
        return torch.einsum("bth,bthd->bhd", self.weights(hidden, lengths).to(slices.dtype), slices).flatten(1)


class StatisticsPooling(nn.Module):
    """The mean of the valid frames beside their standard deviation, both weighted by attention.

    Frame t has the weight a_t, the softmax over the valid frames of ``v . tanh(W h_t)``; the vector is
    ``m = sum a_t h_t`` beside ``s = sqrt(sum a_t h_t^2 - m^2)`` (attentive statistics pooling, Okabe et al.,
    1803.10963, eq. 5 and 6).
    """

    def __init__(self, input_size: int, attention_size: int) -> None:
        super().__init__()
        if attention_size < 1:
            raise ConfigError(f"attention_size={attention_size}: at least 1")
        self.key = nn.Linear(input_size, attention_size)
        self.score = nn.Linear(attention_size, 1)
        self.output_size = 2 * input_size

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """(batch, time, hidden), (batch,) -> (batch, 2 * hidden); a row without frames gives zeros."""
        if not hidden.shape[1]:
            return hidden.new_zeros(hidden.shape[0], self.output_size)
        valid = valid_frames(lengths, hidden.shape[1])[..., None]
        scores = self.score(torch.tanh(self.key(hidden)))  # under autocast of another type than the frames
        scores = scores.masked_fill(~valid, torch.finfo(scores.dtype).min)
        weights = torch.softmax(scores, 1) * valid
        hidden = hidden.masked_fill(~valid, 0.0)
        mean = (weights * hidden).sum(1)
        # Squares of the distances from the mean, not the difference of squares, which loses digits. The root of 0 has
        # no gradient.
        variance = (weights * (hidden - mean[:, None]).square()).sum(1)
        deviation = variance.clamp(min=1e-9).sqrt()
        return torch.cat((mean, deviation), 1).masked_fill((lengths < 1)[:, None], 0.0)
