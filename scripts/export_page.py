#!/usr/bin/env python3
"""Writes the tables of docs/export.md: what has an ONNX form, and how fast it is beside torch, on one thread.

.venv/bin/python scripts/export_page.py
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from speechgru.encoders import ConvolutionConfig, GRUEncoderConfig, LatencyControlledConfig, LookAheadConfig
from speechgru.evaluation.machine import describe_machine
from speechgru.export.onnx_model import write_onnx
from speechgru.export.parity import difference, session_of
from speechgru.export.speed import beside_torch, second_of_noise
from speechgru.export.stream import streams
from speechgru.features import LogMelConfig, MFCCConfig, Normalization
from speechgru.heads import ClassificationConfig, CTCConfig, KeywordHeadConfig, Pooling
from speechgru.model_folder import RecognizerConfig
from speechgru.recognizer import Recognizer
from speechgru.registry import entry, names, read_dataclass
from speechgru.text import CharactersConfig
from speechgru.tokens import Tokens
from speechgru.wording import markdown_grid

PAGE = Path(__file__).resolve().parent.parent / "docs" / "export.md"
LETTERS = Tokens(["<blank>", "|", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ"])
LABELS = Tokens(["yes", "no", "_unknown_", "_silence_"])
GLOBAL = LogMelConfig(normalization=Normalization["global"])


def model_of(
    features: LogMelConfig = GLOBAL, encoder: GRUEncoderConfig | None = None, head: object = None
) -> Recognizer:
    """A model with weights as they are drawn: 40 mel bands, two layers of 128 values, CTC unless told otherwise."""
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


def models() -> Iterator[tuple[str, str, Recognizer]]:
    """The kind of part, its name, and a model with it."""
    for name in names("cell"):
        cell = read_dataclass(entry("cell", name).config, {}, "cell")
        yield "cell", name, model_of(encoder=GRUEncoderConfig(128, 2, cell=cell))
        if hasattr(cell, "layer_norm"):
            cell.layer_norm = True
            yield "cell", f"{name} layer_norm", model_of(encoder=GRUEncoderConfig(128, 2, cell=cell))
    yield "encoder", "gru, one direction", model_of(encoder=GRUEncoderConfig(128, 2, bidirectional=False))
    yield (
        "encoder",
        "gru, convolutional front end",
        model_of(encoder=GRUEncoderConfig(128, 2, front_end=ConvolutionConfig())),
    )
    yield "encoder", "gru, pyramid", model_of(encoder=GRUEncoderConfig(128, 2, pyramid=[1, 2]))
    yield "encoder", "look_ahead", model_of(encoder=LookAheadConfig(128, 2))
    yield "encoder", "latency_controlled", model_of(encoder=LatencyControlledConfig(128, 2))
    for pooling in Pooling:
        head = ClassificationConfig(pooling=pooling)
        yield "head", f"classification {pooling.name}", model_of(head=head)
    one_way = GRUEncoderConfig(128, 2, bidirectional=False)
    yield "head", "keyword", model_of(encoder=one_way, head=KeywordHeadConfig())
    for kind in Normalization:
        yield "normalization", kind.name, model_of(LogMelConfig(normalization=kind))
    yield "features", "mfcc, two deltas", model_of(MFCCConfig(deltas=2, normalization=Normalization["global"]))


def rows() -> Iterator[list[str]]:
    """One row for each model: what it is, whether it streams, its speed, and how far the file is from it."""
    for kind, name, model in models():
        session = session_of(write_onnx(model, {}).SerializeToString())
        by_torch, by_onnx = (1e3 * one for one in beside_torch(model, session))
        inputs = second_of_noise(model)
        gap = difference(model, session, inputs["waveforms"], inputs["lengths"], name).value
        print(kind, name, f"{by_torch:.1f} {by_onnx:.1f} ms", file=sys.stderr, flush=True)
        yield [kind, name, "yes" if streams(model) else "", f"{by_torch / by_onnx:.1f}", f"{gap:.0e}"]


def measured() -> str:
    """Where the times are from."""
    import onnxruntime

    machine = describe_machine()
    return f"Measured on {machine['cpu']}, one thread, torch {machine['torch']}, onnxruntime {onnxruntime.__version__}."


def main() -> None:
    """Replaces what stands between the marks of the page."""
    torch.set_num_threads(1)
    head = ["part", "", "streams", "times as fast as torch", "largest difference"]
    table = markdown_grid([head, ["---"] * 3 + ["---:"] * 2, *rows()])
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition("<!-- export -->\n")
    after = rest.partition("<!-- /export -->")[2]
    filled = f"{before}<!-- export -->\n{table}\n\n{measured()}\n<!-- /export -->{after}"
    PAGE.write_text(filled, encoding="utf-8")


if __name__ == "__main__":
    main()
