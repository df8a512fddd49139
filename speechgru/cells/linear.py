"""The product of frames with a weight for torch, in float32 on a CPU."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from speechgru.cells.kernels import Context
from speechgru.cells.product import BLOCK, project

_WORTH = 20_000_000  # multiplications of a thread, some milliseconds; starting one takes 0.1
_NO_BIAS = np.empty(0, np.float32)


def linear(frames: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear`` whose result for a frame is the same to the last bit, however many frames there are.

    A library's order of summation depends on the number of rows, so a chunk would get other inputs than the whole.
    """
    tensors = frames, weight, bias
    if torch.is_grad_enabled() and any(one is not None and one.requires_grad for one in tensors):
        found: Tensor = _Linear.apply(*tensors)
        return found
    return _run(*tensors)


def _run(frames: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    out = torch.empty(*frames.shape[:-1], len(weight))
    left, right = (one.detach().contiguous().numpy() for one in (frames, weight))
    added = _NO_BIAS if bias is None else bias.detach().contiguous().numpy()
    rows, target = left.reshape(-1, left.shape[-1]), out.numpy().reshape(-1, len(weight))
    threads = min(torch.get_num_threads(), len(rows) * weight.numel() // _WORTH)
    if threads < 2:
        project(rows, right, added, target)
        return out
    share = -(-len(rows) // (threads * BLOCK)) * BLOCK
    with ThreadPoolExecutor(threads) as pool:
        parts = [slice(begin, begin + share) for begin in range(0, len(rows), share)]
        list(pool.map(lambda part: project(rows[part], right, added, target[part]), parts))
    return out


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Context, frames: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(frames, weight)
        return _run(frames, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, gradient: Tensor) -> tuple[Tensor | None, ...]:
        frames, weight = ctx.saved_tensors
        rows = gradient.flatten(0, -2)
        return gradient @ weight, rows.t() @ frames.flatten(0, -2), rows.sum(0) if ctx.needs_input_grad[2] else None
