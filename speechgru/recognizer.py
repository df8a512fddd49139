"""Features, encoder and head as one module."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np
import torch
from torch import Tensor, nn

import speechgru.encoders
import speechgru.features
import speechgru.heads  # noqa: F401  the imports register the components a model folder can name
from speechgru.audio import read_audio
from speechgru.checksums import check_checksums
from speechgru.contracts import Decoder, Encoder, Features, Head
from speechgru.decoding import GreedyConfig, Hypothesis
from speechgru.decoding.silence import without_silence
from speechgru.decoding.transcription import Transcription, transcription
from speechgru.devices import find_device
from speechgru.errors import AudioError, ConfigError, DataError, ModelError, one_line
from speechgru.features.fingerprint import fingerprint
from speechgru.model_folder import (
    RecognizerConfig,
    check_fingerprint,
    read_config,
    read_tokens,
    read_weights,
    write_folder,
)
from speechgru.registry import build, entry, name_of, names
from speechgru.shipped import default_model, model_path
from speechgru.text import BLANK, Units
from speechgru.tokens import Tokens

if TYPE_CHECKING:
    from speechgru.audio.reading import Source as Audio

Recording = TypeVar("Recording", bound="Audio")

# Held while a model changes between training and eval mode, not while it computes.
_MODES = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Classification:
    """What a recording was classified as.

    Attributes:
        label: the most probable label.
        confidence: its probability, 0 to 1.
        scores: the ``top_k`` labels with their probabilities, the most probable first.
        duration_s: length of the recording in seconds.
    """

    label: str
    confidence: float
    scores: dict[str, float]
    duration_s: float


class Recognizer(nn.Module):
    """Waveforms in, scores out: features, encoder and head in one module, with the names of its labels.

    Args:
        config: the components.
        tokens: the labels (or symbols) the head scores.

    Raises:
        ConfigError: the components do not fit together.
    """

    def __init__(self, config: RecognizerConfig, tokens: Tokens) -> None:
        super().__init__()
        self.config = config
        self.tokens = tokens
        self.features: Features = build("features", config.features)
        self.encoder: Encoder = build("encoder", config.encoder, self.features.output_size)
        self.units: Units | None = build("units", config.units) if config.units is not None else None
        check_units(self.task, self.units, tokens)
        self.head: Head = build(
            "head", config.head, self.encoder.output_size, tokens, directions=self.encoder.directions
        )
        self._own_decoder: tuple[object, Decoder] | None = None  # and its settings
        self._answering = 0  # threads at it
        self._in_training: list[nn.Module] = []  # what they found in training mode

    @property
    def task(self) -> str:
        """The registered name of the head: ``classification`` or ``ctc``."""
        return name_of("head", self.config.head)

    @property
    def sample_rate(self) -> int:
        """Samples per second of the waveforms it takes."""
        return self.features.sample_rate

    @property
    def frame_s(self) -> float:
        """Seconds from one of the encoder's frames to the next."""
        return self.features.hop_s * self.encoder.subsampling

    def output_lengths(self, samples: Tensor) -> Tensor:
        """The encoder's frame counts of waveforms of so many samples, (batch,)."""
        return self.encoder.output_lengths(self.features.output_lengths(samples))

    @property
    def device(self) -> torch.device:
        """Where its parameters live."""
        return next(self.parameters()).device

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Scores before the softmax; of CTC after it.

        Args:
            waveforms: (batch, samples) at ``sample_rate``, padded to the longest.
            lengths: valid samples of each row, int64 (batch,).

        Returns:
            scores, (batch, labels) for classification, log-probabilities (batch, time, token) for CTC, and the
            encoder's frame counts (batch,).
        """
        return self.score(*self.features(waveforms, lengths))

    def score(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """What :meth:`forward` gives, of frames (batch, time, feature) and their counts (batch,)."""
        hidden, lengths = self.encoder(features, lengths)
        return self.head(hidden, lengths), lengths

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
        """Labels one recording, or every one of a list; the others of a batch make no difference to a result.

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
            ModelError: the model has no classification head, or scores that are no numbers.
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
        """One vector for a recording, from which the scores are made, to compare recordings by (such as speakers).

        Args:
            audio: as for :meth:`classify`.
            source_rate: samples per second of arrays.

        Returns:
            ``(embedding,)``, or ``(recordings, embedding)`` for a list, on the CPU. The batch makes no difference.

        Raises:
            AudioError: a recording cannot be read.
            ModelError: the head makes no vector of a recording.
        """
        if not isinstance(audio, (list, tuple)):
            return self.embed([audio], source_rate)[0]
        waveforms = [read_audio(one, self.sample_rate, source_rate=source_rate)[0] for one in audio]
        with self.in_eval_mode():
            return self.head.embed(*self.encoder(*self.features(*self._padded(waveforms)))).float().cpu()

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
        """The text of one recording, or of every one of a list; the others of a batch make no difference to a result.

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

        Raises:
            AudioError: a waveform has no samples.
            ModelError: the model has no CTC head.
        """
        decoder = decoder or self.decoder()
        results = []
        for scores, waveform in zip(self.log_probabilities(waveforms), waveforms, strict=True):
            found = self.transcription(decoder.decode(scores)[0], scores, len(waveform) / self.sample_rate)
            words = without_silence(found.words, waveform.cpu().numpy(), self.sample_rate)
            results.append(dataclasses.replace(found, words=words))
        return results

    def transcription(self, hypothesis: Hypothesis, log_probabilities: np.ndarray, duration_s: float) -> Transcription:
        """Words, times and confidences of what a decoder found in a recording's ``log_probabilities`` (time, token).

        Args:
            hypothesis: one of those the decoder gave.
            log_probabilities: what it was given.
            duration_s: length of the recording in seconds.
        """
        units, calibration = self.transcript_units, self.config.calibration
        return transcription(hypothesis, log_probabilities, self.tokens, units, self.frame_s, duration_s, calibration)

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

    @property
    def transcript_units(self) -> Units:
        """The units its transcripts are written in; ModelError where it makes none."""
        if self.units is None:
            raise self._unfit("transcribe", "ctc")
        return self.units

    def require(self, verb: str, head: str) -> None:
        """ModelError unless its answers are had by ``verb``, as those of models with such a ``head`` are."""
        if self.head.verb != verb:
            raise self._unfit(verb, head)

    def _unfit(self, verb: str, head: str) -> ModelError:
        return ModelError(
            f"this model has a {self.task} head; {verb} needs one with a {head} head; {self.head.verb} is for this one"
        )

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

    @contextlib.contextmanager
    def in_eval_mode(self) -> Iterator[None]:
        """Answers are those of eval mode; after the last of several threads, each module has the mode it had before."""
        with _MODES:
            self._answering += 1
            if self._answering == 1:
                self._in_training = [module for module in self.modules() if module.training]
                self.eval()
        try:
            yield
        finally:
            with _MODES:
                self._answering -= 1
                if not self._answering:
                    for module in self._in_training:
                        module.training = True
                    self._in_training = []

    def parameter_count(self) -> int:
        """How many numbers training adjusts."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    def narrowed(self, tokens: Tokens) -> Recognizer:
        """A copy that knows only ``tokens``, the first of its own labels; the others were learned to help these."""
        assert self.tokens.names[: len(tokens)] == tokens.names
        copied = copy.deepcopy(self)
        copied.tokens = tokens
        copied.config.head = copied.head.narrow(tokens)
        return copied

    def save(self, folder: str | os.PathLike[str], *, half: bool = False) -> None:
        """Writes the model folder (:mod:`speechgru.model_folder`; ``card.py`` adds the card).

        Args:
            folder: where; it is made if it is not there, and of an older model only the files are replaced.
            half: keep the parameters as float16, which halves the file; statistics stay as they are, and ``load`` gives
                float32.

        Raises:
            DataError: a file of the decoder cannot be read.
            ModelError: with ``half``, a parameter that is beyond float16.
        """
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        for name, _ in self.named_parameters() if half else ():
            tensors[name] = tensors[name].half()
            if not tensors[name].isfinite().all():
                raise ModelError(f"{name} has numbers that float16 cannot hold; save the model in float32")
        files = self.units.files() if self.units is not None else {}
        config = self.config
        if self.units is not None:
            config = dataclasses.replace(config, units=self.units.portable_config())
        write_folder(
            Path(folder),
            config,
            self.task,
            tensors,
            self.tokens,
            fingerprint(self.features),
            files,
        )

    @classmethod
    def load(cls, folder: str | os.PathLike[str], device: str | torch.device = "cpu") -> Recognizer:
        """Reads a model folder; nothing in it is executed.

        Args:
            folder: what ``save`` wrote. The language model of its decoder is read when it is first needed.
            device: where to put the parameters, such as ``cpu`` or ``cuda``.

        Raises:
            ConfigError: the device is not there.
            ModelError: a file is missing or damaged, or features computed here differ from those of training.
        """
        folder, device = Path(folder), find_device(device)
        check_checksums(folder)
        config, tokens = read_config(folder), read_tokens(folder)
        try:
            tensors = read_weights(folder, config, tokens)
            model = cls(config, tokens)
        except (ConfigError, TypeError, RuntimeError, OverflowError) as error:
            raise ModelError(f"{folder / 'config.yaml'} describes no model: {one_line(error)}") from error
        try:
            if model.units is not None:
                model.units.restore(folder)
        except (DataError, ConfigError) as error:
            raise ModelError(str(error)) from error
        try:
            model.load_state_dict(tensors)
        except RuntimeError as error:
            raise ModelError(
                f"{folder / 'model.safetensors'} does not fit config.yaml and tokens.txt: {one_line(error)}"
            ) from error
        model.eval()
        check_fingerprint(folder, fingerprint(model.features))
        return model.to(device)


def load(model: str | os.PathLike[str] | None = None, device: str | torch.device = "cpu") -> Recognizer:
    """A trained model, ready to use.

    Args:
        model: the name of one that ships inside the package, or a folder (one that is called as a shipped model is:
            ``./commands``, or a Path); None takes the shipped classifier.
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


def check_units(head: str, units: Units | None, tokens: Tokens | None = None) -> None:
    """A CTC head scores the blank and units of transcripts; other heads know no units.

    Raises:
        ConfigError: the head of this name is given no units or may have none, or the first of ``tokens`` is no blank.
    """
    component: Any = entry("head", head).component
    needed: bool = component.needs_units
    if needed and units is None:
        raise ConfigError(f"head={head}: needs units; add units=characters (known: {', '.join(names('units'))})")
    if units is not None and not needed:
        raise ConfigError(f"head={head}: knows no units; choose head=ctc for transcripts, or leave units out")
    if needed and tokens is not None and tokens.names[0] != BLANK:
        raise ConfigError(f"tokens: the first of a ctc head is {BLANK}, not {tokens.names[0]!r}; put it there")
