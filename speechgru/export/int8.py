"""Weights as 8-bit integers: a quarter of the size, with a scale for each output."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

# With fewer values, scales and nodes cost as much as they save; this also keeps biases and statistics exact.
_LEAST_VALUES = 1024


def with_int8_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose large float32 matrices and kernels are int8, each output with the scale of its largest weight.

    They become float32 again when the file is loaded or run, so the arithmetic stays float32. The Fourier transform is
    not a weight of the file and stays exact.
    """
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    axes = _output_axes(copied.graph)
    constants, nodes = [], []
    for one in copied.graph.initializer:
        values = numpy_helper.to_array(one)
        if one.name not in axes or values.dtype != np.float32 or values.size < _LEAST_VALUES:
            constants.append(one)
            continue
        axis = axes[one.name] % values.ndim
        others = tuple(place for place in range(values.ndim) if place != axis)
        scale = np.maximum(np.abs(values).max(others) / 127, np.finfo(np.float32).tiny).astype(np.float32)
        shaped = scale.reshape([-1 if place == axis else 1 for place in range(values.ndim)])
        rounded = np.clip(np.rint(values / shaped), -127, 127).astype(np.int8)
        constants += [
            numpy_helper.from_array(rounded, f"{one.name}_int8"),
            numpy_helper.from_array(scale, f"{one.name}_scale"),
        ]
        inputs = [f"{one.name}_int8", f"{one.name}_scale"]
        nodes.append(helper.make_node("DequantizeLinear", inputs, [one.name], one.name, axis=axis))
    del copied.graph.initializer[:]
    copied.graph.initializer.extend(constants)
    written = list(copied.graph.node)
    del copied.graph.node[:]
    copied.graph.node.extend(nodes + written)
    return copied


def _output_axes(graph: onnx.GraphProto) -> dict[str, int]:
    """The weights of products and convolutions, and the axis of their outputs."""
    found: dict[str, int] = {}
    for node in graph.node:
        if node.op_type == "MatMul":
            found[node.input[1]] = -1
        elif node.op_type == "Conv":
            found[node.input[1]] = 0
        elif node.op_type in ("GRU", "LSTM", "RNN"):
            found |= {node.input[1]: 1, node.input[2]: 1}
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found |= _output_axes(attribute.g)
    return found
