"""The loss of a training batch: augmented waveforms and frames, mixed pairs, autocast."""

from __future__ import annotations

import enum
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from speechgru.recognizer import Recognizer


class Precision(enum.Enum):
    """Number format of the matrix products."""

    fp32 = "fp32"
    bf16 = "bf16"


class Objective(nn.Module):
    """The loss of a batch as one module, so that DistributedDataParallel sees one forward pass."""

    def __init__(self, recognizer: Recognizer, augment: Any, precision: Precision, mixup: float) -> None:
        super().__init__()
        self.recognizer = recognizer
        self.augment = augment
        self.precision = precision
        self.mixup = mixup

    def forward(
        self, waveforms: Tensor, lengths: Tensor, targets: Tensor, target_lengths: Tensor | None, seed: int
    ) -> Tensor:
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
            if self.augment is not None:
                features, lengths = self.augment.spectrogram(features, lengths, generator)
        with torch.autocast(waveforms.device.type, torch.bfloat16, enabled=self.precision is Precision.bf16):
            hidden, lengths = self.recognizer.encoder(features, lengths)
            scores = self.recognizer.head(hidden, lengths)
        head = self.recognizer.head
        losses = head.loss(scores, lengths, targets, target_lengths)
        if partner is not None:
            losses = share * losses + (1 - share) * head.loss(scores, lengths, targets[partner], target_lengths)
        return losses
