"""ONNX and Keras layouts: the formulas in their own documentation, as NumPy loops over their own arrays."""

import numpy as np
import pytest
import torch

from speechgru.cells import GRU, LSTM, MGU, RNN, GRUBefore, GRUConfig, LSTMConfig, RNNConfig, layouts
from speechgru.cells.layouts import from_keras, from_onnx, to_keras, to_onnx
from speechgru.encoders import GRUEncoder
from speechgru.errors import ConfigError

INPUT, HIDDEN = 3, 4
CELLS = [GRU, GRUBefore, LSTM, RNN]


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def onnx_node(kind, arrays, direction, sequence, linear_before_reset):
    """onnx.ai/onnx/operators/onnx__GRU, __LSTM, __RNN: "Equations" with the default activations, one direction."""
    size = arrays["R"].shape[2]
    rows = lambda matrix: np.split(matrix, len(matrix) // size)  # noqa: E731
    weight, recurrence = rows(arrays["W"][direction]), rows(arrays["R"][direction])
    input_bias, recurrent_bias = (rows(half) for half in np.split(arrays["B"][direction], 2))
    h, c, outputs = np.zeros(size), np.zeros(size), []
    for x in sequence:
        if kind == "GRU":
            wz, wr, wh = weight
            rz, rr, rh = recurrence
            wbz, wbr, wbh = input_bias
            rbz, rbr, rbh = recurrent_bias
            zt = sigmoid(x @ wz.T + h @ rz.T + wbz + rbz)
            rt = sigmoid(x @ wr.T + h @ rr.T + wbr + rbr)
            if linear_before_reset:
                ht = np.tanh(x @ wh.T + (rt * (h @ rh.T + rbh)) + wbh)
            else:
                ht = np.tanh(x @ wh.T + (rt * h) @ rh.T + rbh + wbh)
            h = (1 - zt) * ht + zt * h
        elif kind == "LSTM":
            wi, wo, wf, wc = weight
            ri, ro, rf, rc = recurrence
            bi, bo, bf, bc = (one + other for one, other in zip(input_bias, recurrent_bias, strict=True))
            it, ft = sigmoid(x @ wi.T + h @ ri.T + bi), sigmoid(x @ wf.T + h @ rf.T + bf)
            c = ft * c + it * np.tanh(x @ wc.T + h @ rc.T + bc)
            h = sigmoid(x @ wo.T + h @ ro.T + bo) * np.tanh(c)
        else:
            h = np.tanh(x @ weight[0].T + h @ recurrence[0].T + input_bias[0] + recurrent_bias[0])
        outputs.append(h)
    return np.array(outputs)


def keras_layer(kind, kernel, recurrent_kernel, bias, sequence, reset_after):
    """keras.layers.GRUCell, LSTMCell and SimpleRNNCell, ``call``, with implementation 1: gates z r h, and i f c o."""
    size = recurrent_kernel.shape[0]
    columns = lambda matrix: np.split(matrix, matrix.shape[-1] // size, axis=-1)  # noqa: E731
    h, c, outputs = np.zeros(size), np.zeros(size), []
    for x in sequence:
        if kind == "GRU":
            input_bias, recurrent_bias = bias if reset_after else (bias, np.zeros_like(bias))
            x_z, x_r, x_h = columns(x @ kernel + input_bias)
            if reset_after:
                h_z, h_r, h_h = columns(h @ recurrent_kernel + recurrent_bias)
            else:
                h_z, h_r = (h @ part for part in columns(recurrent_kernel)[:2])
            z, r = sigmoid(x_z + h_z), sigmoid(x_r + h_r)
            hh = np.tanh(x_h + (r * h_h if reset_after else (r * h) @ columns(recurrent_kernel)[2]))
            h = z * h + (1 - z) * hh
        elif kind == "LSTM":
            i, f, g, o = columns(x @ kernel + h @ recurrent_kernel + bias)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        else:
            h = np.tanh(x @ kernel + bias + h @ recurrent_kernel)
        outputs.append(h)
    return np.array(outputs)


def make(kind, seed=0):
    torch.manual_seed(seed)
    return kind(INPUT, HIDDEN).double()


def kind_name(kind):
    return "GRU" if kind in (GRU, GRUBefore) else kind.__name__


@pytest.mark.parametrize("kind", CELLS)
def test_onnx_computes_the_same(kind):
    """Oracle: the operator's equations over the arrays, in both directions; the other place of the reset differs."""
    cells = [make(kind, seed) for seed in (0, 1)]
    arrays = to_onnx(cells)
    sequence = torch.randn(6, INPUT, dtype=torch.float64)
    for direction, cell in enumerate(cells):
        frames = sequence.flip(0) if direction else sequence
        found = onnx_node(kind_name(kind), arrays, direction, frames.numpy(), kind is GRU)
        np.testing.assert_allclose(found, cell(frames[None])[0][0].detach().numpy(), atol=1e-12)
        if kind in (GRU, GRUBefore):
            other = onnx_node("GRU", arrays, direction, frames.numpy(), kind is not GRU)
            assert np.abs(other - found).max() > 1e-3


@pytest.mark.parametrize("kind", CELLS)
def test_keras_computes_the_same(kind):
    """Oracle: the layer's own ``call`` over the arrays."""
    cell = make(kind)
    sequence = torch.randn(6, INPUT, dtype=torch.float64)
    found = keras_layer(kind_name(kind), *to_keras(cell), sequence.numpy(), kind is GRU)
    np.testing.assert_allclose(found, cell(sequence[None])[0][0].detach().numpy(), atol=1e-12)


@pytest.mark.parametrize("kind", CELLS)
def test_there_and_back(kind):
    """Oracle: a cell of other weights computes what the first does once it has read them; sums of biases may differ."""
    sequence = torch.randn(1, 6, INPUT, dtype=torch.float64)
    cells, others = [make(kind, 0), make(kind, 1)], [make(kind, 2), make(kind, 3)]
    from_onnx(others, to_onnx(cells))
    third = make(kind, 4)
    from_keras(third, to_keras(cells[0]))
    for one, other in [*zip(cells, others, strict=True), (cells[0], third)]:
        torch.testing.assert_close(one(sequence)[0], other(sequence)[0], atol=1e-14, rtol=0)


def test_what_cannot_be_laid_out():
    """A user's error names the cell, or the array with its shape."""
    with pytest.raises(ConfigError, match="MGU: ONNX and Keras have no such cell"):
        to_onnx([make(MGU)])
    for kind, config in ((GRU, GRUConfig), (LSTM, LSTMConfig), (RNN, RNNConfig)):
        for convert in (lambda cell: to_onnx([cell]), to_keras):
            with pytest.raises(ConfigError, match=f"^{kind.__name__} with layer_norm=true: ONNX and Keras have no"):
                convert(kind(INPUT, HIDDEN, config(layer_norm=True)))
        with pytest.raises(ConfigError, match=f"^torch.nn.{kind.__name__} has no cell.layer_norm$"):
            GRUEncoder(INPUT, hidden_size=HIDDEN, cell=config(layer_norm=True)).to_torch()
    with pytest.raises(ConfigError, match=r"kernel of shape \(5, 12\): the cell takes \(3, 12\)"):
        from_keras(make(GRU), to_keras(GRU(5, HIDDEN)))
    for key in ("W", "R", "B"):
        arrays = to_onnx([make(GRU)])
        arrays[key] = arrays[key][:, 1:]
        with pytest.raises(ConfigError, match=rf"{key} of shape"):
            from_onnx([make(GRU)], arrays)


@pytest.mark.parametrize("test", [test_onnx_computes_the_same, test_keras_computes_the_same])
@pytest.mark.parametrize("kind", [GRU, GRUBefore, LSTM])
def test_planted_swapped_gates_are_seen(monkeypatch, test, kind):
    for name in ("ONNX_ORDERS", "KERAS_ORDERS"):
        orders = getattr(layouts, name)
        monkeypatch.setattr(layouts, name, {**orders, kind: [orders[kind][1], orders[kind][0], *orders[kind][2:]]})
    with pytest.raises(AssertionError):
        test(kind)
