"""Encoders as a graph: the front end, and the stack of recurrent layers with everything between them."""

from __future__ import annotations

from torch import nn

from speechgru.cells.batch_norm import folded
from speechgru.encoders import (
    Convolution,
    GRUEncoder,
    LatencyControlledEncoder,
    LookAheadEncoder,
    RecurrentEncoder,
)
from speechgru.encoders.recurrent import RecurrentLayer
from speechgru.errors import ModelError
from speechgru.export.cells import has_operator, run_cell, run_operator
from speechgru.export.chunks import write_chunks
from speechgru.export.graph import Graph, Value
from speechgru.export.layers import finish, join_frames
from speechgru.export.rows import divided, masked, valid_frames


def write_encoder(g: Graph, encoder: object, frames: Value, counts: Value) -> tuple[Value, Value]:
    """Hidden frames and their counts: (batch, time, feature), (batch,) -> (batch, shorter time, hidden), (batch,).

    Raises:
        ModelError: there is no writer for the encoder, its front end or a cell.
    """
    if type(encoder) not in (GRUEncoder, LookAheadEncoder, LatencyControlledEncoder):
        raise ModelError(
            f"encoder {type(encoder).__name__} has no ONNX form; gru, look_ahead and latency_controlled have one"
        )
    assert isinstance(encoder, RecurrentEncoder)
    if encoder.front_end is not None:
        frames, counts = write_front_end(g, encoder.front_end, frames, counts)
    if isinstance(encoder, LatencyControlledEncoder):
        return write_chunks(g, encoder, frames, counts)
    for layer in encoder.layers:
        assert isinstance(layer, RecurrentLayer)
        frames, counts = _layer(g, layer, frames, counts)
    if isinstance(encoder, LookAheadEncoder):
        ahead = g.op("Pad", frames, [0, 0, 0, 0, encoder.config.context, 0])
        frames = masked(g, look_ahead(g, encoder, ahead), valid_frames(g, counts, g.size(frames, 1)))
    return frames, counts


def write_front_end(g: Graph, front_end: nn.Module, frames: Value, counts: Value) -> tuple[Value, Value]:
    """The layers before the first cell; frames beyond the counts are zeros, in the input and in the output.

    Raises:
        ModelError: there is no writer for the front end.
    """
    if type(front_end) is not Convolution:
        raise ModelError(f"front end {type(front_end).__name__} has no ONNX form; known: Convolution")
    planes = g.op("Unsqueeze", frames, [1])
    for place, stride in enumerate(front_end.config.stride_time):
        counts = divided(g, counts, stride)
        before, planes = planes, convolve(g, front_end, place, planes, front_end.config.kernel_time // 2)
        if adds_input(front_end, place):
            planes = g.op("Add", planes, before)
        valid = valid_frames(g, counts, g.size(planes, 2))
        planes = masked(g, planes, g.op("Unsqueeze", valid, [1]))
    return flatten_planes(g, planes), counts


def convolve(g: Graph, front_end: Convolution, place: int, planes: Value, padding: int) -> Value:
    """One convolution with its batch normalisation and ReLU: (batch, channel, time, feature)."""
    config = front_end.config
    convolution, norm = front_end.convolutions[place], front_end.normalizations[place]
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    factor, shift = folded(norm)
    weight = (convolution.weight.double() * factor[:, None, None, None]).float()
    strides = [config.stride_time[place], config.stride_feature[place]]
    pads = [padding, config.kernel_feature // 2] * 2
    return g.op("Relu", g.op("Conv", planes, weight, shift.float(), strides=strides, pads=pads))


def adds_input(front_end: Convolution, place: int) -> bool:
    """Whether a layer that keeps its shape adds its input to its output."""
    config = front_end.config
    convolution = front_end.convolutions[place]
    assert isinstance(convolution, nn.Conv2d)
    keeps = config.stride_time[place] == 1 and convolution.in_channels == convolution.out_channels
    size = front_end.input_size
    for stride in config.stride_feature[:place]:
        size = -(-size // stride)
    return config.residual and keeps and -(-size // config.stride_feature[place]) == size


def flatten_planes(g: Graph, planes: Value) -> Value:
    """(batch, channel, time, feature) -> (batch, time, channel * feature)"""
    return g.op("Reshape", g.op("Transpose", planes, perm=[0, 2, 1, 3]), [0, 0, -1])


def _layer(g: Graph, layer: RecurrentLayer, frames: Value, counts: Value) -> tuple[Value, Value]:
    if layer.factor > 1:
        frames, counts = join_frames(g, frames, layer.factor), divided(g, counts, layer.factor)
    cells = [layer.forward_cell] if layer.backward_cell is None else [layer.forward_cell, layer.backward_cell]
    if has_operator(layer.forward_cell):
        outputs = run_operator(g, cells, frames, counts)
        if g.watch:
            g.watch.cell(g, layer.forward_cell, frames, g.slice(counts, 0, 1, 0), None, outputs[0])
    else:
        outputs = [run_cell(g, cell, frames, counts, reverse=place == 1)[0] for place, cell in enumerate(cells)]
    return finish(g, layer, frames, outputs, valid_frames(g, counts, g.size(frames, 1))), counts


def look_ahead(g: Graph, encoder: LookAheadEncoder, hidden: Value) -> Value:
    """The look-ahead convolution; ``hidden`` also has the ``context`` frames after the last frame that is wanted."""
    by_value = g.op("Transpose", hidden, perm=[0, 2, 1])
    seen = g.op("Conv", by_value, encoder.ahead_weight()[:, None], group=encoder.output_size)
    return g.op("Transpose", seen, perm=[0, 2, 1])
