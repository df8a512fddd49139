"""A whole model as ONNX: waveforms and their lengths in, scores and frames out, their meaning in the metadata."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper

from speechgru.export.encoders import write_encoder
from speechgru.export.features import write_features
from speechgru.export.graph import IR_VERSION, OPSET, Graph, Watch
from speechgru.export.heads import write_head
from speechgru.recognizer import Recognizer
from speechgru.text import Characters
from speechgru.text.subwords import START, Subwords
from speechgru.text.units import SPACE


@torch.no_grad()
def write_onnx(model: Recognizer, metadata: Mapping[str, str], watch: Watch | None = None) -> onnx.ModelProto:
    """The model from waveforms to scores, for any number of rows and samples.

    Inputs: ``waveforms`` float32 (batch, samples) at the model's rate, in [-1, 1]; ``lengths`` int64 (batch,), the
    samples of each row. Outputs: ``scores`` float32, for CTC natural logarithms of probabilities (batch, frames,
    tokens) with zeros beyond a row's frames, otherwise probabilities (batch, labels); and ``frames`` int64 (batch,),
    how many frames of the encoder each row has.

    Args:
        model: in eval mode.
        metadata: what the file says of itself (:func:`describe`).
        watch: adds its outputs to those of the graph.

    Raises:
        ModelError: a part of the model has no ONNX form.
    """
    g = Graph(watch=watch)
    within = g.op("Max", g.op("Min", "lengths", g.size("waveforms", 1)), 0)
    frames, counts = write_features(g, model.features, "waveforms", within)
    hidden, counts = write_encoder(g, model.encoder, frames, counts)
    scores = write_head(g, model.head, hidden, counts)
    g.nodes.append(helper.make_node("Identity", [scores], ["scores"]))
    g.nodes.append(helper.make_node("Identity", [counts], ["frames"]))
    shape: list[str | int | None] = (
        ["batch", "frames", len(model.tokens)] if model.head.scores_frames else ["batch", len(model.tokens)]
    )
    graph = helper.make_graph(
        g.nodes,
        "speechgru",
        [
            helper.make_tensor_value_info("waveforms", TensorProto.FLOAT, ["batch", "samples"]),
            helper.make_tensor_value_info("lengths", TensorProto.INT64, ["batch"]),
        ],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, shape),
            helper.make_tensor_value_info("frames", TensorProto.INT64, ["batch"]),
            *(watch.outputs if watch else []),
        ],
        g.constants,
    )
    return finished(graph, metadata)


def finished(graph: onnx.GraphProto, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """The graph as a file's content, checked by onnx."""
    from speechgru import __version__

    written = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="speechgru",
        producer_version=__version__,
    )
    helper.set_model_props(written, dict(metadata))
    onnx.checker.check_model(written)
    return written


def describe(model: Recognizer, folder: Path) -> dict[str, str]:
    """What the file says of the model: task, labels, rates, thresholds, and its card's licence and summary."""
    about = {
        "task": model.task,
        "labels": json.dumps(model.tokens.names, ensure_ascii=False),
        "sample_rate": str(model.sample_rate),
        "frame_s": f"{model.frame_s:.9g}",
        "opset": str(OPSET),
        "scores": "natural logarithms of probabilities" if model.head.scores_frames else "probabilities",
    }
    if model.units is not None:
        # How tokens become text: what is put between them, and which token is a space or begins with one.
        characters, subwords = isinstance(model.units, Characters), isinstance(model.units, Subwords)
        about["between_tokens"] = "" if characters or subwords else " "
        about["space"] = START if subwords else SPACE if characters else " "
    if model.config.keywords is not None:
        keywords = model.config.keywords
        about["thresholds"] = json.dumps({word: keywords.threshold(word) for word in keywords.thresholds})
        about["smoothing_ms"] = f"{keywords.smoothing_ms:g}"
    return {**about, **_card(folder / "card.md")}


def _card(path: Path) -> dict[str, str]:
    """Licence and first paragraph of a card, as far as they are there."""
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8", errors="replace")[:1_000_000]
    found = re.match(r"---\n(.*?)\n---\n+(?:# [^\n]*\n+)?(.*?)(?:\n\n|\Z)", text, re.DOTALL)
    if found is None:
        return {}
    licence = re.search(r"^license: *(.+)$", found[1], re.MULTILINE)
    return {"summary": " ".join(found[2].split())[:1000], **({"license": licence[1].strip()} if licence else {})}
