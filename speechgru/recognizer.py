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

import torch
from torch import Tensor, nn

import speechgru.encoders
import speechgru.features  # noqa: F401  the imports register the components a model folder can name
from speechgru.audio import read_audio
from speechgru.errors import AudioError, ConfigError, DataError, ModelError
from speechgru.features.fingerprint import fingerprint, fingerprint_difference
from speechgru.heads import EndsPooling
from speechgru.registry import build, component, from_plain, name_of, to_plain
from speechgru.tokens import Tokens

FORMAT = 1


@dataclasses.dataclass
class RecognizerConfig:
    """The three components a recognizer is made of, and where it comes from.

    Attributes:
        features: from waveform to frames.
        encoder: from frames to hidden frames.
        head: from hidden frames to scores.
        data: settings of the corpus it was trained on as plain values, for ``evaluate``; empty where unknown.
    """

    features: Any = component("features")
    encoder: Any = component("encoder")
    head: Any = component("head")
    data: dict[str, Any] = dataclasses.field(default_factory=dict)


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
        pooling = getattr(self.head, "pooling", None)
        if isinstance(pooling, EndsPooling):
            _check_ends(pooling, getattr(self.encoder, "directions", None))

    @property
    def task(self) -> str:
        """The registered name of the head: ``classification``."""
        return name_of("head", self.config.head)

    @property
    def sample_rate(self) -> int:
        """Samples per second of the waveforms it takes."""
        return self.features.sample_rate

    @property
    def device(self) -> torch.device:
        """Where its parameters live."""
        return next(self.parameters()).device

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Scores before the softmax.

        Args:
            waveforms: (batch, samples) at ``sample_rate``, padded to the longest.
            lengths: valid samples of each row, int64 (batch,).

        Returns:
            scores, (batch, labels) for classification, and the encoder's frame counts (batch,).
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
            raise ModelError(f"this model has a {self.task} head; classify needs one with a classification head")
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
        """
        many = isinstance(audio, (list, tuple))
        recordings = audio if many else [audio]
        waveforms = [read_audio(one, self.sample_rate, source_rate=source_rate)[0] for one in recordings]
        with self._in_eval_mode():
            hidden = self.encoder(*self.features(*self._padded(waveforms)))
            vectors = self.head.embed(*hidden).float().cpu()
        return vectors if many else vectors[0]

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

        Each file is complete or not there: it is written beside its place and renamed.
        """
        import yaml
        from safetensors.torch import save

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        plain = {"format": FORMAT, "task": self.task, **to_plain(self.config)}
        write_atomically(folder / "model.safetensors", save(tensors))
        write_atomically(folder / "config.yaml", yaml.safe_dump(plain, sort_keys=False, allow_unicode=True).encode())
        self.tokens.save(folder / "tokens.txt.tmp")
        os.replace(folder / "tokens.txt.tmp", folder / "tokens.txt")
        write_atomically(folder / "fingerprint.json", json.dumps({"features": fingerprint(self.features)}).encode())

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
        return RecognizerConfig(**parts, data=plain.get("data") or {})
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
