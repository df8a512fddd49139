"""Batch normalisation and ReLU over the valid frames of padded planes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechgru import compiled
from speechgru.cells.batch_norm import update_statistics, valid_moments
from speechgru.lengths import valid_frames


class MaskedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation (1502.03167) whose statistics run over valid frames only, then ReLU.

    The padding comes out as zeros, whatever is in it.
    """

    def forward(self, planes: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(batch, channel, time, feature), lengths (batch,) in frames or None -> the same shape, at least 0."""
        if not self.training:  # not by torch's module: its overhead takes as long as the call itself
            normal = F.batch_norm(planes, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
            found = F.relu(normal)
            return found if lengths is None else found.masked_fill(~_valid(lengths, planes), 0.0)
        if lengths is None:
            return F.relu(super().forward(planes))
        assert self.running_mean is not None
        # At the precision of the statistics: planes are bfloat16 under autocast.
        wide = planes.to(self.running_mean.dtype)
        normalize = normalize_and_rectify
        if compiled.usable(wide, self.weight):
            # Imported where it is needed: numba takes half a second, and only training comes here.
            from speechgru.encoders.fused_batch_norm import FusedBatchNorm

            normalize = FusedBatchNorm.apply
        out, mean, variance, count = normalize(wide, lengths, self.weight, self.bias, self.eps)
        update_statistics(self, mean, variance, count)
        return out.to(planes.dtype)


def normalize_and_rectify(
    planes: Tensor, lengths: Tensor, scale: Tensor, shift: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The definition, in torch's operators: the planes, and mean, variance and count of valid values per channel."""
    valid = _valid(lengths, planes)
    mean, variance, count = valid_moments(planes, valid, (0, 2, 3), planes.shape[3])
    factor = scale * torch.rsqrt(variance + eps)
    normal = (planes - mean[:, None, None]) * factor[:, None, None] + shift[:, None, None]
    return F.relu(normal) * valid, mean, variance, count


def _valid(lengths: Tensor, planes: Tensor) -> Tensor:
    """Where frames of planes (batch, channel, time, feature) are valid, (batch, 1, time, 1)."""
    return valid_frames(lengths, planes.shape[2])[:, None, :, None]
