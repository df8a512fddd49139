"""The classification head: one label for an utterance."""

from __future__ import annotations

import dataclasses
import enum
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechgru.errors import ConfigError
from speechgru.heads.label import LabelHead
from speechgru.heads.pooling import (
    AttentionPooling,
    BestFramePooling,
    EndsPooling,
    MaxPooling,
    MeanPooling,
    best_frames,
)
from speechgru.registry import register
from speechgru.tokens import Tokens


class Pooling(enum.Enum):
    """How the frames of an utterance become one."""

    attention = "attention"
    mean = "mean"
    max = "max"
    ends = "ends"
    best_frame = "best_frame"


@dataclasses.dataclass
class ClassificationConfig:
    """Settings of the classification head.

    Attributes:
        pooling: attention, mean, max, ends (last forward and first backward state), or best_frame: every frame is
            scored, and each label has the score of the frame that speaks most for it (the max-pooling loss).
        attention_heads: weighted means of the attention, a divisor of the encoder's output size.
        embedding_size: a linear layer and ReLU before the scores; 0 means the pooled vector is the embedding.
        dropout: share of the embedding dropped while training, 0 to below 1.
        label_smoothing: share of the target spread over all labels (1512.00567, section 7), 0 to below 1.
        class_weights: factor on the loss of each label's utterances, in the order of the labels, at least 0; empty
            means 1 for all. With weights of mean 1 over the training set the learning rate keeps its meaning.
        background: with best_frame, the labels that are no keyword, such as [_unknown_, _silence_]; empty means none.
    """

    pooling: Pooling = Pooling.attention
    attention_heads: int = 4
    embedding_size: int = 0
    dropout: float = 0.1
    label_smoothing: float = 0.0
    class_weights: list[float] = dataclasses.field(default_factory=list)
    background: list[str] = dataclasses.field(default_factory=list)

    RETIRED: ClassVar = ("bidirectional",)  # known from the encoder

    def __post_init__(self) -> None:
        for name in ("dropout", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: from 0 to below 1")
        if self.embedding_size < 0:
            raise ConfigError(f"embedding_size={self.embedding_size}: at least 0 (0 means none)")
        if any(weight < 0 for weight in self.class_weights):
            raise ConfigError(f"class_weights={self.class_weights}: none below 0")
        if self.background and self.pooling is not Pooling.best_frame:
            raise ConfigError(f"background={self.background}: only pooling=best_frame knows background labels")
        if self.background and self.label_smoothing:
            raise ConfigError(f"label_smoothing={self.label_smoothing}: 0 where there are background labels")


@register("head", "classification", ClassificationConfig)
class ClassificationHead(LabelHead):
    """Pools the frames of an utterance and scores the labels.

    With ``pooling=best_frame`` it scores the labels in every frame and pools the scores: a keyword has to be heard in
    only one frame, wherever that is, and a background label in all frames. With background labels the scores are
    log-posteriors log y_k(t) of each frame, and the loss is the max-pooling loss of Sun et al. (1705.02411)::

        -log y_k(t*), t* the frame with the largest y_k    for an utterance of the keyword k
        mean over t of -log y_k(t)                         for one of the background label k (the paper's sum over
                                                           frames, so divided that an utterance counts once)

    What was learned so far decides which frame is best, so training can settle on wrong frames; the paper begins with a
    model trained in another way. The background labels keep the score of a keyword down where it is not said. Without
    background labels a frame of silence would have to say some word; in this case the softmax is over the pooled
    scores, as with the other poolings, and in an utterance of another label a label is also pushed down in the frame
    where it stands out most.

    Args:
        input_size: features of a frame of the encoder's output.
        tokens: the labels.
        config: the settings.
        directions: of the encoder: 2 where the frames hold a forward and a backward half, 1 where they know only the
            past, 0 where both are mixed.

    Raises:
        ConfigError: the settings do not fit the labels or the encoder.
    """

    class_weights: Tensor

    def __init__(
        self, input_size: int, tokens: Tokens, config: ClassificationConfig | None = None, directions: int = 2
    ) -> None:
        super().__init__()
        self.config = config = config or ClassificationConfig()
        self.pooling: nn.Module
        if config.pooling is Pooling.attention:
            self.pooling = AttentionPooling(input_size, config.attention_heads)
        elif config.pooling is Pooling.best_frame:
            self.pooling = BestFramePooling(_background(config, tokens))
        elif config.pooling is Pooling.ends:
            self.pooling = EndsPooling(input_size, directions)
        else:
            self.pooling = MeanPooling() if config.pooling is Pooling.mean else MaxPooling()
        if config.class_weights and len(config.class_weights) != len(tokens):
            raise ConfigError(f"class_weights has {len(config.class_weights)} numbers for {len(tokens)} labels")
        weights = torch.tensor(config.class_weights or [1.0] * len(tokens))
        self.register_buffer("class_weights", weights, persistent=False)
        self.embedding = nn.Linear(input_size, config.embedding_size) if config.embedding_size else None
        self.embedding_size = config.embedding_size or input_size
        self.output = nn.Linear(self.embedding_size, len(tokens))

    def embed(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """One vector per utterance, for comparing utterances: (batch, time, hidden), (batch,) -> (batch, embedding).

        With ``pooling=best_frame`` it is the vector of the frame with the highest score.
        """
        if isinstance(self.pooling, BestFramePooling):
            highest = self.frame_scores(hidden).amax(2, keepdim=True)
            return (self._rectified(hidden) * best_frames(highest, lengths)).sum(1)
        return self._rectified(self.pooling(hidden, lengths))

    def frame_scores(self, hidden: Tensor) -> Tensor:
        """What ``best_frame`` pools, log-posteriors if there is a background: hidden -> (batch, time, labels)."""
        scores = self._scored(self._rectified(hidden))
        return scores.float().log_softmax(2) if self.config.background else scores

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Scores before the softmax: (batch, time, hidden), (batch,) -> (batch, labels)."""
        if isinstance(self.pooling, BestFramePooling):
            return self.pooling(self.frame_scores(hidden), lengths)
        return self._scored(self.embed(hidden, lengths))

    def _rectified(self, vectors: Tensor) -> Tensor:
        return vectors if self.embedding is None else F.relu(self.embedding(vectors))

    def _scored(self, vectors: Tensor) -> Tensor:
        return self.output(F.dropout(vectors, self.config.dropout, self.training))

    def narrow(self, tokens: Tokens) -> ClassificationConfig:
        """Forgets all labels but ``tokens``, the first ones; returns the settings that build such a head.

        Raises:
            ConfigError: no background label would be left, and without them the scores mean something else.
        """
        labels, config = len(tokens), self.config
        background = [name for name in config.background if name in tokens.names]
        if config.background and not background:
            raise ConfigError(f"background={config.background}: none of them is among the labels the model keeps")
        self.config = dataclasses.replace(config, background=background, class_weights=config.class_weights[:labels])
        with torch.no_grad():
            self.output.weight = nn.Parameter(self.output.weight[:labels].clone())
            self.output.bias = nn.Parameter(self.output.bias[:labels].clone())
        self.output.out_features = labels
        self.class_weights = self.class_weights[:labels].clone()
        if isinstance(self.pooling, BestFramePooling):
            self.pooling.background = self.pooling.background[:labels].clone()
        return self.config

    def loss(self, scores: Tensor, lengths: Tensor, targets: Tensor, target_lengths: Tensor | None = None) -> Tensor:
        """Cross entropy of each utterance: scores (batch, labels), targets (batch,) label indices -> (batch,).

        With background labels it is the max-pooling loss above, and the scores are not normalised over the labels.
        ``lengths`` and ``target_lengths`` are part of every head's contract; a label needs neither. The loss of an
        utterance does not depend on its batch, so that sums over batches and processes are exact; class weights are
        therefore not divided by their sum over the batch as ``F.cross_entropy(..., reduction="mean")`` does.
        """
        if self.config.background:
            return F.nll_loss(scores.float(), targets, self.class_weights, reduction="none")
        return F.cross_entropy(
            scores.float(), targets, self.class_weights, reduction="none", label_smoothing=self.config.label_smoothing
        )


def _background(config: ClassificationConfig, tokens: Tokens) -> Tensor:
    unknown = [name for name in config.background if name not in tokens.names]
    if unknown:
        known = ", ".join(tokens.names)
        raise ConfigError(f"background={config.background}: there is no label {unknown[0]}; known: {known}")
    return torch.tensor([name in config.background for name in tokens.names])
