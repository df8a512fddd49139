"""Features, encoder and head as one module, and the folder a trained one is kept in."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import os
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import speechgru.encoders
import speechgru.features  # noqa: F401  the imports register the components a model folder can name
from speechgru.audio import read_audio
from speechgru.decoding import GreedyConfig, Hypothesis
from speechgru.decoding.calibration import Calibration
from speechgru.decoding.transcription import Transcription, transcription
from speechgru.errors import AudioError, ConfigError, DataError, ModelError
from speechgru.features.fingerprint import fingerprint, fingerprint_difference
from speechgru.heads import CTCHead, EndsPooling
from speechgru.registry import build, component, from_plain, name_of, names, to_plain
from speechgru.text import BLANK
from speechgru.tokens import Tokens

FORMAT = 1


@dataclasses.dataclass
class RecognizerConfig:
    """The components a recognizer is made of, and where it comes from.

    Attributes:
        features: from waveform to frames.
        encoder: from frames to hidden frames.
        head: from hidden frames to scores.
        data: settings of the corpus it was trained on as plain values, for ``evaluate``; empty where unknown.
        units: what transcripts are written in, of a CTC head; None for classification.
        calibration: of the confidences of words.
    """

    features: Any = component("features")
    encoder: Any = component("encoder")
    head: Any = component("head")
    data: dict[str, Any] = dataclasses.field(default_factory=dict)
    units: Any = component("units", lambda: None)
    calibration: Calibration = dataclasses.field(default_factory=Calibration)


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
        self.features = build("features", config.features)
        self.encoder = build("encoder", config.encoder, self.features.output_size)
        self.head = build("head", config.head, self.encoder.output_size, tokens)
        self.units = build("units", config.units) if config.units is not None else None
        _check_units(self.task, self.units, tokens, isinstance(self.head, CTCHead))
        pooling = getattr(self.head, "pooling", None)
        if isinstance(pooling, EndsPooling):
            _check_ends(pooling, getattr(self.encoder, "directions", None))

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
        features, lengths = self.features(waveforms, lengths)
        hidden, lengths = self.encoder(features, lengths)
        return self.head(hidden, lengths), lengths

    @torch.no_grad()
    def classify(self, audio: Any, top_k: int = 1, source_rate: int | None = None, batch_size: int = 32) -> Any:
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
        if batch_size < 1:
            raise ConfigError(f"batch_size={batch_size}: at least 1")
        results = []
        for start in range(0, len(audio), batch_size):
            batch = audio[start : start + batch_size]
            waveforms = [read_audio(one, self.sample_rate, source_rate=source_rate)[0] for one in batch]
            results += self.classify_waveforms(waveforms, top_k)
        return results

    @torch.no_grad()
    def classify_waveforms(self, waveforms: Sequence[Tensor], top_k: int = 1) -> list[Classification]:
        """Labels waveforms (samples,) that already have ``sample_rate``, in one batch, in eval mode.

        Raises:
            AudioError: a waveform has no samples.
            ConfigError: ``top_k`` is below 1.
            ModelError: the model has no classification head.
        """
        if self.task != "classification":
            mend = "; transcribe is for this one" if self.task == "ctc" else ""
            raise ModelError(f"this model has a {self.task} head; classify needs one with a classification head{mend}")
        if top_k < 1:
            raise ConfigError(f"top_k={top_k}: at least 1")
        if not waveforms:
            return []
        with self._in_eval_mode():
            scores, _ = self(*self._padded(waveforms))
        values, indices = scores.float().softmax(1).cpu().topk(min(top_k, len(self.tokens)))
        results = []
        for row, index, waveform in zip(values.tolist(), indices.tolist(), waveforms, strict=True):
            ranked = {self.tokens.names[i]: value for i, value in zip(index, row, strict=True)}
            duration_s = len(waveform) / self.sample_rate
            results.append(Classification(self.tokens.names[index[0]], row[0], ranked, duration_s))
        return results

    @torch.no_grad()
    def embed(self, audio: Any, source_rate: int | None = None) -> Tensor:
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
        if not hasattr(self.head, "embed"):
            raise ModelError(f"this model has a {self.task} head; embed needs one with a classification head")
        many = isinstance(audio, (list, tuple))
        recordings = audio if many else [audio]
        waveforms = [read_audio(one, self.sample_rate, source_rate=source_rate)[0] for one in recordings]
        with self._in_eval_mode():
            hidden = self.encoder(*self.features(*self._padded(waveforms)))
            vectors = self.head.embed(*hidden).float().cpu()
        return vectors if many else vectors[0]

    def decoder(self, config: Any = None) -> Any:
        """The decoder that ``config`` (of the family "decoder"; None: greedy) configures, for the tokens of this model.

        Raises:
            ModelError: the model has no CTC head.
        """
        self._require_ctc()
        return build("decoder", GreedyConfig() if config is None else config, self.tokens, self.units)

    @torch.no_grad()
    def transcribe(
        self, audio: Any, *, source_rate: int | None = None, batch_size: int = 16, decoder: Any = None
    ) -> Any:
        """The text of one recording, or of every one of a list; the others of a batch make no difference to a result.

        Args:
            audio: a path, bytes, a file object or an array (with ``source_rate``), or a list or tuple of them.
            source_rate: samples per second of arrays.
            batch_size: recordings read and computed at a time, at least 1.
            decoder: what :meth:`decoder` gave; None means greedy.

        Returns:
            A :class:`Transcription`, or a list of them for a list or tuple.

        Raises:
            AudioError: a recording cannot be read.
            ConfigError: ``batch_size`` is below 1.
            ModelError: the model has no CTC head.
        """
        if not isinstance(audio, (list, tuple)):
            return self.transcribe([audio], source_rate=source_rate, decoder=decoder)[0]
        if batch_size < 1:
            raise ConfigError(f"batch_size={batch_size}: at least 1")
        decoder = decoder or self.decoder()
        results = []
        for start in range(0, len(audio), batch_size):
            batch = audio[start : start + batch_size]
            waveforms = [read_audio(one, self.sample_rate, source_rate=source_rate)[0] for one in batch]
            results += self.transcribe_waveforms(waveforms, decoder)
        return results

    def transcribe_waveforms(self, waveforms: Sequence[Tensor], decoder: Any = None) -> list[Transcription]:
        """The text of waveforms (samples,) that already have ``sample_rate``, in one batch, in eval mode.

        Raises:
            AudioError: a waveform has no samples.
            ModelError: the model has no CTC head.
        """
        decoder = decoder or self.decoder()
        return [
            self.transcription(decoder.decode(scores)[0], scores, len(waveform) / self.sample_rate)
            for scores, waveform in zip(self.log_probabilities(waveforms), waveforms, strict=True)
        ]

    def transcription(self, hypothesis: Hypothesis, log_probabilities: np.ndarray, duration_s: float) -> Transcription:
        """Words, times and confidences of what a decoder found in a recording's ``log_probabilities`` (time, token).

        Args:
            hypothesis: one of those the decoder gave.
            log_probabilities: what it was given.
            duration_s: length of the recording in seconds.
        """
        calibration = self.config.calibration
        return transcription(
            hypothesis, log_probabilities, self.tokens, self.units, self.frame_s, duration_s, calibration
        )

    @torch.no_grad()
    def log_probabilities(self, waveforms: Sequence[Tensor]) -> list[np.ndarray]:
        """Log-probabilities of the tokens in each frame, (time, token) float32, of each waveform (samples,); one batch.

        Raises:
            AudioError: a waveform has no samples.
            ModelError: the model has no CTC head.
        """
        self._require_ctc()
        if not waveforms:
            return []
        with self._in_eval_mode():
            scores, lengths = self(*self._padded(waveforms))
        rows = zip(scores.float().cpu().numpy(), lengths.tolist(), strict=True)
        return [row[:length] for row, length in rows]

    def _require_ctc(self) -> None:
        if self.units is None:
            mend = "; classify is for this one" if self.task == "classification" else ""
            raise ModelError(f"this model has a {self.task} head; transcribe needs one with a ctc head{mend}")

    def _padded(self, waveforms: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Waveforms side by side on this device, and their lengths."""
        lengths = torch.tensor([len(waveform) for waveform in waveforms])
        if not int(lengths.min()):
            raise AudioError(f"waveform {int(lengths.argmin())} has no samples; leave it out")
        padded = nn.utils.rnn.pad_sequence(list(waveforms), batch_first=True)
        return padded.to(self.device), lengths.to(self.device)

    @contextlib.contextmanager
    def _in_eval_mode(self) -> Iterator[None]:
        training = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(training)

    def parameter_count(self) -> int:
        """How many numbers training adjusts."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    def narrowed(self, tokens: Tokens) -> Recognizer:
        """A copy that knows only ``tokens``, the first of its own labels; the others were learned to help these."""
        assert self.tokens.names[: len(tokens)] == tokens.names
        copied = copy.deepcopy(self)
        copied.tokens = tokens
        copied.head.narrow(len(tokens))
        return copied

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the model folder: config.yaml, model.safetensors, tokens.txt, fingerprint.json (``card.py``: card.md).

        Units may add files of their own, such as a pronunciation dictionary.

        Each file is complete or not there: it is written beside its place and renamed.
        """
        import yaml
        from safetensors.torch import save

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        write_atomically(folder / "model.safetensors", save(tensors))
        plain = yaml.safe_dump(self._plain_config(), sort_keys=False, allow_unicode=True)
        write_atomically(folder / "config.yaml", plain.encode())
        for name, content in (self.units.files() if self.units is not None else {}).items():
            write_atomically(folder / name, content)
        self.tokens.save(folder / "tokens.txt.tmp")
        os.replace(folder / "tokens.txt.tmp", folder / "tokens.txt")
        write_atomically(folder / "fingerprint.json", json.dumps({"features": fingerprint(self.features)}).encode())

    def _plain_config(self) -> dict[str, Any]:
        """What config.yaml holds."""
        plain = {"format": FORMAT, "task": self.task, **to_plain(self.config)}
        if self.units is None:
            del plain["units"], plain["calibration"]
        else:
            plain["units"] = to_plain(self.units.portable_config(), "units")
        return plain

    @classmethod
    def load(cls, folder: str | os.PathLike[str], device: str | torch.device = "cpu") -> Recognizer:
        """Reads a model folder; nothing in it is executed.

        Args:
            folder: what ``save`` wrote.
            device: where to put the parameters, such as ``cpu`` or ``cuda``.

        Raises:
            ConfigError: the device is not there.
            ModelError: a file is missing or damaged, or features computed here differ from those of training.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        folder, device = Path(folder), _device(device)
        config = _read_config(folder)
        try:
            tokens = Tokens.load(_file(folder, "tokens.txt"))
        except DataError as error:
            raise ModelError(str(error)) from error
        try:
            model = cls(config, tokens)
        except (ConfigError, TypeError, RuntimeError) as error:
            raise ModelError(f"{folder / 'config.yaml'} describes no model: {_one_line(error)}") from error
        try:
            if model.units is not None:
                model.units.restore(folder)
        except (DataError, ConfigError) as error:
            raise ModelError(str(error)) from error
        path = _file(folder, "model.safetensors")
        try:
            tensors = load(path.read_bytes())
        except SafetensorError as error:
            raise ModelError(f"{path} is damaged: {_one_line(error)}; copy it again") from error
        try:
            model.load_state_dict(tensors)
        except RuntimeError as error:
            raise ModelError(f"{path} does not fit config.yaml and tokens.txt: {_one_line(error)}") from error
        model.eval()
        _check_fingerprint(model, folder)
        return model.to(device)


def load(folder: str | os.PathLike[str] | None = None, device: str | torch.device = "cpu") -> Recognizer:
    """The trained model in ``folder``, ready to use; without a folder, the one that ships inside the package."""
    return Recognizer.load(folder if folder is not None else shipped_model(), device)


def shipped_model(name: str = "commands") -> Path:
    """The folder of a model that ships inside the package."""
    folder = Path(__file__).parent / "models" / name
    if not folder.is_dir():
        raise ModelError(f"no model called {name} ships with this package; give a model folder with -m")
    return folder


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file so that a reader, or a restart after a kill, finds the old content or the new, never a part."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _file(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        if not folder.is_dir():
            raise ModelError(f"{folder} is not a folder; give the model folder that a training run wrote")
        mend = "; the model of a run is in its folder model" if (folder / "model").is_dir() else ""
        raise ModelError(f"{folder} holds no {name}, so it is not a model folder{mend}")
    return path


def _read_config(folder: Path) -> RecognizerConfig:
    import yaml

    path = _file(folder, "config.yaml")
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
        for key in ("format", "features", "encoder", "head"):
            if not isinstance(plain, dict) or key not in plain:
                raise ModelError(f"{path} has no key {key}, so it is not the config.yaml of a model folder")
        if not isinstance(plain["format"], int) or plain["format"] > FORMAT:
            raise ModelError(
                f"{path} has format {plain['format']}, this speechgru reads up to {FORMAT}; update speechgru"
            )
        parts = {family: from_plain(plain[family], family) for family in ("features", "encoder", "head")}
        if plain.get("units") is not None:
            parts["units"] = from_plain(plain["units"], "units")
        calibration = Calibration.from_plain(plain["calibration"]) if plain.get("calibration") else Calibration()
        return RecognizerConfig(**parts, calibration=calibration, data=plain.get("data") or {})
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError, ConfigError) as error:
        raise ModelError(f"{path} cannot be read: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return textwrap.shorten(str(error), 300, placeholder=" ...")


def _device(name: str | torch.device) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device={name}: cpu, cuda or cuda:<number>") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device={name}: torch sees {torch.cuda.device_count()} CUDA devices here; use cpu")
    return device


def _check_units(task: str, units: Any, tokens: Tokens, is_ctc: bool) -> None:
    """A CTC head scores the blank and units of transcripts; other heads know no units."""
    if is_ctc and units is None:
        raise ConfigError(f"head={task}: needs units; add units=characters (known: {', '.join(names('units'))})")
    if units is not None and not is_ctc:
        raise ConfigError(f"head={task}: knows no units; choose head=ctc for transcripts, or leave units out")
    if is_ctc and tokens.names[0] != BLANK:
        raise ConfigError(f"tokens: the first of a ctc head is {BLANK}, not {tokens.names[0]!r}; put it there")


def _check_ends(pooling: EndsPooling, directions: int | None) -> None:
    """Ends pooling must know what the halves of a frame are; an encoder of others may not tell (None)."""
    if directions == 0:
        raise ConfigError(
            "head.pooling=ends: the encoder mixes its two directions; set encoder.merge=concat and "
            "encoder.projection_size=0, or choose head.pooling=attention"
        )
    if directions is not None and pooling.bidirectional is not (directions == 2):
        wrong, right = str(pooling.bidirectional).lower(), str(directions == 2).lower()
        raise ConfigError(
            f"head.bidirectional={wrong}: pooling=ends needs head.bidirectional={right}, as encoder.bidirectional is"
        )


def _check_fingerprint(model: Recognizer, folder: Path) -> None:
    path = _file(folder, "fingerprint.json")
    try:
        furthest = fingerprint_difference(json.loads(path.read_text())["features"], fingerprint(model.features))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} is not a fingerprint: {error}; save the model again") from error
    if not furthest <= 1e-2:
        raise ModelError(
            f"{path}: features computed here differ from those of training by {furthest:.3g}; "
            "config.yaml was changed, or the model needs the speechgru version it was trained with"
        )
