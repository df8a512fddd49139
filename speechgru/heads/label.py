"""What the heads that give an utterance one label have in common."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LabelHead(nn.Module):
    """A head whose targets are labels of whole utterances."""

    verb = "classify"
    needs_units = False
    scores_frames = False

    @staticmethod
    def feasible(lengths: Tensor, targets: Tensor, target_lengths: Tensor) -> Tensor:
        """True, (batch,): any number of frames is enough for a label."""
        return torch.ones_like(lengths, dtype=torch.bool)
