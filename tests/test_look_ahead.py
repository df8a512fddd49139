"""The look-ahead encoder: the encoder it stands on, loops and changed futures are the oracles."""

import pytest
import torch

from speechgru.cells import valid_frames
from speechgru.encoders import ConvolutionConfig, GRUEncoder, GRUEncoderConfig, LookAheadConfig, LookAheadEncoder
from speechgru.errors import ConfigError
from speechgru.registry import build

INPUT = 6
CONFIGS = [
    LookAheadConfig(hidden_size=4, num_layers=1, dropout=0.0, context=0),
    LookAheadConfig(hidden_size=4, dropout=0.0, context=3, layer_norm=True),
    LookAheadConfig(hidden_size=4, dropout=0.0, context=2, pyramid=[2, 3]),
    LookAheadConfig(
        hidden_size=4,
        dropout=0.0,
        context=2,
        pyramid=[1, 2],
        front_end=ConvolutionConfig(channels=[2, 2], kernel_time=5, stride_time=[2, 3], stride_feature=[1, 1]),
    ),
]


def make(config):
    torch.manual_seed(0)
    encoder = build("encoder", config, INPUT).double().eval()
    torch.nn.init.uniform_(encoder.row_weight, 0.5, 1.5)
    return encoder


@pytest.mark.parametrize("config", CONFIGS)
def test_the_future_beyond_the_look_ahead_is_not_seen(config):
    """Oracle: a changed frame moves no output that ends its look-ahead before it, and moves the one that ends there."""
    encoder = make(config)
    features = torch.randn(1, 60, INPUT, dtype=torch.float64)
    before, _ = encoder(features)
    touched = 0
    for frame in range(60):
        changed = features.clone()
        changed[:, frame] += 1
        moved = (encoder(changed)[0] - before).abs().amax((0, 2)) > 1e-13
        first = int(moved.nonzero()[0]) if moved.any() else before.shape[1]
        assert first * encoder.subsampling + encoder.look_ahead >= frame
        touched += first * encoder.subsampling + encoder.look_ahead == frame
    assert touched > 0  # the promise is tight


@pytest.mark.parametrize("config", CONFIGS)
def test_padding_is_inert(config):
    """Oracle: each row alone, without lengths; NaN stands in the padding; gradients are finite."""
    encoder = make(config)
    lengths = torch.tensor([23, 0, 7, 30])
    features = torch.randn(4, 34, INPUT, dtype=torch.float64)
    padded = features.masked_fill(~valid_frames(lengths, 34)[..., None], float("nan"))
    hidden, out_lengths = encoder(padded, lengths)
    assert torch.equal(out_lengths, encoder.output_lengths(lengths))
    for row, length in enumerate(lengths.tolist()):
        alone, _ = encoder(features[row : row + 1, :length])
        torch.testing.assert_close(hidden[row, : out_lengths[row]], alone[0], atol=1e-12, rtol=0)
        assert (hidden[row, out_lengths[row] :] == 0).all()
    hidden.sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in encoder.parameters())


def test_rows_of_weights_over_the_future():
    """Oracle: the formula in Python loops over the states of the plain encoder with the same weights."""
    config = CONFIGS[1]
    encoder = make(config)
    plain = GRUEncoder(INPUT, GRUEncoderConfig(hidden_size=4, dropout=0.0, layer_norm=True, bidirectional=False))
    plain.double().load_state_dict({k: v for k, v in encoder.state_dict().items() if k != "row_weight"})
    features, lengths = torch.randn(1, 9, INPUT, dtype=torch.float64), torch.tensor([7])
    states, _ = plain(features, lengths)
    hidden, _ = encoder(features, lengths)
    for t in range(7):
        share = [1, 1 / 3, 1 / 3, 1 / 3]
        wanted = sum(encoder.row_weight[:, j] * share[j] * states[0, t + j] for j in range(4) if t + j < 7)
        torch.testing.assert_close(hidden[0, t], wanted, atol=1e-12, rtol=0)


def test_it_starts_as_the_encoder_without_look_ahead():
    """Oracle: the plain encoder drawn from the same seed."""
    features = torch.randn(2, 9, INPUT)
    torch.manual_seed(3)
    plain = GRUEncoder(INPUT, hidden_size=4, dropout=0.0, bidirectional=False)
    torch.manual_seed(3)
    encoder = LookAheadEncoder(INPUT, hidden_size=4, dropout=0.0)
    torch.testing.assert_close(encoder(features)[0], plain(features)[0], atol=1e-6, rtol=0)


def test_wrong_use():
    """A user's error names the setting."""
    with pytest.raises(ConfigError, match="bidirectional=True"):
        LookAheadConfig(bidirectional=True)
    with pytest.raises(ConfigError, match="context=-1"):
        LookAheadConfig(context=-1)
    assert not hasattr(LookAheadEncoder, "from_torch"), "torch's modules look at nothing ahead"
