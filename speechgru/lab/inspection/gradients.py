"""How much of a gradient at one frame is left at the frames before it."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor, nn

from speechgru.cells import Cell, reverse_within
from speechgru.errors import ConfigError
from speechgru.lab.inspection.replay import Trace
from speechgru.registry import build, entry


@dataclasses.dataclass(frozen=True)
class GradientFlow:
    """The gradient of one cell over the lag.

    Attributes:
        name: of the cell, or of the layer of a model.
        norms: of the gradient that is left at each lag, (samples, lags + 1); lag 0 is 1 by definition.
        frame_s: seconds from one frame to the next; None where frames stand for no time.
    """

    name: str
    norms: np.ndarray
    frame_s: float | None = None

    def quantile(self, share: float) -> np.ndarray:
        """The quantile of the norms at each lag, (lags + 1)."""
        return np.quantile(self.norms, share, axis=0)

    @property
    def half_lag(self) -> int | None:
        """The first lag at which the median is at most a half; None where it stays above."""
        below = np.flatnonzero(self.quantile(0.5) <= 0.5)
        return int(below[0]) if len(below) else None


def gradient_norms(cell: Cell, sequence: Tensor, lags: int, ends: int = 8, seed: int = 0) -> np.ndarray:
    """The norm of d(v . h_T) / d(state at T - lag), over the lag, in eval mode.

    ``v`` is a direction of length 1, drawn for each row: the gradient of a loss at frame T with respect to the output
    h_T, times this norm, arrives ``lag`` frames before. This measures the vanishing (or exploding) gradient of Bengio
    et al. 1994 and Pascanu et al. 1211.5063 (eq. 5). The state is all that the cell carries; for an LSTM, h and c.

    Args:
        cell: any recurrent cell.
        sequence: what the cell reads, (batch, time, input), time above ``lags``.
        lags: the longest lag, at least 1.
        ends: how many frames T are taken, evenly spaced from frame ``lags`` to the last.
        seed: of the directions.

    Returns:
        (ends * batch, lags + 1)

    Raises:
        ConfigError: the sequence is too short.
    """
    time = sequence.shape[1]
    if not 1 <= lags < time:
        raise ConfigError(f"lags={lags}: from 1 to {time - 1}, below the {time} frames of the sequence")
    generator = torch.Generator().manual_seed(seed)
    training = cell.training
    cell.eval()
    with torch.enable_grad():
        states = [cell.initial_state(sequence).requires_grad_()]
        for frame in sequence.detach().unbind(1):
            states.append(cell.step(frame, states[-1]))
        rows = []
        for end in np.unique(np.linspace(lags, time - 1, ends).round().astype(int)):
            direction = torch.randn(len(sequence), cell.hidden_size, generator=generator, dtype=sequence.dtype)
            output = states[end + 1][:, : cell.hidden_size]
            answer = (nn.functional.normalize(direction).to(output) * output).sum()
            before = states[end + 1 - lags : end + 2]
            gradients = torch.autograd.grad(answer, before, retain_graph=True)
            rows.append(torch.stack([gradient.norm(dim=1) for gradient in reversed(gradients)], 1))
    cell.train(training)
    return torch.cat(rows).double().cpu().numpy()


def fresh_gradients(name: str, hidden_size: int, lags: int, seed: int = 0, batch: int = 8) -> GradientFlow:
    """The gradient of an untrained cell, with our initial weights, over normal noise of ``hidden_size`` features."""
    torch.manual_seed(seed)
    cell = build("cell", entry("cell", name).config(), hidden_size, hidden_size)
    return GradientFlow(name, gradient_norms(cell, torch.randn(batch, 2 * lags, hidden_size), lags, seed=seed))


def model_gradients(traces: list[Trace], lags: int, seed: int = 0) -> list[GradientFlow]:
    """The gradients in every layer of a model over what the layer read in some recordings.

    For each layer, recordings that have no more than ``lags`` frames in it are left out.

    Raises:
        ConfigError: all recordings are too short.
    """
    flows = []
    for layers in zip(*(one.layers for one in traces), strict=True):
        norms = []
        for layer in layers:
            inputs = torch.from_numpy(layer.inputs)[None]
            if layer.direction == "backward":
                inputs = reverse_within(inputs, None)
            if inputs.shape[1] > lags:
                norms.append(gradient_norms(layer.cell, inputs, lags, seed=seed))
        if not norms:
            longest = max(len(layer.inputs) for layer in layers)
            raise ConfigError(f"--lags {lags}: at most {longest - 1} in {layers[0].name} for these recordings")
        flows.append(GradientFlow(layers[0].name, np.concatenate(norms), layers[0].frame_s))
    return flows
