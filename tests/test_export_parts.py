"""Each part of a model as a graph. Oracle: the part in torch, in eval mode, rows of different lengths in one batch."""

import dataclasses
import functools

import numpy as np
import pytest
import torch

pytest.importorskip("onnx", reason="needs the extra export")
pytest.importorskip("onnxruntime", reason="needs the extra export")

from onnx import TensorProto, helper

from speechgru import compiled
from speechgru.encoders import (
    ConvolutionConfig,
    GRUEncoder,
    GRUEncoderConfig,
    LatencyControlledConfig,
    LatencyControlledEncoder,
    LookAheadConfig,
    LookAheadEncoder,
    Merge,
)
from speechgru.errors import ModelError
from speechgru.export.cells import WRITERS, has_operator, run_cell
from speechgru.export.encoders import write_encoder
from speechgru.export.features import write_features
from speechgru.export.graph import Graph
from speechgru.export.heads import write_head
from speechgru.export.parity import session_of
from speechgru.features import MFCC, Convention, LogMel, LogMelConfig, MFCCConfig, Normalization, Padding, Window
from speechgru.features.convention import LogScale
from speechgru.heads.classification import ClassificationConfig, ClassificationHead, Pooling
from speechgru.heads.keyword import KeywordHead, KeywordHeadConfig
from speechgru.registry import build, entry, names
from speechgru.tokens import Tokens

LENGTHS = [11, 7, 1, 0]


def ran(write, values, lengths):
    """What onnxruntime gives of a graph that ``write(g, "values", "lengths")`` writes."""
    g = Graph()
    outputs = write(g, "values", "lengths")
    named = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    for one in named:
        one.type.tensor_type.shape.SetInParent()
    graph = helper.make_graph(
        g.nodes,
        "part",
        [
            helper.make_tensor_value_info("values", TensorProto.FLOAT, [None] * values.ndim),
            helper.make_tensor_value_info("lengths", TensorProto.INT64, [None]),
        ],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        g.constants,
    )
    session = session_of(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )
    return session.run(None, {"values": values, "lengths": np.array(lengths)})


def drawn(module):
    """The module in eval mode, all parameters and statistics away from where they begin."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        for name, buffer in module.named_buffers():
            if name.endswith(("running_mean", "mean")):
                buffer.copy_(0.3 * torch.randn(buffer.shape, generator=generator))
            elif name.endswith(("running_var", "std")):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
            elif name.endswith("fitted"):
                buffer.fill_(True)
    return module.eval()


def frames_of(size):
    return np.random.default_rng(0).standard_normal((len(LENGTHS), max(LENGTHS), size)).astype(np.float32)


def same_rows(found, expected, lengths, atol=1e-5):
    """Valid frames alike, zeros beyond."""
    for row, length in enumerate(lengths):
        np.testing.assert_allclose(found[row, :length], expected[row, :length].numpy(), atol=atol, rtol=1e-5)
        assert not found[row, length:].any()


CELLS = [(name, {}) for name in names("cell")] + [
    ("gru", {"layer_norm": True}),
    ("lstm", {"layer_norm": True}),
    ("rnn", {"layer_norm": True}),
    ("min_gru", {"candidate": "positive"}),
    ("qrnn", {"window": 1}),
    ("qrnn", {"window": 4}),
    ("fast_grnn", {"input_rank": 2, "hidden_rank": 3}),
]


def cell_config(name, settings):
    from speechgru.registry import read_dataclass

    return read_dataclass(entry("cell", name).config, settings, "cell")


@pytest.mark.parametrize("zoneout", [0.0, 0.3])
@pytest.mark.parametrize(("name", "settings"), CELLS, ids=lambda value: str(value) if value else "")
def test_cells_in_both_directions_go_on_from_a_state(name, settings, zoneout):
    with torch.no_grad(), compiled.disabled():
        for size in (5, 6):  # 6 is also the hidden size, of which SRU makes a difference
            cell = drawn(build("cell", cell_config(name, settings), size, 6))
            cell.zoneout = zoneout
            values = frames_of(size)
            state = torch.randn(len(LENGTHS), cell.state_size, generator=torch.Generator().manual_seed(2))
            for reverse in (False, True):
                expected, _ = cell(torch.from_numpy(values), torch.tensor(LENGTHS), state, reverse)
                write = functools.partial(run_cell, cell=cell, state=state, reverse=reverse)
                found, _ = ran(lambda g, x, n, write=write: write(g, frames=x, lengths=n), values, LENGTHS)
                same_rows(found, expected, LENGTHS)


def test_every_registered_cell_is_known():
    """Oracle: the registry's own table."""
    assert {entry("cell", name).component for name in names("cell")} == set(WRITERS)


FRONT_END = ConvolutionConfig([3, 3, 4], stride_time=[1, 2, 1], stride_feature=[1, 2, 2])
ENCODERS = {
    "gru": GRUEncoderConfig(6, 2),
    "one way": GRUEncoderConfig(6, 2, bidirectional=False),
    "sum, residual, norm": GRUEncoderConfig(5, 2, merge=Merge.sum, residual=True, layer_norm=True),
    "projection": GRUEncoderConfig(6, 2, projection_size=5, residual=True),
    "pyramid": GRUEncoderConfig(6, 3, pyramid=[1, 3, 2]),
    "front end": GRUEncoderConfig(6, 1, front_end=FRONT_END),
    "look ahead": LookAheadConfig(6, 2, context=3),
    "look ahead, none": LookAheadConfig(6, 1, context=0, front_end=FRONT_END),
    "latency controlled": LatencyControlledConfig(6, 2, chunk=3, right=2),
    "latency controlled, long": LatencyControlledConfig(6, 2, chunk=30, right=0),
    "latency controlled, all": LatencyControlledConfig(6, 2, chunk=2, right=1, pyramid=[2, 1], front_end=FRONT_END),
}


@pytest.mark.parametrize("cell", ["gru", "lstm", "sli_gru", "qrnn"])
@pytest.mark.parametrize("name", ENCODERS)
def test_encoders(name, cell):
    config = dataclasses.replace(ENCODERS[name], cell=cell_config(cell, {}))
    kinds = {LookAheadConfig: LookAheadEncoder, LatencyControlledConfig: LatencyControlledEncoder}
    with torch.no_grad(), compiled.disabled():
        encoder = drawn(kinds.get(type(config), GRUEncoder)(5, config))
        values = frames_of(5)
        for row, length in zip(values, LENGTHS, strict=True):
            row[length:] = 0
        expected, counts = encoder(torch.from_numpy(values), torch.tensor(LENGTHS))
        found, frames = ran(lambda g, x, n: write_encoder(g, encoder, x, n), values, LENGTHS)
        assert frames.tolist() == counts.tolist()
        same_rows(found, expected, counts.tolist())


HEADS = [ClassificationConfig(pooling=pooling, attention_heads=2) for pooling in Pooling] + [
    ClassificationConfig(pooling=Pooling.best_frame, background=["_silence_", "b"], embedding_size=3),
    ClassificationConfig(embedding_size=5, attention_heads=4),
    KeywordHeadConfig(),
    KeywordHeadConfig(best_frames=3),
]


@pytest.mark.parametrize("config", HEADS, ids=str)
@pytest.mark.parametrize("others", [True, False])
def test_heads(config, others):
    tokens = Tokens(
        ["a", "b", "_unknown_", "_silence_"] if others or getattr(config, "background", None) else ["a", "b"]
    )
    with torch.no_grad():
        head = drawn((KeywordHead if isinstance(config, KeywordHeadConfig) else ClassificationHead)(8, tokens, config))
        values = frames_of(8)
        expected = head(torch.from_numpy(values), torch.tensor(LENGTHS)).softmax(1)
        (found,) = ran(lambda g, x, n: [write_head(g, head, x, n)], values, LENGTHS)
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)


FEATURES = {
    "kaldi": LogMelConfig(),
    "librosa": LogMelConfig(convention=Convention.librosa),
    "torchaudio": LogMelConfig(convention=Convention.torchaudio, normalization=Normalization.none),
    "mirror": LogMelConfig(padding=Padding.mirror, normalization=Normalization.none),
    "none, centred": LogMelConfig(
        convention=Convention.librosa, padding=Padding.none, fft_size=512, top_db=float("inf")
    ),
    "no logarithm": LogMelConfig(log=LogScale.none, normalization=Normalization.none),
    "pre-emphasis": LogMelConfig(window=Window.hamming, preemphasis=0.9, scale=32768.0),
    "mfcc": MFCCConfig(deltas=2, normalization=Normalization.none),
    "mfcc, librosa": MFCCConfig(convention=Convention.librosa, mels=24, lifter=22.0, deltas=1, delta_window=9),
    "mean alone": LogMelConfig(normalize_variance=False),
    "global": LogMelConfig(normalization=Normalization["global"], deltas=1),
    "sliding": LogMelConfig(normalization=Normalization.sliding, sliding_window_ms=100, sliding_lookahead_ms=30),
    "sliding, mean": LogMelConfig(
        normalization=Normalization.sliding, normalize_variance=False, sliding_window_ms=50, sliding_minimum_ms=2000
    ),
    "8 kHz": LogMelConfig(sample_rate=8000, mels=20, window_ms=32, hop_ms=12.5, high_hz=3800, low_hz=100),
}


@pytest.mark.parametrize("name", FEATURES)
def test_features(name):
    """Bounds: 1e-3 of what is divided by a standard deviation, or in decibels, as torch's own paths keep."""
    config = FEATURES[name]
    features = drawn((MFCC if isinstance(config, MFCCConfig) else LogMel)(config))
    rng = np.random.default_rng(0)
    lengths = [8000, 5003, 401, 160, 7, 1, 0]
    waveforms = (0.1 * rng.standard_normal((len(lengths), 8000))).astype(np.float32)
    with torch.no_grad(), compiled.disabled():
        expected, counts = features(torch.from_numpy(waveforms), torch.tensor(lengths))
    found, frames = ran(lambda g, x, n: write_features(g, features, x, n), waveforms, lengths)
    assert frames.tolist() == counts.tolist()
    same_rows(found, expected, counts.tolist(), atol=1e-3)


def test_a_part_of_somebody_else_is_refused_in_one_line():
    class Own(GRUEncoder):
        pass

    with pytest.raises(ModelError, match="Own has no ONNX form"):
        write_encoder(Graph(), Own(5, GRUEncoderConfig(6, 1)), "x", "n")


def test_cells_that_onnx_has_are_its_operators():
    """Oracle: the list of ONNX's recurrent operators, which know neither layer norm nor zoneout."""
    known = {name for name in names("cell") if has_operator(build("cell", cell_config(name, {}), 5, 6))}
    assert known == {"gru", "gru_before", "lstm", "rnn"}
