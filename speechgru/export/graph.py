"""Writes an ONNX graph node by node: a value is the name of a node's output."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

if TYPE_CHECKING:
    from speechgru.cells import Cell

# LayerNormalization needs opset 17; runtimes since 2022 read it.
OPSET, IR_VERSION = 17, 8
# A constant of fewer bytes is stored once, however often it is used.
_SHARED_BYTES = 256

Value = str
Operand = Value | np.ndarray | Tensor | int | float | Sequence[int] | None


class Watch(Protocol):
    """Is given frames and states of a graph while it is written, and may make outputs of them.

    Attributes:
        outputs: the outputs that it has made.
    """

    outputs: list[onnx.ValueInfoProto]

    def features(self, g: Graph, frames: Value, number: Value) -> None:
        """Gets the frames before deltas and normalisation, (batch, time, feature); the first ``number`` count."""

    def cell(self, g: Graph, cell: Cell, frames: Value, number: Value, before: Operand, states: Value) -> None:
        """Gets what a forward cell read, the first ``number`` of ``frames`` (batch, time, input), and its states.

        The cell began with the state ``before`` (None: zeros). The first ``hidden_size`` values of its states (batch,
        time, state) are its outputs.
        """


class Graph:
    """Nodes and constants of a graph, or of the body of a loop in one.

    Args:
        outer: for the body of a loop, the graph that has the loop; the body sees all values of that graph.
        watch: is given frames and states.
    """

    def __init__(self, outer: Graph | None = None, watch: Watch | None = None) -> None:
        self.watch = watch
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = outer.constants if outer else []
        self._shared: dict[tuple[str, tuple[int, ...], bytes], Value] = outer._shared if outer else {}
        self._numbers: itertools.count[int] = outer._numbers if outer else itertools.count()

    def op(self, kind: str, *inputs: Operand, **attributes: object) -> Value:
        """Adds a node of this operator, returns its value; numbers and arrays become constants, None omits an input."""
        return self.ops(kind, 1, *inputs, **attributes)[0]

    def ops(self, kind: str, outputs: int, *inputs: Operand, **attributes: object) -> list[Value]:
        """Adds a node with several outputs and returns their values."""
        names = [self.new(kind) for _ in range(outputs)]
        given = list(inputs)
        while given and given[-1] is None:  # an input left out at the end is not named at all
            given.pop()
        node = helper.make_node(kind, [self.value(one) for one in given], names, names[0])
        node.attribute.extend(helper.make_attribute(key, value) for key, value in sorted(attributes.items()))
        self.nodes.append(node)
        return names

    def new(self, kind: str) -> Value:
        """A name that no other value has."""
        return f"{kind.lower()}_{next(self._numbers)}"

    def value(self, operand: Operand) -> Value:
        """The name of a value or of a new constant: int is int64, float is float32."""
        if operand is None:
            return ""
        if isinstance(operand, str):
            return operand
        if isinstance(operand, Tensor):
            operand = operand.detach().cpu().numpy()
        if not isinstance(operand, np.ndarray):
            real = isinstance(operand, float)
            operand = np.asarray(operand, np.float32 if real else np.int64)
        key = operand.dtype.str, operand.shape, operand.tobytes() if operand.nbytes < _SHARED_BYTES else b""
        name = self._shared.get(key) if key[2] else None
        if name is None:
            name = self.new("constant")
            self.constants.append(numpy_helper.from_array(np.array(operand, order="C"), name))
            if key[2]:
                self._shared[key] = name
        return name

    def cast(self, value: Value, dtype: type[np.generic]) -> Value:
        """The value as float32, float64, int32, int64 or bool."""
        return self.op("Cast", value, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def size(self, value: Value, axis: int) -> Value:
        """The size of an axis, int64 (1,)."""
        return self.op("Gather", self.op("Shape", value), [axis])

    def slice(self, value: Value, start: Operand, stop: Operand, axis: int) -> Value:
        """From ``start`` to before ``stop`` on one axis; both int64 (1,)."""
        return self.op("Slice", value, _one(start), _one(stop), [axis])

    def linear(self, value: Value, weight: Tensor, bias: Tensor | None = None) -> Value:
        """``value @ weight.T + bias``, as torch's linear."""
        product = self.op("MatMul", value, weight.detach().T.contiguous())
        return product if bias is None else self.op("Add", product, bias)

    def layer_norm(self, value: Value, gain: Tensor, bias: Tensor | None = None, eps: float = 1e-5) -> Value:
        """Layer normalisation of the last axis."""
        return self.op("LayerNormalization", value, gain, bias, axis=-1, epsilon=eps)

    def scan(self, body: Callable[[Graph, Value, Value], Value], frames: Value, state: Value) -> Value:
        """The states after every frame: (batch, time, feature), (batch, state) -> (batch, time, state).

        Args:
            body: writes one step: from the graph, a frame (batch, feature) and the state it gives the next state.
            frames: the frames, read in order.
            state: the state before the first frame.
        """
        inner = Graph(self)
        before, frame = inner.new("state"), inner.new("frame")
        after = body(inner, frame, before)
        given = inner.op("Identity", after)
        graph = helper.make_graph(
            inner.nodes,
            "step",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None]) for name in (before, frame)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None]) for name in (after, given)],
        )
        return self.ops(
            "Scan", 2, state, frames, body=graph, num_scan_inputs=1, scan_input_axes=[1], scan_output_axes=[1]
        )[1]


def _one(bound: Operand) -> Operand:
    return [bound] if isinstance(bound, int) else bound
