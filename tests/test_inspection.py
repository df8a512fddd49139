"""Gates, memory and gradients made visible. Oracles: NumPy loops, the model's own output, finite differences."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from speechgru.cells import GRU
from speechgru.encoders import ConvolutionConfig, GRUEncoderConfig, Merge
from speechgru.errors import AudioError, ModelError
from speechgru.features import LogMelConfig
from speechgru.heads import ClassificationConfig, CTCConfig, Pooling
from speechgru.inspection import trace
from speechgru.inspection.evidence import evidence
from speechgru.inspection.memory import half_lives_s, layer_half_lives_s, unit_order
from speechgru.recognizer import Recognizer, RecognizerConfig
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


def test_evidence_of_a_frame_is_what_the_score_loses_without_it():
    """Oracle: the mean pooled by hand without one frame."""
    head = recognizer(ClassificationConfig(pooling=Pooling.mean)).head.eval()
    hidden, lengths = torch.randn(1, 5, 12), torch.tensor([5])
    with torch.no_grad():
        scores, without = head(hidden, lengths), hidden.clone()
        without[0, 2] = 0
        lost = scores - head(without, lengths)
        torch.testing.assert_close(evidence(head, hidden, lengths).added[:, 2], lost, atol=1e-6, rtol=0)


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

    def swapped(self, sequence, lengths=None, state=None):
        found = gates(self, sequence, lengths, state)
        hidden = (1 - found["reset"]) * found["candidate"]
        return {**found, "hidden": hidden}

    gates = GRU.gates
    with monkeypatch.context() as patch:
        patch.setattr(GRU, "gates", swapped)
        with pytest.raises(ModelError, match=r"states of layers\.0\.forward_cell differ from the model's by 0\.\d+"):
            trace(model, sound(), source_rate=RATE)
    monkeypatch.setattr("speechgru.inspection.replay.reverse_within", lambda sequence, lengths: sequence)
    with pytest.raises(ModelError, match=r"the states of layers\.0\.backward_cell differ"):
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
    from speechgru.recognizer import load

    clip = min((recordings / "speech_commands" / "right").glob("*.flac"))
    found = trace(load(), clip)
    samples, _ = soundfile.read(clip)
    assert found.duration_s == len(samples) / 16000
    assert found.attention.sum(0) == pytest.approx(1, abs=1e-5)
    assert next(iter(found.probabilities)) == "right"
