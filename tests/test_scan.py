"""The linear recurrence and the light cells' own settings: plain loops in float64 are the oracles."""

import cell_loops_scan
import numpy as np
import pytest
import torch
from test_cells import INPUT, batch
from torch.nn import functional as F

from speechgru.cells import (
    SRU,
    FastGRNNConfig,
    IndRNN,
    IndRNNConfig,
    MinGRU,
    MinGRUCandidate,
    MinGRUConfig,
    QRNNConfig,
    SRUConfig,
)
from speechgru.cells.scan import scan
from speechgru.errors import ConfigError
from speechgru.registry import build, name_of

# What the suite over all cells, which takes every cell as it comes, does not reach: config, hidden size.
SETTINGS = [
    (MinGRUConfig(MinGRUCandidate.positive, update_bias=1.0), 4),
    (QRNNConfig(window=1), 4),
    (QRNNConfig(window=3, update_bias=1.0), 4),
    (SRUConfig(), INPUT),
    (SRUConfig(update_bias=0.5, highway_bias=-2.0), 4),
    (IndRNNConfig(doubling_frames=1), 4),
    (FastGRNNConfig(input_rank=2, hidden_rank=3), 4),
    (FastGRNNConfig(input_rank=0, hidden_rank=1, zeta=0.0, nu=0.0, update_bias=0.0), 4),
]


def make(config, hidden_size, dtype=torch.float32):
    torch.manual_seed(0)
    return build("cell", config, INPUT, hidden_size).to(dtype)


def loop(decay, value, state):
    """The recurrence frame by frame."""
    states = []
    for keep, add in zip(decay.unbind(1), value.unbind(1), strict=True):
        state = keep * state + add
        states.append(state)
    return torch.stack(states, 1)


def draw(time, dtype=torch.float64):
    """Decays over the whole of 0 to 1, with both ends and much that is near 1, as of trained gates."""
    torch.manual_seed(time)
    decay = torch.sigmoid(torch.randn(3, time, 8, dtype=dtype) * 4 + 2)
    decay[0, ::7], decay[1, ::5] = 0.0, 1.0
    return decay, torch.randn(3, time, 8, dtype=dtype) * (1 - decay), torch.randn(3, 8, dtype=dtype)


@pytest.mark.parametrize("time", [1, 2, 3, 16, 17, 1000])
def test_scan_in_float32_is_the_loop(time):
    """Oracle: the loop in float64 on the same numbers; states and all gradients to 1e-5 after 1000 frames too."""
    found = []
    for dtype, run in ((torch.float32, scan), (torch.float64, loop)):
        inputs = [tensor.float().to(dtype).requires_grad_() for tensor in draw(time)]
        states = run(*inputs)
        (states * torch.linspace(-1, 1, time, dtype=dtype)[:, None]).sum().backward()
        found.append([states, *(tensor.grad for tensor in inputs)])
    for single, double in zip(*found, strict=True):
        scale = max(1.0, double.abs().max().item())  # a gradient adds up what all later frames say
        torch.testing.assert_close(single, double.float(), atol=1e-5 * scale, rtol=0)


def test_gradient_of_the_scan():
    """Oracle: finite differences."""
    assert torch.autograd.gradcheck(scan, [tensor.requires_grad_() for tensor in draw(6)])


def test_scan_of_no_frames():
    """A sequence without frames has no states."""
    assert scan(*draw(0)).shape == (3, 0, 8)


@pytest.mark.parametrize("reverse", [False, True])
def test_min_gru_of_1000_frames_is_exact_where_the_published_scan_drifts(reverse):
    """Oracle: the NumPy loop in float64. The published form (2410.01201, appendix B) is off by more than 1e-4 there."""
    cell = make(MinGRUConfig(MinGRUCandidate.positive), 16)
    with torch.no_grad():
        cell.weight_ih *= 4  # gates as sharp as trained ones
    torch.manual_seed(1)
    sequence, lengths = torch.randn(2, 1000, INPUT), torch.tensor([1000, 700])
    with torch.no_grad():
        hidden, _ = cell(sequence, lengths, reverse=reverse)
        for row, length in enumerate(lengths.tolist()):
            frames = sequence[row, :length].flip(0) if reverse else sequence[row, :length]
            states, _ = cell_loops_scan.LOOPS["min_gru"](cell, frames.double().numpy(), np.zeros(16))
            ours = hidden[row, :length].flip(0) if reverse else hidden[row, :length]
            assert np.abs(ours.numpy() - states).max() < 1e-5
            update, candidate = F.linear(frames, cell.weight_ih, cell.bias).chunk(2, 1)
            log_candidate = torch.where(candidate >= 0, (F.relu(candidate) + 0.5).log(), -F.softplus(-candidate))
            kept = F.pad(F.logsigmoid(update).cumsum(0), (0, 0, 1, 0))
            added = torch.cat((torch.full((1, 16), -torch.inf), F.logsigmoid(-update) + log_candidate))
            published = (kept + (added - kept).logcumsumexp(0)).exp()[1:]
            assert np.abs(published.numpy() - states).max() > 1e-4


@pytest.mark.parametrize(("config", "hidden_size"), SETTINGS)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # compiled kernels and torch's operators
def test_settings_are_the_formula(config, hidden_size, reverse, dtype):
    """Oracle: the NumPy loops, from a state, over rows shorter than a window too; gates as well."""
    cell = make(config, hidden_size, dtype)
    sequence, lengths = batch((7, 2, 0, 1), dtype=dtype)
    state = torch.randn(4, cell.state_size, dtype=dtype)
    hidden, final = cell(sequence, lengths, state, reverse=reverse)
    gates = cell.gates(sequence, lengths, state, reverse=reverse)
    for row, length in enumerate(lengths.tolist()):
        frames = sequence[row, :length].double().numpy()
        frames = frames[::-1] if reverse else frames
        states, wanted = cell_loops_scan.LOOPS[name_of("cell", config)](cell, frames, state[row].double().numpy())
        outputs = (states[::-1] if reverse else states)[:, :hidden_size]
        np.testing.assert_allclose(hidden[row, :length].detach().numpy(), outputs, atol=1e-6)
        np.testing.assert_allclose(final[row].detach().numpy(), states[-1] if length else state[row], atol=1e-6)
        for index, values in enumerate(wanted[::-1] if reverse else wanted):
            for gate, value in values.items():
                np.testing.assert_allclose(gates[gate][row, index].detach().numpy(), value, atol=1e-6, err_msg=gate)


@pytest.mark.parametrize(("config", "hidden_size"), SETTINGS)
@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_of_settings(config, hidden_size, reverse):
    """Oracle: finite differences in float64; and that for the compiled kernels in float32."""
    found = []
    for dtype in (torch.float32, torch.float64):
        cell = make(config, hidden_size, dtype)
        sequence, lengths = batch((6, 2, 0, 1, 5), dtype=torch.float32)
        inputs = sequence.to(dtype).requires_grad_(), torch.randn(5, cell.state_size).to(dtype).requires_grad_()
        hidden, final = cell(inputs[0], lengths, inputs[1], reverse=reverse)
        ((hidden * torch.randn(*hidden.shape).to(dtype)).sum() + final.square().sum()).backward()
        found.append([tensor.grad for tensor in (*inputs, *cell.parameters())])
    for single, double in zip(*found, strict=True):
        torch.testing.assert_close(single, double.float(), atol=1e-5, rtol=1e-5)
    small = sequence[:3, :4].double().requires_grad_()
    state = torch.randn(3, cell.state_size, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([4, 2, 0])
    assert torch.autograd.gradcheck(
        lambda *given: cell(given[0], lengths, given[1], reverse=reverse), (small, state, *cell.parameters())
    )


@pytest.mark.parametrize(("config", "hidden_size"), SETTINGS)
def test_counts_of_settings(config, hidden_size):
    """Oracle: counting; the matrices once a step, and the products of single values in the formula."""
    cell = make(config, hidden_size)
    assert cell.parameter_count(INPUT, hidden_size, config) == sum(p.numel() for p in cell.parameters())
    single = cell_loops_scan.ELEMENTWISE[name_of("cell", config)] * hidden_size
    matrices = sum(p.numel() for p in cell.parameters() if p.dim() > 1)
    assert cell.multiply_accumulates(INPUT, hidden_size, config) == matrices + single


@pytest.mark.parametrize(("config", "hidden_size"), SETTINGS)
def test_chunks_of_settings(config, hidden_size):
    """Oracle: the whole sequence at once; single frames through ``step`` and chunks shorter than a window."""
    for dtype in (torch.float32, torch.float64):
        cell = make(config, hidden_size, dtype)
        sequence, _ = batch((9, 9), dtype=dtype)
        whole, final = cell(sequence)
        state, pieces = None, []
        for chunk in sequence.split([1, 0, 1, 4, 1, 2], 1):
            hidden, state = cell(chunk, state=state)
            pieces.append(hidden)
        torch.testing.assert_close(torch.cat(pieces, 1), whole, atol=1e-6, rtol=0)
        torch.testing.assert_close(state, final, atol=1e-6, rtol=0)
        state = cell.initial_state(sequence)
        for frame in sequence.unbind(1):
            state = cell.step(frame, state)
        torch.testing.assert_close(state, final, atol=1e-6, rtol=0)


def test_states_of_the_positive_candidate_are_not_negative():
    """Oracle: g of the paper is above 0 everywhere, continuous and growing."""
    hidden, _ = make(MinGRUConfig(MinGRUCandidate.positive), 8)(torch.randn(3, 50, INPUT) * 5)
    assert hidden.min() >= 0
    cell = MinGRU(1, 1, MinGRUConfig(MinGRUCandidate.positive))
    with torch.no_grad():
        cell.weight_ih.copy_(torch.tensor([[0.0], [1.0]]))
        cell.bias.copy_(torch.tensor([-100.0, 0.0]))  # the gate is open: the state is the candidate
        values, _ = cell(torch.linspace(-2, 2, 401)[None, :, None])
    steps = values[0, 1:, 0] - values[0, :-1, 0]
    assert steps.min() > 0
    assert steps.max() < 0.011


def test_ind_rnn_keeps_its_bound_and_finds_back():
    """Oracle: 2^(1/frames): silence doubles a state in that many frames at most; u beyond it still gets a gradient."""
    cell = IndRNN(INPUT, 3, IndRNNConfig(doubling_frames=10))
    with torch.no_grad():
        cell.weight_hh.copy_(torch.tensor([5.0, 1.0, -5.0]))
        cell.weight_ih.zero_()
        cell.bias.zero_()
    hidden, _ = cell(torch.zeros(1, 10, INPUT), state=torch.ones(1, 3))
    torch.testing.assert_close(hidden[0, -1], torch.tensor([2.0, 1.0, 0.0]))
    hidden.sum().backward()
    assert cell.weight_hh.grad[0] > 0


@pytest.mark.parametrize("highway_bias", [-3.0, -2.0])
def test_a_deep_stack_of_sru_keeps_its_variance(highway_bias):
    """Oracle: the paper's purpose of the factor a: a signal of variance 1 still has about that after ten layers."""
    torch.manual_seed(0)
    signal = torch.randn(4, 200, 64)
    with torch.no_grad():
        for _ in range(10):
            signal, _ = SRU(64, 64, SRUConfig(highway_bias=highway_bias))(signal)
    assert 0.5 < signal.var() < 2


@pytest.mark.parametrize(
    ("kind", "setting"),
    [
        (QRNNConfig, {"window": 0}),
        (IndRNNConfig, {"doubling_frames": 0}),
        (FastGRNNConfig, {"input_rank": -1}),
        (FastGRNNConfig, {"hidden_rank": -2}),
    ],
)
def test_impossible_settings(kind, setting):
    """A user's error names the key and the value."""
    ((key, value),) = setting.items()
    with pytest.raises(ConfigError, match=f"{key}={value}"):
        kind(**setting)
