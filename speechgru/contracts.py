"""What the parts of a recognizer promise one another: anything that keeps to one of these can be registered.

The fifth contract, of recordings, is the class :class:`speechgru.data.corpora.corpus.Corpus`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
from torch import Tensor, nn

from speechgru.decoding.hypothesis import Hypothesis
from speechgru.tokens import Tokens


class Part(Protocol):
    """What every part has because it is an ``nn.Module``."""

    training: bool

    def train(self, mode: bool = True) -> object:
        """Into training or evaluation mode."""

    def buffers(self) -> Iterator[Tensor]:
        """Tables and statistics."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """The numbers that training adjusts."""

    def modules(self) -> Iterator[nn.Module]:
        """Itself and all modules inside."""

    def named_modules(self) -> Iterator[tuple[str, nn.Module]]:
        """The same with their names."""


class Features(Part, Protocol):
    """From waveforms to frames: ``Features(config)``.

    Attributes:
        sample_rate: samples per second of the waveforms.
        hop_s: seconds from one frame to the next.
        output_size: numbers in a frame.
        needs_fit: whether :meth:`fit` must be called before the training.
    """

    sample_rate: int

    @property
    def output_size(self) -> int:
        """Numbers in a frame."""

    @property
    def hop_s(self) -> float:
        """Seconds from one frame to the next."""

    @property
    def needs_fit(self) -> bool:
        """Whether statistics of the training set are wanted."""

    def __call__(self, waveforms: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(batch, samples), (batch,) or None for all -> (batch, time, feature), frames (batch,)."""

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Frames of so many samples, (batch,)."""

    def fit(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Takes the statistics of waveforms and their lengths."""


class Encoder(Part, Protocol):
    """From frames to hidden frames: ``Encoder(input_size, config)``.

    Attributes:
        output_size: numbers in a hidden frame.
        subsampling: input frames per hidden frame.
        directions: 2 where a hidden frame is a forward half beside a backward half, 1 where it knows the past alone, 0
            where both directions are mixed in every value.
    """

    output_size: int
    subsampling: int
    directions: int

    def __call__(self, features: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(batch, time, feature), (batch,) or None for all -> (batch, shorter time, hidden), frames (batch,)."""

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Hidden frames of so many frames, (batch,)."""


class Head(Part, Protocol):
    """From hidden frames to scores and a loss: ``Head(input_size, tokens, config, directions)``.

    Attributes:
        verb: the method of a recognizer, and the command, that gives its answers; it says which task is trained and
            measured (``speechgru.evaluation.tasks``).
        needs_units: whether its tokens are units of transcripts, the blank first.
        scores_frames: whether scores are log-probabilities of every frame and targets sequences, not one label.
    """

    verb: str
    needs_units: bool
    scores_frames: bool

    def __call__(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """(batch, time, hidden), (batch,) -> scores, (batch, label) or (batch, time, token)."""

    def embed(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """One vector an utterance, (batch, embedding); ModelError where the head makes none."""

    def narrow(self, tokens: Tokens) -> object:
        """Forgets all labels but ``tokens``, the first ones; the settings with which it is built so."""

    def feasible(self, lengths: Tensor, targets: Tensor, target_lengths: Tensor) -> Tensor:
        """Whether the frames suffice for the target, bool (batch,)."""

    def loss(self, scores: Tensor, lengths: Tensor, targets: Tensor, target_lengths: Tensor) -> Tensor:
        """Of each utterance, (batch,), whatever the others are."""


class Decoder(Protocol):
    """From the scores of a recording to what was said: ``Decoder(tokens, units, config)``.

    Attributes:
        gives_words: whether hypotheses have words, of whatever units.
    """

    gives_words: bool

    def decode(self, log_probs: np.ndarray) -> list[Hypothesis]:
        """(time, token) -> hypotheses, the best first; at least one."""


class DecoderStream(Protocol):
    """The search of one utterance whose scores come in parts."""

    def feed(self, log_probs: np.ndarray) -> None:
        """Takes the scores (time, token) that follow."""

    def hypotheses(self) -> list[Hypothesis]:
        """What :meth:`Decoder.decode` gives of all scores so far."""

    def settled(self, share: float = 0.0) -> int:
        """With how many words all sequences begin that are at least ``share`` as likely as the best one.

        With a share of 0 all hypotheses to come begin with them.
        """


class StreamingDecoder(Decoder, Protocol):
    """A decoder that need not wait for the end."""

    def stream(self) -> DecoderStream:
        """A search before its first frame."""
