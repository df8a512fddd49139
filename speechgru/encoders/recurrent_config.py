"""The settings of the recurrent encoder, as a dataclass and as keywords."""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from speechgru.cells import GRUConfig
from speechgru.errors import ConfigError
from speechgru.registry import component

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class Merge(enum.Enum):
    """How the two directions of a layer become one sequence."""

    concat = "concat"
    sum = "sum"


@dataclasses.dataclass
class GRUEncoderConfig:
    """Settings of the recurrent encoder.

    Attributes:
        hidden_size: values that each cell gives for a frame, at least 1.
        num_layers: recurrent layers, 1 to 1000.
        bidirectional: run every layer in both directions.
        merge: join the directions by concatenation (2 hidden_size) or by their sum (hidden_size).
        dropout: share of hidden values dropped after every layer while training, the last one included (torch.nn.GRU
            leaves that layer out), 0 to below 1.
        variational: drop the same values in every frame of an utterance (Gal & Ghahramani, 1512.05287).
        zoneout: share of a cell's state values that keep their old value, drawn anew in every frame while training
            (Krueger et al., 1606.01305), 0 to below 1; above 0 the cells run in a loop over frames, which is slow.
        layer_norm: normalise the output of every layer (1607.06450).
        residual: add a layer's input to its output where the sizes agree.
        projection_size: a linear layer of this size behind every recurrent layer; 0 means none.
        pyramid: frames joined into one before each layer, one factor per layer (Chan et al., 1508.01211, eq. 5), such
            as [1, 2, 2]; empty means none.
        cell: the recurrent cell.
        front_end: layers before the first cell; None means none.
    """

    hidden_size: int = 128
    num_layers: int = 2
    bidirectional: bool = True
    merge: Merge = Merge.concat
    dropout: float = 0.1
    variational: bool = False
    zoneout: float = 0.0
    layer_norm: bool = False
    residual: bool = False
    projection_size: int = 0
    pyramid: list[int] = dataclasses.field(default_factory=list)
    cell: Any = component("cell", GRUConfig)
    front_end: Any = component("front_end", lambda: None)

    def __post_init__(self) -> None:
        if self.hidden_size < 1 or self.num_layers < 1:
            raise ConfigError(f"hidden_size={self.hidden_size} num_layers={self.num_layers}: both are at least 1")
        if self.num_layers > 1000:
            raise ConfigError(f"num_layers={self.num_layers}: at most 1000")
        for name in ("dropout", "zoneout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: from 0 to below 1")
        if self.projection_size < 0:
            raise ConfigError(f"projection_size={self.projection_size}: at least 0 (0 means none)")
        if self.pyramid and (len(self.pyramid) != self.num_layers or min(self.pyramid) < 1):
            raise ConfigError(
                f"pyramid={self.pyramid}: empty, or one factor of at least 1 for each of {self.num_layers} layers"
            )


class GRUEncoderSettings(TypedDict, total=False):
    """The fields of :class:`GRUEncoderConfig` as keywords; ``merge``, ``cell`` and ``front_end`` also by name."""

    hidden_size: int
    num_layers: int
    bidirectional: bool
    merge: Merge | Literal["concat", "sum"]
    dropout: float
    variational: bool
    zoneout: float
    layer_norm: bool
    residual: bool
    projection_size: int
    pyramid: list[int]
    cell: DataclassInstance | str
    front_end: DataclassInstance | str | None
