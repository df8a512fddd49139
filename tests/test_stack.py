"""A stack of layers in one call of compiled code; its layers one after the other are the oracle, to the last bit."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch.nn.utils import parametrize, prune

import speechgru.cells.stack
from speechgru.cells import GRU, MGU, GRUBeforeConfig, GRUConfig, MGUConfig, MinGRUConfig
from speechgru.cells.min_gru import MinGRUCandidate
from speechgru.encoders import GRUEncoder
from speechgru.errors import ConfigError

LINEAR = MinGRUConfig(candidate=MinGRUCandidate.linear)


def make(**settings):
    torch.manual_seed(0)
    return GRUEncoder(5, hidden_size=12, num_layers=3, **settings).eval()


@torch.no_grad()
def both_ways(encoder, frames, lengths=None):
    """Its outputs, and those of its layers one after the other."""
    whole, _ = encoder(frames, lengths)
    for layer in encoder.layers:
        frames = layer(frames, lengths)
    return whole, frames


@pytest.fixture
def runs(monkeypatch):
    """What the stack answered."""
    run, found = speechgru.cells.stack.run_stack, []
    monkeypatch.setattr(
        speechgru.cells.stack, "run_stack", lambda *arguments: found.append(run(*arguments)) or found[-1]
    )
    return found


@pytest.mark.parametrize("cell", [GRUConfig(), MGUConfig(), GRUBeforeConfig(), MinGRUConfig(), LINEAR])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("lengths", [None, [7, 0, 3, 7], [7, 7, 7, 7], [0, 0, 0, 0]])
def test_it_gives_what_its_layers_give(cell, bidirectional, lengths, runs):
    frames, lengths = torch.randn(4, 7, 5), None if lengths is None else torch.tensor(lengths)
    whole, wanted = both_ways(make(cell=cell, bidirectional=bidirectional), frames, lengths)
    torch.testing.assert_close(whole, wanted, rtol=0, atol=0)
    assert whole.abs().sum() > 0 or not lengths.any()
    assert len(runs) == 1
    assert runs[0] is not None


@pytest.mark.parametrize("cell", [GRUConfig(), MinGRUConfig()])
@pytest.mark.parametrize("lengths", [None, [7, 0, 3, 7]])
def test_two_threads_give_what_one_gives(cell, lengths):
    encoder, frames = make(cell=cell), torch.randn(4, 7, 5)
    lengths = None if lengths is None else torch.tensor(lengths)
    with torch.no_grad():
        one, two = (
            speechgru.cells.stack.run_stack(encoder.layers, encoder._cells, frames, lengths, threads=threads)
            for threads in (False, True)
        )
    torch.testing.assert_close(two[0], one[0], rtol=0, atol=0)
    np.testing.assert_array_equal(two[1], one[1])


def test_the_directions_of_much_sound_have_two_threads(monkeypatch):
    seen = []
    monkeypatch.setattr(speechgru.cells.stack, "_in_two_threads", lambda *arguments: seen.append(1) or np.empty(0))
    encoder, threads = GRUEncoder(5, hidden_size=128).eval(), torch.get_num_threads()
    try:
        for count, frames in ((1, 100), (2, 100), (2, 10)):
            torch.set_num_threads(count)
            with torch.no_grad():
                encoder(torch.randn(1, frames, 5))
            assert len(seen) == int(count == 2)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("shape", [(0, 3, 5), (2, 0, 5)])
def test_without_rows_or_frames_nothing_comes_out(shape):
    with torch.no_grad():
        assert make()(torch.randn(shape))[0].shape == (*shape[:2], 24)


def test_it_sees_weights_that_change_and_move():
    encoder, frames = make(), torch.randn(2, 6, 5)
    before, _ = both_ways(encoder, frames)
    with torch.no_grad():
        encoder.layers[1].backward_cell.weight_hh.mul_(0.5)
    for change in (lambda: None, lambda: encoder.load_state_dict(make().double().state_dict(), assign=True)):
        change()
        encoder.float()
        whole, wanted = both_ways(encoder, frames)
        torch.testing.assert_close(whole, wanted, rtol=0, atol=0)
    torch.testing.assert_close(whole, before, rtol=0, atol=0)


def test_a_copy_has_weights_of_its_own():
    encoder, frames = make(), torch.randn(2, 6, 5)
    before, _ = both_ways(encoder, frames)
    other = copy.deepcopy(encoder)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(0.5)
    assert not torch.equal(both_ways(other, frames)[0], before)
    torch.testing.assert_close(both_ways(encoder, frames)[0], before, rtol=0, atol=0)


def test_what_hangs_on_a_cell_or_a_layer_is_not_passed_over():
    frames = torch.randn(2, 6, 5)
    for place in ("layers.1", "layers.0.backward_cell"):
        encoder, seen = make(), []
        encoder.get_submodule(place).register_forward_hook(lambda *values, seen=seen: seen.append(1))
        whole, wanted = both_ways(encoder, frames)
        torch.testing.assert_close(whole, wanted, rtol=0, atol=0)
        assert len(seen) == 2


@pytest.mark.parametrize("place", ["layers.1", "layers.0.backward_cell"])
def test_a_forward_that_was_put_over_that_of_the_class_is_run(place):
    encoder, seen, frames = make(), [], torch.randn(2, 6, 5)
    module = encoder.get_submodule(place)
    run = module.forward
    module.forward = lambda *values, **named: seen.append(1) or run(*values, **named)
    whole, wanted = both_ways(encoder, frames)
    torch.testing.assert_close(whole, wanted, rtol=0, atol=0)
    assert len(seen) == 2


def test_another_module_in_place_of_a_cell_is_run():
    class Twice(torch.nn.Module):
        def __init__(self, cell):
            super().__init__()
            self.cell = cell

        def forward(self, frames, lengths=None):
            hidden, state = self.cell(frames, lengths)
            return 2 * hidden, state

    encoder, frames = make(bidirectional=False), torch.randn(2, 6, 5)
    encoder.layers[2].forward_cell = Twice(encoder.layers[2].forward_cell)
    whole, wanted = both_ways(encoder, frames)
    torch.testing.assert_close(whole, wanted, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("place", "cell"),
    [("layers.2.forward_cell", GRU(24, 7)), ("layers.1.backward_cell", MGU(24, 12)), ("layers.1", None)],
)
def test_cells_of_several_kinds_or_sizes_are_run_one_by_one(place, cell):
    """Their weights are not where one loop for all would look for them."""
    encoder, frames = make(), torch.randn(2, 6, 5)
    if cell is None:
        encoder.layers[0], encoder.layers[1] = encoder.layers[1], encoder.layers[0]
        with torch.no_grad(), pytest.raises(ConfigError, match="a sequence of shape"):
            encoder(frames)
        return
    layer, name = place.rsplit(".", 1)
    setattr(encoder.get_submodule(layer), name, cell.eval())
    whole, wanted = both_ways(encoder, frames)
    torch.testing.assert_close(whole, wanted, rtol=0, atol=0)


class Half(torch.nn.Module):
    def forward(self, weight):
        return weight / 2


def test_weights_that_are_made_at_each_call_are_made():
    frames = torch.randn(2, 6, 5)
    encoder = make()
    parametrize.register_parametrization(encoder.layers[0].forward_cell, "weight_hh", Half())
    whole, wanted = both_ways(encoder, frames)
    torch.testing.assert_close(whole, wanted, rtol=0, atol=1e-6)
    assert not torch.equal(whole, both_ways(make(), frames)[0])
    pruned = make()
    prune.l1_unstructured(pruned.layers[0].forward_cell, "weight_ih", amount=0.9)
    whole, wanted = both_ways(pruned, frames)
    torch.testing.assert_close(whole, wanted, rtol=0, atol=1e-6)
    assert not torch.equal(whole, both_ways(make(), frames)[0])


@pytest.mark.parametrize(
    "settings",
    [
        {"cell": "lstm"},
        {"merge": "sum"},
        {"projection_size": 7},
        {"residual": True},
        {"layer_norm": True},
        {"zoneout": 0.1},
    ],
)
def test_other_stacks_go_layer_by_layer(settings):
    whole, wanted = both_ways(make(**settings), torch.randn(2, 6, 5), torch.tensor([6, 4]))
    torch.testing.assert_close(whole, wanted, rtol=0, atol=0)


def test_a_gradient_goes_through_the_layers():
    encoder, frames = make(), torch.randn(2, 6, 5)
    whole, _ = encoder(frames)
    whole.sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())
    torch.testing.assert_close(whole.detach(), both_ways(encoder, frames)[0], rtol=0, atol=0)
