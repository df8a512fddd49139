"""One suite for every registered cell: what cell.py's contract promises, against loops that share no code with it."""

import contextlib

import cell_loops
import cell_loops_scan
import numpy as np
import pytest
import torch
from torch import nn

import speechgru.cells.cell
import speechgru.cells.lstm
from speechgru import compiled
from speechgru.cells import GRU, GRUBefore, GRUConfig, other_convention, recurrence, reverse_within, valid_frames
from speechgru.cells.batch_norm import FrameBatchNorm
from speechgru.errors import ConfigError
from speechgru.registry import build, entry, names

LAYER_NORM = [f"{name} with layer_norm" for name in ("gru", "lstm", "rnn")]
CELLS = [*names("cell"), *LAYER_NORM]
INPUT, HIDDEN = 5, 4


# The independent loop of each cell; a new cell brings its own, and the test below refuses one without.
LOOPS = {**cell_loops.LOOPS, **cell_loops_scan.LOOPS}
ELEMENTWISE = {**cell_loops.ELEMENTWISE, **cell_loops_scan.ELEMENTWISE}


def config_of(name):
    """The default settings of a cell, and an option switched on where the name says so."""
    kind, _, option = name.partition(" with ")
    return entry("cell", kind).config(**({option: True} if option else {}))


def make(name, input_size=INPUT, hidden_size=HIDDEN, seed=0, dtype=torch.float32):
    """A cell as after some training, in evaluation mode: at their start, running statistics would do nearly nothing."""
    torch.manual_seed(seed)
    cell = build("cell", config_of(name), input_size, hidden_size).eval()
    for kind, parameter in cell.named_parameters():
        if kind.startswith("gain") or kind == "bias_cell":
            nn.init.uniform_(parameter, 0.5, 1.5)
    for module in cell.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return cell.to(dtype)


def batch(rows=(7, 3, 0, 1), input_size=INPUT, seed=1, dtype=torch.float32):
    torch.manual_seed(seed)
    lengths = torch.tensor(rows)
    return torch.randn(len(rows), max(rows), input_size, dtype=dtype), lengths


def test_every_cell_has_a_loop_to_be_compared_with():
    """A cell without an independent loop here is not tested."""
    assert set(CELLS) == set(LOOPS) == set(ELEMENTWISE)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # a compiled training step and torch's operators
def test_forward_is_the_formula(name, reverse, with_state, dtype):
    """Oracle: the NumPy loop, on each row's own frames, read from the last to the first where reversed."""
    cell = make(name, dtype=dtype)
    sequence, lengths = batch(dtype=dtype)
    state = torch.randn(len(lengths), cell.state_size, dtype=dtype) * with_state
    hidden, final = cell(sequence, lengths, state if with_state else None, reverse=reverse)
    for row, length in enumerate(lengths.tolist()):
        frames = sequence[row, :length].double().numpy()
        wanted, _ = LOOPS[name](cell, frames[::-1] if reverse else frames, state[row].double().numpy())
        last = wanted[-1] if length else state[row].numpy()
        np.testing.assert_allclose(final[row].detach().numpy(), last, atol=1e-6)
        outputs = (wanted[::-1] if reverse else wanted)[:, :HIDDEN]
        np.testing.assert_allclose(hidden[row, :length].detach().numpy(), outputs, atol=1e-6)
        assert (hidden[row, length:] == 0).all()


@pytest.mark.parametrize("name", CELLS)
def test_steps_are_the_run(name):
    """Oracle: ``run``; steps one after the other end in the same states."""
    cell = make(name, dtype=torch.float64)
    sequence, _ = batch((9, 9), dtype=torch.float64)
    state = torch.randn(2, cell.state_size, dtype=torch.float64)
    ran = cell.run(cell.project(sequence), state)
    for index in range(9):
        state = cell.step(sequence[:, index], state)
        torch.testing.assert_close(state, ran[:, index], atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", CELLS)
def test_gradients(name):
    """Oracle: finite differences in float64, for frames, initial state and parameters, reversed and with lengths."""
    cell = make(name, 2, 3, dtype=torch.float64)
    lengths = torch.tensor([4, 2, 0])
    sequence = torch.randn(3, 4, 2, dtype=torch.float64, requires_grad=True)
    state = torch.randn(3, cell.state_size, dtype=torch.float64, requires_grad=True)
    for reverse in (False, True):
        assert torch.autograd.gradcheck(
            lambda *inputs, reverse=reverse: cell(inputs[0], lengths, inputs[1], reverse=reverse),
            (sequence, state, *cell.parameters()),
        )


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    "rows", [(7, 3, 0, 1, 5), (6, 6), (1, 9, 4, 2, 8, 3, 9, 5, 7)]
)  # with and without broken fours
@pytest.mark.parametrize("sizes", [(5, 4), (3, 9)])
def test_gradients_in_float32_are_those_in_float64(name, reverse, rows, sizes):
    """Oracle: the same cell in float64, checked by finite differences above; every input, with lengths."""
    found = []
    for dtype in (torch.float32, torch.float64):
        cell = make(name, *sizes, dtype=dtype)
        sequence, lengths = batch(rows, sizes[0])
        sequence, state = (
            sequence.to(dtype).requires_grad_(),
            torch.randn(len(rows), cell.state_size).to(dtype).requires_grad_(),
        )
        hidden, final = cell(sequence, lengths, state, reverse=reverse)
        weighting = torch.randn(*hidden.shape).to(dtype)
        ((hidden * weighting).sum() + final.square().sum()).backward()
        assert sequence.grad is not None
        assert (sequence.grad[~valid_frames(lengths, max(rows))] == 0).all()
        found.append([hidden, final, sequence.grad, state.grad, *(parameter.grad for parameter in cell.parameters())])
    # A layer norm divides by the deviation of its few values here, and rounding with it.
    tolerance = 5e-5 if name in LAYER_NORM else 1e-5
    for single, double in zip(*found, strict=True):
        torch.testing.assert_close(single, double.float(), atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("name", CELLS)
def test_a_batch_without_rows(name):
    """Nothing comes out, and nothing is wrong with it."""
    hidden, final = make(name)(torch.randn(0, 5, INPUT, requires_grad=True), torch.zeros(0, dtype=torch.int64))
    (hidden.sum() + final.sum()).backward()
    assert hidden.shape == (0, 5, HIDDEN)


def test_inference_of_the_gru_in_torch_and_compiled(monkeypatch):
    """Oracle: torch.gru, and that it is what is called where compiled code is disabled."""
    cell = make("gru").eval()
    sequence, lengths = batch((7, 3, 0, 5))
    found, called, gru = [], [], torch.gru
    monkeypatch.setattr(torch, "gru", lambda *arguments: called.append(1) or gru(*arguments))
    for allowed in (True, False):
        with torch.no_grad(), contextlib.nullcontext() if allowed else compiled.disabled():
            found.append(cell(sequence, lengths, reverse=True))
        assert len(called) == (not allowed)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", CELLS)
def test_nan_is_not_swallowed(name):
    """A NaN in a frame is in every state from there on, so that training sees it."""
    cell = make(name)
    sequence = torch.randn(2, 5, INPUT)
    sequence[0, 2, 1] = float("nan")
    hidden, _ = cell(sequence, torch.tensor([5, 4]))
    assert hidden[0, 2:].isnan().all()
    assert not hidden[0, :2].isnan().any()
    assert not hidden[1].isnan().any()


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("reverse", [False, True])
def test_padding_is_inert(name, reverse):
    """Oracle: each row alone and unpadded; garbage of any finite size stands in the padding. Gradients too."""
    cell = make(name, dtype=torch.float64)
    sequence, lengths = batch((6, 2, 4), dtype=torch.float64)
    padded = torch.cat((sequence, torch.zeros(3, 5, INPUT, dtype=torch.float64)), 1)
    padded = padded.masked_fill(~valid_frames(lengths, 11)[..., None], 1e4)
    hidden, final = cell(padded, lengths, reverse=reverse)
    (hidden.square().sum() + final.sum()).backward()
    together = [parameter.grad.clone() for parameter in cell.parameters()]
    cell.zero_grad()
    for row, length in enumerate(lengths.tolist()):
        alone, alone_final = cell(sequence[row : row + 1, :length], reverse=reverse)
        torch.testing.assert_close(hidden[row, :length], alone[0], atol=1e-12, rtol=0)
        torch.testing.assert_close(final[row], alone_final[0], atol=1e-12, rtol=0)
        (alone.square().sum() + alone_final.sum()).backward()
    for one, other in zip(together, [parameter.grad for parameter in cell.parameters()], strict=True):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", CELLS)
def test_chunks_through_the_state_are_the_whole(name):
    """Oracle: the whole sequence at once; chunks of every size, the empty one included."""
    cell = make(name, dtype=torch.float64)
    sequence, _ = batch((12, 12), dtype=torch.float64)
    whole, final = cell(sequence)
    state, pieces = None, []
    for chunk in sequence.split([1, 0, 5, 2, 4], 1):
        hidden, state = cell(chunk, state=state)
        pieces.append(hidden)
    torch.testing.assert_close(torch.cat(pieces, 1), whole, atol=1e-12, rtol=0)
    torch.testing.assert_close(state, final, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", CELLS)
def test_an_empty_row_gives_back_its_state(name):
    """Zero frames change nothing: the state comes back as it was, also where no row has a frame; and no NaN."""
    cell = make(name)
    state = torch.randn(2, cell.state_size)
    for time in (0, 3):
        for reverse in (False, True):
            hidden, final = cell(torch.randn(2, time, INPUT), torch.tensor([0, 0]), state, reverse=reverse)
            assert torch.equal(final, state)
            assert hidden.shape == (2, time, HIDDEN)
            assert (hidden == 0).all()


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("reverse", [False, True])
def test_gates_are_the_formulas_gates(name, reverse):
    """Oracle: the gates of the NumPy loop by name (a replay could not tell a gate from its double), and ``forward``."""
    cell = make(name)
    sequence, lengths = batch()
    state = torch.randn(len(lengths), cell.state_size)
    gates = cell.gates(sequence, lengths, state, reverse=reverse)
    torch.testing.assert_close(gates["hidden"], cell(sequence, lengths, state, reverse)[0], atol=1e-6, rtol=0)
    for row, length in enumerate(lengths.tolist()):
        frames = sequence[row, :length].double().numpy()
        _, wanted = LOOPS[name](cell, frames[::-1] if reverse else frames, state[row].double().numpy())
        for index, values in enumerate(wanted[::-1] if reverse else wanted):
            assert {*values, "hidden"} == set(gates)
            for gate, value in values.items():
                np.testing.assert_allclose(gates[gate][row, index].detach().numpy(), value, atol=1e-6, err_msg=gate)
    padding = ~valid_frames(lengths, sequence.shape[1])
    assert all((values[padding] == 0).all() for values in gates.values())


@pytest.mark.parametrize("name", CELLS)
def test_gates_of_no_frames(name):
    """A sequence without frames has gates without frames."""
    gates = make(name).gates(torch.randn(2, 0, INPUT))
    assert {values.shape for values in gates.values()} == {(2, 0, HIDDEN)}


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize(("input_size", "hidden_size"), [(1, 1), (3, 8), (40, 16)])
def test_parameter_count(name, input_size, hidden_size):
    """Oracle: counting."""
    cell = make(name, input_size, hidden_size)
    counted = sum(parameter.numel() for parameter in cell.parameters())
    assert type(cell).parameter_count(input_size, hidden_size, config_of(name)) == counted


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize(("input_size", "hidden_size"), [(1, 1), (3, 8), (40, 16)])
def test_multiply_accumulates(name, input_size, hidden_size):
    """Oracle: the sizes of the matrices (each weight once a step) and the products of single values in the formula."""
    cell = make(name, input_size, hidden_size)
    matrices = sum(parameter.numel() for parameter in cell.parameters() if parameter.dim() > 1)
    wanted = matrices + ELEMENTWISE[name] * hidden_size
    assert type(cell).multiply_accumulates(input_size, hidden_size, config_of(name)) == wanted


@pytest.mark.parametrize("name", CELLS)
def test_learns_to_remember_a_marked_frame(name):
    """Oracle: the task; which of two signs stood at the marked one of 8 frames, right for 9 of 10 unseen sequences."""
    torch.manual_seed(0)
    cell, head = build("cell", config_of(name), 2, 16), nn.Linear(16, 1)
    optimizer = torch.optim.Adam([*cell.parameters(), *head.parameters()], 0.02)

    def draw():
        signs, marked = torch.randint(0, 2, (128, 8)) * 2.0 - 1, torch.randint(0, 8, (128,))
        marks = nn.functional.one_hot(marked, 8).float()
        return torch.stack((signs, marks), 2), (signs * marks).sum(1) > 0

    for _ in range(150):
        sequence, wanted = draw()
        hidden, _ = cell(sequence)
        loss = nn.functional.binary_cross_entropy_with_logits(head(hidden[:, -1])[:, 0], wanted.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    cell.eval()
    sequence, wanted = draw()
    with torch.no_grad():
        assert ((head(cell(sequence)[0][:, -1])[:, 0] > 0) == wanted).float().mean() > 0.9


@pytest.mark.parametrize("name", CELLS)
def test_zoneout_is_its_definition(name):
    """Oracle: in evaluation, steps without zoneout, mixed by hand; in training, the share that stands still."""
    cell = make(name, dtype=torch.float64)
    sequence, _ = batch((40, 40), dtype=torch.float64)
    state = torch.randn(2, cell.state_size, dtype=torch.float64)
    before, wanted = state, []
    memory = cell.state_size - cell_loops_scan.FRAMES.get(name, 0)
    for frame in sequence.unbind(1):
        new = cell.step(frame, state)
        state = torch.cat((0.7 * new[:, :memory] + 0.3 * state[:, :memory], new[:, memory:]), 1)
        wanted.append(state[:, :HIDDEN])
    cell.zoneout = 0.3
    hidden, final = cell(sequence, None, before)
    torch.testing.assert_close(hidden, torch.stack(wanted, 1), atol=1e-12, rtol=0)
    torch.testing.assert_close(final, state, atol=1e-12, rtol=0)
    torch.testing.assert_close(cell.step(sequence[:, 0], before)[:, :HIDDEN], hidden[:, 0], atol=1e-12, rtol=0)
    hidden, _ = cell.train()(sequence, None, before)
    still = (hidden[:, 1:] == hidden[:, :-1])[hidden[:, :-1] != 0]  # a ReLU may be 0 twice by itself
    assert abs(still.double().mean() - 0.3) < 5 * (0.21 / still.numel()) ** 0.5


@pytest.mark.parametrize("reverse", [False, True])
def test_gru_is_torch_gru(reverse):
    """Oracle: torch.nn.GRU with the same parameters, packed; outputs, final states and gradients."""
    cell = make("gru", dtype=torch.float64)
    reference = nn.GRU(INPUT, HIDDEN, batch_first=True, bidirectional=reverse).double()
    suffix = "_l0_reverse" if reverse else "_l0"
    for kind, parameter in cell.named_parameters():
        getattr(reference, kind + suffix).data.copy_(parameter)
    sequence, lengths = batch((6, 2, 4), dtype=torch.float64)
    packed = nn.utils.rnn.pack_padded_sequence(sequence, lengths, batch_first=True, enforce_sorted=False)
    packed_output, last = reference(packed)
    wanted, _ = nn.utils.rnn.pad_packed_sequence(packed_output, batch_first=True)
    hidden, final = cell(sequence, lengths, reverse=reverse)
    torch.testing.assert_close(hidden, wanted[..., -HIDDEN:], atol=1e-12, rtol=0)
    torch.testing.assert_close(final, last[-1], atol=1e-12, rtol=0)
    weighting = torch.randn_like(hidden)
    (hidden * weighting).sum().backward()
    (wanted[..., -HIDDEN:] * weighting).sum().backward()
    for kind, parameter in cell.named_parameters():
        torch.testing.assert_close(parameter.grad, getattr(reference, kind + suffix).grad, atol=1e-10, rtol=0)


@pytest.mark.parametrize("rows", [(7, 3, 5), (4, 0, 1), (1, 0)])
def test_batch_norm_of_frames_is_over_valid_ones(rows):
    """Oracle: nn.BatchNorm1d in training on the valid frames of all rows end to end; gradients, running statistics."""
    torch.manual_seed(0)
    lengths = torch.tensor(rows)
    frames = torch.randn(len(rows), max(rows), 4, dtype=torch.float64) * 2 + 1
    valid = valid_frames(lengths, max(rows))
    frames = frames.masked_fill(~valid[..., None], 1e3)
    ours, plain = FrameBatchNorm(4).double(), nn.BatchNorm1d(4).double()
    for norm in (ours, plain):
        nn.init.constant_(norm.weight, 1.3)
        nn.init.constant_(norm.bias, -0.2)
    if sum(rows) == 1:  # torch refuses a single value, whose variance is 0: the shift comes out
        torch.testing.assert_close(ours(frames, lengths)[0, 0], torch.full((4,), -0.2, dtype=torch.float64))
        assert torch.isfinite(ours.running_var).all()
        return
    first, second = frames.clone().requires_grad_(), frames[valid].requires_grad_()
    for _ in range(2):  # twice, so that the running statistics are moved from something that is not their start
        found, wanted = ours(first, lengths)[valid], plain(second)
    torch.testing.assert_close(found, wanted, atol=1e-12, rtol=0)
    torch.testing.assert_close(ours.running_mean, plain.running_mean)
    torch.testing.assert_close(ours.running_var, plain.running_var)
    weighting = torch.randn_like(found)
    (found * weighting).sum().backward()
    (wanted * weighting).sum().backward()
    torch.testing.assert_close(first.grad[valid], second.grad, atol=1e-12, rtol=0)
    assert (first.grad[~valid] == 0).all()
    torch.testing.assert_close(ours.weight.grad, plain.weight.grad)
    plain.eval()
    torch.testing.assert_close(ours.eval()(frames, lengths)[valid], plain(frames[valid]), atol=1e-12, rtol=0)
    torch.testing.assert_close(
        ours.train()(frames[:1, : rows[0]]), plain.train()(frames[:1, : rows[0]].transpose(1, 2)).transpose(1, 2)
    )


def test_normalised_products_are_bounded():
    """Oracle: the reason for SLi-GRU: with large positive weights a Li-GRU explodes over 200 frames, it does not."""
    found = {}
    for name in ("li_gru", "sli_gru"):
        cell = make(name, INPUT, 16)
        with torch.no_grad():
            cell.weight_hh.mul_(3).abs_()[:16] = 0  # gates of the input alone
        found[name] = cell(torch.randn(1, 200, INPUT))[0].abs().max()
    assert not found["li_gru"] < 1e6
    assert found["sli_gru"] < 100


@pytest.mark.parametrize("name", LAYER_NORM)
def test_layer_norm_starts_with_the_weights_of_the_plain_cell(name):
    """Oracle: the plain cell of the same seed; the norms start as a layer norm without weights."""
    cells = []
    for config in (config_of(name), entry("cell", name.partition(" ")[0]).config()):
        torch.manual_seed(0)
        cells.append(build("cell", config, INPUT, HIDDEN))
    own, plain = (dict(cell.named_parameters()) for cell in cells)
    for kind, parameter in own.items():
        wanted = torch.zeros(HIDDEN) if kind == "bias_cell" else plain.get(kind, torch.ones_like(parameter))
        torch.testing.assert_close(parameter, wanted, atol=0, rtol=0)
    assert {kind for kind in own if kind not in plain} == {
        "gru": {"gain_ih", "gain_hh"},
        "lstm": {"gain_ih", "gain_hh", "gain_cell", "bias_cell"},
        "rnn": {"gain"},
    }[name.partition(" ")[0]]


def test_orthogonal_start_and_update_bias():
    """Oracle: U U^T = 1 for each gate; the update gate's bias is moved by ``update_bias`` and no other."""
    torch.manual_seed(0)
    plain = GRU(INPUT, 16, GRUConfig(orthogonal=True))
    for block in plain.weight_hh.chunk(3):
        torch.testing.assert_close(block @ block.T, torch.eye(16), atol=1e-5, rtol=0)
    torch.manual_seed(0)
    moved = GRU(INPUT, 16, GRUConfig(orthogonal=True, update_bias=1.5))
    difference = (moved.bias_ih - plain.bias_ih).reshape(3, 16)
    torch.testing.assert_close(difference, torch.tensor([0.0, 1.5, 0.0])[:, None].expand(3, 16))
    torch.manual_seed(0)
    uniform = GRU(INPUT, 16, GRUConfig(orthogonal=False))
    assert uniform.weight_hh.abs().max() <= 0.25
    assert not torch.allclose(uniform.weight_hh[:16] @ uniform.weight_hh[:16].T, torch.eye(16), atol=0.1)


def test_autocast_keeps_the_recurrence_in_float32():
    """Oracle: the same run without autocast; bfloat16 would be off by 1e-2."""
    cell = make("gru")
    sequence, lengths = batch()
    wanted, _ = cell(sequence, lengths)
    with torch.autocast("cpu", torch.bfloat16):
        hidden, _ = cell(sequence, lengths)
    assert hidden.dtype == torch.float32
    torch.testing.assert_close(hidden, wanted, atol=1e-6, rtol=0)


def test_the_other_convention_of_the_update_gate():
    """Oracle: Chung et al.'s update, h = (1 - z) h + z n, with the converted weights ends in the same state."""
    cell, other = make("gru", dtype=torch.float64), make("gru", dtype=torch.float64)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.copy_(other_convention(parameter))
    sequence, _ = batch((5,), dtype=torch.float64)
    h = torch.zeros(1, HIDDEN, dtype=torch.float64)
    for frame in sequence.unbind(1):
        _, gates = other.advance(frame, h)
        h = (1 - gates["update"]) * h + gates["update"] * gates["candidate"]  # as Chung et al. write it
    torch.testing.assert_close(h, cell(sequence)[1], atol=1e-14, rtol=0)


@pytest.mark.parametrize("sizes", [(0, 4), (4, 0), (-1, 4)])
@pytest.mark.parametrize("name", CELLS)
def test_impossible_sizes(name, sizes):
    """A user's error names the value and the legal range."""
    with pytest.raises(ConfigError, match="at least 1"):
        build("cell", config_of(name), *sizes)


def test_reverse_within_is_each_rows_own_reversal():
    """Oracle: slicing in Python."""
    sequence = torch.arange(24.0).reshape(3, 4, 2)
    lengths = torch.tensor([4, 2, 0])
    turned = reverse_within(sequence, lengths)
    for row, length in enumerate(lengths.tolist()):
        assert torch.equal(turned[row, :length], sequence[row, :length].flip(0))
        assert torch.equal(turned[row, length:], sequence[row, length:])
    assert torch.equal(reverse_within(turned, lengths), sequence)


# Planted errors: each must make one of the tests above fail. They are kept, so that the tests stay able to see.


def swap_gates(monkeypatch):
    chunk = torch.Tensor.chunk
    monkeypatch.setattr(torch.Tensor, "chunk", lambda tensor, *a: (lambda r, z, n: (z, r, n))(*chunk(tensor, *a)))


def test_planted_swapped_gates_are_seen(monkeypatch):
    swap_gates(monkeypatch)
    with pytest.raises(AssertionError):
        test_gates_are_the_formulas_gates("gru", False)


def test_planted_swapped_weights_are_seen(monkeypatch):
    run = GRU.run

    def swapped(cell, sequence, state):
        with torch.no_grad():
            cell.weight_ih.copy_(torch.cat(cell.weight_ih.chunk(3)[::-1]))
            cell.weight_hh.copy_(torch.cat(cell.weight_hh.chunk(3)[::-1]))
        hidden = run(cell, sequence, state)
        with torch.no_grad():
            cell.weight_ih.copy_(torch.cat(cell.weight_ih.chunk(3)[::-1]))
            cell.weight_hh.copy_(torch.cat(cell.weight_hh.chunk(3)[::-1]))
        return hidden

    monkeypatch.setattr(GRU, "run", swapped)
    with pytest.raises(AssertionError):
        test_forward_is_the_formula("gru", False, False, torch.float64)
    with pytest.raises(AssertionError):
        test_steps_are_the_run("gru")


def test_planted_reversal_of_the_padding_is_seen(monkeypatch):
    monkeypatch.setattr(speechgru.cells.cell, "reverse_within", lambda sequence, lengths: sequence.flip(1))
    with pytest.raises(AssertionError):
        test_forward_is_the_formula("gru", True, False, torch.float64)
    with pytest.raises(AssertionError):
        test_padding_is_inert("gru", True)


def test_planted_missing_mask_is_seen(monkeypatch):
    everything = lambda lengths, time: torch.ones(len(lengths), time, dtype=torch.bool)  # noqa: E731
    monkeypatch.setattr(speechgru.cells.cell, "valid_frames", everything)
    with pytest.raises(AssertionError):
        test_forward_is_the_formula("gru", False, False, torch.float64)


def test_planted_shifted_frame_is_seen(monkeypatch):
    last_valid = speechgru.cells.cell.last_valid
    shifted = lambda hidden, lengths, state: last_valid(hidden, (lengths - 1).clamp(min=0), state)  # noqa: E731
    monkeypatch.setattr(speechgru.cells.cell, "last_valid", shifted)
    with pytest.raises(AssertionError):
        test_forward_is_the_formula("gru", False, False, torch.float64)


def reset_after(cell, frame, state):
    """What gru computes, in place of the cell's own: the reset gate behind the product."""
    x_r, x_z, x_n = frame.chunk(3, 1)
    u_r, u_z, u_n = cell.weight_hh.chunk(3)
    reset, update = torch.sigmoid(x_r + state @ u_r.T), torch.sigmoid(x_z + state @ u_z.T)
    candidate = torch.tanh(x_n + reset * (state @ u_n.T))
    return (1 - update) * candidate + update * state, {"reset": reset, "update": update, "candidate": candidate}


def test_planted_reset_at_the_wrong_place_is_seen(monkeypatch):
    monkeypatch.setattr(GRUBefore, "advance", reset_after)
    with pytest.raises(AssertionError):
        test_forward_is_the_formula("gru_before", False, False, torch.float64)
    with pytest.raises(AssertionError):
        test_gates_are_the_formulas_gates("gru_before", False)


# All whose recurrence has a product in it.
COMPILED = [name for name in CELLS if name not in ("min_gru", "qrnn", "sru", "ind_rnn")]


def change_compiled(monkeypatch, change):
    """Lets ``change`` alter the arguments of the compiled loop by name."""
    recur = recurrence.recur
    names = "cell", "inputs", "lengths", "state", "reverse", "weight", "vectors", "blocks", "gain"
    monkeypatch.setattr(
        recurrence,
        "recur",
        lambda *arguments, **named: recur(**change({**dict(zip(names, arguments, strict=False)), **named})),
    )


@pytest.mark.parametrize(
    "name", [name for name in COMPILED if name not in ("fast_grnn", "gru3", "rnn", "rnn with layer_norm")]
)
def test_planted_swapped_gates_in_the_compiled_loop_are_seen(monkeypatch, name):
    def swapped(arguments):
        blocks = list(arguments["weight"].split(HIDDEN))
        return {**arguments, "weight": torch.cat([blocks[1], blocks[0], *blocks[2:]])}

    change_compiled(monkeypatch, swapped)
    with pytest.raises(AssertionError):
        test_forward_is_the_formula(name, False, False, torch.float32)


@pytest.mark.parametrize("name", COMPILED)
def test_planted_missing_mask_in_the_compiled_loop_is_seen(monkeypatch, name):
    def unmasked(arguments):
        return {**arguments, "lengths": torch.full_like(arguments["lengths"], arguments["inputs"].shape[1])}

    change_compiled(monkeypatch, unmasked)
    with torch.no_grad(), pytest.raises(AssertionError):
        test_forward_is_the_formula(name, False, False, torch.float32)
    with pytest.raises(ConfigError, match="valid frames"):  # of which there are fewer, for a gradient
        test_forward_is_the_formula(name, False, False, torch.float32)


@pytest.mark.parametrize("name", COMPILED)
def test_planted_frames_of_other_rows_in_the_compiled_loop_are_seen(monkeypatch, name):
    change_compiled(monkeypatch, lambda arguments: {**arguments, "lengths": arguments["lengths"].flip(0)})
    with pytest.raises(AssertionError):
        test_forward_is_the_formula(name, False, False, torch.float32)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("learning", [True, False])
def test_frames_and_states_of_other_sizes_are_refused(name, learning):
    """Compiled code would read beyond them."""
    cell, (sequence, lengths) = make(name, input_size=HIDDEN + 5), batch(input_size=HIDDEN + 5)
    with torch.set_grad_enabled(learning):
        for wrong in (sequence[..., :-1], torch.cat((sequence, sequence), 2)):
            with pytest.raises((RuntimeError, ConfigError), match="shape"):
                cell(wrong, lengths)
        for state in (torch.zeros(len(lengths), cell.state_size - 1), torch.zeros(len(lengths) + 1, cell.state_size)):
            with pytest.raises((RuntimeError, ConfigError), match=r"shape|size"):
                cell(sequence, lengths, state)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("lengths", [(0, 0, 0), (0, 4, 0), (2,), (0,)])
def test_rows_without_frames_have_gradients_of_zero(name, lengths):
    """Oracle: the definition in torch's operators; no row is as long as the batch."""
    found = []
    for allowed in (True, False):
        torch.manual_seed(2)
        cell, counts = make(name), torch.tensor(lengths)
        sequence = torch.randn(len(lengths), 5, INPUT, requires_grad=True)
        with contextlib.nullcontext() if allowed else compiled.disabled():
            hidden, final = cell(sequence, counts)
        assert hidden.shape == (len(lengths), 5, HIDDEN)
        (hidden.square().sum() + final.sum()).backward()
        found.append([hidden, final, sequence.grad, *(one.grad for one in cell.parameters() if one.grad is not None)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def over_the_batch(values, shape, weight=None, bias=None):
    """A layer norm over the wrong axis, and over frames too where it can."""
    axes = tuple(range(values.dim() - 1))
    normal = (values - values.mean(axes)) / (values.var(axes, correction=0) + 1e-5).sqrt()
    return normal * (1 if weight is None else weight) + (0 if bias is None else bias)


def without_gain(values, shape, weight=None, bias=None):
    return LAYER_NORM_OF_TORCH(values, shape, None, bias)


LAYER_NORM_OF_TORCH = nn.functional.layer_norm


@pytest.mark.parametrize("wrong", [over_the_batch, without_gain])
@pytest.mark.parametrize("name", LAYER_NORM)
def test_planted_wrong_layer_norm_is_seen(monkeypatch, name, wrong):
    monkeypatch.setattr(nn.functional, "layer_norm", wrong)
    with pytest.raises(AssertionError):
        test_forward_is_the_formula(name, False, True, torch.float64)


def test_planted_reset_before_the_layer_norm_is_seen(monkeypatch):
    def advance(cell, frame, state):
        size = cell.hidden_size
        x_r, x_z, x_n = frame.chunk(3, 1)
        products = nn.functional.linear(state, cell.weight_hh)
        h_r, h_z, _ = cell._normalize(products, cell.gain_hh, cell.bias_hh).chunk(3, 1)
        reset, update = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
        products = torch.cat((products[:, : 2 * size], reset * products[:, 2 * size :]), 1)
        candidate = torch.tanh(x_n + cell._normalize(products, cell.gain_hh, cell.bias_hh)[:, 2 * size :])
        return (1 - update) * candidate + update * state, {"reset": reset, "update": update, "candidate": candidate}

    monkeypatch.setattr(GRU, "advance", advance)
    with pytest.raises(AssertionError):
        test_forward_is_the_formula("gru with layer_norm", False, True, torch.float64)


@pytest.mark.parametrize("name", LAYER_NORM)
@pytest.mark.parametrize("dropped", ["gain", 0, -1])
def test_planted_forgotten_gain_in_the_compiled_loop_is_seen(monkeypatch, name, dropped):
    """A gain, or the bias behind it, that is not read."""

    def forgetful(arguments):
        vectors = list(arguments["vectors"])
        if dropped != "gain":
            vectors[dropped] = torch.full_like(vectors[dropped], 0.123)
            return {**arguments, "vectors": vectors}
        if arguments.get("gain") is None:
            pytest.skip("its gain is one of the vectors")
        return {**arguments, "gain": torch.ones_like(arguments["gain"])}

    change_compiled(monkeypatch, forgetful)
    with pytest.raises(AssertionError):
        test_forward_is_the_formula(name, False, True, torch.float32)


@pytest.mark.parametrize("name", COMPILED)
@pytest.mark.parametrize("reverse", [False, True])
def test_the_compiled_loop_without_a_gradient_is_that_with_one(monkeypatch, name, reverse):
    """Oracle: the same cell while it learns, to the bit; and that both went through the loop."""
    cell = make(name)
    sequence, lengths = batch((7, 3, 0, 1, 5, 7))
    state = torch.randn(len(lengths), cell.state_size)
    seen, found = [], []
    run = recurrence._run
    monkeypatch.setattr(
        recurrence, "_run", lambda *arguments, learning: seen.append(learning) or run(*arguments, learning=learning)
    )
    for allowed in (True, False):
        with torch.set_grad_enabled(allowed):
            found.append(cell(sequence, lengths, state, reverse=reverse))
    assert seen == [True, False]
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def test_planted_padding_that_moves_the_memory_of_an_lstm_is_seen(monkeypatch):
    monkeypatch.setattr(speechgru.cells.lstm, "CERTAIN", 1.0)
    with compiled.disabled(), pytest.raises(AssertionError):
        test_forward_is_the_formula("lstm", False, False, torch.float32)
