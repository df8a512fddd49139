"""The linear recurrence ``h_t = a_t * h_{t-1} + b_t``, which light cells are made of.

Martin & Cundy (1709.04057, section 2) run it in parallel. Feng et al. (2410.01201, appendix B) do so in logarithms,
as differences of cumulative sums that grow with the time and drown the small values: in float32 that form is off by
more than 1e-4 after 1000 frames, and a negative value has no logarithm. Here nothing is divided and no logarithm
taken, so that the error stays that of the plain loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:  # without the compiled kernels, which a scan does not need
    from speechgru.cells.kernels import Context


def scan(decay: Tensor, value: Tensor, state: Tensor) -> Tensor:
    """``h_t = decay_t * h_{t-1} + value_t`` of all frames, and its gradient, on any device at any precision.

    Args:
        decay: what is kept of the state, (batch, time, hidden).
        value: what is added, (batch, time, hidden).
        state: the state to begin with, (batch, hidden).

    Returns:
        h, (batch, time, hidden).
    """
    return _Scan.apply(decay, value, state)


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(decay: Tensor, value: Tensor, state: Tensor) -> Tensor:
        return blocked(decay, value, state)

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        decay, _, state = inputs
        ctx.save_for_backward(decay, state, output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor, ...]:
        decay, state, states = ctx.saved_tensors
        # The gradient runs through the same recurrence from the last frame to the first, with the decay of the frame
        # after it.
        ahead = torch.cat((decay[:, 1:], torch.zeros_like(decay[:, :1])), 1)
        at_value = blocked(ahead.flip(1), gradients[0].flip(1), torch.zeros_like(state)).flip(1)
        before = torch.cat((state[:, None], states), 1)[:, :-1]
        at_state = (decay[:, :1] * at_value[:, :1]).sum(1)
        return at_value * before, at_value, at_state


def blocked(decay: Tensor, value: Tensor, state: Tensor) -> Tensor:
    """What :func:`scan` returns, in about 2 sqrt(time) steps: through all blocks at once, then from block to block.

    In each block h_t = (product of its decays up to t) * (the state before the block) + (what it adds itself).
    """
    batch, time, size = value.shape
    if not time:
        return torch.zeros_like(value)
    width = max(1, round(int(time) ** 0.5))  # a tensor where torch.jit.trace runs it
    missing = -time % width
    if missing:
        decay, value = (torch.nn.functional.pad(tensor, (0, 0, 0, missing)) for tensor in (decay, value))
    blocks = (time + missing) // width
    decays = decay.reshape(batch, blocks, width, size).unbind(2)
    values = value.reshape(batch, blocks, width, size).unbind(2)
    kept, added = [decays[0]], [values[0]]
    for one, other in zip(decays[1:], values[1:], strict=True):
        kept.append(one * kept[-1])
        added.append(torch.addcmul(other, one, added[-1]))
    begin = []
    for product, addition in zip(kept[-1].unbind(1), added[-1].unbind(1), strict=True):
        begin.append(state)
        state = torch.addcmul(addition, product, state)
    states = torch.addcmul(torch.stack(added, 2), torch.stack(kept, 2), torch.stack(begin, 1)[:, :, None])
    return states.flatten(1, 2)[:, :time]
