"""The classification head: one label for an utterance."""

from __future__ import annotations

import dataclasses
import enum

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechgru.errors import ConfigError
from speechgru.heads.pooling import AttentionPooling, EndsPooling, MaxPooling, MeanPooling
from speechgru.registry import register
from speechgru.tokens import Tokens


class Pooling(enum.Enum):
    """How the frames of an utterance become one vector."""

    attention = "attention"
    mean = "mean"
    max = "max"
    ends = "ends"


@dataclasses.dataclass
class ClassificationConfig:
    """Settings of the classification head.

    Attributes:
        pooling: attention, mean, max, or ends (last forward and first backward state).
        attention_heads: weighted means of the attention, a divisor of the encoder's output size.
        bidirectional: tells ``ends`` that the frames hold a forward and a backward half; a recognizer refuses what does
            not fit its encoder.
        embedding_size: a linear layer and ReLU before the scores; 0 means the pooled vector is the embedding.
        dropout: share of the embedding dropped while training, 0 to below 1.
        label_smoothing: share of the target spread over all labels (1512.00567, section 7), 0 to below 1.
        class_weights: factor on the loss of each label's utterances, in the order of the labels, at least 0; empty
            means 1 for all. Weights of mean 1 over the training set leave the learning rate its meaning.
    """

    pooling: Pooling = Pooling.attention
    attention_heads: int = 4
    bidirectional: bool = dataclasses.field(default=True, metadata={"follows": "encoder.bidirectional"})
    embedding_size: int = 0
    dropout: float = 0.1
    label_smoothing: float = 0.0
    class_weights: list[float] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("dropout", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: from 0 to below 1")
        if self.embedding_size < 0:
            raise ConfigError(f"embedding_size={self.embedding_size}: at least 0 (0 means none)")
        if any(weight < 0 for weight in self.class_weights):
            raise ConfigError(f"class_weights={self.class_weights}: none below 0")


@register("head", "classification", ClassificationConfig)
class ClassificationHead(nn.Module):
    """Pools the frames of an utterance and scores the labels.

    Args:
        input_size: features of a frame of the encoder's output.
        tokens: the labels.
    """

    class_weights: Tensor

    def __init__(self, input_size: int, tokens: Tokens, config: ClassificationConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ClassificationConfig()
        self.pooling: nn.Module
        if config.pooling is Pooling.attention:
            self.pooling = AttentionPooling(input_size, config.attention_heads)
        elif config.pooling is Pooling.ends:
            self.pooling = EndsPooling(input_size, config.bidirectional)
        else:
            self.pooling = {Pooling.mean: MeanPooling, Pooling.max: MaxPooling}[config.pooling](input_size)
        if config.class_weights and len(config.class_weights) != len(tokens):
            raise ConfigError(f"class_weights has {len(config.class_weights)} numbers for {len(tokens)} labels")
        weights = torch.tensor(config.class_weights or [1.0] * len(tokens))
        self.register_buffer("class_weights", weights, persistent=False)
        self.embedding = nn.Linear(input_size, config.embedding_size) if config.embedding_size else None
        self.embedding_size = config.embedding_size or input_size
        self.output = nn.Linear(self.embedding_size, len(tokens))

    def embed(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """One vector an utterance, for comparing utterances: (batch, time, hidden), (batch,) -> (batch, embedding)."""
        pooled = self.pooling(hidden, lengths)
        return pooled if self.embedding is None else F.relu(self.embedding(pooled))

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Scores before the softmax: (batch, time, hidden), (batch,) -> (batch, labels)."""
        return self.output(F.dropout(self.embed(hidden, lengths), self.config.dropout, self.training))

    def narrow(self, labels: int) -> None:
        """Forgets all labels but the first ``labels``."""
        with torch.no_grad():
            self.output.weight = nn.Parameter(self.output.weight[:labels].clone())
            self.output.bias = nn.Parameter(self.output.bias[:labels].clone())
        self.output.out_features = labels
        self.class_weights = self.class_weights[:labels].clone()

    def loss(self, scores: Tensor, lengths: Tensor, targets: Tensor, target_lengths: Tensor | None = None) -> Tensor:
        """Cross entropy of each utterance: scores (batch, labels), targets (batch,) label indices -> (batch,).

        ``lengths`` and ``target_lengths`` are part of every head's contract; a label needs neither. The loss of an
        utterance does not depend on its batch, so that sums over batches and processes are exact; class weights are
        therefore not divided by their sum over the batch as ``F.cross_entropy(..., reduction="mean")`` does.
        """
        return F.cross_entropy(
            scores.float(), targets, self.class_weights, reduction="none", label_smoothing=self.config.label_smoothing
        )
