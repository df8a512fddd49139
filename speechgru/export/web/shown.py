"""What a page shows of a model besides its scores, as outputs of the graph: features, and the gates of each layer."""

from __future__ import annotations

from typing import NamedTuple

import onnx
from onnx import TensorProto, helper

from speechgru.cells import Cell
from speechgru.export.cells import has_operator
from speechgru.export.graph import Graph, Operand, Value
from speechgru.export.rows import zeros_like_rows
from speechgru.export.web.gates import keeping_gate


class Layer(NamedTuple):
    """What is shown of a layer.

    Attributes:
        shows: the name of the gate that keeps the state (``update``, ``forget``), ``hidden`` where there is none.
        size: how many values a frame has.
    """

    shows: str
    size: int


class Shown:
    """Makes outputs of what it sees: ``picture`` (batch, frames, feature) and ``layer.0``, ... (batch, frames, hidden).

    They hold the frames that the chunk completes: those of the features, and those of each layer.

    Attributes:
        outputs: the additional outputs of the graph.
        layers: one for each forward cell, in their order.
    """

    def __init__(self) -> None:
        self.outputs: list[onnx.ValueInfoProto] = []
        self.layers: list[Layer] = []
        self._seen: set[Cell] = set()

    def features(self, g: Graph, frames: Value, number: Value) -> None:
        """See :class:`speechgru.export.graph.Watch`."""
        self._give(g, "picture", g.slice(frames, 0, number, 1))

    def cell(self, g: Graph, cell: Cell, frames: Value, number: Value, before: Operand, states: Value) -> None:
        """The same; a cell's second run, over the frames after a chunk, is not shown."""
        if cell in self._seen:
            return
        self._seen.add(cell)
        begin = zeros_like_rows(g, frames, cell.state_size) if before is None else g.value(before)
        place = len(self.layers)
        # ONNX's own LSTM gives its outputs and not its memory.
        lost = before is None and has_operator(cell) and cell.state_size != cell.hidden_size
        every = g.op("Concat", g.op("Unsqueeze", begin, [1]), g.slice(states, 0, -1, 1), axis=1)
        found = None if lost else keeping_gate(g, cell, frames, every)
        name, values = found or ("hidden", g.slice(states, 0, cell.hidden_size, 2))
        self.layers.append(Layer(name, cell.hidden_size))
        self._give(g, f"layer.{place}", g.slice(values, 0, number, 1))

    def _give(self, g: Graph, name: str, value: Value) -> None:
        g.nodes.append(helper.make_node("Identity", [value], [name], name))
        shape = ["batch", f"{name}.frames", None]
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
