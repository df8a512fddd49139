"""The latency-controlled encoder: loops over chunks, the encoder it stands on and changed futures are the oracles."""

import pytest
import torch

from speechgru.cells import LiGRUConfig, LSTMConfig, QRNNConfig, valid_frames
from speechgru.encoders import (
    ConvolutionConfig,
    GRUEncoder,
    GRUEncoderConfig,
    LatencyControlledConfig,
    LatencyControlledEncoder,
    Merge,
)
from speechgru.encoders.latency_controlled import _run_windows
from speechgru.errors import ConfigError
from speechgru.registry import build

INPUT = 6
SMALL = {"hidden_size": 4, "dropout": 0.0}
CONFIGS = [
    LatencyControlledConfig(**SMALL, num_layers=1, chunk=1, right=0),
    LatencyControlledConfig(**SMALL, num_layers=3, chunk=4, right=3, layer_norm=True, residual=True),
    LatencyControlledConfig(**SMALL, chunk=3, right=7, projection_size=5, cell=LSTMConfig()),
    LatencyControlledConfig(**SMALL, chunk=2, right=1, pyramid=[2, 3], merge=Merge.sum, cell=QRNNConfig(window=2)),
    LatencyControlledConfig(
        **SMALL,
        chunk=3,
        right=2,
        pyramid=[1, 2],
        front_end=ConvolutionConfig(channels=[2, 2], kernel_time=5, stride_time=[2, 3], stride_feature=[1, 1]),
    ),
]


def make(config, seed=0):
    torch.manual_seed(seed)
    return build("encoder", config, INPUT).double().eval()


def plain(encoder):
    """The encoder ``gru`` with the same weights and settings."""
    own = ("chunk", "right", "training_chunks", "training_rights")
    settings = {name: value for name, value in vars(encoder.config).items() if name not in own}
    same = GRUEncoder(INPUT, GRUEncoderConfig(**settings)).to(next(encoder.parameters()).dtype)
    same.load_state_dict(encoder.state_dict())
    return same.train(encoder.training)


@pytest.mark.parametrize("config", CONFIGS)
def test_the_future_beyond_the_look_ahead_is_not_seen(config):
    """Oracle: a changed frame moves no output that ends its look-ahead before it, and moves one that ends there."""
    encoder = make(config)
    features = torch.randn(1, 75, INPUT, dtype=torch.float64)
    changed = features + torch.eye(75, dtype=torch.float64)[..., None]
    moved = (encoder(changed)[0] != encoder(features.expand_as(changed))[0]).any(2)
    touched = 0
    for frame, outputs in enumerate(moved):
        first = int(outputs.nonzero()[0]) if outputs.any() else len(outputs)
        assert first * encoder.subsampling + encoder.look_ahead >= frame
        touched += first * encoder.subsampling + encoder.look_ahead == frame
    assert touched > 0  # the promise is tight


def test_the_look_ahead_of_frames_that_are_not_joined():
    """Oracle: chunk - 1 + right, whatever the number of layers."""
    assert [make(config).look_ahead for config in CONFIGS[:3]] == [0, 6, 9]
    assert LatencyControlledEncoder(INPUT, chunk=5, right=8, num_layers=7).look_ahead == 12


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_chunk_that_holds_the_utterance_is_the_plain_encoder(config, dtype):
    """Oracle: GRUEncoder with the same weights, outputs and gradients; the same if the right context holds it."""
    encoder = make(config).to(dtype)
    same = plain(encoder)
    lengths = torch.tensor([37, 0, 5])
    features = torch.randn(3, 40, INPUT, dtype=dtype)
    wanted, wanted_lengths = same(features, lengths)
    wanted.square().sum().backward()
    encoder.config = type(config)(**{**vars(config), "chunk": 10**9})
    hidden, out_lengths = encoder(features, lengths)
    hidden.square().sum().backward()
    assert torch.equal(out_lengths, wanted_lengths)
    torch.testing.assert_close(hidden, wanted, atol=1e-5, rtol=0)
    for one, two in zip(encoder.parameters(), same.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, atol=1e-4, rtol=1e-4)
    encoder.config = type(config)(**{**vars(config), "right": 10**9})
    torch.testing.assert_close(encoder(features, lengths)[0], wanted, atol=1e-5, rtol=0)
    torch.testing.assert_close(encoder(features)[0], same(features)[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("config", [CONFIGS[1], CONFIGS[2]])
def test_every_chunk_goes_through_all_layers_with_its_right_context(config):
    """Oracle: one chunk after the other as the paper says it, the forward states carried over in Python."""
    encoder = make(config)
    features = torch.randn(2, 22, INPUT, dtype=torch.float64)
    chunk, right = config.chunk, config.right
    carried = [layer.forward_cell.initial_state(features) for layer in encoder.layers]
    answered = []
    for start in range(0, 22, chunk):
        window = features[:, start : start + chunk + right]
        for index, layer in enumerate(encoder.layers):
            main, state = layer.forward_cell(window[:, :chunk], state=carried[index])
            carried[index] = state
            ahead, _ = layer.forward_cell(window[:, chunk:], state=state)
            backward, _ = layer.backward_cell(window, reverse=True)
            window = layer.finish(window, torch.cat((main, ahead), 1), backward, None)
        answered.append(window[:, :chunk])
    torch.testing.assert_close(encoder(features)[0], torch.cat(answered, 1), atol=1e-12, rtol=0)


@pytest.mark.parametrize("config", CONFIGS)
def test_padding_is_inert(config):
    """Oracle: each row alone, without lengths; NaN stands in the padding; gradients are finite."""
    encoder = make(config)
    lengths = torch.tensor([23, 0, 7, 30])
    features = torch.randn(4, 41, INPUT, dtype=torch.float64)
    padded = features.masked_fill(~valid_frames(lengths, 41)[..., None], float("nan"))
    hidden, out_lengths = encoder(padded, lengths)
    assert torch.equal(out_lengths, encoder.output_lengths(lengths))
    for row, length in enumerate(lengths.tolist()):
        alone, _ = encoder(features[row : row + 1, :length])
        torch.testing.assert_close(hidden[row, : out_lengths[row]], alone[0], atol=1e-12, rtol=0)
        assert (hidden[row, out_lengths[row] :] == 0).all()
    hidden.sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in encoder.parameters())


def test_right_contexts_end_with_the_utterance():
    """Oracle: zeros beyond it in a layer's every chunk, so that no statistics of a cell count frames that are none."""
    left = torch.tensor([[8, 5, 2]])
    layer = make(LatencyControlledConfig(**SMALL)).layers[1]
    windows = torch.randn(1, 3, 10, layer.forward_cell.input_size, dtype=torch.float64)
    valid = valid_frames(left[0], 10)[None]
    finished, _ = _run_windows(layer, windows.masked_fill(~valid[..., None], 0.0), left, 3)
    assert torch.equal((finished != 0).all(3), valid)
    assert torch.equal((finished != 0).any(3), valid)


def test_training_does_not_see_the_padding():
    """Oracle: the batch without its padding, for a cell with statistics over the batch: outputs, gradients, buffers."""
    results = []
    for extra in (0, 9):
        encoder = make(LatencyControlledConfig(**SMALL, chunk=4, right=3, cell=LiGRUConfig())).train()
        torch.manual_seed(1)
        features, lengths = torch.randn(3, 17, INPUT, dtype=torch.float64), torch.tensor([17, 2, 9])
        encoder.config.training_chunks, encoder.config.training_rights = [], []
        hidden, _ = encoder(torch.nn.functional.pad(features, (0, 0, 0, extra), value=5.0), lengths)
        hidden.square().sum().backward()
        results.append([hidden[:, :17], *(p.grad for p in encoder.parameters()), *encoder.buffers()])
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two, atol=1e-10, rtol=0)


@pytest.mark.parametrize("config", [CONFIGS[1], CONFIGS[2], CONFIGS[3]])
def test_gradients(config):
    """Oracle: finite differences, of the features and of all parameters."""
    encoder = make(config)
    features = torch.randn(2, 13, INPUT, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([13, 8])

    def run(features, *parameters):
        return encoder(features, lengths)[0]

    assert torch.autograd.gradcheck(run, (features, *encoder.parameters()), fast_mode=True)


def test_float32_training_is_the_double_one():
    """Oracle: the same in double precision, which no compiled kernel computes."""
    config = LatencyControlledConfig(**SMALL, chunk=4, right=3, training_chunks=[], training_rights=[])
    single, double = make(config).float().train(), make(config).train()
    features, lengths = torch.randn(3, 19, INPUT), torch.tensor([19, 2, 11])
    hidden = []
    for encoder, given in ((single, features), (double, features.double())):
        hidden.append(encoder(given, lengths)[0])
        hidden[-1].square().sum().backward()
    torch.testing.assert_close(hidden[0].double(), hidden[1], atol=1e-5, rtol=0)
    for one, two in zip(single.parameters(), double.parameters(), strict=True):
        torch.testing.assert_close(one.grad.double(), two.grad, atol=1e-4, rtol=0)


def test_training_draws_the_context_from_torchs_generator():
    """Oracle: evaluation with each of the pairs; the seed decides, every pair is met, evaluation draws nothing."""
    config = LatencyControlledConfig(**SMALL, chunk=9, right=9, training_chunks=[2, 5], training_rights=[0, 3])
    encoder = make(config)
    features = torch.randn(1, 20, INPUT, dtype=torch.float64)
    state = torch.get_rng_state()
    answers = {}
    for chunk in (2, 5):
        for right in (0, 3):
            config.chunk, config.right = chunk, right
            answers[chunk, right] = encoder(features)[0]
    config.chunk, config.right = 9, 9
    before, _ = encoder(features)
    assert torch.equal(torch.get_rng_state(), state)
    encoder.train()
    met = set()
    for seed in range(30):
        torch.manual_seed(seed)
        drawn, _ = encoder(features)
        torch.manual_seed(seed)
        assert torch.equal(encoder(features)[0], drawn)
        met.update(pair for pair, answer in answers.items() if torch.allclose(answer, drawn, atol=1e-12))
    assert met == set(answers)
    config.training_chunks, config.training_rights = [], []
    torch.testing.assert_close(encoder(features)[0], before, atol=1e-12, rtol=0)


def test_variational_dropout_drops_the_same_values_in_every_chunk():
    """Oracle: the zeros of the first frame."""
    config = LatencyControlledConfig(
        hidden_size=16, num_layers=1, dropout=0.5, variational=True, training_chunks=[3], training_rights=[2]
    )
    hidden, _ = make(config).train()(torch.randn(2, 20, INPUT, dtype=torch.float64))
    zeros = hidden == 0
    assert torch.equal(zeros, zeros[:, :1].expand_as(zeros))
    assert 8 < zeros[:, 0].sum() < 56
    assert not torch.equal(zeros[0], zeros[1])


def test_a_planted_backward_state_from_the_next_chunk_is_seen(monkeypatch):
    """Oracle: the test of the future, which must fail when the layers' look-aheads add up."""

    def leaky(layer, windows, left, chunk):
        finished, states = _run_windows(layer, windows, left, chunk)
        finished = finished.clone()
        finished[:, :-1, -1] += finished[:, 1:, -1]
        return finished, states

    monkeypatch.setattr("speechgru.encoders.latency_controlled._run_windows", leaky)
    with pytest.raises(AssertionError):
        test_the_future_beyond_the_look_ahead_is_not_seen(CONFIGS[1])


def test_wrong_use():
    """A user's error names the setting."""
    for settings, message in (
        ({"bidirectional": False}, "bidirectional=False"),
        ({"chunk": 0}, "chunk=0"),
        ({"right": -1}, "right=-1"),
        ({"training_chunks": [3, 0]}, r"training_chunks=\[3, 0\]"),
        ({"training_rights": [-2]}, r"training_rights=\[-2\]"),
    ):
        with pytest.raises(ConfigError, match=message):
            LatencyControlledConfig(**settings)
    assert not hasattr(LatencyControlledEncoder, "from_torch"), "torch's modules know no chunks"
