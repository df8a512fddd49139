"""Recordings in, labels or text out: how to ask a trained model."""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar, overload

import numpy as np
import torch
from torch import Tensor, nn

from speechgru.audio import read_audio
from speechgru.classification import Classification
from speechgru.contracts import Decoder
from speechgru.decoding import GreedyConfig, Hypothesis
from speechgru.decoding.silence import is_even, without_silence
from speechgru.decoding.transcription import Transcription, transcription
from speechgru.errors import AudioError, ConfigError, ModelError
from speechgru.model import Model
from speechgru.model_folder import RecognizerConfig
from speechgru.registry import build
from speechgru.shipped import default_model, model_path
from speechgru.streaming.stream import Stream, StreamConfig
from speechgru.tokens import Tokens

if TYPE_CHECKING:
    from speechgru.audio.reading import Source as Audio

Recording = TypeVar("Recording", bound="Audio")


class Recognizer(Model):
    """A model that answers about recordings; to train it, see :class:`~speechgru.model.Model`.

    Args:
        config: the components.
        tokens: the labels (or symbols) the head scores.

    Raises:
        ConfigError: the components do not fit together.
    """

    def __init__(self, config: RecognizerConfig, tokens: Tokens) -> None:
        super().__init__(config, tokens)
        self._own_decoder: tuple[object, Decoder] | None = None  # and its settings

    @overload
    def classify(
        self, audio: Audio, top_k: int = 1, source_rate: int | None = None, batch_size: int = 32
    ) -> Classification: ...

    @overload
    def classify(
        self,
        audio: list[Recording] | tuple[Recording, ...],
        top_k: int = 1,
        source_rate: int | None = None,
        batch_size: int = 32,
    ) -> list[Classification]: ...

    @torch.no_grad()
    def classify(
        self,
        audio: Audio | list[Recording] | tuple[Recording, ...],
        top_k: int = 1,
        source_rate: int | None = None,
        batch_size: int = 32,
    ) -> Classification | list[Classification]:
        """Labels one recording, or every one of a list; the other recordings of a batch do not change a result.

        Args:
            audio: a path, bytes, a file object or an array (with ``source_rate``), or a list or tuple of them.
            top_k: how many labels ``scores`` holds, at least 1.
            source_rate: samples per second of arrays.
            batch_size: recordings read and computed at a time, at least 1.

        Returns:
            A :class:`Classification`, or a list of them for a list or tuple.

        Raises:
            AudioError: a recording cannot be read.
            ConfigError: ``top_k`` or ``batch_size`` is below 1.
            ModelError: the model has no classification head.
        """
        if not isinstance(audio, (list, tuple)):
            return self.classify([audio], top_k, source_rate)[0]
        results = []
        for waveforms in self._read(audio, source_rate, batch_size):
            results += self.classify_waveforms(waveforms, top_k)
        return results

    @torch.no_grad()
    def classify_waveforms(self, waveforms: Sequence[Tensor], top_k: int = 1) -> list[Classification]:
        """Labels waveforms (samples,) that already have ``sample_rate``, in one batch, in eval mode.

        Raises:
            AudioError: a waveform has no samples.
            ConfigError: ``top_k`` is below 1.
            ModelError: the model has no classification head, or its scores are not finite numbers.
        """
        self.require("classify", "classification")
        if top_k < 1:
            raise ConfigError(f"top_k={top_k}: at least 1")
        if not waveforms:
            return []
        with self.in_eval_mode():
            scores, _ = self(*self._padded(waveforms))
        if not scores.isfinite().all():
            raise ModelError("the model's scores are no numbers: its weights are damaged, or its training diverged")
        values, indices = scores.float().softmax(1).cpu().topk(min(top_k, len(self.tokens)))
        results = []
        for row, index, waveform in zip(values.tolist(), indices.tolist(), waveforms, strict=True):
            ranked = {self.tokens.names[i]: value for i, value in zip(index, row, strict=True)}
            duration_s = len(waveform) / self.sample_rate
            results.append(Classification(self.tokens.names[index[0]], row[0], ranked, duration_s))
        return results

    @torch.no_grad()
    def embed(self, audio: Audio | list[Recording] | tuple[Recording, ...], source_rate: int | None = None) -> Tensor:
        """One vector for a recording, from which the scores are computed: to compare recordings, such as by speaker.

        Args:
            audio: as for :meth:`classify`.
            source_rate: samples per second of arrays.

        Returns:
            ``(embedding,)``, or ``(recordings, embedding)`` for a list, on the CPU. The batch does not change a vector.

        Raises:
            AudioError: a recording cannot be read.
            ModelError: the head makes no vector of a recording.
        """
        if not isinstance(audio, (list, tuple)):
            return self.embed([audio], source_rate)[0]
        waveforms = [read_audio(one, self.sample_rate, source_rate=source_rate)[0] for one in audio]
        with self.in_eval_mode():
            if waveforms:
                hidden, lengths = self.encoder(*self.features(*self._padded(waveforms)))
            else:  # the size of a vector is known to the head alone
                hidden = torch.zeros(0, 1, self.encoder.output_size, device=self.device)
                lengths = torch.zeros(0, dtype=torch.int64, device=self.device)
            return self.head.embed(hidden, lengths).float().cpu()

    def decoder(self, config: object = None) -> Decoder:
        """The decoder that ``config`` configures, for the tokens of this model.

        Args:
            config: of the family "decoder"; None takes the model's own (``config.decoder``), which is made once.

        Raises:
            DataError: a file of the decoder cannot be read or does not fit.
            ModelError: the model has no CTC head.
        """
        self.require("transcribe", "ctc")
        if config is not None:
            return build("decoder", config, self.tokens, self.units)
        own = GreedyConfig() if self.config.decoder is None else self.config.decoder
        if self._own_decoder is None or self._own_decoder[0] != own:
            self._own_decoder = copy.deepcopy(own), build("decoder", own, self.tokens, self.units)
        return self._own_decoder[1]

    @overload
    def transcribe(
        self, audio: Audio, *, source_rate: int | None = None, batch_size: int = 16, decoder: Decoder | None = None
    ) -> Transcription: ...

    @overload
    def transcribe(
        self,
        audio: list[Recording] | tuple[Recording, ...],
        *,
        source_rate: int | None = None,
        batch_size: int = 16,
        decoder: Decoder | None = None,
    ) -> list[Transcription]: ...

    @torch.no_grad()
    def transcribe(
        self,
        audio: Audio | list[Recording] | tuple[Recording, ...],
        *,
        source_rate: int | None = None,
        batch_size: int = 16,
        decoder: Decoder | None = None,
    ) -> Transcription | list[Transcription]:
        """The text of one recording, or of every one of a list; the other recordings of a batch do not change a result.

        Args:
            audio: a path, bytes, a file object or an array (with ``source_rate``), or a list or tuple of them.
            source_rate: samples per second of arrays.
            batch_size: recordings read and computed at a time, at least 1.
            decoder: what :meth:`decoder` gave; None means the model's own.

        Returns:
            A :class:`Transcription`, or a list of them for a list or tuple.

        Raises:
            AudioError: a recording cannot be read.
            ConfigError: ``batch_size`` is below 1.
            ModelError: the model has no CTC head.
        """
        if not isinstance(audio, (list, tuple)):
            return self.transcribe([audio], source_rate=source_rate, decoder=decoder)[0]
        decoder = decoder or self.decoder()
        results = []
        for waveforms in self._read(audio, source_rate, batch_size):
            results += self.transcribe_waveforms(waveforms, decoder)
        return results

    def transcribe_waveforms(self, waveforms: Sequence[Tensor], decoder: Decoder | None = None) -> list[Transcription]:
        """The text of waveforms (samples,) that already have ``sample_rate``, in one batch, in eval mode.

        A model that knows what it does not know gives no text for a sound of even level: nobody speaks in it.

        Raises:
            AudioError: a waveform has no samples.
            ModelError: the model has no CTC head.
        """
        decoder = decoder or self.decoder()
        results = []
        for scores, waveform in zip(self.log_probabilities(waveforms), waveforms, strict=True):
            found = self.transcription(decoder.decode(scores)[0], scores, len(waveform) / self.sample_rate)
            samples = waveform.cpu().numpy()
            if self.config.familiarity and is_even(samples, self.sample_rate):
                results.append(dataclasses.replace(found, text="", words=[], tokens=[], familiar=None))
                continue
            words = without_silence(found.words, samples, self.sample_rate)
            results.append(dataclasses.replace(found, words=words))
        return results

    def stream(self, config: StreamConfig | None = None, decoder: Decoder | None = None) -> Stream:
        """A new stream through this model: ``feed(samples, rate)`` and ``flush()`` give the words or labels heard.

        Any number of streams may share the model, in any threads.

        Args:
            config: how it listens: pauses, windows, thresholds; its defaults where None.
            decoder: for transcripts, what :meth:`decoder` gave; None means the model's own.

        Raises:
            ModelError: the decoder needs whole recordings.
        """
        return Stream(self, config, decoder)

    def transcription(self, hypothesis: Hypothesis, log_probabilities: np.ndarray, duration_s: float) -> Transcription:
        """Words, times and confidences of what a decoder found in a recording's ``log_probabilities`` (time, token).

        Args:
            hypothesis: one of those the decoder gave.
            log_probabilities: what it was given.
            duration_s: length of the recording in seconds.
        """
        units, calibration = self.transcript_units, self.config.calibration
        found = transcription(hypothesis, log_probabilities, self.tokens, units, self.frame_s, duration_s, calibration)
        known = self.config.familiarity
        if known is None or not found.tokens:
            return found
        return dataclasses.replace(found, familiar=found.entropy <= known.most_entropy)

    @torch.no_grad()
    def log_probabilities(self, waveforms: Sequence[Tensor]) -> list[np.ndarray]:
        """Log-probabilities of the tokens in each frame, (time, token) float32, of each waveform (samples,); one batch.

        Raises:
            AudioError: a waveform has no samples.
            ModelError: the model has no CTC head.
        """
        self.require("transcribe", "ctc")
        if not waveforms:
            return []
        with self.in_eval_mode():
            scores, lengths = self(*self._padded(waveforms))
        rows = zip(scores.float().cpu().numpy(), lengths.tolist(), strict=True)
        return [row[:length] for row, length in rows]

    def _read(self, audio: Sequence[Audio], source_rate: int | None, batch_size: int) -> Iterator[list[Tensor]]:
        """The waveforms of recordings, in batches."""
        if batch_size < 1:
            raise ConfigError(f"batch_size={batch_size}: at least 1")
        for start in range(0, len(audio), batch_size):
            batch = audio[start : start + batch_size]
            yield [read_audio(one, self.sample_rate, source_rate=source_rate)[0] for one in batch]

    def _padded(self, waveforms: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Waveforms side by side on this device, and their lengths."""
        lengths = torch.tensor([len(waveform) for waveform in waveforms])
        if not int(lengths.min()):
            raise AudioError(f"waveform {int(lengths.argmin())} has no samples; leave it out")
        padded = nn.utils.rnn.pad_sequence(list(waveforms), batch_first=True)
        return padded.to(self.device), lengths.to(self.device)


def load(model: str | os.PathLike[str] | None = None, device: str | torch.device = "cpu") -> Recognizer:
    """A trained model, ready to use.

    Args:
        model: the name of a model that ships inside the package, a folder (if a shipped model has the same name:
            ``./commands``, or a Path), or ``hf://owner/name`` of the Hugging Face Hub, ``hf://owner/name@revision`` for
            a fixed revision (:func:`speechgru.hub.fetch`); None takes the shipped classifier.
        device: where to put the parameters, such as ``cpu`` or ``cuda``.

    Raises:
        ConfigError: the device is not there.
        ModelError: there is no such model, or its folder is damaged.
    """
    try:
        folder = model_path(model) if model is not None else default_model("classification")
    except ConfigError as error:
        raise ModelError(str(error)) from None
    if folder is None:
        raise ModelError("no model ships with this version; give the folder of a trained one")
    return Recognizer.load(folder, device)
