"""Batch normalisation and ReLU over the valid frames of padded planes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechgru import compiled
from speechgru.lengths import valid_frames


class MaskedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation (1502.03167) whose statistics run over valid frames only, then ReLU.

    Zeros come out of the padding, whatever is in it.
    """

    def forward(self, planes: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(batch, channel, time, feature), lengths (batch,) in frames or None -> the same shape, at least 0."""
        if lengths is None:
            return F.relu(super().forward(planes))
        mask = valid_frames(lengths, planes.shape[2])[:, None, :, None]
        if not self.training:
            return F.relu(super().forward(planes)).masked_fill(~mask, 0.0)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        # At the precision of the statistics: planes are bfloat16 under autocast.
        wide = planes.to(self.running_mean.dtype)
        normalize = normalize_and_rectify
        if compiled.usable(wide, self.weight):
            # Imported where it is needed: numba takes half a second, and only training comes here.
            from speechgru.encoders.fused_batch_norm import FusedBatchNorm

            normalize = FusedBatchNorm.apply
        out, mean, variance, count = normalize(wide, lengths, self.weight, self.bias, self.eps)
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum or 0.1)
            self.running_var.lerp_(variance * count / (count - 1).clamp(min=1.0), self.momentum or 0.1)
        return out.to(planes.dtype)


def normalize_and_rectify(
    planes: Tensor, lengths: Tensor, scale: Tensor, shift: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The definition, in torch's operators: the planes, and mean, variance and count of valid values per channel."""
    weight = valid_frames(lengths, planes.shape[2])[:, None, :, None].to(planes.dtype)
    count = (weight.sum() * planes.shape[3]).clamp(min=1.0)
    mean = (planes * weight).sum((0, 2, 3)) / count
    centred = planes - mean[:, None, None]
    variance = (centred.square() * weight).sum((0, 2, 3)) / count
    factor = scale * torch.rsqrt(variance + eps)
    return F.relu(centred * factor[:, None, None] + shift[:, None, None]) * weight, mean, variance, count
