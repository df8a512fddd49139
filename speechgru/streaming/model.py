"""What streams need of a recognizer, a layer above them; :class:`speechgru.recognizer.Recognizer` fulfils it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from speechgru.contracts import Decoder, Encoder, Features, Head
from speechgru.decoding.hypothesis import Hypothesis
from speechgru.decoding.operating_point import KeywordConfig
from speechgru.decoding.transcription import Transcription
from speechgru.encoders.stepping import EncoderState
from speechgru.features.stream import FeatureStream
from speechgru.tokens import Tokens


class ModelConfig(Protocol):
    """The settings of a recognizer that a stream reads."""

    @property
    def keywords(self) -> KeywordConfig | None:
        """When a score over time is a detection."""


class StreamedModel(Protocol):
    """Features, encoder and head, and what they give; the recognizer documents each."""

    features: Features
    encoder: Encoder
    head: Head
    tokens: Tokens

    @property
    def sample_rate(self) -> int:
        """Samples per second of the waveforms it takes."""

    @property
    def frame_s(self) -> float:
        """Seconds from one of the encoder's frames to the next."""

    @property
    def device(self) -> torch.device:
        """Where its parameters live."""

    @property
    def config(self) -> ModelConfig:
        """Its settings."""

    def decoder(self, config: object = None) -> Decoder:
        """The decoder of a CTC model."""

    def transcription(self, hypothesis: Hypothesis, log_probabilities: np.ndarray, duration_s: float) -> Transcription:
        """Words, times and confidences of what a decoder found."""

    def transcribe_waveforms(self, waveforms: Sequence[Tensor], decoder: Decoder | None = None) -> list[Transcription]:
        """The text of waveforms (samples,) at its rate."""

    def in_eval_mode(self) -> AbstractContextManager[None]:
        """A context in which the answers are those of eval mode."""

    def __call__(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, samples), (batch,) -> scores, and the encoder's frame counts (batch,)."""


class StreamedFeatures(Protocol):
    """Features that can be computed from chunks."""

    def stream(self) -> FeatureStream:
        """The features of one waveform that arrives in chunks; raises ConfigError where they need it whole."""


class SteppedEncoder(Protocol):
    """An encoder that goes step by step (:class:`speechgru.encoders.recurrent.RecurrentEncoder` where ``streams``)."""

    subsampling: int

    @property
    def streams(self) -> bool:
        """Whether it does so with its settings."""

    @property
    def least_look_ahead(self) -> int:
        """Input frames after ``t * subsampling`` that every output frame t has seen."""

    def start(self, batch: int = 1) -> EncoderState:
        """The state before the first frame."""

    def step(
        self, features: Tensor, state: EncoderState, lengths: list[int] | None = None, ended: list[bool] | None = None
    ) -> tuple[Tensor, list[int], EncoderState]:
        """The hidden frames that no later frame can change."""


class FrameScoringHead(Protocol):
    """A head with ``streams = True``: it scores each frame by itself."""

    def frame_scores(self, hidden: Tensor) -> Tensor:
        """(batch, time, hidden) -> probabilities (batch, time, label), of frames up to each one."""
