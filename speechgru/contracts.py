"""What the parts of a recognizer promise one another: whatever fulfils one of these contracts can be registered.

The fifth contract, for recordings, is the class :class:`speechgru.data.corpora.corpus.Corpus`.
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
        """Switches to training or evaluation mode."""

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
        """The frame counts of waveforms of ``lengths`` samples, (batch,)."""

    def fit(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Computes the statistics from batches of waveforms and their lengths."""


class Encoder(Part, Protocol):
    """From frames to hidden frames: ``Encoder(input_size, config)``.

    Attributes:
        output_size: numbers in a hidden frame.
        subsampling: input frames per hidden frame.
        directions: 2 where a hidden frame is a forward half beside a backward half, 1 where it depends on the past
            alone, 0 where both directions are mixed in every value.
    """

    output_size: int
    subsampling: int
    directions: int

    def __call__(self, features: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(batch, time, feature), (batch,) or None for all -> (batch, shorter time, hidden), frames (batch,)."""

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """The hidden-frame counts of ``lengths`` input frames, (batch,)."""


class Head(Part, Protocol):
    """From hidden frames to scores and a loss: ``Head(input_size, tokens, config, directions)``.

    Attributes:
        verb: the name of the recognizer's method, and of the command, that gives its answers; it says which task is
            trained and measured (``speechgru.evaluation.tasks``).
        needs_units: whether its tokens are units of transcripts, the blank first.
        scores_frames: whether scores are log-probabilities of every frame and targets are sequences, not one label.
    """

    verb: str
    needs_units: bool
    scores_frames: bool

    def __call__(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """(batch, time, hidden), (batch,) -> scores, (batch, label) or (batch, time, token)."""

    def embed(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """One vector for each utterance, (batch, embedding); ModelError where the head makes none."""

    def narrow(self, tokens: Tokens) -> object:
        """Keeps only the labels ``tokens``, which are its first ones; returns the settings that build such a head."""

    def feasible(self, lengths: Tensor, targets: Tensor, target_lengths: Tensor) -> Tensor:
        """Whether the frames suffice for the target, bool (batch,)."""

    def loss(self, scores: Tensor, lengths: Tensor, targets: Tensor, target_lengths: Tensor) -> Tensor:
        """The loss of each utterance, (batch,), whatever the other utterances are."""


class Decoder(Protocol):
    """From the scores of a recording to what was said: ``Decoder(tokens, units, config)``.

    Attributes:
        gives_words: whether hypotheses have words, whatever the units are.
    """

    gives_words: bool

    def decode(self, log_probs: np.ndarray) -> list[Hypothesis]:
        """(time, token) -> hypotheses, the best first; at least one."""


class DecoderStream(Protocol):
    """The search of one utterance whose scores come in parts."""

    def feed(self, log_probs: np.ndarray) -> None:
        """Takes the next scores, (time, token)."""

    def hypotheses(self) -> list[Hypothesis]:
        """What :meth:`Decoder.decode` gives for all scores so far."""

    def settled(self, share: float = 0.0) -> int:
        """How many first words are the same in all sequences that are at least ``share`` times as likely as the best.

        With a share of 0 all later hypotheses begin with these words.
        """


class StreamingDecoder(Decoder, Protocol):
    """A decoder that need not wait for the end."""

    def stream(self) -> DecoderStream:
        """A new search, before its first frame."""
