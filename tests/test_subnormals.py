"""Numbers below the smallest normal float32: zeros inside ``flushed_subnormals`` and in training, nowhere else."""

import pytest
import torch
from torch import Tensor

from speechgru.cells import flushed_subnormals
from speechgru.cells.subnormals import subnormals_are_flushed
from speechgru.lab.inspection.problems import ProblemConfig, train_on_problem
from speechgru.registry import build, entry

TINY = torch.finfo(torch.float32).tiny

SUPPORTED = torch.set_flush_denormal(True)
torch.set_flush_denormal(False)
pytestmark = pytest.mark.skipif(not SUPPORTED, reason="the processor cannot flush subnormal numbers")


def half_of_the_smallest() -> float:
    return float(torch.tensor([TINY]) / 2)


def test_zeros_inside_alone() -> None:
    """Oracle: IEEE 754, of which half the smallest normal number is a subnormal one; the caller's mode comes back."""
    assert half_of_the_smallest() > 0
    with flushed_subnormals():
        assert half_of_the_smallest() == 0
        with flushed_subnormals():
            assert half_of_the_smallest() == 0
        assert half_of_the_smallest() == 0
    assert half_of_the_smallest() > 0
    with pytest.raises(KeyError), flushed_subnormals():
        raise KeyError
    assert half_of_the_smallest() > 0


def first_gradient(name: str) -> Tensor:
    """What the last of 60 frames says to the first, through a recurrence that keeps about a tenth of it a frame."""
    torch.manual_seed(0)
    cell = build("cell", entry("cell", name).config(), 3, 8)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.mul_(0.05)
        if name == "gru":
            cell.bias_hh[8:16] = -2.0  # an update gate that keeps an eighth
    frames = torch.randn(1, 60, 3, requires_grad=True)
    cell(frames)[0][:, -1].sum().backward()
    assert frames.grad is not None
    return frames.grad.abs()


@pytest.mark.parametrize("name", ["gru", "rnn"])
def test_a_vanishing_gradient(name: str) -> None:
    """Oracle: the same without; the compiled loops flush too, and what is not tiny stays."""
    before = first_gradient(name)
    with flushed_subnormals():
        inside = first_gradient(name)
        small = inside < TINY
        assert torch.equal(inside[small], torch.zeros_like(inside[small]))
    assert ((before > 0) & (before < TINY)).any()
    large = before > 1e8 * TINY  # far above what was flushed on the way
    assert large.any()
    torch.testing.assert_close(inside[large], before[large], rtol=1e-6, atol=0)


def test_problems_are_trained_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: the mode while a problem draws its sequences, and after."""
    from speechgru.lab.inspection import problems

    modes, draw = [], problems.PROBLEMS["adding"]

    def watched(*arguments: object) -> tuple[Tensor, Tensor]:
        modes.append(subnormals_are_flushed())
        return draw(*arguments)  # type: ignore[arg-type]

    monkeypatch.setitem(problems.PROBLEMS, "adding", watched)
    train_on_problem(ProblemConfig(lag=10, parameters=100, steps=1))
    assert modes == [True, True]
    assert not subnormals_are_flushed()
