"""Gates, memory and gradients made visible. Oracles: NumPy loops, the model's own output, finite differences."""

from __future__ import annotations

import argparse
import ast
import base64
import dataclasses
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import soundfile
import torch

from speechgru.cells import GRU
from speechgru.cli import main
from speechgru.commands.inspect import add_arguments
from speechgru.encoders import ConvolutionConfig, GRUEncoderConfig, Merge
from speechgru.errors import AudioError, ConfigError, ModelError
from speechgru.features import LogMelConfig
from speechgru.heads import ClassificationConfig, CTCConfig, KeywordHeadConfig, Pooling
from speechgru.lab.inspection import trace
from speechgru.lab.inspection.evidence import evidence
from speechgru.lab.inspection.gradients import GradientFlow, fresh_gradients, gradient_norms, model_gradients
from speechgru.lab.inspection.memory import half_lives_s, keeping_gate, layer_half_lives_s, unit_order
from speechgru.lab.inspection.page import write_xray_page
from speechgru.lab.inspection.pictures import colours_of, gate_order, xray_picture
from speechgru.lab.inspection.problems import ProblemConfig, adding, baseline, copying, train_on_problem
from speechgru.lab.inspection.sound import sound_address
from speechgru.model_folder import RecognizerConfig
from speechgru.recognizer import Recognizer, load
from speechgru.registry import build, entry, names
from speechgru.text import CharactersConfig
from speechgru.tokens import Tokens

RATE = 8000


def recognizer(head: Any = None, **encoder: Any) -> Recognizer:
    """A small model with drawn weights."""
    torch.manual_seed(0)
    settings = {"hidden_size": 6, "num_layers": 2, **encoder}
    head = head or ClassificationConfig(attention_heads=2)
    ctc = isinstance(head, CTCConfig)
    config = RecognizerConfig(
        LogMelConfig(sample_rate=RATE, mels=10),
        GRUEncoderConfig(**settings),
        head,
        units=CharactersConfig() if ctc else None,
    )
    return Recognizer(config, Tokens(["<blank>", "|", "a", "b"] if ctc else ["left", "right", "up"]))


def sound(seconds: float = 0.5, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def gru_loop(cell: GRU, inputs: np.ndarray, reverse: bool) -> dict[str, np.ndarray]:
    """The gates of a GRU by its formula in float64, frame by frame."""
    weights = (cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)
    w, u, b, c = (parameter.detach().double().numpy() for parameter in weights)
    hidden, size = np.zeros(u.shape[1]), u.shape[1]
    found: dict[str, list[np.ndarray]] = {"reset": [], "update": [], "candidate": [], "hidden": []}
    for x in inputs[::-1] if reverse else inputs:
        from_x, from_h = w @ x + b, u @ hidden + c
        r = sigmoid(from_x[:size] + from_h[:size])
        z = sigmoid(from_x[size : 2 * size] + from_h[size : 2 * size])
        n = np.tanh(from_x[2 * size :] + r * from_h[2 * size :])
        hidden = (1 - z) * n + z * hidden
        for values, value in zip(found.values(), (r, z, n, hidden), strict=True):
            values.append(value)
    return {name: np.array(values[::-1] if reverse else values) for name, values in found.items()}


@pytest.mark.parametrize(
    "encoder",
    [
        {},
        {"bidirectional": False, "num_layers": 1},
        {"merge": Merge.sum, "residual": True, "layer_norm": True},
        {"pyramid": [1, 2], "projection_size": 4},
        {"front_end": ConvolutionConfig([2, 2], 3, 3, [2, 1], [2, 2])},
    ],
)
def test_gates_are_those_of_the_formula(encoder):
    """Oracle: a NumPy loop over what each cell read; the answer is classify's; frames have the duration they stand for.

    The inputs of the first layer are the features themselves, where nothing stands before it.
    """
    model = recognizer(**encoder)
    found = trace(model, sound(), source_rate=RATE)
    directions = ["forward", "backward"] if model.config.encoder.bidirectional else ["forward"]
    names = [f"layer {layer} {way}" for layer in range(1, model.config.encoder.num_layers + 1) for way in directions]
    assert [layer.name for layer in found.layers] == names
    for layer in found.layers:
        expected = gru_loop(layer.cell, layer.inputs, layer.direction == "backward")
        assert set(layer.gates) == set(expected)
        for name, values in expected.items():
            np.testing.assert_allclose(layer.gates[name], values, atol=1e-5)
        assert layer.frame_s * len(layer.inputs) == pytest.approx(0.5, abs=layer.frame_s + 0.03)
        np.testing.assert_allclose(layer.starts_s, np.arange(len(layer.inputs)) * layer.frame_s)
    if not encoder.get("front_end") and not encoder.get("pyramid"):
        np.testing.assert_array_equal(found.layers[0].inputs, found.features)
    assert found.layers[-1].frame_s == pytest.approx(found.frame_s)
    assert len(found.hidden) == len(found.layers[-1].inputs)
    scores = model.classify(sound(), top_k=3, source_rate=RATE).scores
    assert found.probabilities == pytest.approx(scores, abs=1e-5)
    assert list(found.probabilities) == list(scores)


@pytest.mark.parametrize("pooling", list(Pooling))
@pytest.mark.parametrize("embedding_size", [0, 5])
def test_evidence_adds_up_to_the_scores(pooling, embedding_size):
    """Oracle: the head itself; zeros beyond a row's end; attention's shares add up to one."""
    config = ClassificationConfig(pooling=pooling, attention_heads=2, embedding_size=embedding_size)
    head = recognizer(config).head.eval()
    hidden, lengths = torch.randn(3, 7, 12), torch.tensor([7, 4, 1])
    hidden[1, 4:], hidden[2, 1:] = 0, 0
    with torch.no_grad():
        found = evidence(head, hidden, lengths)
        torch.testing.assert_close(found.added.sum(1) + found.bias, head(hidden, lengths), atol=1e-5, rtol=0)
        changed = hidden.clone()
        changed[1, 5] = 100
        assert evidence(head, changed, lengths).added[1, 4:].abs().max() == 0
    if pooling is Pooling.attention:
        torch.testing.assert_close(found.attention.sum(1), torch.ones(3, 2))
    else:
        assert found.attention is None


def test_evidence_of_best_frames_with_a_background():
    """Oracle: the head itself; a keyword has its score from one frame, the background from all."""
    head = recognizer(ClassificationConfig(pooling=Pooling.best_frame)).head.eval()
    head.pooling.background[0] = True
    hidden, lengths = torch.randn(2, 7, 12), torch.tensor([7, 4])
    with torch.no_grad():
        found = evidence(head, hidden, lengths)
        torch.testing.assert_close(found.added.sum(1) + found.bias, head(hidden, lengths), atol=1e-5, rtol=0)
    assert ((found.added != 0).sum(1)[:, 0] == lengths).all()
    assert ((found.added != 0).sum(1)[:, 1:] == 1).all()


def test_evidence_of_a_frame_is_what_the_score_loses_without_it():
    """Oracle: the mean pooled by hand without one frame."""
    head = recognizer(ClassificationConfig(pooling=Pooling.mean)).head.eval()
    hidden, lengths = torch.randn(1, 5, 12), torch.tensor([5])
    with torch.no_grad():
        scores, without = head(hidden, lengths), hidden.clone()
        without[0, 2] = 0
        lost = scores - head(without, lengths)
        torch.testing.assert_close(evidence(head, hidden, lengths).added[:, 2], lost, atol=1e-6, rtol=0)


def test_a_keyword_model_gives_probabilities_of_frames_and_of_the_recording():
    """Oracle: the head itself, and classify."""
    model = recognizer(KeywordHeadConfig())
    found = trace(model, sound(), RATE)
    heard = model.classify(sound(), len(model.tokens), RATE)
    assert found.probabilities == pytest.approx(heard.scores, abs=1e-6)
    with torch.no_grad(), model.in_eval_mode():
        wanted = model.head.frame_scores(torch.from_numpy(found.hidden))
    np.testing.assert_allclose(found.posteriors, wanted.numpy(), atol=1e-6)
    assert found.evidence is None


def test_a_model_that_transcribes_gives_posteriors_and_words(tones):
    """Oracle: what was said, and transcribe."""
    rng = np.random.default_rng(3)
    spoken = tones.words(4, rng)
    waveform, times = tones.say(spoken, rng)
    found = trace(tones.recognizer, waveform, source_rate=tones.sample_rate)
    assert [word.word for word in found.words] == spoken
    assert found.words == tones.recognizer.transcribe(waveform, source_rate=tones.sample_rate).words
    for word, (start_s, end_s) in zip(found.words, times, strict=True):
        assert word.start_s == pytest.approx(start_s, abs=0.1)
        assert word.end_s == pytest.approx(end_s, abs=0.1)
    scores = tones.recognizer.log_probabilities([torch.from_numpy(waveform)])[0]
    np.testing.assert_allclose(found.posteriors, np.exp(scores), atol=1e-5)
    assert found.tokens == tones.recognizer.tokens.names
    assert found.attention is found.evidence is found.probabilities is None


def test_a_replay_that_differs_is_refused(monkeypatch):
    """Planted errors: gates swapped, and a backward cell replayed from the wrong end."""
    model = recognizer()

    def swapped(self, sequence, lengths=None, state=None, reverse=False):
        found = gates(self, sequence, lengths, state, reverse)
        return {**found, "hidden": (1 - found["reset"]) * found["candidate"]}

    def always_forwards(self, sequence, lengths=None, state=None, reverse=False):
        return gates(self, sequence, lengths, state)

    gates = GRU.gates
    for planted, direction in ((swapped, "forward"), (always_forwards, "backward")):
        monkeypatch.setattr(GRU, "gates", planted)
        wrong = rf"states of layers\.0\.{direction}_cell differ from the model's by 0\.\d+"
        with pytest.raises(ModelError, match=wrong):
            trace(model, sound(), source_rate=RATE)


def test_a_trace_leaves_the_model_as_it_was():
    """Oracle: its mode, its answer and its hooks before and after."""
    model = recognizer().train()
    before = model.classify(sound(), source_rate=RATE)
    trace(model, sound(), source_rate=RATE)
    assert model.training
    assert model.classify(sound(), source_rate=RATE) == before
    assert not any(module._forward_hooks for module in model.modules())


def test_what_cannot_be_traced_is_said():
    """One line each: no cells, cells run in pieces, too short."""
    model = recognizer()
    with pytest.raises(AudioError, match="too short"):
        trace(recognizer_without_padding(), sound(0.01), source_rate=RATE)
    layer = model.encoder.layers[0]
    run = layer.forward

    def in_pieces(features, lengths):
        half = features.shape[1] // 2
        return torch.cat((run(features[:, :half], None), run(features[:, half:], None)), 1)

    layer.forward = in_pieces
    with pytest.raises(ModelError, match=r"layers\.0\.forward_cell in pieces"):
        trace(model, sound(), source_rate=RATE)
    model.encoder = torch.nn.Linear(10, 12)
    with pytest.raises(ModelError, match="no recurrent cells"):
        trace(model, sound(), source_rate=RATE)


def test_half_life_of_a_decay():
    """Oracle: a state left alone under its gates, and the frame where it has fallen to a half."""
    gates = np.array([[0.5, 0.9, 0.99, 1.0, 0.0], [0.5, 0.9, 0.99, 1.0, 0.7]])
    found = half_lives_s(gates, 0.01)
    np.testing.assert_allclose(found, [0.01, 0.01 * np.log(0.5) / np.log(0.9), 0.6896756, np.inf, 0], rtol=1e-5)
    varying = np.random.default_rng(0).uniform(0.8, 1, (1000, 1))
    left = np.cumprod(varying)
    halvings = -np.log2(left[-1])  # how often it halved in 1000 frames
    np.testing.assert_allclose(half_lives_s(varying, 0.02), 0.02 * 1000 / halvings)


def test_half_lives_of_layers_are_over_all_recordings():
    """Oracle: the loop's gates of two recordings, one after the other. Units are in the order of their mean gate."""
    model = recognizer()
    traces = [trace(model, sound(seconds, seed), source_rate=RATE) for seed, seconds in enumerate((0.3, 0.6))]
    found = layer_half_lives_s(traces)
    assert list(found) == [layer.name for layer in traces[0].layers]
    layers = [one.layers[1] for one in traces]
    loops = [gru_loop(layer.cell, layer.inputs, reverse=True)["update"] for layer in layers]
    expected = -np.log(2) / np.log(np.concatenate(loops)).mean(0) * layers[0].frame_s
    np.testing.assert_allclose(found["layer 1 backward"], expected, rtol=1e-4)
    means = layers[0].gates["update"].mean(0)[unit_order(layers[0])]
    assert (np.diff(means) <= 0).all()
    gateless = dataclasses.replace(layers[0], gates={"hidden": layers[0].gates["hidden"]})
    means = np.abs(gateless.gates["hidden"]).mean(0)[unit_order(gateless)]
    assert (np.diff(means) <= 0).all()


def recognizer_without_padding() -> Recognizer:
    """It gives no frame for less than 0.1 s."""
    model = recognizer()
    model.features.output_lengths = lambda samples: samples // 800
    return model


def test_of_a_real_recording(recordings):
    """The shipped model on a spoken word; the label is the folder's, a stretch of the word carries the evidence."""
    clip = min((recordings / "speech_commands" / "right").glob("*.flac"))
    found = trace(load(), clip)
    samples, _ = soundfile.read(clip)
    assert found.duration_s == len(samples) / 16000
    assert found.attention.sum(0) == pytest.approx(1, abs=1e-5)
    assert next(iter(found.probabilities)) == "right"


def flow(cell: Any, sequence: torch.Tensor, lags: int, ends: int) -> np.ndarray:
    """The norms by Jacobians of torch.func, multiplied one by one, for the directions gradient_norms draws."""
    generator, time = torch.Generator().manual_seed(0), sequence.shape[1]
    rows = []
    for end in np.unique(np.linspace(lags, time - 1, ends).round().astype(int)):
        directions = torch.randn(len(sequence), cell.hidden_size, generator=generator, dtype=sequence.dtype)
        for row, direction in enumerate(directions):
            state, jacobians = cell.initial_state(sequence[:1])[0], []
            for frame in sequence[row, : end + 1]:
                before = state

                def step(one, frame=frame):
                    return cell.step(frame[None], one[None])[0]

                jacobians.append(torch.func.jacrev(step)(before))
                state = step(before)
            gradient = torch.zeros(cell.state_size, dtype=sequence.dtype)
            gradient[: cell.hidden_size] = direction / direction.norm()
            norms = [gradient.norm()]
            for jacobian in jacobians[::-1][:lags]:
                gradient = gradient @ jacobian
                norms.append(gradient.norm())
            rows.append(torch.stack(norms).detach())
    return torch.stack(rows).numpy()


@pytest.mark.parametrize("name", ["rnn", "gru", "lstm"])
def test_gradient_norms_are_products_of_jacobians(name):
    """Oracle: the Jacobian of every step by torch.func, in float64."""
    torch.manual_seed(0)
    cell = build("cell", entry("cell", name).config(), 3, 4).double()
    sequence = torch.randn(2, 9, 3, dtype=torch.float64)
    expected = flow(cell, sequence, lags=5, ends=3)
    np.testing.assert_allclose(gradient_norms(cell, sequence, lags=5, ends=3), expected, rtol=1e-9)
    assert not any(parameter.grad is not None for parameter in cell.parameters())


def test_gradient_of_a_gate_alone_is_its_power():
    """Oracle: without recurrent weights d h_t / d h_(t-1) is the update gate, here sigmoid(2) everywhere."""
    cell = GRU(2, 3)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
        cell.bias_ih[3:6] = 2.0
    found = GradientFlow("gru", gradient_norms(cell, torch.randn(4, 30, 2), lags=20))
    gate = sigmoid(np.array(2.0))
    np.testing.assert_allclose(found.norms, np.tile(gate ** np.arange(21), (len(found.norms), 1)), rtol=1e-4)
    assert found.half_lag == int(np.ceil(np.log(0.5) / np.log(gate)))
    np.testing.assert_allclose(found.quantile(0.5), gate ** np.arange(21), rtol=1e-4)
    assert dataclasses.replace(found, norms=found.norms[:, :3]).half_lag is None


def test_gradients_of_a_model_go_the_way_its_layers_read():
    """Oracle: gradient_norms of the layer's cell over its inputs, turned round for the backward direction."""
    model = recognizer()
    found = trace(model, sound(), source_rate=RATE)
    flows = model_gradients([found, found], lags=10)
    assert [one.name for one in flows] == [layer.name for layer in found.layers]
    for one, layer in zip(flows, found.layers, strict=True):
        inputs = layer.inputs if layer.direction == "forward" else layer.inputs[::-1].copy()
        norms = gradient_norms(layer.cell, torch.from_numpy(inputs)[None], lags=10)
        np.testing.assert_allclose(one.norms, np.concatenate([norms, norms]), rtol=1e-6)
        assert one.frame_s == layer.frame_s
    with pytest.raises(ConfigError, match=r"--lags 60: at most \d+ in layer 1 forward"):
        model_gradients([found], lags=60)


@pytest.mark.parametrize("lag", [10, 51])
def test_adding_problem_is_what_the_paper_says(lag):
    """Oracle: the sum by a loop; one mark in each half; the error of always saying 1 is 1/6."""
    sequences, sums = adding(4000, lag, torch.Generator().manual_seed(0))
    assert sequences.shape == (4000, lag, 2)
    for (values, marks), total in zip(sequences[:50].transpose(1, 2), sums, strict=False):
        first, second = torch.nonzero(marks)[:, 0].tolist()
        assert first < lag // 2 <= second
        assert total == values[first] + values[second]
    assert float((sums - 1).square().mean()) == pytest.approx(baseline("adding", lag), rel=0.05)
    places = sequences[:, :, 1].sum(0)
    assert places.min() > 0.5 * 4000 / (lag / 2)  # marks are anywhere


def test_copying_problem_is_what_the_paper_says():
    """Oracle: the description of 1511.06464, section 4.1, read frame by frame; the loss of blanks, then a guess."""
    lag = 12
    sequences, answers = copying(50, lag, torch.Generator().manual_seed(0))
    shown = sequences.argmax(2)
    assert (sequences.sum(2) == 1).all()
    assert sequences.shape == (50, lag + 20, 10)
    assert (shown[:, :10] < 8).all()
    assert (shown[:, 10 : 10 + lag - 1] == 8).all()
    assert (shown[:, 10 + lag - 1] == 9).all()
    assert (shown[:, 10 + lag :] == 8).all()
    assert (answers[:, : lag + 10] == 8).all()
    assert torch.equal(answers[:, lag + 10 :], shown[:, :10])
    guess = torch.full((lag + 20, 10), -1e9)
    guess[: lag + 10, 8] = 0
    guess[lag + 10 :, :8] = 0
    loss = torch.nn.functional.cross_entropy(guess.expand(50, -1, -1).flatten(0, 1), answers.flatten())
    assert float(loss) == pytest.approx(baseline("copying", lag))


def test_a_gru_learns_to_add():
    """Oracle: a tenth of the error without memory; the record says when, and again the same."""
    config = ProblemConfig(lag=10, parameters=2000, steps=800, learning_rate=0.01)
    record = train_on_problem(config, test_every=50)
    assert record["solved_at"] is not None
    assert record["loss"] <= 1 / 60
    assert record["curve"][-1] == [record["solved_at"], record["loss"]]
    assert 0.8 * 2000 < record["cell_parameters"] <= 2000
    short = dataclasses.replace(config, steps=50)
    runs = [train_on_problem(short, test_every=50) for _ in range(2)]
    assert runs[0]["curve"] == runs[1]["curve"] == [record["curve"][0]]


@pytest.mark.parametrize(
    "wrong",
    [{"task": "subtracting"}, {"lag": 9}, {"parameters": 99}, {"steps": 0}, {"batch_size": 0}, {"learning_rate": 0}],
)
def test_settings_of_a_problem_have_their_range(wrong):
    (name,) = wrong
    with pytest.raises(ConfigError, match=f"{name}="):
        ProblemConfig(**wrong)


@pytest.fixture
def clip(tmp_path, monkeypatch) -> Path:
    """A recording alone in the working folder."""
    monkeypatch.chdir(tmp_path)
    soundfile.write("clip.wav", sound(), RATE)
    return tmp_path / "clip.wav"


@pytest.fixture
def model_folder(tmp_path) -> str:
    recognizer(num_layers=1).save(tmp_path / "model")
    return str(tmp_path / "model")


def decoded(page: str) -> tuple[dict[str, Any], list[np.ndarray]]:
    """What a page holds, and the values of its panels (rows, time), as its script computes them."""
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])
    levels, at, panels = np.frombuffer(zlib.decompress(base64.b64decode(data["levels"])), np.uint8), 0, []
    for panel in data["panels"]:
        size = panel["rows"] * panel["frames"]
        image = levels[at : at + size].reshape(panel["rows"], panel["frames"])
        panels.append(panel["low"] + image / 255 * (panel["high"] - panel["low"]))
        at += size
    assert at == len(levels)
    return data, panels


def test_inspect_writes_pictures_and_a_page_with_the_numbers(clip, model_folder, capsys):
    """Oracle: the trace; matplotlib's own reader of PNG; the units stand in the order they are named."""
    assert main(["inspect", "clip.wav", "-m", model_folder, "-o", "out"]) == 0
    names = ["clip.png", "clip.html", "half_lives.json", "half_lives.png"]
    *drawn, heading, forward, backward, numbers, picture = capsys.readouterr().out.splitlines()
    assert [*drawn, numbers, picture] == [str(Path("out") / name) for name in names]
    assert heading.split() == ["half-life", "units", "10", "%", "median", "90", "%", "longest"]
    for name in ("clip.png", "half_lives.png"):
        assert matplotlib.image.imread(Path("out") / name).std() > 0.05
    found = trace(load(model_folder), clip)
    data, panels = decoded(Path("out/clip.html").read_text())
    by_name = {panel["name"]: (panel, values) for panel, values in zip(data["panels"], panels, strict=True)}
    layers = {layer.name: layer for layer in found.layers}
    for name, layer in layers.items():
        for gate, values in layer.gates.items():
            panel, shown = by_name[f"{name}: {gate}"]
            units = [int(unit.split()[1]) - 1 for unit in panel["names"]]
            np.testing.assert_allclose(shown, values.T[units], atol=(panel["high"] - panel["low"]) / 500)
            assert panel["frame_s"] == layer.frame_s
        norms = np.linalg.norm(layer.gates["hidden"], axis=1)
        np.testing.assert_allclose(by_name[f"{name}: length"][1][0], norms, atol=norms.max() / 500)
        gate = by_name[f"{name}: update"][1]
        assert (np.diff(gate.mean(1)) < 0.01).all()
    np.testing.assert_allclose(by_name["attention"][1], found.attention.T, atol=0.01)
    ranked = [found.tokens.index(name) for name in found.probabilities]
    np.testing.assert_allclose(by_name["evidence"][1], found.evidence.T[ranked], atol=0.01)
    written = json.loads(Path("out/half_lives.json").read_text())["half_life_s"]
    expected = layer_half_lives_s([found])
    for line, values in zip((forward, backward), expected.values(), strict=True):
        assert line.endswith(f"{1000 * max(values):.3g} ms")
    assert {name: pytest.approx(values.tolist()) for name, values in expected.items()} == written


def test_inspect_shows_the_gates_that_are_asked_for(clip, model_folder, capsys):
    """Oracle: the height of the picture, of which a layer's update gate alone takes less; the names of the gates."""
    words = ["inspect", "clip.wav", "-m", model_folder, "-o"]
    assert main([*words, "all"]) == main([*words, "one", "--gates", "update"]) == 0
    tall, low = (matplotlib.image.imread(Path(folder) / "clip.png").shape[0] for folder in ("all", "one"))
    assert tall - low > 200
    capsys.readouterr()
    assert main([*words, "none", "--gates", "update,forget"]) == 2
    assert "--gates forget: no gate of this model (it has reset, update, candidate, hidden)" in capsys.readouterr().err
    assert main(["inspect", "gradients", "--gates", "update"]) == 2


def test_a_page_stands_alone_and_lets_nothing_out_of_a_title(tones, tmp_path):
    """Oracle: an HTML parser and the page's own policy; words come from the model, the title from a file name."""
    rng = np.random.default_rng(3)
    waveform, _ = tones.say(tones.words(3, rng), rng)
    found = trace(tones.recognizer, waveform, source_rate=tones.sample_rate)
    evil = "</script><script>alert(1)</script>"
    found.words[0] = dataclasses.replace(found.words[0], word=evil)
    write_xray_page(found, tmp_path / "page.html", title=evil)
    page = (tmp_path / "page.html").read_text()
    tags: list[tuple[str, dict[str, Any]]] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append((tag, dict(attributes)))
    parser.feed(page)
    assert [tag for tag, _ in tags].count("script") == 2
    assert not any({"href", "srcset"} & set(attributes) for _, attributes in tags)
    ((tag, address),) = [(tag, given["src"]) for tag, given in tags if "src" in given]
    kind, _, sound = address.partition(";base64,")
    assert (tag, kind) == ("audio", "data:audio/wav")
    heard, rate = soundfile.read(io.BytesIO(base64.b64decode(sound)))
    assert rate == tones.sample_rate
    np.testing.assert_allclose(heard, np.clip(waveform, -1, 1), atol=1 / 2**15)
    (policy,) = [given["content"] for tag, given in tags if given.get("http-equiv") == "Content-Security-Policy"]
    script = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)[-1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; media-src data:; script-src 'sha256-{digest}'"
    data, panels = decoded(page)
    assert [word["word"] for word in data["words"]] == [word.word for word in found.words]
    np.testing.assert_allclose(panels[-1], found.posteriors.T, atol=1 / 500)
    assert len(xray_picture(found, title=evil)) > 10_000


def test_the_sound_of_a_page_is_bounded():
    """Oracle: the counts of samples, and a tone of 1 kHz whose place in the spectrum another rate does not change."""
    tone = np.sin(2 * np.pi * 1000 * np.arange(48000) / 48000).astype(np.float32)
    address, note = sound_address(tone, 48000)
    heard, rate = soundfile.read(io.BytesIO(base64.b64decode(address.partition(",")[2])))
    assert (rate, len(heard), note) == (16000, 16000, "The sound is played at 16 kHz.")
    assert np.abs(np.fft.rfft(heard)).argmax() == 1000
    assert sound_address(np.zeros(121 * 8000, np.float32), 8000)[0] == ""
    assert "121 s, at most 120" in sound_address(np.zeros(121 * 8000, np.float32), 8000)[1]


def test_colours_of_a_state_are_not_those_of_its_largest_value():
    """Oracle: rows written by hand; a gate keeps 0 and 1; below zero is only where something is."""
    values = np.ones((10, 100), np.float32)
    values[0, :5] = 50
    assert colours_of("update", values) == ("share", 0.0, 1.0)
    assert colours_of("candidate", values) == ("share", 0.0, 1.0)
    assert colours_of("candidate", -values) == ("state", -1.0, 1.0)


def test_a_page_speaks_of_orange_only_where_there_is_some(tones, tmp_path):
    """Oracle: the candidates themselves; a ReLU has none below zero."""
    rng = np.random.default_rng(3)
    found = trace(tones.recognizer, tones.say(tones.words(1, rng), rng)[0], source_rate=tones.sample_rate)
    write_xray_page(found, tmp_path / "page.html", title="page")
    assert "orange is below zero" in (tmp_path / "page.html").read_text()
    layers = [
        dataclasses.replace(layer, gates={name: np.abs(values) for name, values in layer.gates.items()})
        for layer in found.layers
    ]
    write_xray_page(dataclasses.replace(found, layers=layers), tmp_path / "page.html", title="page")
    assert "orange" not in (tmp_path / "page.html").read_text().partition("<body>")[2].partition("<script")[0]


def test_script_and_style_of_a_page_fit_together(tones, tmp_path):
    """Oracle: the page's own text. Every element the script asks for is there, every colour in light and in dark."""
    rng = np.random.default_rng(3)
    found = trace(tones.recognizer, tones.say(tones.words(1, rng), rng)[0], source_rate=tones.sample_rate)
    write_xray_page(found, tmp_path / "page.html", title="page")
    page = (tmp_path / "page.html").read_text()
    asked = set(re.findall(r'element\("(\w+)"\)', page))
    assert {"tracks", "readout", "words"} <= asked <= set(re.findall(r'id="(\w+)"', page))
    dark = "".join(re.findall(r"@media \(prefers-color-scheme: dark\) \{\s*:root \{(.*?)\}", page, re.DOTALL))
    light = re.sub(r"@media \(prefers-color-scheme: dark\) \{\s*:root \{.*?\}", "", page, flags=re.DOTALL)
    used = set(re.findall(r'var\((--\w+)\)|"(--\w+)"', page))
    names = {one or other for one, other in used} | {f"--{name}" for name in ("paper", "ink", "blue", "orange")}
    assert "--label" in names
    assert names <= set(re.findall(r"(--\w+):", light))
    assert names - {"--label"} <= set(re.findall(r"(--\w+):", dark))


def test_inspect_gradients_prints_and_writes_what_it_measured(clip, model_folder, capsys):
    """Oracle: fresh_gradients and model_gradients; a second run gives the same bytes."""
    assert main(["inspect", "gradients", "--cells", "gru,rnn", "--lags", "12", "--hidden_size", "8", "-o", "a"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["gradient", "left", "at", "lag", "1", "5", "10", "12"]
    assert [line.split()[0] for line in table[1:3]] == ["gru", "rnn"]
    first = Path("a/gradients.json").read_bytes()
    expected = fresh_gradients("gru", 8, 12)
    cell = json.loads(first)["cells"][0]
    np.testing.assert_allclose(cell["median"], expected.quantile(0.5))
    assert cell["half_lag"] == expected.half_lag
    assert main(["inspect", "gradients", "--cells", "gru,rnn", "--lags", "12", "--hidden_size", "8", "-o", "a"]) == 0
    assert Path("a/gradients.json").read_bytes() == first
    assert main(["inspect", "gradients", "clip.wav", "-m", model_folder, "-o", "b"]) == 0
    found = trace(load(model_folder), clip)
    flows = model_gradients([found], lags=len(found.features) // 2)
    written = json.loads(Path("b/gradients.json").read_text())["cells"]
    assert [one["name"] for one in written] == [one.name for one in flows]
    np.testing.assert_allclose(written[1]["p90"], flows[1].quantile(0.9), rtol=1e-5)


def test_inspect_memory_goes_on_where_it_stopped(tmp_path, monkeypatch, capsys):
    """Oracle: the bytes of the runs that were there, the number of runs announced."""
    monkeypatch.chdir(tmp_path)
    words = [
        "inspect",
        "memory",
        "--tasks",
        "adding",
        "--lags",
        "10",
        "--parameters",
        "200",
        "--steps",
        "3",
        "-o",
        "out",
    ]
    assert main([*words, "--cells", "gru"]) == 0
    (first,) = json.loads(Path("out/memory.json").read_text())["runs"]
    capsys.readouterr()
    Path("README.md").write_text("# Memory\n<!-- memory -->\n<!-- /memory -->\nend\n")
    assert main([*words, "--cells", "gru,rnn", "--tasks", "adding,copying", "--readme", "README.md"]) == 0
    shown = capsys.readouterr()
    readme = Path("README.md").read_text().splitlines()
    assert (readme[:2], readme[-2:]) == (["# Memory", "<!-- memory -->"], ["<!-- /memory -->", "end"])
    printed = [line.split() for line in shown.out.splitlines()[:5]]
    assert [line.replace("|", " ").split() for line in readme[2:3] + readme[4:-2]] == printed
    runs = json.loads(Path("out/memory.json").read_text())["runs"]
    assert runs[0] == first
    assert [(run["task"], run["cell"]) for run in runs[1:]] == [
        ("adding", "rnn"),
        ("copying", "gru"),
        ("copying", "rnn"),
    ]
    assert len(shown.err.splitlines()) == 3
    assert [line.split()[:3] for line in shown.out.splitlines()[1:3]] == [
        ["adding", "10", "gru"],
        ["adding", "10", "rnn"],
    ]
    assert matplotlib.image.imread("out/memory.png").std() > 0.05


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nowhere.wav", "-m", "model"], 1, "nowhere.wav\terror: no such file"),
        (["empty"], 2, "empty: no audio file at any depth"),
        (["clip.wav", "-m", "nothing"], 2, "-m nothing: no such folder"),
        (["clip.wav", "-o", "clip.wav/out"], 2, "-o clip.wav/out: cannot be made"),
        (["clip.wav", "--cells", "gru"], 2, "--cells: inspect gates has no such option"),
        (["clip.wav", "--start", "3", "-m", "model"], 1, "clip.wav\terror: the slice from"),
        (["gradients", "--cells", "gro"], 2, "cell=gro is not known; did you mean 'gru'?"),
        (["gradients", "--lags", "1,2"], 2, "--lags 1,2: a whole number, at least 1"),
        (["gradients", "--hidden_size", "0"], 2, "--hidden_size 0: at least 1"),
        (["gradients", "-m", "model"], 2, "--model: has no effect without recordings"),
        (["gradients", "clip.wav", "--cells", "gru", "-m", "model"], 2, "--cells: has no effect with recordings"),
        (["gradients", "clip.wav", "--lags", "99", "-m", "model"], 2, "--lags 99: at most"),
        (["memory", "clip.wav"], 2, "clip.wav: inspect memory takes no recordings"),
        (["memory", "--lags", "10,x"], 2, "--lags 10,x: whole numbers"),
        (["memory", "--tasks", "adding,dividing"], 2, "task=dividing: one of adding, copying"),
        (["memory", "--lags", "5"], 2, "lag=5: at least 10"),
    ],
)
def test_bad_input_gets_one_line(clip, model_folder, capsys, words, code, message):
    """Oracle: the exit code and the one line on standard error; nothing is written."""
    Path("empty").mkdir()
    assert main(["inspect", *words]) == code
    shown = capsys.readouterr()
    assert message in shown.err.splitlines()[0]
    assert len(shown.err.splitlines()) == (1 if code == 2 else 2)
    assert shown.out == ""


def test_one_bad_recording_stops_nothing(clip, model_folder, capsys):
    """Oracle: the files of the others; recordings of one name in two folders are told apart."""
    Path("folder").mkdir()
    Path("folder/broken.wav").write_bytes(b"RIFF")
    soundfile.write("folder/clip.wav", sound(seed=1), RATE)
    soundfile.write("long.wav", np.tile(sound(1.0), 61), RATE)
    assert main(["inspect", "clip.wav", "folder", "long.wav", "-m", model_folder]) == 1
    shown = capsys.readouterr()
    assert [line.split("\t")[0] for line in shown.err.splitlines()[:2]] == [str(Path("folder/broken.wav")), "long.wav"]
    assert "61 s, at most 60; choose with --start and --duration" in shown.err
    assert shown.err.splitlines()[-1] == "speechgru inspect: 2 of 4 failed"
    assert Path("inspection/clip.html").is_file()
    assert Path("inspection/folder/clip.html").is_file()
    assert json.loads(Path("inspection/half_lives.json").read_text())["recordings"] == 2
    assert main(["inspect", "long.wav", "--start", "60.5", "-m", model_folder]) == 0


@pytest.mark.parametrize("name", names("cell"))
def test_every_cell_can_be_looked_into(name):
    """Oracle: trace itself refuses what differs from the model; a gate that keeps is between 0 and 1."""
    model = recognizer(cell=entry("cell", name).config())
    found = trace(model, sound(), source_rate=RATE)
    assert len(found.layers) == 4
    for layer in found.layers:
        assert layer.gates["hidden"].shape == (len(layer.inputs), 6)
        assert sorted(gate_order(layer)) == sorted(layer.gates)
        gate = keeping_gate(layer.gates)
        assert gate is not None or name in ("rnn", "ind_rnn")
        if gate is not None:
            assert gate_order(layer)[0] == gate
            assert 0 <= layer.gates[gate].min() <= layer.gates[gate].max() <= 1
    assert np.isfinite(fresh_gradients(name, 4, 5).norms).all()


ROOT = Path(__file__).parent.parent
PAGES = ("docs/gated-recurrent-units.md", "recipes/memory_problems/README.md", "docs/lab-report.md")
DOCS = [ROOT / page for page in PAGES]


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_the_page_names_what_is_there(page):
    """Oracle: the sources, read by ast: the name or Class.method of a link is defined in the file it leads to."""
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\[([^\]]*)\]\((?!http)([^)#]+)\)", text)
    assert links
    for words, target in links:
        path = page.parent / target
        assert path.exists(), target
        if path.suffix == ".png":
            assert path.stat().st_size < 300_000
            assert words  # what is to be seen, for those who do not see it
        if path.suffix == ".py":
            body = ast.parse(path.read_text(encoding="utf-8")).body
            for name in words.strip("`").split("."):
                (found,) = [one for one in body if getattr(one, "name", None) == name]
                body = getattr(found, "body", [])


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_commands_of_the_page_are_understood(page):
    """Oracle: the command's own parser; every table has its numbers."""
    text = page.read_text(encoding="utf-8")
    commands = re.findall(r"^    speechgru inspect (.*)$", text, re.MULTILINE)
    assert commands
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    for command in commands:
        parser.parse_args(shlex.split(command))
    for mark in re.findall(r"<!-- (\w+) -->", text):
        if mark not in ("cells", "latency"):  # several tables, held to the results of their recipes elsewhere
            assert re.search(rf"<!-- {mark} -->\n(\|.*\n)+<!-- /{mark} -->", text), mark


def test_results_of_the_problems_are_those_of_the_table(tmp_path, monkeypatch, capsys):
    """Oracle: the command, which finds all runs done and writes the table again, and so the script of the recipe."""
    folder = DOCS[1].parent
    for name in ("memory.json", "README.md"):
        shutil.copy(folder / name, tmp_path / name)
    (line,) = re.findall(r"^speechgru (inspect .*)$", (folder / "run.sh").read_text(), re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    words = shlex.split(line.replace("$lags", "20,50,100,200,500,1000").replace("$here", "."))
    assert main(words) == 0
    assert capsys.readouterr().err == ""
    assert (tmp_path / "README.md").read_text() == (folder / "README.md").read_text()
    assert os.access(folder / "run.sh", os.X_OK)
    subprocess.run(["bash", "-n", str(folder / "run.sh")], check=True)


def test_python_of_the_page_runs(tmp_path, monkeypatch, capsys):
    """Oracle: Python itself, with a recording called clip.wav at hand."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", DOCS[0].read_text(), re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    soundfile.write("clip.wav", sound(), RATE)
    exec(compile(code, "page", "exec", dont_inherit=True), {"__name__": "page"})
    lines = capsys.readouterr().out.splitlines()
    assert [line[: len("layer 1 forward")] for line in lines[:2]] == ["layer 1 forward", "layer 1 backwar"]
