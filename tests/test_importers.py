"""What other people's PyTorch code does with cells and encoders: compile, export, autocast, distribute, save by name.

As a program, this file is one of the two processes of the test of DistributedDataParallel.
"""

import copy
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad

from speechgru.encoders import Convolution, ConvolutionConfig, GRUEncoder
from speechgru.errors import ConfigError
from speechgru.registry import build, entry, names

ROOT = Path(__file__).resolve().parent.parent
CELLS = names("cell")
COMPILED_BY_DEFAULT = ["gru", "li_gru", "lstm", "min_gru"]  # torch.compile takes seconds for each: the others are slow
BATCH_NORM = ["li_gru", "sli_gru"]  # their statistics are over a batch
INPUT, HIDDEN = 5, 4

# The promise: a model saved by any version is loaded by all later ones, so a row here is never changed. What a
# state_dict holds, I the input size, H the hidden size; docs/encoders-in-your-own-code.md has the same rows.
GRU_STATE = "weight_ih (3H, I), weight_hh (3H, H), bias_ih (3H), bias_hh (3H)"
LI_GRU_STATE = (
    "weight_ih (2H, I), weight_hh (2H, H), normalization.weight (2H), normalization.bias (2H), "
    "normalization.running_mean (2H), normalization.running_var (2H), normalization.num_batches_tracked ()"
)
STATE = {
    "fast_grnn": "weight_ih (H, I), weight_hh (H, H), bias (2H), zeta (1), nu (1)",
    "gru": GRU_STATE,
    "gru1": "weight_ih (H, I), weight_hh (3H, H), bias (3H)",
    "gru2": "weight_ih (H, I), weight_hh (3H, H), bias (H)",
    "gru3": "weight_ih (H, I), weight_hh (H, H), bias (3H)",
    "gru_before": "weight_ih (3H, I), weight_hh (3H, H), bias (3H)",
    "ind_rnn": "weight_ih (H, I), weight_hh (H), bias (H)",
    "li_gru": LI_GRU_STATE,
    "lstm": GRU_STATE.replace("3H", "4H"),
    "mgu": "weight_ih (2H, I), weight_hh (2H, H), bias (2H)",
    "min_gru": "weight_ih (2H, I), bias (2H)",
    "qrnn": "weight_ih (3H, 2I), bias (3H)",
    "rnn": GRU_STATE.replace("3H", "H"),
    "sli_gru": LI_GRU_STATE,
    "sru": "weight_ih (3H, I), weight_hh (2H), bias (2H), weight_skip (H, I)",
}
# Of an encoder, around the rows of its cells: M the features a layer gives out, P projection_size.
ENCODER_STATE = {
    "layers.0.forward_cell": GRU_STATE,
    "layers.0.backward_cell": GRU_STATE,
    "layers.0.projection": "weight (P, 2H), bias (P)",
    "layers.0.normalization": "weight (P), bias (P)",
}

# What torch's compiler warns of in its own code, and what the tests' settings would make an error of.
SCRIPT = pytest.mark.filterwarnings("ignore:.torch.jit.script_method:DeprecationWarning")
LEAF = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")


def make(name, seed=0):
    """A cell in training mode; one whose batch norm is not at its start."""
    torch.manual_seed(seed)
    cell = build("cell", entry("cell", name).config(), INPUT, HIDDEN)
    for module in cell.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return cell


def make_encoder(name, seed=0, **settings):
    torch.manual_seed(seed)
    settings = {"num_layers": 1, "dropout": 0.0, "cell": entry("cell", name).config(), **settings}
    return GRUEncoder(INPUT, hidden_size=HIDDEN, **settings)


def encoder_that(kind):
    """An encoder of two layers that draws nothing; where it looks ahead, less far than the batches here are long."""
    torch.manual_seed(0)
    settings = {"hidden_size": HIDDEN, "num_layers": 2, "dropout": 0.0, "projection_size": 3, "layer_norm": True}
    ahead = {"look_ahead": {"context": 3}, "latency_controlled": {"chunk": 4, "right": 2}}
    return build("encoder", entry("encoder", kind).config(**settings, **ahead.get(kind, {})), INPUT).eval()


def batch(rows, seed=1):
    torch.manual_seed(seed)
    return torch.randn(len(rows), max(rows), INPUT), torch.tensor(rows)


def gradients(module, *inputs):
    """The output, and the gradients of a weighted sum of it by name."""
    module.zero_grad()
    hidden, _ = module(*inputs)
    (hidden * torch.linspace(0.5, 1.5, hidden.shape[2])).sum().backward()
    return hidden.detach(), {key: parameter.grad.clone() for key, parameter in module.named_parameters()}


def close(one, other, tolerance=1e-5):
    torch.testing.assert_close(one, other, atol=tolerance, rtol=tolerance)


def shapes_of(row, **sizes):
    """``"bias (2H), zeta (1)"`` with H=4 -> {"bias": (8,), "zeta": (1,)}."""
    found = {}
    for key, shape in re.findall(r"([\w.]+) \(([^)]*)\)", row):
        parts = [re.fullmatch(r"(\d*)([A-Z]?)", part).groups() for part in shape.split(", ") if part]
        found[key] = tuple(int(factor or 1) * sizes.get(letter, 1) for factor, letter in parts)
    return found


def test_state_dict_of_every_cell():
    """Oracle: the rows above, written by hand."""
    assert set(STATE) == set(CELLS)
    for name in CELLS:
        state = make(name).state_dict()
        assert {key: tuple(value.shape) for key, value in state.items()} == shapes_of(STATE[name], I=INPUT, H=HIDDEN)


def test_state_dict_of_the_encoder():
    """Oracle: the rows above; a second layer has the same names and reads what the first gives."""
    encoder = make_encoder("gru", num_layers=2, layer_norm=True, projection_size=3)
    wanted = {}
    for layer, inputs in enumerate((INPUT, 3)):
        for prefix, row in ENCODER_STATE.items():
            for key, shape in shapes_of(row, I=inputs, H=HIDDEN, P=3).items():
                wanted[f"{prefix.replace('0', str(layer))}.{key}"] = shape
    assert {key: tuple(value.shape) for key, value in encoder.state_dict().items()} == wanted
    front_end = Convolution(INPUT, ConvolutionConfig(channels=[2], stride_time=[1], stride_feature=[1]))
    keys = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    assert sorted(front_end.state_dict()) == sorted(
        ["convolutions.0.weight", *(f"normalizations.0.{key}" for key in keys)]
    )


def test_documented_state_is_this_one():
    """Oracle: the rows above; the page must have each of them."""
    page = (ROOT / "docs" / "encoders-in-your-own-code.md").read_text(encoding="utf-8")
    for name, row in STATE.items():
        plain = [line.replace("`", "") for line in page.splitlines() if line.startswith(f"| `{name}` |")]
        assert len(plain) == 1, name
        assert plain[0].endswith(f"| {row} |"), name
    for prefix, row in ENCODER_STATE.items():
        assert f"| {prefix.replace('0', 'N')} | {row} |" in page.replace("`", ""), prefix


@pytest.mark.parametrize("name", CELLS)
def test_copies_conversions_and_calls_with_other_weights(name):
    """Oracle: the cell itself; functional_call and torch.func.grad against backward()."""
    cell = make(name).eval()
    sequence, lengths = batch((7, 3))
    hidden, found = gradients(cell, sequence, lengths)
    close(copy.deepcopy(cell)(sequence, lengths)[0], hidden, 0)
    close(copy.deepcopy(cell).to(torch.float64)(sequence.double(), lengths)[0].float(), hidden)
    other = make(name, seed=2).eval()
    other.load_state_dict(cell.state_dict())
    close(other(sequence, lengths)[0], hidden, 0)
    parameters = dict(make(name, seed=3).named_parameters())
    assert not torch.allclose(functional_call(cell, parameters, (sequence, lengths))[0], hidden)

    def loss(parameters):
        hidden, _ = functional_call(cell, parameters, (sequence, lengths))
        return (hidden * torch.linspace(0.5, 1.5, HIDDEN)).sum()

    for key, value in grad(loss)(dict(cell.named_parameters())).items():
        close(value, found[key])


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("rows", [[8, 3], [7, -1], [7], [7, 3, 1]])
def test_lengths_that_are_not_there(name, rows):
    """A compiled kernel would read and write in memory that is not the sequence's."""
    with pytest.raises(ConfigError, match=re.escape(f"lengths={rows}: one for each of 2 rows, from 0 to their 7")):
        make(name)(torch.randn(2, 7, INPUT), torch.tensor(rows))


@pytest.mark.parametrize("name", CELLS)
def test_autocast(name):
    """Oracle: the same without autocast. Cells read what bfloat16 layers give and answer in the weights' precision."""
    sequence, lengths = batch((7, 3))
    for precision in (torch.float32, torch.float64):
        front, cell = nn.Linear(INPUT, INPUT).to(precision), make(name).to(precision)
        wanted, _ = cell(sequence.to(precision), lengths)
        cell.load_state_dict(make(name).to(precision).state_dict())  # running statistics
        with torch.autocast("cpu", torch.bfloat16):
            hidden, final = cell(sequence.to(precision), lengths)
            behind, _ = cell(front(sequence.to(precision)), lengths, torch.zeros_like(final))
        assert hidden.dtype == final.dtype == behind.dtype == precision
        close(hidden, wanted, 1e-6)
        assert torch.isfinite(behind).all()
        behind.sum().backward()
        for parameter in (*front.parameters(), *cell.parameters()):
            assert parameter.grad.dtype == precision
            assert torch.isfinite(parameter.grad).all()
        assert front.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("name", CELLS)
def test_autocast_of_an_encoder(name):
    """Oracle: float32; the projection alone is computed in bfloat16, of 8 bits, and it is what comes out."""
    encoder = make_encoder(name, num_layers=2, projection_size=6, layer_norm=True).eval()
    features, lengths = batch((7, 3))
    wanted, found = gradients(copy.deepcopy(encoder), features, lengths)
    with torch.autocast("cpu", torch.bfloat16):
        hidden, rounded = gradients(encoder, features, lengths)
    assert hidden.dtype == torch.bfloat16
    close(hidden.float(), wanted, 0.05)
    for key, value in rounded.items():
        assert (value - found[key]).norm() <= 0.15 * found[key].norm() + 1e-3, key


@SCRIPT
@LEAF
@pytest.mark.parametrize(
    "name",
    [name if name in COMPILED_BY_DEFAULT else pytest.param(name, marks=pytest.mark.slow) for name in CELLS],
)
def test_compiled_encoder(name):
    """Oracle: the encoder itself, forward and backward, with lengths; frames of any number take the graphs there are.

    What follows the cells is in graphs, the recurrence is not: unrolled, it would be compiled anew for every length.
    """
    torch._dynamo.reset()
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    encoder = make_encoder(name, projection_size=3, layer_norm=True)
    compiled = torch.compile(copy.deepcopy(encoder), backend=backend)
    counts = []
    for rows in ((7, 3, 0), (9, 9, 4), (5, 2, 6), (12, 1, 10)):
        wanted, found = gradients(encoder, *batch(rows))
        hidden, ours = gradients(compiled, *batch(rows))
        close(hidden, wanted)
        for key, value in found.items():
            close(ours[f"_orig_mod.{key}"], value)
        counts.append(len(graphs))
    assert counts[0] >= 1
    assert counts[1] == counts[3], "a graph for every number of frames"
    for graph in graphs:
        assert len(graph.graph.nodes) < 60, "a graph that grows with the frames"


@SCRIPT
@LEAF
@pytest.mark.parametrize(
    "backend",
    [
        "aot_eager",
        pytest.param(
            "inductor",
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="needs g++ or clang++"),
            ],
        ),
    ],
)
@pytest.mark.parametrize(
    "kind", ["gru", *(pytest.param(kind, marks=pytest.mark.slow) for kind in names("encoder") if kind != "gru")]
)
def test_compiled_by_another_backend(kind, backend):
    """Oracle: the encoder itself; these backends also compile the backward pass."""
    torch._dynamo.reset()
    encoder = encoder_that(kind)
    compiled = torch.compile(copy.deepcopy(encoder), backend=backend)
    for rows in ((7, 3), (9, 4), (5, 2)):
        wanted, found = gradients(encoder, *batch(rows))
        hidden, ours = gradients(compiled, *batch(rows))
        close(hidden, wanted)
        for key, value in found.items():
            close(ours[f"_orig_mod.{key}"], value)


def exported(module, *inputs, least=2):
    """The program for any batch and any number of frames from ``least`` on."""
    rows, frames = torch.export.Dim("rows"), torch.export.Dim("frames", min=least)
    return torch.export.export(module, inputs, dynamic_shapes=({0: rows, 1: frames}, {0: rows})).module()


@SCRIPT
@pytest.mark.parametrize("name", CELLS)
def test_exported_cell(name):
    """Oracle: the cell itself, at other sizes than those of the example; and a trace at the example's."""
    cell = make(name).eval().requires_grad_(False)
    program = exported(cell, *batch((6, 3, 4)))
    for rows in ((11, 0), (2, 1, 2, 2, 1)):
        for one, other in zip(cell(*batch(rows)), program(*batch(rows)), strict=True):
            close(other, one)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a trace is made for one number of frames, and says so
        traced = torch.jit.trace(cell, (torch.zeros(3, 3, INPUT), torch.tensor([3, 1, 2])), check_trace=False)
    for one, other in zip(cell(*batch((2, 3, 1))), traced(*batch((2, 3, 1))), strict=True):
        close(other, one)


@SCRIPT
@LEAF
def test_exported_encoder_and_its_gradients():
    """Oracle: the encoder itself. torch's scan loses gradients where the first state needs none; here none is lost."""
    encoder = make_encoder("ind_rnn", num_layers=1, pyramid=[2], layer_norm=True, projection_size=3).eval()
    program = exported(encoder, *batch((6, 3, 4)), least=3)  # two are left of three
    for rows in ((11, 0), (5, 4, 1, 2)):
        (hidden, lengths), (wanted, wanted_lengths) = program(*batch(rows)), encoder(*batch(rows))
        close(hidden, wanted)
        assert torch.equal(lengths, wanted_lengths)
    wanted, found = gradients(encoder, *batch((9, 4)))
    hidden, ours = gradients(program, *batch((9, 4)))
    close(hidden, wanted)
    for key, value in found.items():
        close(ours[key], value)


@SCRIPT
@pytest.mark.parametrize("kind", names("encoder"))
def test_exported_encoders(kind):
    """Oracle: the encoder itself, at other sizes than the example's. Chunks are cut for the example's size alone."""
    torch._dynamo.reset()
    encoder = encoder_that(kind).requires_grad_(False)
    example, others = batch((10, 3, 4)), [(11, 0), (4, 1, 2, 2, 1)]
    if kind == "latency_controlled":
        program, others = torch.export.export(encoder, example).module(), [(10, 10, 0), (1, 7, 10)]
    else:
        program = exported(encoder, *example)
    for rows in others:
        for one, other in zip(encoder(*batch(rows)), program(*batch(rows)), strict=True):
            close(other, one)


def distributed_rows():
    """The whole batch, of which each process has every second row."""
    return batch((7, 3, 5, 6))


def run_rank(rank, folder):
    """One of two processes: the gradients of all cells over its rows, under DistributedDataParallel."""
    import gc

    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    found = {}
    features, lengths = distributed_rows()
    for name in CELLS:
        # Another start in each process: the first one's weights are everybody's.
        module = nn.parallel.DistributedDataParallel(make_encoder(name, seed=rank))
        _, values = gradients(module, features[rank::2], lengths[rank::2])
        found[name] = {key.removeprefix("module."): value for key, value in values.items()}
    torch.save(found, folder / f"{rank}.pt")
    del module
    gc.collect()
    dist.destroy_process_group()


def test_distributed_data_parallel(tmp_path):
    """Oracle: one process with the whole batch; torch averages over processes, so it is half of a sum's gradient.

    Batch norm takes its statistics over a process's own rows: there the mean of two runs, each on one half.
    """
    ranks = [subprocess.Popen([sys.executable, __file__, str(rank), str(tmp_path)]) for rank in (0, 1)]
    assert [rank.wait() for rank in ranks] == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    features, lengths = distributed_rows()
    for name in CELLS:
        encoder = make_encoder(name)
        _, whole = gradients(encoder, features, lengths)
        halves = [gradients(encoder, features[rank::2], lengths[rank::2])[1] for rank in (0, 1)]
        for key in whole:
            assert torch.equal(first[name][key], second[name][key])
            wanted = (halves[0][key] + halves[1][key]) / 2
            close(first[name][key], wanted)
            if name not in BATCH_NORM:
                close(first[name][key], whole[key] / 2)


if __name__ == "__main__":
    run_rank(int(sys.argv[1]), Path(sys.argv[2]))
