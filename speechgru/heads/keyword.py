"""The keyword head: a score for each label in every frame, so that words are found wherever they are said."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechgru.errors import ConfigError
from speechgru.heads.label import LabelHead
from speechgru.heads.pooling import best_frames
from speechgru.lengths import valid_frames
from speechgru.registry import register
from speechgru.tokens import Tokens, is_word


@dataclasses.dataclass
class KeywordHeadConfig:
    """Settings of the keyword head.

    Attributes:
        best_frames: number of frames, 1 to 10,000: the score of a label in an utterance is the mean of its highest
            scores in that many frames. Above 1, more frames are trained, and the score stays high for as long as a
            detector's smoothing needs.
        dropout: share of the encoder's output dropped while training, 0 to below 1.
    """

    best_frames: int = 1
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if not 1 <= self.best_frames <= 10_000:
            raise ConfigError(f"best_frames={self.best_frames}: from 1 to 10000")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout={self.dropout}: from 0 to below 1")


@register("head", "keyword", KeywordHeadConfig)
class KeywordHead(LabelHead):
    """Log-odds z_k(t) of each word k in every frame t, and the max-pooling loss.

    Each word has a detector of its own: it is heard in frame t with the probability 1 / (1 + exp(-z_k(t))). The labels
    that are no word (``_unknown_``, ``_silence_``: in underscores or angle brackets) share what the words leave.

    An utterance is one event, and its best frames decide which. With Z_k the mean of the largest ``best_frames`` values
    of z_k(t)::

        p(word k) = exp(Z_k) / (1 + sum over words j of exp(Z_j))

    and the 1 is divided among the labels that are no word by a softmax over their best frames, each against the last of
    these labels: with ``_unknown_, _silence_``, silence is where nothing was heard in any frame. The loss is -log p of
    the label: in an utterance of a word the word's best frames must report it, and in an utterance of anything else no
    frame may (the max-pooling loss of Sun et al., 1705.02411, with a softmax over events in place of one over frames).
    Where no other word is heard, p(word k) is the probability of its best frame, so clips and streams have the same
    scale.

    Args:
        input_size: features of a frame of the encoder's output.
        tokens: the labels.
        config: the settings.
        directions: of the encoder; not needed here, part of every head's contract.
    """

    streams = True
    words: Tensor

    def __init__(
        self, input_size: int, tokens: Tokens, config: KeywordHeadConfig | None = None, directions: int = 0
    ) -> None:
        super().__init__()
        self.config = config or KeywordHeadConfig()
        self.output = nn.Linear(input_size, len(tokens))
        self._know(tokens)

    def _know(self, tokens: Tokens) -> None:
        words = torch.tensor([is_word(name) for name in tokens.names])
        self.register_buffer("words", words.to(self.output.weight.device), persistent=False)
        self.others = [index for index, name in enumerate(tokens.names) if not is_word(name)]

    def log_odds(self, hidden: Tensor) -> Tensor:
        """Log-odds of each word in every frame, of each other label against the last such: -> (batch, time, label)."""
        odds = self.output(F.dropout(hidden, self.config.dropout, self.training)).float()
        return odds - odds.narrow(-1, self.others[-1], 1) * ~self.words if self.others else odds

    def frame_scores(self, hidden: Tensor) -> Tensor:
        """The probability of each label in every frame by itself: (batch, time, hidden) -> (batch, time, label).

        Those of the words are independent of one another; the other labels share what the likeliest word leaves.
        """
        odds = self.log_odds(hidden)
        heard = odds.sigmoid() * self.words
        left = 1 - heard.amax(-1, keepdim=True)
        return torch.where(self.words, heard, left * odds.masked_fill(self.words, -torch.inf).softmax(-1))

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Scores before the softmax, Z_k of words: (batch, time, hidden), (batch,) -> (batch, label)."""
        pooled = self._pooled(self.log_odds(hidden), lengths)
        if not self.others:
            return pooled
        # Of labels that are no word: how they divide the 1.
        total = pooled.masked_fill(self.words, -torch.inf).logsumexp(1, keepdim=True)
        return torch.where(self.words, pooled, pooled - total)

    def _pooled(self, odds: Tensor, lengths: Tensor) -> Tensor:
        """The mean over the best frames of each label; a row without frames gives zeros."""
        count = self.config.best_frames
        valid = valid_frames(lengths, odds.shape[1])[..., None]
        # Padded by as many frames as are taken, so that there are always enough.
        highest = F.pad(odds.masked_fill(~valid, -torch.inf), (0, 0, 0, count), value=-torch.inf).topk(count, 1)[0]
        taken = lengths.clamp(max=count)
        within = torch.arange(count, device=odds.device)[:, None] < taken[:, None, None]
        return highest.masked_fill(~within, 0.0).sum(1) / taken.clamp(min=1)[:, None]

    def embed(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """The hidden frame in which a word is likeliest, for comparing utterances: -> (batch, hidden)."""
        odds = self.log_odds(hidden)
        likeliest = odds.masked_fill(~self.words, -torch.inf).amax(2, keepdim=True)
        return (hidden * best_frames(likeliest, lengths)).sum(1)

    def narrow(self, tokens: Tokens) -> KeywordHeadConfig:
        """Forgets all labels but ``tokens``, the first ones; returns the settings that build such a head."""
        labels = len(tokens)
        with torch.no_grad():
            self.output.weight = nn.Parameter(self.output.weight[:labels].clone())
            self.output.bias = nn.Parameter(self.output.bias[:labels].clone())
        self.output.out_features = labels
        self._know(tokens)
        return self.config

    def loss(self, scores: Tensor, lengths: Tensor, targets: Tensor, target_lengths: Tensor | None = None) -> Tensor:
        """-log p of each utterance's label: scores (batch, label), targets (batch,) label indices -> (batch,).

        Where every label is a word, the event that none of them was said has a share too: the 1 of the class's formula.
        """
        if self.others:
            return F.cross_entropy(scores, targets, reduction="none")
        return F.cross_entropy(F.pad(scores, (0, 1)), targets, reduction="none")
