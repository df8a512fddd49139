"""The CTC head: a token or the blank for every frame, and the loss over all ways to spread a transcript over frames."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechgru.errors import ConfigError, ModelError
from speechgru.registry import register
from speechgru.tokens import Tokens


@dataclasses.dataclass
class CTCConfig:
    """Settings of the CTC head.

    Attributes:
        dropout: share of the encoder's output dropped while training, 0 to below 1.
    """

    dropout: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout={self.dropout}: from 0 to below 1")


@register("head", "ctc", CTCConfig)
class CTCHead(nn.Module):
    """A linear layer and a softmax over the tokens, of which number 0 is the blank.

    Args:
        input_size: features of a frame of the encoder's output.
        tokens: the blank, then the units of transcripts.
        directions: of the encoder; not needed here, part of every head's contract.
    """

    verb = "transcribe"
    needs_units = True
    scores_frames = True

    def __init__(self, input_size: int, tokens: Tokens, config: CTCConfig | None = None, directions: int = 0) -> None:
        super().__init__()
        self.config = config or CTCConfig()
        self.output = nn.Linear(input_size, len(tokens))

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Log-probabilities in float32: (batch, time, hidden), (batch,) -> (batch, time, token)."""
        return self.output(F.dropout(hidden, self.config.dropout, self.training)).float().log_softmax(2)

    def embed(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """ModelError: a transcript is made of frames."""
        raise ModelError("this model has a ctc head; embed needs one with a classification head")

    @staticmethod
    def feasible(lengths: Tensor, targets: Tensor, target_lengths: Tensor) -> Tensor:
        """Whether the frames suffice for the transcript, bool (batch,).

        Every token needs a frame, and two equal neighbours a blank between them: T >= L + equal neighbours.

        Args:
            lengths: frames of each row (batch,).
            targets: token indices (batch, longest).
            target_lengths: tokens of each row (batch,).
        """
        places = torch.arange(1, max(targets.shape[1], 1), device=targets.device)
        equal = (targets[:, 1:] == targets[:, :-1]) & (places < target_lengths[:, None])
        return lengths >= target_lengths + equal.sum(1)

    def loss(self, scores: Tensor, lengths: Tensor, targets: Tensor, target_lengths: Tensor) -> Tensor:
        """-log p(transcript) of each utterance in nats, divided by nothing; infinite where it is not feasible.

        Source: A. Graves et al., "Connectionist temporal classification", ICML 2006, eq. 8 and section 4.1. An
        infeasible row has no gradient.

        Args:
            scores: log-probabilities (batch, time, token).
            lengths: frames of each row (batch,).
            targets: token indices (batch, longest).
            target_lengths: tokens of each row (batch,).

        Returns:
            (batch,)
        """
        if not len(scores):
            return scores.sum((1, 2))
        # zero_infinity keeps NaN out of the gradient of infeasible rows; the 0 it gives as their loss is then made
        # infinite again.
        losses = F.ctc_loss(
            scores.transpose(0, 1), targets, lengths, target_lengths, blank=0, reduction="none", zero_infinity=True
        )
        return losses.where(self.feasible(lengths, targets, target_lengths), torch.inf)

    def narrow(self, tokens: Tokens) -> CTCConfig:
        """A transcript needs all tokens.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("head=ctc: labels that only help are for head=classification; leave extra_data's out")
