"""The loss of a training batch: augmented waveforms and frames, mixed pairs, autocast."""

from __future__ import annotations

import enum

import numpy as np
import torch
from torch import Tensor, nn

from speechgru.augment import Augment
from speechgru.lengths import valid_frames
from speechgru.recognizer import Recognizer


class Precision(enum.Enum):
    """Number format of the matrix products."""

    fp32 = "fp32"
    bf16 = "bf16"


class Objective(nn.Module):
    """The loss of a batch as one module, so that DistributedDataParallel sees one forward pass."""

    def __init__(
        self, recognizer: Recognizer, augment: Augment | None, precision: Precision, mixup: float, consistency: float
    ) -> None:
        super().__init__()
        self.recognizer = recognizer
        self.augment = augment
        self.precision = precision
        self.mixup = mixup
        self.consistency = consistency

    def forward(self, waveforms: Tensor, lengths: Tensor, targets: Tensor, target_lengths: Tensor, seed: int) -> Tensor:
        """The loss of each utterance, (batch,)."""
        generator = torch.Generator(waveforms.device).manual_seed(seed)
        partner, share = None, 1.0
        if self.mixup:
            rng = np.random.default_rng(seed)
            share = float(rng.beta(self.mixup, self.mixup))
            partner = torch.from_numpy(rng.permutation(len(waveforms))).to(waveforms.device)
            waveforms = share * waveforms + (1 - share) * waveforms[partner]
            lengths = torch.maximum(lengths, lengths[partner])
        with torch.no_grad():
            features, lengths = self.recognizer.features(waveforms, lengths)
            if self.consistency:
                # The second copy of a row gets masks and dropout of its own.
                features, lengths = features.repeat(2, 1, 1), lengths.repeat(2)
            if self.augment is not None:
                features, lengths = self.augment.spectrogram(features, lengths, generator)
        with torch.autocast(waveforms.device.type, torch.bfloat16, enabled=self.precision is Precision.bf16):
            scores, lengths = self.recognizer.score(features, lengths)
        views = [slice(None)]
        if self.consistency:
            half = len(waveforms)
            views = [slice(half), slice(half, None)]
        losses = torch.stack(
            [self._loss(scores[view], lengths[view], targets, target_lengths, partner, share) for view in views]
        ).mean(0)
        if self.consistency:
            losses = losses + self.consistency * disagreement(scores[views[0]], scores[views[1]], lengths[views[0]])
        return losses

    def _loss(
        self,
        scores: Tensor,
        lengths: Tensor,
        targets: Tensor,
        target_lengths: Tensor,
        partner: Tensor | None,
        share: float,
    ) -> Tensor:
        head = self.recognizer.head
        losses = head.loss(scores, lengths, targets, target_lengths)
        if partner is None:
            return losses
        mixed = head.loss(scores, lengths, targets[partner], target_lengths[partner])
        return share * losses + (1 - share) * mixed


def disagreement(left: Tensor, right: Tensor, lengths: Tensor) -> Tensor:
    """How far two views of an utterance are apart: the symmetric Kullback-Leibler divergence, summed over frames.

    Each view learns from the other, which is held fixed: no gradient goes through the view that it is compared with.
    Source: Yao et al., "CR-CTC: consistency regularization on CTC", 2410.05101.

    Args:
        left: log-probabilities (batch, time, token).
        right: the other view's.
        lengths: frames of each row (batch,).

    Returns:
        (batch,) nats.
    """
    towards = (right.detach().exp() * (right.detach() - left)).sum(2)
    back = (left.detach().exp() * (left.detach() - right)).sum(2)
    valid = valid_frames(lengths, left.shape[1])
    return ((towards + back) * 0.5).masked_fill(~valid, 0.0).sum(1)
