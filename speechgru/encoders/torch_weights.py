"""Weights of torch's own recurrent modules, there and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from torch import Tensor, nn

from speechgru.cells import GRUConfig, LSTMConfig, RNNConfig
from speechgru.encoders.recurrent import RecurrentEncoder, RecurrentLayer
from speechgru.encoders.recurrent_config import GRUEncoderConfig, Merge
from speechgru.errors import ConfigError

Encoder = TypeVar("Encoder", bound=RecurrentEncoder)

# The torch module that computes what an encoder of this cell computes.
TORCH_MODULES: dict[type, type[nn.GRU] | type[nn.LSTM] | type[nn.RNN]] = {
    GRUConfig: nn.GRU,
    LSTMConfig: nn.LSTM,
    RNNConfig: nn.RNN,
}


def from_torch(module: nn.GRU | nn.LSTM | nn.RNN, kind: type[Encoder]) -> Encoder:
    """The encoder that computes what a ``torch.nn.GRU``, ``LSTM`` or ``RNN`` computes, with a copy of its weights.

    They agree in eval mode, and in training without dropout: torch drops nothing after its last layer.

    Raises:
        ConfigError: the module has a projection, a ReLU or no biases, which this encoder cannot express.
    """
    cell = next((cell for cell, kind in TORCH_MODULES.items() if isinstance(module, kind)), None)
    if cell is None or not module.bias or module.proj_size or getattr(module, "nonlinearity", "tanh") != "tanh":
        raise ConfigError(
            f"{module}: only a torch.nn.GRU, LSTM or tanh RNN with biases and without projection can be converted"
        )
    config = GRUEncoderConfig(
        hidden_size=module.hidden_size,
        num_layers=module.num_layers,
        bidirectional=module.bidirectional,
        dropout=module.dropout,
        cell=cell(),
    )
    encoder = kind(module.input_size, config)
    first = next(module.parameters())
    encoder.to(first.device, first.dtype)
    for name, parameter in torch_names(encoder):
        parameter.data.copy_(module.get_parameter(name))
    return encoder.train(module.training)


def to_torch(encoder: RecurrentEncoder) -> nn.GRU | nn.LSTM | nn.RNN:
    """The ``torch.nn.GRU``, ``LSTM`` or ``RNN`` that computes what an encoder does, with a copy of its weights.

    They agree in eval mode, and in training without dropout: torch drops nothing after its last layer.

    Raises:
        ConfigError: the encoder has something torch's modules lack (the message names it).
    """
    config = encoder.config
    kind = TORCH_MODULES.get(type(config.cell))
    lacking = {
        "front_end": config.front_end is not None,
        "merge": config.bidirectional and config.merge is not Merge.concat,
        "zoneout": config.zoneout > 0,
        "layer_norm": config.layer_norm,
        "residual": config.residual,
        "projection_size": config.projection_size > 0,
        "pyramid": any(factor > 1 for factor in config.pyramid),
        "cell": kind is None,
        "cell.layer_norm": kind is not None and config.cell.layer_norm,
    }
    if kind is None or any(lacking.values()):
        name = (kind or nn.GRU).__name__
        raise ConfigError(f"torch.nn.{name} has no {', '.join(name for name, is_set in lacking.items() if is_set)}")
    module = kind(
        encoder.input_size,
        config.hidden_size,
        config.num_layers,
        batch_first=True,
        # torch drops between layers only, so with one layer its dropout would do nothing but warn.
        dropout=config.dropout if config.num_layers > 1 else 0.0,
        bidirectional=config.bidirectional,
    )
    first = next(encoder.parameters())
    module.to(first.device, first.dtype)
    for name, parameter in torch_names(encoder):
        module.get_parameter(name).data.copy_(parameter)
    return module.train(encoder.training)


def torch_names(encoder: RecurrentEncoder) -> Iterator[tuple[str, Tensor]]:
    """Every parameter of the cells with the name that torch's modules give it."""
    for index, layer in enumerate(encoder.layers):
        assert isinstance(layer, RecurrentLayer)
        for suffix, cell in (("", layer.forward_cell), ("_reverse", layer.backward_cell)):
            if cell is not None:
                for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    yield f"{kind}_l{index}{suffix}", cell.get_parameter(kind)
