"""The encoder: torch's own GRU, plain BatchNorm and each row alone are the oracles."""

import copy
import importlib
import threading

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

import speechgru.cells.cell
import speechgru.cells.recurrence
import speechgru.cells.side_by_side
import speechgru.encoders.batch_norm
import speechgru.encoders.convolution
import speechgru.encoders.recurrent
import speechgru.encoders.torch_weights
from speechgru.cells import GRUConfig, LiGRUConfig, LSTMConfig, MGUConfig, RNNConfig, valid_frames
from speechgru.encoders import Convolution, ConvolutionConfig, GRUEncoder, GRUEncoderConfig, Merge
from speechgru.encoders.batch_norm import MaskedBatchNorm
from speechgru.encoders.convolution import convolution_same
from speechgru.encoders.recurrent import join_frames
from speechgru.errors import ConfigError
from speechgru.registry import entry, names

INPUT = 6


@st.composite
def front_ends(draw):
    layers = draw(st.integers(1, 2))
    sizes = lambda largest: draw(st.lists(st.integers(1, largest), min_size=layers, max_size=layers))  # noqa: E731
    return ConvolutionConfig(
        channels=sizes(3),
        kernel_time=draw(st.sampled_from([1, 3, 5])),
        kernel_feature=draw(st.sampled_from([1, 3])),
        stride_time=sizes(3),
        stride_feature=sizes(2),
        residual=draw(st.booleans()),
    )


@st.composite
def configs(draw):
    layers = draw(st.integers(1, 3))
    return GRUEncoderConfig(
        hidden_size=draw(st.sampled_from([1, 4])),
        num_layers=layers,
        bidirectional=draw(st.booleans()),
        merge=draw(st.sampled_from(Merge)),
        dropout=0.0,
        layer_norm=draw(st.booleans()),
        residual=draw(st.booleans()),
        projection_size=draw(st.sampled_from([0, 3, INPUT])),
        pyramid=draw(st.one_of(st.just([]), st.lists(st.integers(1, 3), min_size=layers, max_size=layers))),
        cell=entry("cell", draw(st.sampled_from(names("cell")))).config(),
        front_end=draw(st.one_of(st.none(), front_ends())),
    )


def draw_batch(rows, seed=0, dtype=torch.float64):
    torch.manual_seed(seed)
    lengths = torch.tensor(rows)
    return torch.randn(len(rows), max(rows), INPUT, dtype=dtype), lengths


def fill_padding(features, lengths, value):
    return features.masked_fill(~valid_frames(lengths, features.shape[1])[..., None], value)


def randomize_statistics(encoder):
    """Running statistics as after some training: at their start, evaluation mode would be nearly the identity."""
    for module in encoder.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)


def make(config, seed=0):
    torch.manual_seed(seed)
    encoder = GRUEncoder(INPUT, config).double()
    randomize_statistics(encoder)
    return encoder


def gradients(encoder, features, lengths):
    encoder.zero_grad()
    hidden, out_lengths = encoder(features, lengths)
    weighting = torch.linspace(0.5, 1.5, hidden.shape[2], dtype=hidden.dtype)
    time = torch.linspace(1, 2, 50, dtype=hidden.dtype)[: hidden.shape[1], None]
    (hidden * weighting * time).sum().backward()
    return hidden, out_lengths, [p.grad.clone() for p in encoder.parameters()]


def check_alone_in_batch_and_padded(config, rows, more):
    """The contract "padding is inert" in evaluation mode; see the property test below."""
    encoder = make(config).eval()
    features, lengths = draw_batch(rows)
    hidden, out_lengths = encoder(features, lengths)
    padded = fill_padding(nn.functional.pad(features, (0, 0, 0, more)), lengths, float("nan"))
    more_hidden, more_lengths = encoder(padded, lengths)
    assert torch.equal(out_lengths, more_lengths)
    assert torch.equal(out_lengths, encoder.output_lengths(lengths))
    for row, length in enumerate(rows):
        count = int(out_lengths[row])
        # A row alone, without lengths: what the whole machinery of lengths must not change.
        alone, alone_lengths = encoder(features[row : row + 1, :length])
        assert alone.shape[1] == count == int(alone_lengths)
        torch.testing.assert_close(hidden[row, :count], alone[0], atol=1e-10, rtol=0)
        torch.testing.assert_close(more_hidden[row, :count], alone[0], atol=1e-10, rtol=0)
        assert (hidden[row, count:] == 0).all()
        assert (more_hidden[row, count:] == 0).all()


# A single frame strided by two keeps its shape, and a residual decided by the shape then depends on the padding.
ONE_FRAME = GRUEncoderConfig(
    hidden_size=4,
    num_layers=1,
    dropout=0.0,
    front_end=ConvolutionConfig(channels=[1], stride_time=[2], stride_feature=[1], residual=True),
)


@settings(max_examples=60, deadline=None)
@example(ONE_FRAME, [1], 1)
@given(configs(), st.lists(st.integers(0, 12), min_size=1, max_size=4), st.integers(0, 5))
def test_alone_in_a_batch_and_under_padding(config, rows, more):
    """Oracle: each row alone without lengths. In a batch, under NaN padding it is the same; padding gives zeros."""
    check_alone_in_batch_and_padded(config, rows, more)


@settings(max_examples=30, deadline=None)
@example(ONE_FRAME, [1], 1)
@given(configs(), st.lists(st.integers(0, 12), min_size=1, max_size=4).filter(any), st.integers(0, 5))
def test_training_does_not_see_the_padding(config, rows, more):
    """Oracle: the same batch with as little padding as possible; outputs, gradients, running statistics."""
    features, lengths = draw_batch(rows)
    encoder = make(config).train()
    other = copy.deepcopy(encoder)
    hidden, _, wanted = gradients(encoder, features, lengths)
    for garbage in (float("nan"), 1e9):
        again = copy.deepcopy(other)
        padded = fill_padding(nn.functional.pad(features, (0, 0, 0, more)), lengths, garbage)
        more_hidden, out_lengths, found = gradients(again, padded, lengths)
        for row, count in enumerate(out_lengths.tolist()):
            torch.testing.assert_close(more_hidden[row, :count], hidden[row, :count], atol=1e-9, rtol=0)
            assert (more_hidden[row, count:] == 0).all()
        for one, two in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, two, atol=1e-7, rtol=1e-7)
        for one, two in zip(again.buffers(), encoder.buffers(), strict=True):
            torch.testing.assert_close(one, two, atol=1e-9, rtol=0)


@settings(max_examples=20, deadline=None)
@given(configs(), st.lists(st.integers(0, 12), min_size=2, max_size=4).filter(any))
def test_gradients_of_a_batch_are_the_sum_over_its_rows(config, rows):
    """Oracle: backward through every row alone, evaluation mode (train-mode batch statistics do join rows)."""
    features, lengths = draw_batch(rows)
    encoder = make(config).eval()
    _, _, together = gradients(encoder, features, lengths)
    total = [torch.zeros_like(p) for p in encoder.parameters()]
    for row, length in enumerate(rows):
        if length:
            _, _, alone = gradients(encoder, features[row : row + 1, :length], None)
            total = [one + two for one, two in zip(total, alone, strict=True)]
    for one, two in zip(together, total, strict=True):
        torch.testing.assert_close(one, two, atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize(
    "front_end", [None, ConvolutionConfig(channels=[2, 3], stride_time=[1, 2], stride_feature=[2, 1])]
)
@pytest.mark.parametrize("time", [0, 4])
@pytest.mark.parametrize("training", [False, True])
def test_rows_without_frames(front_end, time, training):
    """Rows of length 0, also where the whole batch is: no error, no NaN in outputs or gradients."""
    config = GRUEncoderConfig(hidden_size=4, pyramid=[1, 2], layer_norm=True, dropout=0.0, front_end=front_end)
    encoder = GRUEncoder(INPUT, config).train(training)
    features = torch.full((2, time, INPUT), float("nan"), requires_grad=True)
    hidden, lengths = encoder(features, torch.tensor([0, 0]))
    assert lengths.tolist() == [0, 0]
    assert (hidden == 0).all()
    hidden.sum().backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in encoder.parameters())
    assert all(torch.isfinite(buffer).all() for buffer in encoder.buffers())


# The front end.


@pytest.mark.parametrize("rows", [(7, 3, 5), (7, 7, 7), (4, 0, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batch_statistics_are_those_of_the_valid_frames(rows, dtype):
    """Oracle: nn.BatchNorm2d in training and ReLU on the valid frames of all rows laid end to end; gradients too."""
    torch.manual_seed(0)
    lengths = torch.tensor(rows)
    planes = torch.randn(len(rows), 3, max(rows), 4, dtype=dtype) * 2 + 1
    mask = valid_frames(lengths, max(rows))
    planes = planes.masked_fill(~mask[:, None, :, None], 1e3)  # finite garbage: the convolution before it writes some
    ours, plain = MaskedBatchNorm(3).to(dtype).train(), nn.BatchNorm2d(3).to(dtype).train()
    for norm in (ours, plain):
        nn.init.constant_(norm.weight, 1.3)
        nn.init.constant_(norm.bias, -0.2)
    joined = torch.cat([planes[row, :, :length] for row, length in enumerate(rows)], 1)[None]
    first, second = planes.clone().requires_grad_(), joined.clone().requires_grad_()
    for _ in range(2):  # twice, so that the running statistics are moved from something that is not their start
        output, wanted = ours(first, lengths), nn.functional.relu(plain(second))
    found = torch.cat([output[row, :, :length] for row, length in enumerate(rows)], 1)[None]
    tolerance = 2e-5 if dtype is torch.float32 else 1e-12
    torch.testing.assert_close(found, wanted, atol=tolerance, rtol=0)
    torch.testing.assert_close(ours.running_mean, plain.running_mean, atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(ours.running_var, plain.running_var, atol=tolerance, rtol=tolerance)
    assert ours.num_batches_tracked == plain.num_batches_tracked == 2
    weighting = torch.randn_like(found)
    (found * weighting).sum().backward()
    (wanted * weighting).sum().backward()
    gradient = torch.cat([first.grad[row, :, :length] for row, length in enumerate(rows)], 1)[None]
    torch.testing.assert_close(gradient, second.grad, atol=10 * tolerance, rtol=0)
    torch.testing.assert_close(ours.weight.grad, plain.weight.grad, atol=100 * tolerance, rtol=0)


def test_batch_statistics_under_autocast_are_float32():
    """Oracle: nn.BatchNorm2d on the same bfloat16 planes; the statistics keep float32."""
    planes = torch.randn(2, 3, 5, 4).bfloat16()
    norm = MaskedBatchNorm(3).train()
    output = norm(planes, torch.tensor([5, 2]))
    assert output.dtype == torch.bfloat16
    plain = nn.BatchNorm2d(3).train()
    plain(torch.cat((planes[0], planes[1, :, :2]), 1)[None].float())
    torch.testing.assert_close(norm.running_mean, plain.running_mean, atol=1e-6, rtol=0)
    torch.testing.assert_close(norm.running_var, plain.running_var, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 3)])
@pytest.mark.parametrize("stride", [(1, 1), (2, 1), (3, 2)])
def test_convolution_same_is_a_sum_over_neighbours(kernel, stride):
    """Oracle: loops over output frames and features; output (t, f) is centred on input (t * stride, f * stride)."""
    torch.manual_seed(0)
    planes, weight = torch.randn(1, 2, 7, 6), torch.randn(3, 2, *kernel)
    found = convolution_same(planes, weight, stride)
    times, features = -(-7 // stride[0]), -(-6 // stride[1])
    wanted = torch.zeros(1, 3, times, features)
    for t in range(times):
        for f in range(features):
            for i in range(kernel[0]):
                for j in range(kernel[1]):
                    row, column = t * stride[0] + i - kernel[0] // 2, f * stride[1] + j - kernel[1] // 2
                    if 0 <= row < 7 and 0 <= column < 6:
                        wanted[0, :, t, f] += weight[:, :, i, j] @ planes[0, :, row, column]
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


def test_convolution_is_plain_torch():
    """Oracle: nn.Sequential of Conv2d, BatchNorm2d and ReLU with the same parameters, full batch; residual by hand."""
    torch.manual_seed(0)
    config = ConvolutionConfig(channels=[4, 4], stride_time=[2, 1], stride_feature=[2, 1])
    module = Convolution(INPUT, config).eval()
    randomize_statistics(module)
    features = torch.randn(2, 9, INPUT)
    planes = features[:, None]
    for convolution, norm, stride in zip(module.convolutions, module.normalizations, [(2, 2), (1, 1)], strict=True):
        layer = nn.Conv2d(*convolution.weight.shape[1::-1], 3, stride, padding=1, bias=False)
        layer.load_state_dict(convolution.state_dict())
        reference = nn.BatchNorm2d(4).eval()
        reference.load_state_dict(norm.state_dict())
        after = torch.relu(reference(layer(planes)))
        planes = after + planes if after.shape == planes.shape else after
    wanted = planes.permute(0, 2, 1, 3).reshape(2, 5, -1)
    hidden, lengths = module(features, torch.tensor([9, 9]))
    torch.testing.assert_close(hidden, wanted, atol=1e-5, rtol=0)
    assert lengths.tolist() == [5, 5]
    assert (module.output_size, module.subsampling) == (wanted.shape[2], 2)


# Exchange with torch.nn.GRU.


def torch_module(layers, bidirectional, kind=nn.GRU, seed=0):
    torch.manual_seed(seed)
    return kind(INPUT, 5, layers, batch_first=True, bidirectional=bidirectional).double()


def run_packed(module, features, lengths):
    packed = nn.utils.rnn.pack_padded_sequence(features, lengths, batch_first=True, enforce_sorted=False)
    hidden, _ = nn.utils.rnn.pad_packed_sequence(module(packed)[0], batch_first=True, total_length=features.shape[1])
    return hidden


def check_equal_to_packed(encoder, module):
    features, lengths = draw_batch((7, 2, 5))
    first, second = features.clone().requires_grad_(), features.clone().requires_grad_()
    hidden, out_lengths = encoder(first, lengths)
    wanted = run_packed(module, second, lengths)
    assert torch.equal(out_lengths, lengths)
    torch.testing.assert_close(hidden, wanted, atol=1e-12, rtol=0)
    weighting = torch.randn_like(hidden)
    (hidden * weighting).sum().backward()
    (wanted * weighting).sum().backward()
    torch.testing.assert_close(first.grad, second.grad, atol=1e-11, rtol=0)
    for name, parameter in speechgru.encoders.torch_weights.torch_names(encoder):
        torch.testing.assert_close(parameter.grad, getattr(module, name).grad, atol=1e-10, rtol=0)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN])
def test_from_torch_is_the_packed_module(layers, bidirectional, kind):
    """Oracle: torch's module on packed sequences: outputs, gradients of features and of every parameter."""
    module = torch_module(layers, bidirectional, kind)
    check_equal_to_packed(GRUEncoder.from_torch(module), module)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", [GRUConfig, LSTMConfig, RNNConfig])
def test_to_torch_is_the_packed_module(layers, bidirectional, cell):
    """Oracle: torch's module on packed sequences; the other way round."""
    torch.manual_seed(3)
    config = GRUEncoderConfig(hidden_size=5, num_layers=layers, bidirectional=bidirectional, dropout=0.0, cell=cell())
    encoder = GRUEncoder(INPUT, config).double()
    module = encoder.to_torch()
    assert type(module).__name__ == type(encoder.layers[0].forward_cell).__name__
    check_equal_to_packed(encoder, module)


def test_exchange_copies_and_keeps_the_mode():
    """There and back is the same weights; the copy shares no memory; evaluation mode stays evaluation mode."""
    module = torch_module(2, True).eval()
    encoder = GRUEncoder.from_torch(module)
    back = encoder.to_torch()
    assert not encoder.training
    assert not back.training
    for name, parameter in module.named_parameters():
        assert torch.equal(parameter, back.get_parameter(name))
    with torch.no_grad():
        module.weight_ih_l0.zero_()
    assert encoder.layers[0].forward_cell.weight_ih.abs().sum() > 0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"merge": Merge.sum}, "merge"),
        ({"layer_norm": True}, "layer_norm"),
        ({"residual": True}, "residual"),
        ({"projection_size": 3}, "projection_size"),
        ({"pyramid": [1, 2]}, "pyramid"),
        ({"front_end": ConvolutionConfig()}, "front_end"),
        ({"zoneout": 0.1}, "zoneout"),
        ({"cell": MGUConfig()}, "cell"),
    ],
)
def test_to_torch_says_what_torch_lacks(change, named):
    """A user's error names the setting."""
    with pytest.raises(ConfigError, match="GRU has no " + named):
        GRUEncoder(INPUT, hidden_size=4, **change).to_torch()


def test_from_torch_refuses_what_it_cannot_express():
    """No biases, a projection, a ReLU, or not a recurrent module."""
    wrong = nn.GRU(3, 4, bias=False), nn.LSTM(3, 4, proj_size=2), nn.RNN(3, 4, nonlinearity="relu"), nn.Linear(3, 4)
    for module in wrong:
        with pytest.raises(ConfigError, match=r"only a torch.nn.GRU, LSTM or tanh RNN with biases"):
            GRUEncoder.from_torch(module)


# The parts of a layer.


def test_a_layer_is_its_parts():
    """Oracle: the docstring's order done by hand: cells, sum, projection, residual, layer norm."""
    config = GRUEncoderConfig(
        hidden_size=4, num_layers=1, merge=Merge.sum, projection_size=INPUT, residual=True, layer_norm=True, dropout=0.0
    )
    encoder = make(config)
    features, lengths = draw_batch((5, 3))
    layer = encoder.layers[0]
    nn.init.uniform_(layer.normalization.weight, 0.5, 1.5)
    nn.init.uniform_(layer.normalization.bias, -1, 1)
    hidden, _ = encoder(features, lengths)
    for row, length in enumerate(lengths.tolist()):
        x = features[row : row + 1, :length]
        y = layer.forward_cell(x)[0] + layer.backward_cell(x.flip(1))[0].flip(1)
        y = y @ layer.projection.weight.T + layer.projection.bias + x
        y = (y - y.mean(2, keepdim=True)) / (y.var(2, unbiased=False, keepdim=True) + 1e-5).sqrt()
        y = y * layer.normalization.weight + layer.normalization.bias
        torch.testing.assert_close(hidden[row, :length], y[0], atol=1e-10, rtol=0)


def test_joined_frames():
    """Oracle: slicing in Python; frames beyond a row's length count as zeros."""
    features = torch.arange(1.0, 21.0).reshape(2, 5, 2)
    joined = join_frames(features, torch.tensor([5, 3]), 2)
    assert joined[0].tolist() == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 0, 0]]
    assert joined[1].tolist() == [[11, 12, 13, 14], [15, 16, 0, 0], [0, 0, 0, 0]]


def dropped(variational, rows=(40, 25)):
    torch.manual_seed(0)
    config = GRUEncoderConfig(hidden_size=16, num_layers=1, dropout=0.5, variational=variational)
    encoder = GRUEncoder(INPUT, config).train()
    features, lengths = draw_batch(rows, dtype=torch.float32)
    hidden, _ = encoder(features, lengths)
    full, _ = encoder.eval()(features, lengths)
    return hidden, full, lengths


def test_variational_dropout_drops_the_same_values_in_every_frame():
    """Oracle: the output without dropout; kept values are twice it, dropped ones 0, alike in all frames of a row."""
    hidden, full, lengths = dropped(True)
    for row, length in enumerate(lengths.tolist()):
        kept = hidden[row, :length] != 0
        assert (kept == kept[0]).all()
        torch.testing.assert_close(hidden[row, :length][kept], 2 * full[row, :length][kept])
    assert not torch.equal(hidden[0, 0] != 0, hidden[1, 0] != 0)
    assert 0 < (hidden[0, 0] != 0).float().mean() < 1


def test_ordinary_dropout_drops_anew_in_every_frame():
    """Oracle: the output without dropout, and the share of dropped values, 0.5 within five standard deviations."""
    hidden, full, lengths = dropped(False)
    valid = valid_frames(lengths, 40)
    kept = hidden[valid] != 0
    assert not (kept == kept[0]).all()
    torch.testing.assert_close(hidden[valid][kept], 2 * full[valid][kept])
    assert abs(kept.float().mean() - 0.5) < 5 * 0.5 / kept.numel() ** 0.5
    assert (hidden[~valid] == 0).all()


def test_zoneout_reaches_both_cells_of_every_layer():
    """Oracle: the encoder without it, which differs in training and in evaluation; its config says the share."""
    encoder = GRUEncoder(INPUT, hidden_size=4, dropout=0.0, zoneout=0.4).eval()
    without = GRUEncoder(INPUT, hidden_size=4, dropout=0.0).eval()
    without.load_state_dict(encoder.state_dict())
    features, lengths = draw_batch((6, 3), dtype=torch.float32)
    assert not torch.allclose(encoder(features, lengths)[0], without(features, lengths)[0])
    for layer in without.layers:
        layer.forward_cell.zoneout = layer.backward_cell.zoneout = 0.4
    assert torch.equal(encoder(features, lengths)[0], without(features, lengths)[0])


def test_evaluation_drops_nothing():
    """Oracle: a second run; and an encoder of the same weights with dropout=0."""
    encoder = GRUEncoder(INPUT, hidden_size=4, dropout=0.7).eval()
    without = GRUEncoder(INPUT, hidden_size=4, dropout=0.0).eval()
    without.load_state_dict(encoder.state_dict())
    features, lengths = draw_batch((4, 3), dtype=torch.float32)
    assert torch.equal(encoder(features, lengths)[0], without(features, lengths)[0])


@settings(max_examples=15, deadline=None)
@given(configs())
def test_state_dict_goes_round(config):
    """Oracle: the encoder the state came from; equal to the bit."""
    encoder, other = make(config, seed=0).eval(), make(config, seed=1).eval()
    other.load_state_dict(encoder.state_dict())
    features, lengths = draw_batch((6, 3))
    assert torch.equal(encoder(features, lengths)[0], other(features, lengths)[0])


@settings(max_examples=30, deadline=None)
@given(configs(), st.integers(1, 40))
def test_sizes_say_what_comes_out(config, time):
    """Oracle: the output itself."""
    encoder = make(config).eval()
    hidden, lengths = encoder(torch.randn(1, time, INPUT, dtype=torch.float64))
    assert hidden.shape == (1, int(lengths), encoder.output_size)
    assert int(lengths) == int(encoder.output_lengths(torch.tensor([time]))) == -(-time // encoder.subsampling)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_size", 0),
        ("num_layers", 0),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("zoneout", 1.0),
        ("projection_size", -1),
        ("pyramid", [2]),
        ("pyramid", [0, 1]),
    ],
)
def test_impossible_settings(key, value):
    """A user's error names the key and the value."""
    with pytest.raises(ConfigError, match=key) as caught:
        GRUEncoderConfig(**{key: value})
    assert str(value) in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("channels", []),
        ("channels", [0, 1, 1]),
        ("kernel_time", 2),
        ("kernel_feature", 0),
        ("stride_time", [1]),
        ("stride_feature", [0, 1, 1]),
        ("dropout", 1.0),
    ],
)
def test_impossible_settings_of_the_front_end(key, value):
    """A user's error names the key and the value."""
    with pytest.raises(ConfigError, match=key) as caught:
        ConvolutionConfig(**{key: value})
    assert str(value) in str(caught.value)


def test_wrong_use():
    """Wrong feature size, both ways of configuring at once, an impossible input size, a mistyped setting."""
    with pytest.raises(ConfigError, match=r"\(2, 3, 5\).*\(batch, time, 6\)"):
        GRUEncoder(INPUT)(torch.zeros(2, 3, 5))
    with pytest.raises(ConfigError, match="hidden_size: give a config or"):
        GRUEncoder(INPUT, GRUEncoderConfig(), hidden_size=3)
    with pytest.raises(ConfigError, match="input_size=0"):
        GRUEncoder(0)
    for lengths in ([9, 1], [-1, 1], [1]):
        with pytest.raises(ConfigError, match="lengths"):
            GRUEncoder(INPUT)(torch.zeros(2, 3, INPUT), torch.tensor(lengths))


# Planted errors: each must make a test above fail; they are kept, so that the tests stay able to see.


def test_planted_batch_norm_over_the_padding_is_seen(monkeypatch):
    monkeypatch.setattr(
        MaskedBatchNorm,
        "forward",
        lambda norm, planes, lengths=None: nn.functional.relu(nn.BatchNorm2d.forward(norm, planes)),
    )
    with pytest.raises(AssertionError):
        test_batch_statistics_are_those_of_the_valid_frames((7, 3, 5), torch.float64)


PLAIN_CONFIG = GRUEncoderConfig(hidden_size=4, dropout=0.0)
PLANTED_CONFIG = GRUEncoderConfig(
    hidden_size=4,
    dropout=0.0,
    layer_norm=True,
    pyramid=[1, 2],
    front_end=ConvolutionConfig(channels=[2, 3], stride_time=[2, 1], stride_feature=[1, 1]),
)


@pytest.mark.parametrize(
    ("module", "config"),
    [
        (speechgru.cells.cell, PLAIN_CONFIG),
        (speechgru.encoders.batch_norm, PLANTED_CONFIG),
        (speechgru.encoders.recurrent, PLANTED_CONFIG),
    ],
)
def test_planted_missing_masks_are_seen(monkeypatch, module, config):
    everything = lambda lengths, time: torch.ones(len(lengths), time, dtype=torch.bool)  # noqa: E731
    monkeypatch.setattr(module, "valid_frames", everything)
    with pytest.raises(AssertionError):
        check_alone_in_batch_and_padded(config, [7, 3, 5], 4)


def test_planted_padding_that_depends_on_the_size_is_seen(monkeypatch):
    def same(planes, weight, stride):  # TensorFlow's "same": the padding on the left depends on the length
        time = planes.shape[2]
        total = max((-(-time // stride[0]) - 1) * stride[0] + weight.shape[2] - time, 0)
        padded = nn.functional.pad(planes, (1, 1, total // 2, total - total // 2))
        return nn.functional.conv2d(padded, weight, stride=stride)

    monkeypatch.setattr(speechgru.encoders.convolution, "convolution_same", same)
    with pytest.raises(AssertionError):
        check_alone_in_batch_and_padded(PLANTED_CONFIG, [7, 4, 5], 1)


def test_planted_shifted_frame_is_seen(monkeypatch):
    turned = speechgru.cells.cell.reverse_within
    monkeypatch.setattr(speechgru.cells.cell, "reverse_within", lambda x, lengths: turned(x, lengths).roll(1, 1))
    with pytest.raises(AssertionError):
        test_from_torch_is_the_packed_module(1, True, nn.GRU)


def test_planted_swapped_directions_are_seen(monkeypatch):
    torch_names = speechgru.encoders.torch_weights.torch_names

    def swapped(encoder):
        pairs = list(torch_names(encoder))
        return [(name, pairs[(index + 4) % len(pairs)][1]) for index, (name, _) in enumerate(pairs)]

    module = torch_module(1, True)
    monkeypatch.setattr(speechgru.encoders.torch_weights, "torch_names", swapped)
    encoder = GRUEncoder.from_torch(module)
    monkeypatch.undo()
    with pytest.raises(AssertionError):
        check_equal_to_packed(encoder, module)


@pytest.mark.parametrize("cell", [GRUConfig(layer_norm=True), LiGRUConfig(), LSTMConfig(layer_norm=True)])
def test_two_threads_give_what_one_gives(cell, monkeypatch):
    """Bit for bit, with lengths and without; the directions of a cell with one state run in two threads."""
    torch.manual_seed(0)
    encoder = GRUEncoder(5, GRUEncoderConfig(hidden_size=24, num_layers=2, cell=cell)).eval()
    features, seen = torch.randn(3, 20, 5), set()
    run = speechgru.cells.side_by_side.run
    noted = lambda loop: run(lambda: (seen.add(threading.get_ident()), loop())[1])  # noqa: E731
    monkeypatch.setattr(speechgru.cells.side_by_side, "run", noted)
    monkeypatch.setattr(speechgru.cells.side_by_side, "WORTH", 1)
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            seen.clear()
            with torch.inference_mode():
                found.append([encoder(features, lengths)[0] for lengths in (None, torch.tensor([20, 3, 0]))])
            in_threads = len(seen) > 1
            assert in_threads == (count > 1 and not isinstance(cell, LSTMConfig))
    finally:
        torch.set_num_threads(threads)
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)


def test_what_reads_a_direction_waits_for_it():
    """Oracle: one thread. A frozen encoder where gradients are on pads what it gets; a hook sees what a cell gives."""
    torch.manual_seed(0)
    encoder = GRUEncoder(40, hidden_size=128, num_layers=1).eval().requires_grad_(False)
    features, lengths = torch.randn(4, 600, 40), torch.tensor([580, 580, 580, 30])
    threads, seen = torch.get_num_threads(), []
    try:
        torch.set_num_threads(1)
        wanted, _ = encoder(features, lengths)
        torch.set_num_threads(2)
        for _ in range(3):
            torch.testing.assert_close(encoder(features, lengths)[0], wanted, rtol=0, atol=1e-5)
        hook = encoder.layers[0].forward_cell.register_forward_hook(lambda *given: seen.append(given[2][0].clone()))
        with torch.no_grad():
            for _ in range(3):
                encoder(features, lengths)
        hook.remove()
    finally:
        torch.set_num_threads(threads)
    for one in seen:
        torch.testing.assert_close(one, wanted[:, : one.shape[1], :128], rtol=0, atol=1e-5)


def test_a_model_learns_after_it_was_asked():
    """The loop may be imported in inference mode, whose tensors a gradient refuses."""
    with torch.inference_mode():
        importlib.reload(speechgru.cells.recurrence)
    encoder = GRUEncoder(5, GRUEncoderConfig(hidden_size=4, cell=MGUConfig()))
    encoder(torch.randn(2, 3, 5))[0].sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_an_error_in_a_thread_is_raised():
    def fails():
        raise MemoryError("no room")

    threads = speechgru.cells.side_by_side
    with pytest.raises(MemoryError, match="no room"), threads.another_thread(), threads.side_by_side():
        speechgru.cells.side_by_side.run(fails)
