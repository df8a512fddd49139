"""What the parts of a recognizer may expect of each other, whoever wrote them.

A class that has these members fits; it need not know this file. The fifth contract, of a corpus, is the class
:class:`speechgru.data.corpora.corpus.Corpus`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from speechgru.decoding.hypothesis import Hypothesis
from speechgru.tokens import Tokens


class Features(Protocol):
    """Waveforms to frames, an ``nn.Module``.

    Attributes:
        config: its settings.
        output_size: numbers in a frame.
        sample_rate: of the waveforms it takes, in Hz.
        hop_s: seconds from one frame to the next.
        needs_fit: whether :meth:`fit` has to be called before the first frame.
    """

    config: Any
    sample_rate: int

    @property
    def output_size(self) -> int: ...

    @property
    def hop_s(self) -> float: ...

    @property
    def needs_fit(self) -> bool: ...

    def __call__(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Frames (batch, time, feature) and their counts, of waveforms (batch, samples) and theirs."""

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """The frame counts of waveforms of so many samples, (batch,)."""

    def fit(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Learns the statistics of a training set."""


class Encoder(Protocol):
    """Frames to hidden frames, an ``nn.Module``.

    Attributes:
        config: its settings.
        output_size: numbers in a hidden frame.
        subsampling: frames for each hidden frame.
        directions: 2 where a hidden frame is a forward and a backward half, 1 where it is a forward one, 0 where the
            two are mixed.
    """

    config: Any
    output_size: int
    subsampling: int
    directions: int

    def __call__(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden frames (batch, time, hidden) and their counts, of frames (batch, time, feature) and theirs."""

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """The hidden frame counts of so many frames, (batch,)."""


class Head(Protocol):
    """Hidden frames to scores and a loss, an ``nn.Module``.

    Attributes:
        config: its settings.
        scores_frames: whether it scores every frame, and is taught by a sequence; else by one label.
        verb: the command that uses it.
    """

    config: Any
    scores_frames: bool
    verb: str

    def __call__(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Scores, of hidden frames (batch, time, hidden) and their counts."""

    def loss(self, scores: Tensor, lengths: Tensor, targets: Tensor, target_lengths: Tensor | None = None) -> Tensor:
        """The loss of each utterance, (batch,)."""

    def feasible(self, lengths: Tensor, targets: Tensor, target_lengths: Tensor | None) -> Tensor:
        """Whether each utterance's frames suffice for its target, bool (batch,)."""

    def narrow(self, tokens: Tokens) -> None:
        """Forgets all labels but the first ones, ``tokens``."""


class Decoder(Protocol):
    """Scores of frames to token sequences.

    Attributes:
        gives_words: whether its hypotheses say which tokens are words.
    """

    gives_words: bool

    def decode(self, log_probs: np.ndarray) -> list[Hypothesis]:
        """Hypotheses, best first, of log-probabilities (frames, tokens)."""
