"""The speaker head: a vector of unit length for a recording, close to those of the same speaker."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechgru.errors import ConfigError
from speechgru.heads.label import LabelHead
from speechgru.heads.pooling import StatisticsPooling
from speechgru.registry import register
from speechgru.tokens import Tokens


@dataclasses.dataclass
class SpeakerHeadConfig:
    """Settings of the speaker head.

    Attributes:
        embedding_size: numbers in the vector of a recording, at least 1.
        attention_size: hidden values of the attention over frames, at least 1.
        margin: by how much the cosine of the right speaker must be higher while training, 0 to below 1; 0 is a softmax
            of cosines.
        scale: factor on the cosines before the softmax, above 0.
        dropout: share of the pooled values dropped while training, 0 to below 1.
    """

    embedding_size: int = 128
    attention_size: int = 64
    margin: float = 0.2
    scale: float = 30.0
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for name in ("embedding_size", "attention_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: at least 1")
        for name in ("margin", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: from 0 to below 1")
        if not 0 < self.scale < math.inf:
            raise ConfigError(f"scale={self.scale}: a finite number above 0")


@register("head", "speaker", SpeakerHeadConfig)
class SpeakerHead(LabelHead):
    """Tells the speakers of the training set apart, so that its vectors tell other speakers apart too.

    Mean and standard deviation of the frames (:class:`~speechgru.heads.pooling.StatisticsPooling`) become a vector e by
    a linear layer. The score of speaker j is ``scale * cos(e, w_j)``. The loss is the additive margin softmax (Wang et
    al., 1801.05599, eq. 6; CosFace, 1801.09414, eq. 4), y the speaker who speaks::

        -log( exp(scale * (cos_y - margin)) / (exp(scale * (cos_y - margin)) + sum over j != y of exp(scale * cos_j)) )

    Two recordings are compared by the cosine of their vectors, whether their speakers were in the training or not.

    Args:
        input_size: features of a frame of the encoder's output.
        tokens: the speakers.
        config: the settings.
        directions: of the encoder; not needed here, part of every head's contract.
    """

    def __init__(
        self, input_size: int, tokens: Tokens, config: SpeakerHeadConfig | None = None, directions: int = 0
    ) -> None:
        super().__init__()
        self.config = config = config or SpeakerHeadConfig()
        self.pooling = StatisticsPooling(input_size, config.attention_size)
        self.embedding = nn.Linear(self.pooling.output_size, config.embedding_size)
        self.speakers = nn.Parameter(torch.empty(len(tokens), config.embedding_size))
        nn.init.xavier_normal_(self.speakers)

    def embed(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """One vector of unit length per utterance: (batch, time, hidden), (batch,) -> (batch, embedding)."""
        pooled = F.dropout(self.pooling(hidden, lengths), self.config.dropout, self.training)
        return F.normalize(self.embedding(pooled).float(), dim=1)

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Scores without the margin: (batch, time, hidden), (batch,) -> (batch, speaker)."""
        return self.config.scale * F.linear(self.embed(hidden, lengths), F.normalize(self.speakers.float(), dim=1))

    def narrow(self, tokens: Tokens) -> SpeakerHeadConfig:
        """Forgets all speakers but ``tokens``, the first ones; returns the settings that build such a head."""
        with torch.no_grad():
            self.speakers = nn.Parameter(self.speakers[: len(tokens)].clone())
        return self.config

    def loss(self, scores: Tensor, lengths: Tensor, targets: Tensor, target_lengths: Tensor | None = None) -> Tensor:
        """The additive margin softmax of each utterance: scores (batch, speaker), targets (batch,) -> (batch,)."""
        margin = F.one_hot(targets, scores.shape[1]) * (self.config.scale * self.config.margin)
        return F.cross_entropy(scores.float() - margin, targets, reduction="none")
