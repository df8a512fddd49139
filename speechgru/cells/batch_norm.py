"""Batch normalisation of padded sequences, with statistics over their valid frames."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from speechgru.lengths import full_lengths, valid_frames


class FrameBatchNorm(nn.BatchNorm1d):
    """Batch normalisation (1502.03167) of (batch, time, feature) over the frames of all rows, padding left out."""

    def forward(self, frames: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(batch, time, feature), lengths (batch,) or None -> the same shape; finite values beyond the lengths."""
        assert self.running_mean is not None
        assert self.running_var is not None
        if not self.training or not frames.shape[1]:
            factor = self.weight * torch.rsqrt(self.running_var + self.eps)
            return frames * factor + (self.bias - self.running_mean * factor)
        valid = valid_frames(full_lengths(frames) if lengths is None else lengths, frames.shape[1])[..., None]
        mean, variance, count = valid_moments(frames, valid, (0, 1))
        update_statistics(self, mean, variance, count)
        return (frames - mean) * (self.weight * torch.rsqrt(variance + self.eps)) + self.bias


def folded(normalization: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Factor and shift of every channel, float64: with the statistics of training the result is x * factor + shift."""
    assert normalization.running_mean is not None
    assert normalization.running_var is not None
    factor = normalization.weight.double() / (normalization.running_var.double() + normalization.eps).sqrt()
    return factor, normalization.bias.double() - normalization.running_mean.double() * factor


def valid_moments(
    values: Tensor, valid: Tensor, axes: tuple[int, ...], values_a_frame: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and variance of every channel over the valid frames, and over how many values, at least 1.

    Args:
        values: the channels on one axis.
        valid: True for every valid frame, of a shape that broadcasts with ``values``.
        axes: all axes but that of the channels.
        values_a_frame: values of one channel in a frame.

    Returns:
        Mean and variance (channels,), the variance divided by the count, and the count.
    """
    weight = valid.to(values.dtype)
    count = (weight.sum() * values_a_frame).clamp(min=1.0)
    mean = (values * weight).sum(axes, keepdim=True) / count
    variance = ((values - mean).square() * weight).sum(axes) / count
    return mean.flatten(), variance, count


def update_statistics(
    normalization: nn.BatchNorm1d | nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: Tensor
) -> None:
    """Moves the running statistics towards a batch's mean, variance and number of values, as torch's modules do."""
    assert normalization.running_mean is not None
    assert normalization.running_var is not None
    assert normalization.num_batches_tracked is not None
    momentum = normalization.momentum or 0.1
    with torch.no_grad():
        normalization.num_batches_tracked += 1
        normalization.running_mean.lerp_(mean, momentum)
        normalization.running_var.lerp_(variance * count / (count - 1).clamp(min=1.0), momentum)
