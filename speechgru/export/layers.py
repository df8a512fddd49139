"""What surrounds the cells of a recurrent layer, as a graph: joined frames before, projection and norm after them."""

from __future__ import annotations

from speechgru.encoders import Merge
from speechgru.encoders.recurrent import RecurrentLayer
from speechgru.export.graph import Graph, Value
from speechgru.export.rows import masked


def join_frames(g: Graph, frames: Value, factor: int) -> Value:
    """``factor`` neighbouring frames side by side, zeros where the last group is not full."""
    missing = g.op("Mod", g.op("Neg", g.size(frames, 1)), factor)
    pads = g.op("Concat", [0, 0, 0, 0], missing, [0], axis=0)
    padded = g.op("Pad", frames, pads)
    width = g.op("Mul", g.size(frames, 2), factor)
    return g.op("Reshape", padded, g.op("Concat", g.size(frames, 0), [-1], width, axis=0))


def finish(g: Graph, layer: RecurrentLayer, frames: Value, outputs: list[Value], valid: Value | None) -> Value:
    """All that follows the cells of a layer: see :meth:`RecurrentLayer.finish`."""
    config, hidden = layer.config, outputs[0]
    if len(outputs) == 2:
        concat = config.merge is Merge.concat
        hidden = g.op("Concat", *outputs, axis=2) if concat else g.op("Add", *outputs)
    if layer.projection is not None:
        hidden = g.linear(hidden, layer.projection.weight, layer.projection.bias)
    if config.residual and layer.output_size == layer.forward_cell.input_size:
        hidden = g.op("Add", hidden, frames)
    if layer.normalization is not None:
        norm = layer.normalization
        hidden = g.layer_norm(hidden, norm.weight, norm.bias, norm.eps)
    writes = layer.projection is not None or layer.normalization is not None or config.residual
    return masked(g, hidden, valid) if writes and valid is not None else hidden
