"""The row functions of a cell (rows.py) as text of a Triton kernel, for several rows at once.

A row function is plain Python over arrays. Here it is run once, with arrays that write down what is done with them: a
loop over the values of a row becomes a loop over tiles of (rows, columns) which reads, calculates and then writes. So a
cell's equations are written once, for the CPU and for the GPU. Two things that Python does not let an object see are
rewritten first: ``a if c else b``, and a number to which a loop adds, which becomes a sum over the columns.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.lib.mixins import NDArrayOperatorsMixin

_OPERATIONS = {
    np.add: "{} + {}",
    np.subtract: "{} - {}",
    np.multiply: "{} * {}",
    np.true_divide: "{} / {}",
    np.negative: "-{}",
    np.less: "{} < {}",
    np.greater: "{} > {}",
    np.sqrt: "tl.sqrt({})",
}


@functools.cache
def runs_triton(device: torch.device) -> bool:
    """Whether Triton's kernels run on a device: an NVIDIA GPU from Ampere on (2020), with Triton installed."""
    known = device.type == "cuda" and torch.version.cuda is not None and importlib.util.find_spec("triton") is not None
    return known and torch.cuda.get_device_capability(device) >= (8, 0)


class Value(NDArrayOperatorsMixin):
    """One number of each row, (rows, 1), or of each place of a tile, (rows, columns), under its name in the text."""

    def __init__(self, text: KernelText, name: str) -> None:
        self.text, self.name = text, name

    def __str__(self) -> str:
        return self.name

    def __bool__(self) -> bool:
        raise TypeError("a row function may choose by `a if c else b` alone: what is compared differs between rows")

    def __array_ufunc__(self, operation: np.ufunc, method: str, *inputs: object, out: object = None) -> Value:
        return self.text.value(_OPERATIONS[operation].format(*(_written(one) for one in inputs)))


class Column(NamedTuple):
    """The index of a loop over the values of a row, ``size`` of them."""

    size: int


class Array:
    """Values of each row in memory, ``size`` of them from ``start`` on; ``name`` is where those of each row begin."""

    def __init__(self, text: KernelText, name: str, size: int, start: int = 0) -> None:
        self.text, self.name, self.size, self.start = text, name, size, start

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, place: slice | int | Column) -> Array | Value:
        if isinstance(place, slice):
            start, stop, _ = place.indices(self.size)
            return Array(self.text, self.name, max(0, stop - start), self.start + start)
        return self.text.load(*self._at(place))

    def __setitem__(self, place: int | Column, value: Value | np.float32) -> None:
        self.text.store(*self._at(place), value)

    def _at(self, place: int | Column) -> tuple[str, str]:
        """As text: the address of a place, and the mask of what is there."""
        if isinstance(place, Column):
            assert place.size <= self.size
            return f"{self.name} + {self.start} + j", f"alive & (j < {place.size})"
        return f"{self.name} + {self.start + range(self.size)[place]}", "alive"


class KernelText:
    """The lines of a kernel, written while row functions run.

    Around them in the kernel, ``alive`` (rows, 1) says which rows have a frame, and ROWS and COLUMNS are the sizes of a
    tile.
    """

    def __init__(self, depth: int) -> None:
        self.lines: list[str] = []
        self._depth = depth
        self._names = 0
        self._loop = -1  # the line in which the loop over columns begins
        self._known: dict[tuple[str, str], str] = {}  # what was read and written in it
        self._written: dict[tuple[str, str], str] = {}

    def write(self, *lines: str) -> None:
        self.lines += ["    " * self._depth + line for line in lines]

    def run(self, function: Callable[..., object], *arguments: object) -> None:
        """Writes what a function of rows does."""
        self._rewritten(function)(*arguments)

    def multiply(self, left: np.ndarray, right: str, out: np.ndarray) -> None:
        """``out = left @ right``; ``right`` is (values of left, values of out) in memory."""
        assert isinstance(left, Array)
        assert isinstance(out, Array)
        inner, columns = len(left), len(out)
        self.write(
            f"for c in range(0, {columns}, COLUMNS):",
            "    j = c + tl.arange(0, COLUMNS)[None, :]",
            "    total = tl.zeros((ROWS, COLUMNS), tl.float32)",
            f"    for d in range(0, {inner}, INNER):",
            "        k = d + tl.arange(0, INNER)[None, :]",
            "        i = d + tl.arange(0, INNER)[:, None]",
            f"        a = tl.load({left.name} + {left.start} + k, alive & (k < {inner}), 0.0)",
            f"        b = tl.load({right} + i * {columns} + j, (i < {inner}) & (j < {columns}), 0.0)",
            "        total = tl.dot(a.to(b.dtype), b, total, input_precision=PRECISION)",
            f"    tl.store({out.name} + {out.start} + j, total, alive & (j < {columns}))",
            "tl.debug_barrier()",
        )

    def value(self, expression: str) -> Value:
        self._names += 1
        self.write(f"v{self._names} = {expression}")
        return Value(self, f"v{self._names}")

    def load(self, place: str, there: str) -> Value:
        if (place, there) not in self._known:
            self._known[place, there] = self.value(f"tl.load({place}, {there}, 0.0)").name
        return Value(self, self._known[place, there])

    def store(self, place: str, there: str, value: object) -> None:
        self._known[place, there] = self._written[place, there] = _written(value)
        if self._loop < 0:
            self._flush()

    def _flush(self) -> None:
        """Writes to memory after all has been read: a place need not belong to one thread."""
        if self._written:
            stores = [f"tl.store({place}, {value}, {there})" for (place, there), value in self._written.items()]
            self.write("tl.debug_barrier()", *stores, "tl.debug_barrier()")
        self._written, self._known = {}, {}

    def _columns(self, size: int) -> Iterator[Column]:
        """What ``range`` is in a row function."""
        self._loop, self._known = len(self.lines), {}
        self.write(f"for c in range(0, {size}, COLUMNS):")
        self._depth += 1
        self.write("j = c + tl.arange(0, COLUMNS)[None, :]")
        yield Column(size)
        self._flush()
        self._depth -= 1
        self._loop = -1

    def _summed(self, total: object, value: Value, column: Column) -> Value:
        """``total += value`` in a loop over columns."""
        self._names += 1
        name = f"v{self._names}"
        begin = f"{name} = tl.zeros((ROWS, 1), tl.float32) + {_written(total)}"
        self.lines.insert(self._loop, "    " * (self._depth - 1) + begin)
        there = f"tl.where(j < {column.size}, {value}, 0.0)"
        self.write(f"{name} += tl.sum({there}, 1, keep_dims=True)")
        return Value(self, name)

    def _chosen(self, condition: Value, first: object, second: object) -> Value:
        """``first if condition else second``."""
        return self.value(f"tl.where({condition}, {_written(first)}, {_written(second)})")

    def _rewritten(self, function: Callable[..., object]) -> Callable[..., object]:
        """A plain function, and all those that it calls, as they run here."""
        tree = _Rewriting().visit(ast.parse(inspect.getsource(function)))
        names: dict[str, Any] = {"range": self._columns, "chosen": self._chosen, "summed": self._summed}
        for name, found in inspect.getclosurevars(function).globals.items():
            names[name] = self._rewritten(found) if inspect.isfunction(found) else found
        exec(compile(ast.fix_missing_locations(tree), inspect.getfile(function), "exec"), names)
        return names[function.__name__]


class _Rewriting(ast.NodeTransformer):
    _index: ast.expr | None = None

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.decorator_list, node.returns = [], None
        for argument in node.args.args:
            argument.annotation = None
        return self.generic_visit(node)

    def visit_For(self, node: ast.For) -> ast.AST:
        assert isinstance(node.target, ast.Name)
        self._index = ast.Name(node.target.id, ast.Load())
        return self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.target, ast.Name) or self._index is None:
            return node
        total = ast.Name(node.target.id, ast.Load())
        return ast.Assign([node.target], ast.Call(ast.Name("summed", ast.Load()), [total, node.value, self._index], []))

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        return ast.Call(ast.Name("chosen", ast.Load()), [node.test, node.body, node.orelse], [])


def _written(value: object) -> str:
    return value.name if isinstance(value, Value) else repr(float(cast(np.float32, value)))
