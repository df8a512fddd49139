"""Batch normalisation and ReLU of padded planes in two passes over the memory, for training on a CPU in float32.

The valid frames of a row are its first ones, so in memory they are one run per channel and need no mask.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from speechgru.cells.kernels import Context
from speechgru.compiled import kernel


class _Context(Context, Protocol):
    mean: np.ndarray
    inverse: np.ndarray

    def mark_non_differentiable(self, *tensors: Tensor) -> None: ...


class FusedBatchNorm(torch.autograd.Function):
    """:func:`speechgru.encoders.batch_norm.normalize_and_rectify` and its gradient, in a third of the time."""

    @staticmethod
    def forward(
        ctx: _Context, planes: Tensor, lengths: Tensor, scale: Tensor, shift: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        planes = planes.contiguous()
        valid = (lengths * planes.shape[3]).numpy()
        runs = planes.detach().view(*planes.shape[:2], -1).numpy()
        mean, variance = _moments(runs, valid)
        inverse = 1 / np.sqrt(variance + eps)
        out = torch.empty_like(planes)
        factor = (scale.detach().numpy() * inverse).astype(np.float32)
        offset = (shift.detach().numpy() - mean * factor).astype(np.float32)
        _rectified(runs, valid, factor, offset, out.view(*planes.shape[:2], -1).numpy())
        ctx.save_for_backward(planes, lengths, scale, out)
        ctx.mean, ctx.inverse = mean, inverse
        moments = _float32(mean), _float32(variance)
        ctx.mark_non_differentiable(*moments)
        return out, *moments, torch.tensor(float(max(1, valid.sum())))

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        planes, lengths, scale, out = ctx.saved_tensors
        shape = (*planes.shape[:2], -1)
        valid = (lengths * planes.shape[3]).numpy()
        given, result = gradients[0].contiguous().view(shape).numpy(), torch.empty_like(planes)
        arguments = planes.view(shape).numpy(), out.view(shape).numpy(), given, valid, ctx.mean, ctx.inverse
        shift, along = _sums(*arguments)
        count = max(1, int(valid.sum()))
        factor = scale.detach().numpy() * ctx.inverse
        _gradient(*arguments, factor, shift / count, along / count, result.view(shape).numpy())
        return result, None, _float32(along), _float32(shift), None


def _float32(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.float32))


@kernel(fastmath={"reassoc", "contract"})
def _moments(runs: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the valid values of each channel, (channel,) float64; runs (batch, channel, values)."""
    channels = runs.shape[1]
    mean, scatter, seen = np.zeros(channels), np.zeros(channels), 0
    for row in range(runs.shape[0]):
        size = valid[row]
        if not size:
            continue
        for channel in range(channels):
            run = runs[row, channel, :size]
            total = np.float32(0)
            for value in run:
                total += value
            middle = total / np.float32(size)
            square = np.float32(0)
            for value in run:
                square += (value - middle) * (value - middle)
            # Two sets of values become one (Chan, Golub, LeVeque 1983, eq. 2.1): no large squares are subtracted.
            apart = middle - mean[channel]
            mean[channel] += apart * size / (seen + size)
            scatter[channel] += square + apart * apart * seen * size / (seen + size)
        seen += size
    return mean, scatter / max(1, seen)


@kernel()
def _rectified(runs: np.ndarray, valid: np.ndarray, factor: np.ndarray, offset: np.ndarray, out: np.ndarray) -> None:
    for row in range(runs.shape[0]):
        for channel in range(runs.shape[1]):
            size = valid[row]
            run, result = runs[row, channel], out[row, channel]
            for index in range(size):
                result[index] = max(run[index] * factor[channel] + offset[channel], np.float32(0))
            result[size:] = 0


@kernel(fastmath={"reassoc", "contract"})
def _sums(
    runs: np.ndarray, out: np.ndarray, given: np.ndarray, valid: np.ndarray, mean: np.ndarray, inverse: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each channel: the sum of the gradient that passes the ReLU, and of its product with the normalised value."""
    channels = runs.shape[1]
    plain, along = np.zeros(channels), np.zeros(channels)
    for row in range(runs.shape[0]):
        for channel in range(channels):
            run, active, gradient = runs[row, channel], out[row, channel], given[row, channel]
            middle = np.float32(mean[channel])
            total, product = np.float32(0), np.float32(0)
            for index in range(valid[row]):
                passed = gradient[index] if active[index] > 0 else np.float32(0)
                total += passed
                product += passed * (run[index] - middle)
            plain[channel] += total
            along[channel] += product * inverse[channel]
    return plain, along


@kernel(fastmath={"contract"})
def _gradient(
    runs: np.ndarray,
    out: np.ndarray,
    given: np.ndarray,
    valid: np.ndarray,
    mean: np.ndarray,
    inverse: np.ndarray,
    factor: np.ndarray,
    plain: np.ndarray,
    along: np.ndarray,
    result: np.ndarray,
) -> None:
    """The gradient at the planes, Ioffe & Szegedy's chain rule (1502.03167, section 3) in one expression."""
    for row in range(runs.shape[0]):
        for channel in range(runs.shape[1]):
            size = valid[row]
            run, active = runs[row, channel], out[row, channel]
            gradient, target = given[row, channel], result[row, channel]
            scale = np.float32(factor[channel])
            slope = np.float32(along[channel] * inverse[channel])
            level = np.float32(plain[channel] - mean[channel] * slope)
            for index in range(size):
                passed = gradient[index] if active[index] > 0 else np.float32(0)
                target[index] = scale * (passed - level - run[index] * slope)
            target[size:] = 0
