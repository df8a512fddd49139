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
        assert self.num_batches_tracked is not None
        if not self.training or not frames.shape[1]:
            factor = self.weight * torch.rsqrt(self.running_var + self.eps)
            return frames * factor + (self.bias - self.running_mean * factor)
        if lengths is None:
            lengths = full_lengths(frames)
        weight = valid_frames(lengths, frames.shape[1])[..., None].to(frames.dtype)
        count = weight.sum().clamp(min=1.0)
        mean = (frames * weight).sum((0, 1)) / count
        centred = frames - mean
        variance = (centred.square() * weight).sum((0, 1)) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum or 0.1)
            self.running_var.lerp_(variance * count / (count - 1).clamp(min=1.0), self.momentum or 0.1)
        return centred * (self.weight * torch.rsqrt(variance + self.eps)) + self.bias
