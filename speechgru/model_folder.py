"""The folder of a trained model: it holds only names and numbers, and nothing in it is executed.

- ``config.yaml``: the components by name with their settings;
- ``model.safetensors``: parameters and statistics;
- ``tokens.txt``: what the outputs stand for;
- ``fingerprint.json``: the features of a fixed chirp, to detect when they are computed differently;
- what units and decoder need: ``pronunciations.txt``, ``subwords.model``, ``language_model.arpa.gz``, ``lexicon.txt``;
- ``SHA256SUMS``: the checksums of all these but ``config.yaml``, which may be edited by hand; a folder that an older
  version wrote has none, and loads.

A folder is not to be trusted: its files are compared with their checksums, its texts are read in bounded memory, and
what ``config.yaml`` and ``tokens.txt`` describe is compared with the header of the weights before any of it is built.
``card.py`` adds ``card.md``.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from reprlib import repr as shown
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from speechgru.checksums import remove_checksums, write_checksums
from speechgru.decoding.calibration import Calibration
from speechgru.decoding.familiarity import FamiliarityConfig
from speechgru.decoding.operating_point import KeywordConfig
from speechgru.decoding.same_speaker import SameSpeakerConfig
from speechgru.errors import ConfigError, DataError, ModelError, one_line
from speechgru.features.fingerprint import fingerprint_difference
from speechgru.files import write_atomically
from speechgru.hub import is_fetched
from speechgru.plain import Record
from speechgru.plain_yaml import from_yaml, to_yaml
from speechgru.registry import build, component, from_plain, read_dataclass, to_plain
from speechgru.text_files import read_text
from speechgru.tokens import Tokens
from speechgru.weights import check_outlines, read_outlines, read_tensors

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FORMAT = 1
_MOST_TEXT_BYTES = 4 << 20
# Calls of torch that make and initialise one tensor; the cells of this package need up to 21.
_CALLS_PER_TENSOR = 50
# What is chosen for a finished model, on validation data.
_CHOSEN: dict[str, type[DataclassInstance]] = {
    "calibration": Calibration,
    "keywords": KeywordConfig,
    "familiarity": FamiliarityConfig,
    "same_speaker": SameSpeakerConfig,
}


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
        keywords: when a score over time is a detection; None where nothing was chosen for this model.
        familiarity: when a recording does not sound like what the model knows; None likewise.
        same_speaker: when two recordings are of one speaker; None likewise.
    """

    features: Any = component("features")
    encoder: Any = component("encoder")
    head: Any = component("head")
    data: Record = dataclasses.field(default_factory=dict)
    units: Any = component("units", lambda: None)
    calibration: Calibration = dataclasses.field(default_factory=Calibration)
    decoder: Any = component("decoder", lambda: None)
    keywords: KeywordConfig | None = None
    familiarity: FamiliarityConfig | None = None
    same_speaker: SameSpeakerConfig | None = None


def write_folder(
    folder: Path,
    config: RecognizerConfig,
    task: str,
    tensors: Mapping[str, Tensor],
    tokens: Tokens,
    fingerprint: Record,
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
        files: the files of the units, content by name.

    Raises:
        DataError: a file of the decoder cannot be read.
        ModelError: the folder is in the cache of the Hub.
    """
    from safetensors.torch import save

    check_own(folder)
    decoder, decoder_files = _taken_in(config.decoder)
    plain = {"format": FORMAT, "task": task, **to_plain(dataclasses.replace(config, decoder=decoder))}
    if config.units is None:
        del plain["units"], plain["calibration"]
    if config.decoder is None:
        del plain["decoder"]
    for name in _CHOSEN:
        if getattr(config, name) is None:
            del plain[name]
    folder.mkdir(parents=True, exist_ok=True)
    remove_checksums(folder)
    contents = {"model.safetensors": save(dict(tensors)), **files, **decoder_files}
    contents["fingerprint.json"] = json.dumps({"features": fingerprint}).encode()
    write_atomically(folder / "config.yaml", to_yaml(plain))
    for name, content in contents.items():
        write_atomically(folder / name, content)
    tokens.save(folder / "tokens.txt")
    write_checksums(folder, ["tokens.txt", *contents])


def read_config(folder: Path) -> RecognizerConfig:
    """What config.yaml says; a decoder's files are those of the folder.

    Raises:
        ModelError: it is missing, or says what this version does not understand.
    """
    path = _file(folder, "config.yaml")
    text = read_text(path, _MOST_TEXT_BYTES, ModelError, "copy it again")
    try:
        plain = from_yaml(text)
        for key in ("format", "features", "encoder", "head"):
            if not isinstance(plain, dict) or key not in plain:
                raise ModelError(f"{path} has no key {key}, so it is not the config.yaml of a model folder")
        if not isinstance(plain["format"], int) or plain["format"] > FORMAT:
            raise ModelError(
                f"{path} has format {one_line(plain['format'])}, this speechgru reads up to {FORMAT}; update speechgru"
            )
        parts = {family: from_plain(plain[family], family) for family in ("features", "encoder", "head")}
        for family in ("units", "decoder"):
            if plain.get(family) is not None:
                parts[family] = from_plain(plain[family], family)
        for name, kind in _CHOSEN.items():
            if plain.get(name) is not None:
                parts[name] = read_dataclass(kind, plain[name], name)
        config = RecognizerConfig(**parts, data=plain.get("data") or {})
    except (KeyError, TypeError, AttributeError, OverflowError, ConfigError) as error:
        raise ModelError(f"{path} cannot be read: {one_line(error)}") from error
    config.decoder = _found_in(folder, config.decoder)
    return config


def write_chosen(folder: Path, chosen: KeywordConfig | FamiliarityConfig | SameSpeakerConfig) -> None:
    """Puts what was chosen for a model into the config.yaml of its folder; the file is replaced atomically.

    Raises:
        ModelError: config.yaml is missing or invalid, or the folder is in the cache of the Hub.
    """
    check_own(folder)
    read_config(folder)
    name = next(name for name, kind in _CHOSEN.items() if isinstance(chosen, kind))
    path = folder / "config.yaml"
    plain = from_yaml(read_text(path, _MOST_TEXT_BYTES, ModelError, "copy it again"))
    write_atomically(path, to_yaml({**plain, name: to_plain(chosen)}))


def check_own(folder: Path) -> None:
    """Raises ModelError where the folder is in the cache of the Hub, whose files several programs share."""
    if is_fetched(folder):
        raise ModelError(
            f"{folder}: fetched from the Hub, and not to be changed there; make it your own first: "
            "speechgru models pack hf://OWNER/NAME FOLDER"
        )


def read_tokens(folder: Path) -> Tokens:
    """The names of the outputs.

    Raises:
        ModelError: tokens.txt is missing or damaged.
    """
    try:
        return Tokens.load(_file(folder, "tokens.txt"))
    except DataError as error:
        raise ModelError(str(error)) from error


def read_weights(folder: Path, config: RecognizerConfig, tokens: Tokens) -> dict[str, Tensor]:
    """Parameters and statistics of the model of ``config`` and ``tokens``, after all that can be compared is compared.

    The model is first built on torch's meta device, where a tensor has a shape and takes no memory. No more of it is
    built than the header of the weights could hold. So no settings, however large, cost more than the file is long.

    Raises:
        ConfigError: the settings describe no model.
        ModelError: the weights are missing, damaged, those of another model, or not finite.
    """
    path = _file(folder, "model.safetensors")
    outlines = read_outlines(path)
    features = build("features", config.features)
    with torch.device("meta"), _Countdown(_CALLS_PER_TENSOR * (len(outlines) + 20), path):
        encoder = build("encoder", config.encoder, features.output_size)
        head = build("head", config.head, encoder.output_size, tokens)
    parts = {"features": features, "encoder": encoder, "head": head}
    described = {f"{part}.{name}": one for part in parts for name, one in parts[part].state_dict().items()}
    check_outlines(path, outlines, described)
    return read_tensors(path)


class _Countdown(TorchFunctionMode):
    """Stops the building of a model that calls torch too often for the number of tensors in its weights file."""

    def __init__(self, calls: int, path: Path) -> None:
        super().__init__()
        self.calls, self.path = calls, path

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Record | None = None,
    ) -> object:
        self.calls -= 1
        if self.calls < 0:
            raise ModelError(
                f"{self.path} does not fit config.yaml: it holds far fewer layers than are described there"
            )
        return func(*args, **(kwargs or {}))


def check_fingerprint(folder: Path, computed: Record) -> None:
    """Compares the features of a fixed chirp with those of the machine that wrote the folder.

    Raises:
        ModelError: they differ, or fingerprint.json is missing or damaged.
    """
    path = _file(folder, "fingerprint.json")
    try:
        plain = json.loads(read_text(path, _MOST_TEXT_BYTES, ModelError, "copy it again"))
        furthest = fingerprint_difference(plain["features"], computed)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RuntimeError) as error:
        raise ModelError(f"{path} is not a fingerprint: {one_line(error)}; save the model again") from error
    if not furthest <= 1e-2:
        raise ModelError(
            f"{path}: features computed here differ from those of training by {furthest:.3g}; "
            "config.yaml was changed, or the model needs the speechgru version it was trained with"
        )


def _own_names(decoder: DataclassInstance) -> dict[str, str]:
    """The settings of a decoder that name files, with the names those have in a model folder."""
    fields = dataclasses.fields(decoder)
    return {field.name: field.metadata["file"] for field in fields if "file" in field.metadata}


def _taken_in(decoder: DataclassInstance | None) -> tuple[DataclassInstance | None, dict[str, bytes]]:
    """The settings of a decoder, with the names that its files have in a model folder, and the content of the files."""
    files: dict[str, bytes] = {}
    if decoder is None:
        return None, files
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


def _found_in(folder: Path, decoder: DataclassInstance | None) -> DataclassInstance | None:
    """The settings of a decoder with the paths of its files; a model folder names no files but its own."""
    if decoder is None:
        return None
    for key, name in _own_names(decoder).items():
        named = getattr(decoder, key)
        if named and named != name:
            raise ModelError(
                f"{folder / 'config.yaml'}: decoder.{key}={shown(named)}: the file of a model folder is {name}"
            )
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
