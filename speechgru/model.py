"""Features, encoder and head as one module."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

import speechgru.encoders
import speechgru.features  # noqa: F401  the imports register the components a model folder can name
from speechgru.checksums import check_checksums
from speechgru.contracts import Encoder, Features, Head
from speechgru.devices import find_device
from speechgru.errors import ConfigError, DataError, ModelError, one_line
from speechgru.features.fingerprint import fingerprint
from speechgru.heads.units import check_units
from speechgru.model_folder import (
    RecognizerConfig,
    check_fingerprint,
    read_config,
    read_tokens,
    read_weights,
    write_folder,
)
from speechgru.registry import build, name_of
from speechgru.text import Units
from speechgru.tokens import Tokens

# Held while a model changes between training and eval mode, not while it computes.
_MODES = threading.Lock()


@dataclasses.dataclass
class _Modes:
    """The modes of a model, in an object of their own: torch takes microseconds to set an attribute of a module.

    Attributes:
        answering: threads that compute answers.
        in_training: the modules that the first of these threads found in training mode.
    """

    answering: int = 0
    in_training: list[nn.Module] = dataclasses.field(default_factory=list)


class Model(nn.Module):
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
        self._modes = _Modes()

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
        """The encoder's frame counts for waveforms of ``samples`` samples, (batch,)."""
        return self.encoder.output_lengths(self.features.output_lengths(samples))

    @property
    def device(self) -> torch.device:
        """The device that its parameters are on."""
        return next(self.parameters()).device

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Scores before the softmax; those of CTC after it.

        Args:
            waveforms: (batch, samples) at ``sample_rate``, padded to the longest.
            lengths: valid samples of each row, int64 (batch,).

        Returns:
            scores, (batch, labels) for classification, log-probabilities (batch, time, token) for CTC, and the
            encoder's frame counts (batch,).
        """
        return self.score(*self.features(waveforms, lengths))

    def score(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """What :meth:`forward` gives, from frames (batch, time, feature) and their counts (batch,)."""
        hidden, lengths = self.encoder(features, lengths)
        return self.head(hidden, lengths), lengths

    @property
    def transcript_units(self) -> Units:
        """The units its transcripts are written in; ModelError where it makes none."""
        if self.units is None:
            raise self._unfit("transcribe", "ctc")
        return self.units

    def require(self, verb: str, head: str) -> None:
        """Raises ModelError unless ``verb`` gives its answers, as it does for models with such a ``head``."""
        if self.head.verb != verb:
            raise self._unfit(verb, head)

    def _unfit(self, verb: str, head: str) -> ModelError:
        return ModelError(
            f"this model has a {self.task} head; {verb} needs one with a {head} head; {self.head.verb} is for this one"
        )

    @contextlib.contextmanager
    def in_eval_mode(self) -> Iterator[None]:
        """Inside, answers are those of eval mode; after the last of several threads, each module has its old mode."""
        modes = self._modes
        with _MODES:
            modes.answering += 1
            if modes.answering == 1:
                modes.in_training = _in_training(self)
                if modes.in_training:
                    self.eval()
        try:
            yield
        finally:
            with _MODES:
                modes.answering -= 1
                if not modes.answering:
                    for module in modes.in_training:
                        module.training = True
                    modes.in_training = []

    def parameter_count(self) -> int:
        """How many numbers training adjusts."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    def narrowed(self, tokens: Tokens) -> Self:
        """A copy that knows only ``tokens``, the first of its own labels; the others were learned to help these."""
        assert self.tokens.names[: len(tokens)] == tokens.names
        copied = copy.deepcopy(self)
        copied.tokens = tokens
        copied.config.head = copied.head.narrow(tokens)
        return copied

    def save(self, folder: str | os.PathLike[str], *, half: bool = False) -> None:
        """Writes the model folder (:mod:`speechgru.model_folder`; ``card.py`` adds the card).

        Args:
            folder: where to write; it is made if it is not there. In an older model's folder only files are replaced.
            half: keep the parameters as float16, which halves the file; statistics stay as they are, and ``load`` gives
                float32.

        Raises:
            DataError: a file of the decoder cannot be read.
            ModelError: with ``half``, a parameter is beyond float16.
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
    def load(cls, folder: str | os.PathLike[str], device: str | torch.device = "cpu") -> Self:
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


def _in_training(model: nn.Module) -> list[nn.Module]:
    """The modules of a model that are in training mode; torch's ``modules()`` takes ten times as long."""
    found, left = [], [model]
    while left:
        module = left.pop()
        if module.training:
            found.append(module)
        left += [child for child in module._modules.values() if child is not None]
    return found
