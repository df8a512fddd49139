"""How long each unit of a gated cell remembers, read from the gate that keeps its state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from speechgru.lab.inspection.replay import LayerTrace, Trace

# The gate that multiplies the old state: of a GRU and its relatives, or of an LSTM.
_KEEPING = ("update", "forget")


def keeping_gate(gates: Mapping[str, np.ndarray]) -> str | None:
    """The name of the gate that multiplies the old state; None where the cell has none, such as a tanh RNN."""
    return next((name for name in _KEEPING if name in gates), None)


def unit_order(layer: LayerTrace) -> np.ndarray:
    """The units of a layer, sorted by the mean of the gate that keeps the state, the longest memory first.

    Without such a gate they are sorted by mean ``|h|``. In this order similar units are side by side, and a picture of
    a gate can be read.
    """
    name = keeping_gate(layer.gates)
    means = np.abs(layer.gates["hidden"]).mean(0) if name is None else layer.gates[name].mean(0)
    return np.argsort(-means, kind="stable")


def half_lives_s(keeping: np.ndarray, frame_s: float) -> np.ndarray:
    """After how many seconds half of what a unit knew is left: (time, hidden) -> (hidden,).

    After t frames the share of the old state that is left is the product of the gates z. It is a half where
    ``sum log z = -ln 2``: with the mean of log z that is after ``-ln 2 / mean(log z)`` frames. Only what the gate
    itself carries is counted, not what returns through the recurrent matrix.

    Args:
        keeping: the gate that keeps the state, from 0 to 1, over all frames of interest.
        frame_s: seconds from one of the layer's frames to the next.
    """
    with np.errstate(divide="ignore"):  # a gate at 0 forgets at once, one at 1 never
        halvings = np.abs(np.log2(keeping.astype(np.float64))).mean(0)
        return frame_s / halvings


def layer_half_lives_s(traces: Sequence[Trace]) -> dict[str, np.ndarray]:
    """The half-life of each unit of each layer over all frames of some recordings, by the name of the layer.

    Layers without a gate that keeps the state are left out.
    """
    found = {}
    for places in zip(*(one.layers for one in traces), strict=True):
        name = keeping_gate(places[0].gates)
        if name is not None:
            keeping = np.concatenate([layer.gates[name] for layer in places])
            found[places[0].name] = half_lives_s(keeping, places[0].frame_s)
    return found
