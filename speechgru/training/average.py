"""An average of the weights over training."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ExponentialAverage:
    """An exponentially fading average of a module's weights and statistics.

    The decay warms up as ``min(decay, (1 + n) / (10 + n))`` after n updates, so that the start is soon forgotten.

    Args:
        module: what to follow.
        decay: share of the average kept at each update, 0 to below 1.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.tensors = snapshot(module)

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Moves the average a little towards the current weights."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        moving, targets = [], []
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                moving.append(self.tensors[name])
                targets.append(tensor)
            else:
                self.tensors[name].copy_(tensor)
        torch._foreach_lerp_(moving, targets, 1 - decay)


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    """A copy of the weights and statistics of a module."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
