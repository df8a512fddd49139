"""The folder a trained model is kept in: names and numbers alone, nothing in it is executed.

- ``config.yaml``: the components by name with their settings;
- ``model.safetensors``: parameters and statistics;
- ``tokens.txt``: what the outputs stand for;
- ``fingerprint.json``: the features of a fixed chirp, to tell when they are computed differently;
- what units and decoder need: ``pronunciations.txt``, ``subwords.model``, ``language_model.arpa.gz``, ``lexicon.txt``.

``card.py`` adds ``card.md``.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from speechgru.decoding.calibration import Calibration
from speechgru.errors import ConfigError, DataError, ModelError
from speechgru.features.fingerprint import fingerprint_difference
from speechgru.files import write_atomically
from speechgru.registry import component, from_plain, to_plain, to_yaml
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
        decoder: how a CTC model's scores become text; None means greedily.
    """

    features: Any = component("features")
    encoder: Any = component("encoder")
    head: Any = component("head")
    data: dict[str, Any] = dataclasses.field(default_factory=dict)
    units: Any = component("units", lambda: None)
    calibration: Calibration = dataclasses.field(default_factory=Calibration)
    decoder: Any = component("decoder", lambda: None)


def write_folder(
    folder: Path,
    config: RecognizerConfig,
    task: str,
    tensors: Mapping[str, Tensor],
    tokens: Tokens,
    fingerprint: Any,
    files: Mapping[str, bytes],
) -> None:
    """Writes a model folder. Each file is complete or not there: it is written beside its place and renamed.

    Args:
        folder: is made if it is not there.
        config: what config.yaml says; the files that its decoder names are copied.
        task: the registered name of the head.
        tensors: the state of the recognizer.
        tokens: its outputs.
        fingerprint: of its features (:func:`speechgru.features.fingerprint.fingerprint`).
        files: what the units keep, content by name.

    Raises:
        DataError: a file of the decoder cannot be read.
    """
    from safetensors.torch import save

    decoder, decoder_files = _taken_in(config.decoder)
    plain = {"format": FORMAT, "task": task, **to_plain(dataclasses.replace(config, decoder=decoder))}
    if config.units is None:
        del plain["units"], plain["calibration"]
    if config.decoder is None:
        del plain["decoder"]
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "model.safetensors", save(dict(tensors)))
    write_atomically(folder / "config.yaml", to_yaml(plain))
    for name, content in {**files, **decoder_files}.items():
        write_atomically(folder / name, content)
    tokens.save(folder / "tokens.txt")
    write_atomically(folder / "fingerprint.json", json.dumps({"features": fingerprint}).encode())


def read_config(folder: Path) -> RecognizerConfig:
    """What config.yaml says; a decoder's files are those of the folder.

    Raises:
        ModelError: it is missing, or says nothing that this version understands.
    """
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
        for family in ("units", "decoder"):
            if plain.get(family) is not None:
                parts[family] = from_plain(plain[family], family)
        calibration = Calibration.from_plain(plain["calibration"]) if plain.get("calibration") else Calibration()
        config = RecognizerConfig(**parts, calibration=calibration, data=plain.get("data") or {})
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError, ConfigError) as error:
        raise ModelError(f"{path} cannot be read: {one_line(error)}") from error
    config.decoder = _found_in(folder, config.decoder)
    return config


def read_tokens(folder: Path) -> Tokens:
    """The names of the outputs.

    Raises:
        ModelError: tokens.txt is missing or damaged.
    """
    try:
        return Tokens.load(_file(folder, "tokens.txt"))
    except DataError as error:
        raise ModelError(str(error)) from error


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Parameters and statistics, floats of any width as float32.

    Raises:
        ModelError: model.safetensors is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = _file(folder, "model.safetensors")
    try:
        tensors = load(path.read_bytes())
    except SafetensorError as error:
        raise ModelError(f"{path} is damaged: {one_line(error)}; copy it again") from error
    return {name: one.float() if one.dtype == torch.float16 else one for name, one in tensors.items()}


def check_fingerprint(folder: Path, computed: Any) -> None:
    """Compares the features of a fixed chirp with those of the machine that wrote the folder.

    Raises:
        ModelError: they differ, or fingerprint.json is missing or damaged.
    """
    path = _file(folder, "fingerprint.json")
    try:
        furthest = fingerprint_difference(json.loads(path.read_text())["features"], computed)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} is not a fingerprint: {error}; save the model again") from error
    if not furthest <= 1e-2:
        raise ModelError(
            f"{path}: features computed here differ from those of training by {furthest:.3g}; "
            "config.yaml was changed, or the model needs the speechgru version it was trained with"
        )


def _own_names(decoder: Any) -> dict[str, str]:
    """The settings of a decoder that name files, with the names those have in a model folder."""
    fields = dataclasses.fields(decoder) if decoder is not None else ()
    return {field.name: field.metadata["file"] for field in fields if "file" in field.metadata}


def _taken_in(decoder: Any) -> tuple[Any, dict[str, bytes]]:
    """The settings of a decoder with its files' names in a model folder, and their content."""
    files = {}
    for key, name in _own_names(decoder).items():
        path = getattr(decoder, key)
        if not path:
            continue
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise DataError(f"decoder.{key}={path}: cannot be read ({error.strerror}); give the file again") from None
        packed = name.endswith(".gz") and content[:2] != b"\x1f\x8b"
        files[name] = gzip.compress(content, mtime=0) if packed else content
        decoder = dataclasses.replace(decoder, **{key: name})
    return decoder, files


def _found_in(folder: Path, decoder: Any) -> Any:
    """The settings of a decoder with the paths of its files; a model folder names none but its own."""
    for key, name in _own_names(decoder).items():
        named = getattr(decoder, key)
        if named and named != name:
            raise ModelError(f"{folder / 'config.yaml'}: decoder.{key}={named}: the file of a model folder is {name}")
        if named:
            decoder = dataclasses.replace(decoder, **{key: str(_file(folder, name))})
    return decoder


def _file(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        if not folder.is_dir():
            raise ModelError(f"{folder} is not a folder; give the model folder that a training run wrote")
        mend = "; the model of a run is in its folder model" if (folder / "model").is_dir() else ""
        raise ModelError(f"{folder} holds no {name}, so it is not a model folder{mend}")
    return path


def one_line(error: Exception) -> str:
    """What an error says, in one line that is not long."""
    return textwrap.shorten(str(error), 300, placeholder=" ...")
