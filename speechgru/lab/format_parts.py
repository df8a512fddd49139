"""Every part of a model as ONNX: whether it has a form, how far that is from the model, and how fast beside torch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from speechgru.encoders import ConvolutionConfig, GRUEncoderConfig, LatencyControlledConfig, LookAheadConfig
from speechgru.export.onnx_model import write_onnx
from speechgru.export.parity import difference, session_of
from speechgru.export.speed import second_of_noise, torch_answer
from speechgru.export.stream import streams
from speechgru.features import LogMelConfig, MFCCConfig, Normalization
from speechgru.heads import ClassificationConfig, CTCConfig, KeywordHeadConfig, Pooling
from speechgru.lab.bench.timing import interleaved_ms
from speechgru.model_folder import RecognizerConfig
from speechgru.recognizer import Recognizer
from speechgru.registry import entry, names, read_dataclass
from speechgru.text import CharactersConfig
from speechgru.tokens import Tokens

if TYPE_CHECKING:
    import onnxruntime

HEADING = ["part", "", "streams", "times as fast as torch", "largest difference"]
LETTERS = Tokens(["<blank>", "|", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ"])
LABELS = Tokens(["yes", "no", "_unknown_", "_silence_"])
GLOBAL = LogMelConfig(normalization=Normalization["global"])


def _model_of(
    features: LogMelConfig = GLOBAL, encoder: GRUEncoderConfig | None = None, head: object = None
) -> Recognizer:
    """A model with random initial weights: 40 mel bands, two layers of 128 values, CTC unless ``head`` is given."""
    torch.manual_seed(0)
    encoder = encoder or GRUEncoderConfig(128, 2)
    if head is None:
        config = RecognizerConfig(features, encoder, CTCConfig(), units=CharactersConfig())
        model = Recognizer(config, LETTERS)
    else:
        model = Recognizer(RecognizerConfig(features, encoder, head), LABELS)
    if features.normalization is Normalization["global"]:
        model.features.get_buffer("mean").fill_(-8.0)  # type: ignore[attr-defined]
        model.features.get_buffer("fitted").fill_(True)  # type: ignore[attr-defined]
    return model.eval()


def _models() -> Iterator[tuple[str, str, Recognizer]]:
    """The kind of part, its name, and a model with it."""
    for name in names("cell"):
        config = entry("cell", name).config
        plain: object = read_dataclass(config, {}, "cell")
        yield "cell", name, _model_of(encoder=GRUEncoderConfig(128, 2, cell=plain))
        if hasattr(plain, "layer_norm"):
            normalized: object = read_dataclass(config, {"layer_norm": True}, "cell")
            yield "cell", f"{name} layer_norm", _model_of(encoder=GRUEncoderConfig(128, 2, cell=normalized))
    yield "encoder", "gru, one direction", _model_of(encoder=GRUEncoderConfig(128, 2, bidirectional=False))
    yield (
        "encoder",
        "gru, convolutional front end",
        _model_of(encoder=GRUEncoderConfig(128, 2, front_end=ConvolutionConfig())),
    )
    yield "encoder", "gru, pyramid", _model_of(encoder=GRUEncoderConfig(128, 2, pyramid=[1, 2]))
    yield "encoder", "look_ahead", _model_of(encoder=LookAheadConfig(128, 2))
    yield "encoder", "latency_controlled", _model_of(encoder=LatencyControlledConfig(128, 2))
    for pooling in Pooling:
        head = ClassificationConfig(pooling=pooling)
        yield "head", f"classification {pooling.name}", _model_of(head=head)
    one_way = GRUEncoderConfig(128, 2, bidirectional=False)
    yield "head", "keyword", _model_of(encoder=one_way, head=KeywordHeadConfig())
    for kind in Normalization:
        yield "normalization", kind.name, _model_of(LogMelConfig(normalization=kind))
    yield "features", "mfcc, two deltas", _model_of(MFCCConfig(deltas=2, normalization=Normalization["global"]))


def part_rows(repeats: int) -> Iterator[list[str]]:
    """One row under HEADING for each part: two layers of 128 values, with random initial weights.

    Args:
        repeats: how often the model and the file answer, in turns; the median of the processor time counts.
    """
    for kind, name, model in _models():
        session = session_of(write_onnx(model, {}).SerializeToString())
        second = second_of_noise(model)
        gap = difference(model, session, second["waveforms"], second["lengths"], name).value
        ratio = _times_as_fast(model, session, repeats)
        yield [kind, name, "yes" if streams(model) else "", f"{ratio:.1f}", f"{gap:.0e}"]


def _times_as_fast(model: Recognizer, session: onnxruntime.InferenceSession, repeats: int) -> float:
    second = second_of_noise(model)
    answers = {"torch": torch_answer(model), "onnx": lambda: session.run(None, dict(second))}
    taken = interleaved_ms(answers, repeats, clock=time.process_time)
    return taken["torch"] / taken["onnx"]
