"""Recurrent cells in C: the matrices of each, and the statements that advance its state by a frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import torch
from torch import Tensor

from speechgru.cells import (
    GRU,
    GRU1,
    GRU2,
    GRU3,
    LSTM,
    MGU,
    QRNN,
    RNN,
    SRU,
    Cell,
    FastGRNN,
    GRUBefore,
    IndRNN,
    LiGRU,
    MinGRU,
    MinGRUCandidate,
    SLiGRU,
)
from speechgru.cells.batch_norm import folded
from speechgru.errors import ModelError
from speechgru.export.c.program import Program

Kind = TypeVar("Kind", bound=Cell)
# Writes the tables of a cell; returns the statements that read `frame` and change the array of the state.
Writer = Callable[[Program, str, Kind, str], str]

WRITERS: dict[type[Cell], Writer[Cell]] = {}


def write_cell(program: Program, name: str, cell: Cell, state: str) -> str:
    """The statements of a cell.

    Args:
        program: gets the cell's tables.
        name: of the layer; the names of its tables begin with it.
        cell: in eval mode.
        state: the array of the cell's state.

    Raises:
        ModelError: the cell cannot be written in C.
    """
    if type(cell) not in WRITERS:
        known = ", ".join(kind.__name__ for kind in WRITERS)
        raise ModelError(f"cell {type(cell).__name__} has no C form; known: {known}")
    statements = WRITERS[type(cell)](program, name, cell, state)
    if not cell.zoneout:
        return statements
    # In eval mode each value moves by the share that it would move on average; frames kept in a state are exempt.
    size = 2 * cell.hidden_size if isinstance(cell, QRNN) else cell.state_size
    program.scratch("patch", size)
    return f"""
int kept;
memcpy(s->patch, {state}, {size} * sizeof *s->patch);
{statements}
for (kept = 0; kept < {size}; kept++) {state}[kept] += {cell.zoneout:.9g}f * (s->patch[kept] - {state}[kept]);"""


def _gates(program: Program, size: int, *offsets: int) -> list[str]:
    """Places in the array of sums, which needs ``size`` numbers."""
    program.scratch("gates", size)
    return [f"s->gates + {offset}" for offset in offsets]


def _norm(program: Program, place: str, size: int, gain: str = "0", shift: str = "0") -> str:
    program.use("normalize")
    return f"normalize({place}, {size}, {gain}, {shift});"


def _use(program: Program, *functions: str) -> None:
    for name in functions:
        if name in ("sigmoid", "tangent"):
            program.use(name)
        else:
            program.cell(name)


def _gru(program: Program, name: str, cell: GRU, state: str) -> str:
    n = cell.hidden_size
    x, u = _gates(program, 6 * n, 0, 3 * n)
    _use(program, "sigmoid", "tangent", "gru")
    norms = ""
    for place, side in ((x, "ih"), (u, "hh")):
        bias: Tensor = cell.get_parameter(f"bias_{side}")
        program.matrix(f"{name}_{side}", cell.get_parameter(f"weight_{side}"), None if cell.layer_norm else bias)
        if cell.layer_norm:
            gain, shift = f"{name}_{side}_gain", f"{name}_{side}_shift"
            program.table("float", gain, cell.get_parameter(f"gain_{side}"))
            program.table("float", shift, bias)
            norms += _norm(program, place, 2 * n, gain, shift) + "\n"
            norms += _norm(program, f"{place} + {2 * n}", n, f"{gain} + {2 * n}", f"{shift} + {2 * n}") + "\n"
    return f"""
{program.product(f"{name}_ih", "frame", x)}
{program.product(f"{name}_hh", state, u)}
{norms}gru({x}, {u}, {state}, {n});"""


def _gru_before(program: Program, name: str, cell: GRUBefore, state: str) -> str:
    n = cell.hidden_size
    x, u, left, un = _gates(program, 7 * n, 0, 3 * n, 5 * n, 6 * n)
    _use(program, "sigmoid", "tangent", "reset", "replace")
    program.matrix(f"{name}_ih", cell.weight_ih, cell.bias)
    program.matrix(f"{name}_gates", cell.weight_hh[: 2 * n], None)
    program.matrix(f"{name}_candidate", cell.weight_hh[2 * n :], None)
    return f"""
{program.product(f"{name}_ih", "frame", x)}
{program.product(f"{name}_gates", state, u)}
reset_state({x}, {u}, {state}, {left}, {n});
{program.product(f"{name}_candidate", left, un)}
replace({x} + {n}, {u} + {n}, {x} + {2 * n}, {un}, {state}, {n});"""


def _mgu(program: Program, name: str, cell: MGU, state: str) -> str:
    n = cell.hidden_size
    x, u, left, un = _gates(program, 5 * n, 0, 2 * n, 3 * n, 4 * n)
    _use(program, "sigmoid", "tangent", "forget", "replace")
    program.matrix(f"{name}_ih", cell.weight_ih, cell.bias)
    program.matrix(f"{name}_gate", cell.weight_hh[:n], None)
    program.matrix(f"{name}_candidate", cell.weight_hh[n:], None)
    return f"""
{program.product(f"{name}_ih", "frame", x)}
{program.product(f"{name}_gate", state, u)}
forget_state({x}, {u}, {state}, {left}, {n});
{program.product(f"{name}_candidate", left, un)}
replace({x}, {u}, {x} + {n}, {un}, {state}, {n});"""


def _min_gru(program: Program, name: str, cell: MinGRU, state: str) -> str:
    n = cell.hidden_size
    (x,) = _gates(program, 2 * n, 0)
    _use(program, "sigmoid", "min_gru")
    program.matrix(f"{name}_ih", cell.weight_ih, cell.bias)
    positive = int(cell.config.candidate is MinGRUCandidate.positive)
    return f"""
{program.product(f"{name}_ih", "frame", x)}
min_gru({x}, {state}, {positive}, {n});"""


def _fast_grnn(program: Program, name: str, cell: FastGRNN, state: str) -> str:
    n = cell.hidden_size
    x, u, reduced = _gates(program, 2 * n + max(cell.config.input_rank, cell.config.hidden_rank), 0, n, 2 * n)
    _use(program, "sigmoid", "tangent", "fast_grnn")
    program.table("float", f"{name}_bias", cell.bias)
    statements = ""
    for side, given, place in (("ih", "frame", x), ("hh", state, u)):
        reduce: Tensor | None = getattr(cell, f"reduce_{side}")
        program.matrix(f"{name}_{side}", cell.get_parameter(f"weight_{side}"), None)
        if reduce is not None:
            program.matrix(f"{name}_{side}_reduce", reduce, None)
            statements += program.product(f"{name}_{side}_reduce", given, reduced) + "\n"
        statements += program.product(f"{name}_{side}", reduced if reduce is not None else given, place) + "\n"
    zeta, nu = (f"{float(torch.sigmoid(share)):.9g}f" for share in (cell.zeta, cell.nu))
    return f"{statements}fast_grnn({x}, {u}, {name}_bias, {zeta}, {nu}, {state}, {n});"


def _lstm(program: Program, name: str, cell: LSTM, state: str) -> str:
    n = cell.hidden_size
    x, u, seen = _gates(program, 9 * n, 0, 4 * n, 8 * n)
    memory = f"{state} + {n}"
    _use(program, "sigmoid", "tangent", "lstm")
    bias = cell.bias_ih + cell.bias_hh
    program.matrix(f"{name}_ih", cell.weight_ih, None if cell.layer_norm else bias)
    program.matrix(f"{name}_hh", cell.weight_hh, None)
    products = f"""
{program.product(f"{name}_ih", "frame", x)}
{program.product(f"{name}_hh", state, u)}"""
    if not cell.layer_norm:
        return f"""{products}
lstm_memory({x}, {u}, {memory}, {n});
lstm_output({x}, {u}, {memory}, {state}, {n});"""
    for table, values in (
        ("gain_ih", cell.gain_ih),
        ("gain_hh", cell.gain_hh),
        ("bias", bias),
        ("gain_cell", cell.gain_cell),
        ("bias_cell", cell.bias_cell),
    ):
        program.table("float", f"{name}_{table}", values)
    return f"""{products}
{_norm(program, x, 4 * n, f"{name}_gain_ih", f"{name}_bias")}
{_norm(program, u, 4 * n, f"{name}_gain_hh")}
lstm_memory({x}, {u}, {memory}, {n});
memcpy({seen}, {memory}, {n} * sizeof *s->gates);
{_norm(program, seen, n, f"{name}_gain_cell", f"{name}_bias_cell")}
lstm_output({x}, {u}, {seen}, {state}, {n});"""


def _rnn(program: Program, name: str, cell: RNN, state: str) -> str:
    n = cell.hidden_size
    x, u = _gates(program, 2 * n, 0, n)
    _use(program, "tangent", "rnn", "add")
    bias = cell.bias_ih + cell.bias_hh
    program.matrix(f"{name}_ih", cell.weight_ih, None if cell.layer_norm else bias)
    program.matrix(f"{name}_hh", cell.weight_hh, None)
    norm = ""
    if cell.layer_norm:
        program.table("float", f"{name}_gain", cell.gain)
        program.table("float", f"{name}_shift", bias)
        norm = _norm(program, x, n, f"{name}_gain", f"{name}_shift") + "\n"
    return f"""
{program.product(f"{name}_ih", "frame", x)}
{program.product(f"{name}_hh", state, u)}
add({x}, {u}, {n});
{norm}rnn({x}, {state}, {n});"""


def _light(program: Program, name: str, cell: LiGRU, state: str) -> str:
    """The batch normalisation, with the statistics of training, is folded into the product."""
    n = cell.hidden_size
    x, u = _gates(program, 4 * n, 0, 2 * n)
    _use(program, "sigmoid", "light")
    factor, shift = folded(cell.normalization)
    program.matrix(f"{name}_ih", cell.weight_ih, shift, factor)
    program.matrix(f"{name}_hh", cell.weight_hh, None)
    norms = "".join(_norm(program, place, n) + "\n" for place in (u, f"{u} + {n}") if cell.normalize)
    return f"""
{program.product(f"{name}_ih", "frame", x)}
{program.product(f"{name}_hh", state, u)}
{norms}light({x}, {u}, {state}, {n});"""


def _variant(program: Program, name: str, cell: GRU1 | GRU2 | GRU3, state: str) -> str:
    """Gates from the state and a bias, or from only one of the two."""
    n = cell.hidden_size
    gates, x, left, un = _gates(program, 5 * n, 0, 2 * n, 3 * n, 4 * n)
    _use(program, "sigmoid", "tangent", "variant")
    program.matrix(f"{name}_ih", cell.weight_ih, cell.bias[-n:])
    program.matrix(f"{name}_candidate", cell.weight_hh[-n:], None)
    if cell.gates_see_state:
        program.matrix(f"{name}_gates", cell.weight_hh[: 2 * n], cell.bias[: 2 * n] if cell.gates_have_bias else None)
        sums = program.product(f"{name}_gates", state, gates)
    else:
        program.table("float", f"{name}_gates", cell.bias[: 2 * n])
        sums = f"memcpy({gates}, {name}_gates, sizeof {name}_gates);"
    return f"""
{program.product(f"{name}_ih", "frame", x)}
{sums}
variant_left({gates}, {state}, {left}, {n});
{program.product(f"{name}_candidate", left, un)}
variant({gates} + {n}, {x}, {un}, {state}, {n});"""


def _ind_rnn(program: Program, name: str, cell: IndRNN, state: str) -> str:
    (x,) = _gates(program, cell.hidden_size, 0)
    _use(program, "ind_rnn")
    program.matrix(f"{name}_ih", cell.weight_ih, cell.bias)
    program.table("float", f"{name}_hh", cell.weight_hh.clamp(-cell.bound, cell.bound))
    return f"""
{program.product(f"{name}_ih", "frame", x)}
ind_rnn({x}, {name}_hh, {state}, {cell.hidden_size});"""


def _sru(program: Program, name: str, cell: SRU, state: str) -> str:
    n = cell.hidden_size
    x, skip = _gates(program, 4 * n, 0, 3 * n)
    _use(program, "sigmoid", "sru")
    program.matrix(f"{name}_ih", cell.weight_ih, torch.cat((torch.zeros(n), cell.bias)))
    program.table("float", f"{name}_hh", cell.weight_hh)
    passed = ""
    if cell.weight_skip is not None:
        program.matrix(f"{name}_skip", cell.weight_skip, None)
        passed = program.product(f"{name}_skip", "frame", skip)
    return f"""
{program.product(f"{name}_ih", "frame", x)}
{passed}
sru({x}, {name}_hh, {skip if passed else "frame"}, {cell.scale:.9g}f, {state}, {state} + {n}, {n});"""


def _qrnn(program: Program, name: str, cell: QRNN, state: str) -> str:
    """The frames before the present one are at the end of the state."""
    n, size, kept = cell.hidden_size, cell.input_size, (cell.config.window - 1) * cell.input_size
    x, window = _gates(program, 3 * n + kept + size, 0, 3 * n)
    _use(program, "sigmoid", "tangent", "qrnn")
    program.matrix(f"{name}_ih", cell.weight_ih, cell.bias)
    if not kept:
        return f"""
{program.product(f"{name}_ih", "frame", x)}
qrnn({x}, {state}, {state} + {n}, {n});"""
    return f"""
memcpy({window}, {state} + {2 * n}, {kept} * sizeof *s->gates);
memcpy({window} + {kept}, frame, {size} * sizeof *s->gates);
{program.product(f"{name}_ih", window, x)}
qrnn({x}, {state}, {state} + {n}, {n});
memcpy({state} + {2 * n}, {window} + {size}, {kept} * sizeof *s->gates);"""


def _know(kind: type[Kind], writer: Writer[Kind]) -> None:
    WRITERS[kind] = cast(Writer[Cell], writer)


_know(GRU, _gru)
_know(GRUBefore, _gru_before)
_know(MGU, _mgu)
_know(MinGRU, _min_gru)
_know(FastGRNN, _fast_grnn)
_know(LSTM, _lstm)
_know(RNN, _rnn)
_know(LiGRU, _light)
_know(SLiGRU, _light)
_know(GRU1, _variant)
_know(GRU2, _variant)
_know(GRU3, _variant)
_know(IndRNN, _ind_rnn)
_know(SRU, _sru)
_know(QRNN, _qrnn)
