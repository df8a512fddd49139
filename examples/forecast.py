"""A forecaster of a series that is no sound: what ``speechgru.cells`` does for any (batch, time, feature) sequence.

    python examples/forecast.py [cell]

The series is made here and is no real data: the three coordinates of the Lorenz system (Deterministic Nonperiodic Flow,
1963), seen every 0.05 time units through noise. From what was seen so far, each model says where the system will be 5
frames later; all are fitted to the first four fifths of the time and compared on the last one.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechgru.cells import valid_frames
from speechgru.registry import build, entry

AHEAD = 5  # frames from the last one seen to the one forecast


class Forecaster(nn.Module):
    """A recurrent cell and a line on top: at every frame the change until ``AHEAD`` frames later."""

    def __init__(self, features: int, hidden_size: int, cell: str = "gru") -> None:
        super().__init__()
        self.cell = build("cell", entry("cell", cell).config(), features, hidden_size)
        self.change = nn.Linear(hidden_size, features)

    def forward(
        self, series: Tensor, lengths: Tensor | None = None, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(batch, time, feature) -> the forecast at every frame, of the same shape, and the state to go on with."""
        hidden, state = self.cell(series, lengths, state)
        return series + self.change(hidden), state

    def step(self, frame: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One frame, (batch, feature), as it comes in: its forecast and the next state."""
        state = self.cell.step(frame, state)
        return frame + self.change(state[:, : self.cell.hidden_size]), state


def lorenz(frames: int, noise: float, rng: np.random.Generator) -> Tensor:
    """The noisy series, (frames, 3), each coordinate at mean 0 and variance 1; ``noise`` is a share of that."""

    def slope(point: np.ndarray) -> np.ndarray:
        x, y, z = point
        return np.array([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])

    point, points, dt = rng.normal((0, 0, 25), 1), [], 0.01
    for tick in range(5 * (frames + 100)):  # fourth-order Runge-Kutta, and 100 frames to reach the attractor
        first = slope(point)
        second = slope(point + dt / 2 * first)
        third = slope(point + dt / 2 * second)
        fourth = slope(point + dt * third)
        point = point + dt / 6 * (first + 2 * second + 2 * third + fourth)
        if tick % 5 == 4:
            points.append(point)
    series = np.array(points[100:])
    series = (series - series.mean(0)) / series.std(0)
    return torch.from_numpy(series + noise * rng.normal(size=series.shape)).float()


def train(model: Forecaster, series: Tensor, steps: int, rng: np.random.Generator) -> None:
    """Fits the model to pieces of the series, each as long as it happens to be: the rest of a row is padding."""
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        lengths = torch.from_numpy(rng.integers(30, 100, size=16))
        pieces = [
            series[start : start + length + AHEAD]
            for length in lengths.tolist()
            for start in [int(rng.integers(len(series) - length - AHEAD))]
        ]
        padded = nn.utils.rnn.pad_sequence(pieces, batch_first=True)
        forecast, _ = model(padded[:, :-AHEAD], lengths)
        valid = valid_frames(lengths, forecast.shape[1])
        loss = F.mse_loss(forecast[valid], padded[:, AHEAD:][valid])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def linear_forecast(fit: Tensor, series: Tensor, order: int) -> Tensor:
    """The forecasts of a linear autoregression on the last ``order`` frames: least squares on ``fit``."""

    def pasts(of: Tensor) -> Tensor:
        rows = of.unfold(0, order, 1).flatten(1)
        return torch.cat((rows, torch.ones(len(rows), 1)), 1).double()

    weights = torch.linalg.lstsq(pasts(fit[:-AHEAD]), fit[order - 1 + AHEAD :].double()).solution
    return (pasts(series) @ weights).float()


def main(cell: str = "gru", steps: int = 500, seed: int = 0) -> dict[str, float]:
    """Trains, compares, streams; returns the root mean square errors, in standard deviations of the series."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    series = lorenz(6000, 0.05, rng)
    now = 4 * len(series) // 5
    past, future = series[:now], series[now:]

    model = Forecaster(series.shape[1], 48, cell)
    train(model, past, steps, rng)
    model.eval()

    # All are judged on the same frames, those of which the last 64 and the one to come are known.
    warm_up = slice(64, len(future) - AHEAD)
    truth = future[AHEAD:][warm_up.start :]
    with torch.no_grad():
        whole = model(future[None])[0][0]
        # Live: frame by frame, with nothing but the state kept in between.
        state, live = model.cell.initial_state(future[None]), []
        for frame in future:
            forecast, state = model.step(frame[None], state)
            live.append(forecast[0])
        # In pieces of 64 frames.
        pieces, state = [], None
        for piece in future.split(64):
            forecast, state = model(piece[None], state=state)
            pieces.append(forecast[0])

    # The order of the linear model is chosen on the last fifth of the past.
    fit, held_out = past[: 4 * now // 5], past[4 * now // 5 :]
    orders = [1, 2, 4, 8, 16, 32, 64]
    errors = {
        order: rmse(linear_forecast(fit, held_out, order)[:-AHEAD], held_out[order - 1 + AHEAD :]) for order in orders
    }
    order = min(orders, key=lambda order: errors[order])
    linear = linear_forecast(past, future, order)[warm_up.start - order + 1 : -AHEAD]

    found = {
        "persistence": rmse(future[warm_up], truth),
        "linear": rmse(linear, truth),
        cell: rmse(whole[warm_up], truth),
    }
    apart = max(float((torch.stack(live) - whole).abs().max()), float((torch.cat(pieces) - whole).abs().max()))
    print(f"error {AHEAD} frames ahead, on the last {len(truth)} frames, in standard deviations of the series:")
    print(f"  as it is now (persistence)        {found['persistence']:.3f}")
    print(f"  linear autoregression, order {order:<3}  {found['linear']:.3f}")
    print(f"  {cell:<32}  {found[cell]:.3f}")
    print(f"frame by frame and in pieces of 64, the forecasts differ from the whole by {apart:.0e} at most")
    assert apart < 1e-4
    return found


def rmse(forecast: Tensor, truth: Tensor) -> float:
    return float(F.mse_loss(forecast, truth).sqrt())


if __name__ == "__main__":
    main(*sys.argv[1:2])
