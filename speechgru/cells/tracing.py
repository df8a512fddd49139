"""A recurrence under torch.compile and torch.export, both of which would unroll its loop over the frames.

An unrolled graph is as long as the sequence and fits only one number of frames. So torch.compile leaves the recurrence
to eager execution, as it does with torch.nn.GRU, and torch.export writes one operator for any number of frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

Result = tuple[Tensor, Tensor]


@torch.compiler.disable(reason="a recurrence runs eagerly: its graph would be as long as the sequence")
def uncompiled(
    forward: Callable[[Tensor, Tensor | None, Tensor | None, bool], Result],
    sequence: Tensor,
    lengths: Tensor | None,
    state: Tensor | None,
    reverse: bool,
) -> Result:
    """What a cell's ``forward`` returns, computed with the kernels that are not part of a graph."""
    return forward(sequence, lengths, state, reverse)


def scanned(
    advance: Callable[[Tensor, Tensor], Tensor], parameters: Iterable[Tensor], projected: Tensor, state: Tensor
) -> Tensor:
    """The states after every frame, as ``Cell.run`` gives them, by torch's operator ``scan``.

    ``advance`` takes a frame of ``projected`` and a state and gives the next state; ``parameters`` are what it reads.
    """
    from torch._higher_order_ops.scan import scan

    def combine(state: Tensor, frame: Tensor) -> tuple[Tensor, Tensor]:
        new = advance(frame, state)
        return new, new.clone()  # the operator refuses two results in the same memory

    # scan loses the gradient through the states unless the first state needs a gradient. So that state is made to
    # depend, with its values unchanged, on everything that needs one.
    inputs = [projected, *(parameter for parameter in parameters if parameter.requires_grad)]
    source = torch.stack([one.sum() for one in inputs]).sum().expand_as(state)
    state = torch.where(torch.zeros_like(state, dtype=torch.bool), source, state)
    # Time is the first dimension: with any other, the dimension along which the results are stacked has changed between
    # versions of torch.
    return scan(combine, state, projected.transpose(0, 1), dim=0)[1].transpose(0, 1)
