"""A torch.nn.GRU as a session of onnxruntime, the peer of inference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from speechgru.errors import ConfigError

NAME = "onnxruntime"


class OnnxGRU:
    """Runs the layers of ``module`` in onnxruntime, on as many threads as torch has.

    Args:
        module: the layers, with biases.

    Raises:
        ConfigError: onnx or onnxruntime is not installed.
    """

    def __init__(self, module: nn.GRU) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise ConfigError("the bench needs onnxruntime beside it: pip install 'speechgru[export]'") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(_model(module), options, providers=["CPUExecutionProvider"])

    def __call__(self, frames: np.ndarray, states: Sequence[np.ndarray]) -> list[np.ndarray]:
        """(time, batch, input) and the state of each layer, (directions, batch, hidden): the outputs and new states."""
        named = {f"state{layer}": state for layer, state in enumerate(states)}
        return self._session.run(None, {"frames": frames, **named})


def _model(module: nn.GRU) -> bytes:
    try:
        import onnx
        from onnx import TensorProto, helper, numpy_helper
    except ImportError:
        raise ConfigError("the bench needs onnx beside it: pip install 'speechgru[export]'") from None
    directions = 2 if module.bidirectional else 1
    width = directions * module.hidden_size
    nodes, constants, inputs, outputs = [], [numpy_helper.from_array(np.array([0, 0, width]), "shape")], [], []
    before = "frames"
    for layer in range(module.num_layers):
        for name in ("W", "R", "B"):
            constants.append(numpy_helper.from_array(_weights(module, layer, name), f"{name}{layer}"))
        read = [before, *(f"{name}{layer}" for name in ("W", "R", "B")), "", f"state{layer}"]
        nodes += [
            helper.make_node(
                "GRU",
                read,
                [f"y{layer}", f"new{layer}"],
                hidden_size=module.hidden_size,
                linear_before_reset=1,
                direction="bidirectional" if module.bidirectional else "forward",
            ),
            # (time, directions, batch, hidden) -> (time, batch, directions * hidden)
            helper.make_node("Transpose", [f"y{layer}"], [f"t{layer}"], perm=[0, 2, 1, 3]),
            helper.make_node("Reshape", [f"t{layer}", "shape"], [f"hidden{layer}"]),
        ]
        before = f"hidden{layer}"
        size: list[str | int | None] = [directions, "batch", module.hidden_size]
        inputs.append(helper.make_tensor_value_info(f"state{layer}", TensorProto.FLOAT, size))
        outputs.append(helper.make_tensor_value_info(f"new{layer}", TensorProto.FLOAT, size))
    frames = helper.make_tensor_value_info("frames", TensorProto.FLOAT, ["time", "batch", module.input_size])
    hidden = helper.make_tensor_value_info(before, TensorProto.FLOAT, ["time", "batch", width])
    graph = helper.make_graph(nodes, "gru", [frames, *inputs], [hidden, *outputs], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return made.SerializeToString()


def _weights(module: nn.GRU, layer: int, name: str) -> np.ndarray:
    """W, R or B of a layer, (directions, ...): torch has the gates in the order r, z, n, ONNX in the order z, r, n."""
    read = {"W": ("weight_ih",), "R": ("weight_hh",), "B": ("bias_ih", "bias_hh")}[name]
    suffixes = (f"_l{layer}", f"_l{layer}_reverse") if module.bidirectional else (f"_l{layer}",)
    found = [torch.cat([_zrn(module.get_parameter(f"{one}{suffix}")) for one in read]) for suffix in suffixes]
    return torch.stack(found).detach().numpy()


def _zrn(rows: Tensor) -> Tensor:
    reset, update, new = rows.chunk(3)
    return torch.cat((update, reset, new))
