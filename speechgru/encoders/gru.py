"""The recurrent encoder, which exchanges its weights with torch's own modules."""

from __future__ import annotations

from typing import Never, Unpack

from torch import nn

from speechgru.encoders.arguments import read_arguments, shows_settings
from speechgru.encoders.recurrent import RecurrentEncoder
from speechgru.encoders.recurrent_config import GRUEncoderConfig, GRUEncoderSettings
from speechgru.encoders.torch_weights import from_torch, to_torch
from speechgru.registry import register


@shows_settings(GRUEncoderConfig)
@register("encoder", "gru", GRUEncoderConfig)
class GRUEncoder(RecurrentEncoder):
    """A stack of gated recurrent layers over frames of any kind.

    A row of the batch gives the same result alone, beside any other row and under any padding: the backward direction
    begins at each row's own last frame (no packing), and frames beyond a row's length come out as zeros.

    Args:
        input_size: features of a frame, at least 1.
        config: the settings; single ones can be given by name instead, ``GRUEncoder(40, hidden_size=128)``.
        settings: those of :class:`GRUEncoderConfig`; ``cell`` also by its name, ``cell="lstm"``.

    Raises:
        ConfigError: a line that says what to write.
    """

    def __init__(
        self,
        input_size: int,
        config: GRUEncoderConfig | None = None,
        *positional: Never,
        **settings: Unpack[GRUEncoderSettings],
    ) -> None:
        """Settings by name are those of :class:`GRUEncoderConfig`."""
        super().__init__(
            input_size, read_arguments(type(self).__name__, GRUEncoderConfig, input_size, config, positional, settings)
        )

    @classmethod
    def from_torch(cls, module: nn.GRU | nn.LSTM | nn.RNN) -> GRUEncoder:
        """See :func:`speechgru.encoders.torch_weights.from_torch`."""
        return from_torch(module, cls)

    def to_torch(self) -> nn.GRU | nn.LSTM | nn.RNN:
        """See :func:`speechgru.encoders.torch_weights.to_torch`."""
        return to_torch(self)
