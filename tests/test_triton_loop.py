"""The recurrence on a GPU. Without a GPU Triton's interpreter runs the kernels' text on the CPU: values, not speed."""

import copy
import importlib.util
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_cells import CELLS, HIDDEN, INPUT, LAYER_NORM, LOOPS, batch, make

from speechgru import compiled
from speechgru.cells import Cell, li_gru, recurrence
from speechgru.cells.triton_rows import KernelText
from speechgru.errors import SpeechGRUError
from speechgru.lab.bench import gpu as bench
from speechgru.lengths import valid_frames
from speechgru.registry import names

triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
# Each has what the others lack: a reset gate before the product, a product with a gradient of its own, norms without a
# gain, and a memory cell with vectors and a norm.
QUICK = [("mgu", True), ("gru", False), ("sli_gru", True), ("lstm with layer_norm", False)]
BY_TRITON = [
    "gru",
    "gru_before",
    "gru1",
    "gru2",
    "gru3",
    "mgu",
    "li_gru",
    "sli_gru",
    "fast_grnn",
    "sru",
    "ind_rnn",
    *LAYER_NORM,
]
ALL = [(name, reverse) for name in BY_TRITON for reverse in (False, True)]
CASES = [*QUICK, *(pytest.param(*case, marks=pytest.mark.slow) for case in ALL if case not in QUICK)]

COMPILE = """
import torch, triton
from test_cells import batch, make
from test_triton_loop import BY_TRITON, run_by_triton
from triton.backends.compiler import GPUTarget
from speechgru.cells import triton_loop

def launch(writer, choices, tensors, weights):
    arrays = {name: one for name, one in tensors.items() if name != "lengths"}
    places = tuple((name, one.dim(), one.shape[-1]) for name, one in arrays.items())
    kernel = triton_loop._kernel(writer, choices, places)
    kinds = ["*fp32"] * len(arrays) + ["*KIND"] * 2 + ["*i64", "i32", "i32"] + ["constexpr"] * 4
    sizes = (triton_loop.ROWS, triton_loop.COLUMNS, triton_loop.INNER, "tf32x3")
    constants = {(len(kinds) - 4 + index,): value for index, value in enumerate(sizes)}
    aligned = {(index,): [["tt.divisibility", 16]] for index, kind in enumerate(kinds) if kind[0] == "*"}
    source = triton.compiler.ASTSource(kernel, dict(zip(kernel.arg_names, kinds)), constants, aligned)
    options = {"num_warps": triton_loop.WARPS}
    assert triton.compile(source, target=GPUTarget("cuda", 80, 32), options=options).asm["cubin"]

triton_loop._launch = launch
run_by_triton(setattr)
for name in BY_TRITON:
    hidden, final = make(name, 5, 256)(*batch())
    (hidden.sum() + final.sum()).backward()
"""


def run_by_triton(change):
    """The compiled kernels of cells are those of Triton, which reads frames with their padding between them."""
    from speechgru.cells.triton_loop import recur

    change(recurrence, "recur", recur)
    for name in names("cell"):
        change(type(make(name)), "framewise", False)


@pytest.fixture
def on_triton(monkeypatch):
    run_by_triton(monkeypatch.setattr)


def learned(cell, sequence, lengths, state, reverse):
    """What came out, and all gradients."""
    sequence, state = (tensor.detach().requires_grad_() for tensor in (sequence, state))
    hidden, final = cell(sequence, lengths, state, reverse)
    torch.manual_seed(3)
    ((hidden * torch.randn(hidden.shape).to(hidden)).sum() + final.square().sum()).backward()
    return [hidden, final, sequence.grad, state.grad, *(parameter.grad for parameter in cell.parameters())]


def compare(name, rows, reverse, tolerance, device="cpu", sizes=(INPUT, HIDDEN)):
    """Oracle: the same cell in float64 on the CPU, in torch's operators and, for its states, the NumPy loop."""
    cell, exact = make(name, *sizes), make(name, *sizes, dtype=torch.float64)
    sequence, lengths = batch(rows, sizes[0])
    state = torch.randn(len(rows), cell.state_size)
    wanted = learned(exact, sequence.double(), lengths, state.double(), reverse)
    found = learned(cell.to(device), sequence.to(device), lengths.to(device), state.to(device), reverse)
    assert (found[0][~valid_frames(lengths, max(rows)).to(device)] == 0).all()
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.cpu(), other.float(), atol=tolerance, rtol=tolerance)
    for row, length in enumerate(lengths.tolist()):
        frames = sequence[row, :length].double().numpy()
        states, _ = LOOPS[name](exact, frames[::-1] if reverse else frames, state[row].double().numpy())
        last = states[-1] if length else state[row].numpy()
        np.testing.assert_allclose(found[1][row].detach().cpu().numpy(), last, atol=tolerance)


@triton
@pytest.mark.parametrize(("name", "reverse"), CASES)
def test_the_kernel_is_the_formula(name, reverse, on_triton):
    """States and every gradient, with lengths, an empty row and a first state."""
    compare(name, (3, 1, 0, 2), reverse, 2e-5)


@triton
@pytest.mark.parametrize("name", ["gru1", pytest.param("gru with layer_norm", marks=pytest.mark.slow)])
def test_several_programs_and_tiles(name, on_triton):
    """17 rows are those of two programs, and 70 values are two tiles of columns and of what a product sums over."""
    compare(name, (2, 1, 0, 2, *13 * (1,)), False, 2e-5, sizes=(3, 70))


@triton
def test_without_gradients(on_triton):
    """Oracle: the run with gradients, which keeps every frame."""
    cell = make("gru_before")
    sequence, lengths = batch((3, 1, 0))
    with torch.no_grad():
        found = cell(sequence, lengths)
    for one, other in zip(found, cell(sequence, lengths), strict=True):
        assert torch.equal(one, other)


@triton
@pytest.mark.parametrize(("rows", "time"), [(0, 3), (2, 0)])
def test_nothing_to_run(rows, time):
    """Without rows or frames no kernel is started; the state comes back, and gradients of zero."""
    from speechgru.cells.triton_loop import recur

    state, weight = torch.randn(rows, 4, requires_grad=True), torch.randn(8, 4, requires_grad=True)
    lengths = torch.zeros(rows, dtype=torch.int64)
    hidden, final = recur(li_gru.ROWS, torch.randn(rows, time, 8), lengths, state, False, weight)
    assert hidden.shape == (rows, time, 4)
    assert torch.equal(final, state)
    (hidden.sum() + final.sum()).backward()
    assert (state.grad == 1).all()
    assert (weight.grad == 0).all()


@triton
def test_products_under_autocast_are_of_half_precision():
    """Oracle: the products in float32; half precision has 11 bits, and sums and states keep all of theirs.

    float16, for the interpreter cannot multiply in bfloat16.
    """
    from speechgru.cells.triton_loop import recur

    torch.manual_seed(0)
    inputs, state, weight = torch.randn(2, 3, 8), torch.randn(2, 4), torch.randn(8, 4) / 2
    found = []
    for enabled in (False, True):
        given = weight.clone().requires_grad_()
        with torch.autocast("cpu", torch.float16, enabled=enabled):
            hidden, _ = recur(li_gru.ROWS, inputs.clone(), torch.tensor([3, 2]), state, False, given)
        hidden.square().sum().backward()
        found.append((hidden.detach(), given.grad))
    for one, other in zip(*found, strict=True):
        assert one.dtype == other.dtype == torch.float32
        assert 1e-5 < (one - other).abs().max() / one.abs().max() < 1e-2


def test_a_row_function_may_not_branch():
    """An ``if`` over values has one answer for all rows, so it is refused, not answered."""
    with pytest.raises(TypeError, match="a if c else b"):
        bool(KernelText(0).value("x"))


def test_the_bench_on_a_gpu(monkeypatch, capsys):
    """Its rows, here of the CPU; nothing where torch sees no GPU; and cells that compute another thing are refused."""

    def spoiled(cell):
        other = copy.deepcopy(cell)
        for parameter in other.parameters():
            parameter.data.neg_()
        return other

    monkeypatch.setattr(bench, "SIZE", 4)
    monkeypatch.setattr(bench, "FRAMES", 3)
    with compiled.disabled():
        rows = bench.bench_gpu(1, "cpu")
        assert [row["name"].split(",")[0] for row in rows] == 2 * names("cell")
        assert all(row["ratio"] == row["peer_ms"] / row["ours_ms"] for row in rows)
        monkeypatch.setattr(bench, "copy", SimpleNamespace(deepcopy=spoiled))
        with pytest.raises(SpeechGRUError, match="on cpu differs from the CPU"):
            bench.bench_gpu(1, "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert bench.bench_gpu(1) == []
    assert "no CUDA device" in capsys.readouterr().err


@pytest.mark.slow
@triton
@pytest.mark.parametrize("kind", ["fp32", "bf16"])
def test_kernels_compile_for_a_gpu(kind):
    """Oracle: Triton's compiler and NVIDIA's assembler, which need no GPU: Ampere takes every kernel, at 256 values."""
    program = COMPILE.replace("KIND", kind)
    environment = {**os.environ, "TRITON_INTERPRET": "0", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=1800)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("reverse", [False, True])
def test_a_gpu_equals_the_cpu(name, reverse, monkeypatch):
    """To 1e-4, forwards and in every gradient, and never frame by frame from Python."""
    loop = Cell.run

    def run(cell, projected, state):
        assert projected.device.type == "cpu"
        return loop(cell, projected, state)

    monkeypatch.setattr(Cell, "run", run)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # which it would take for float32
        compare(name, (12, 7, 0, 1, 9), reverse, 1e-4, "cuda", (13, 70))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
@pytest.mark.parametrize("name", CELLS)
def test_a_gpu_under_autocast(name):
    """Oracle: the same GPU without it; half precision is off by less than 3 %."""
    cell = make(name, 13, 64).cuda()
    sequence, lengths = (tensor.cuda() for tensor in batch((30, 11, 0), 13))
    wanted, _ = cell(sequence, lengths)
    with torch.autocast("cuda", torch.bfloat16):
        found, _ = cell(sequence, lengths)
    assert (found.float() - wanted).norm() < 0.03 * wanted.norm()
