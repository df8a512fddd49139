"""The stabilised light gated recurrent unit: a Li-GRU that cannot explode."""

from __future__ import annotations

import dataclasses

from speechgru.cells.gru import GatedConfig
from speechgru.cells.li_gru import LiGRU
from speechgru.registry import register


@dataclasses.dataclass
class SLiGRUConfig(GatedConfig):
    """Settings of an SLi-GRU cell: those of every cell with an update gate."""


@register("cell", "sli_gru", SLiGRUConfig)
class SLiGRU(LiGRU):
    """SLi-GRU (Moumen & Parcollet, 2302.10144), a Li-GRU with layer norm on each recurrent product::

        z = sigmoid(BN(W_z x) + LN(U_z h))
        n = relu(BN(W_n x) + LN(U_n h))
        h = (1 - z) * n + z * h

    LN is layer normalisation (1607.06450) over the hidden values without scale or shift of its own, so no product is
    larger than sqrt(hidden) however large the state is. Choose it where a Li-GRU does not train.

    Parameters as in ``li_gru``: 2 H (I + H + 2). Multiply-accumulates of a step: 2 H (I + H) + 8 H.
    """

    normalize = True

    @staticmethod
    def multiply_accumulates(input_size: int, hidden_size: int, config: GatedConfig | None = None) -> int:
        return 2 * hidden_size * (input_size + hidden_size) + 8 * hidden_size
