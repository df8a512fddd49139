"""Forecasts a series that is not sound: what ``speechgru.cells`` does for any (batch, time, feature) sequence.

    python examples/forecast.py [cell]

``sunspots.csv`` holds the mean number of sunspots of each year from 1700 to 2008 (US National Geophysical Data Center,
public domain; as in statsmodels). Each model predicts the next year from the years so far. All are fitted to the first
four fifths and compared on the last fifth, beside the naive forecast that the next year is like this one. 309 numbers
are few: the linear model is the one to beat here, and does as well or better.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechgru.cells import valid_frames
from speechgru.registry import build, entry


class Forecaster(nn.Module):
    """A recurrent cell and a linear layer: at every frame it predicts the change until the next one."""

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
        """One new frame, (batch, feature) -> its forecast and the next state."""
        state = self.cell.step(frame, state)
        return frame + self.change(state[:, : self.cell.hidden_size]), state


def sunspots() -> Tensor:
    """The series in hundreds of spots, (years, 1)."""
    lines = Path(__file__).with_name("sunspots.csv").read_text(encoding="utf-8").splitlines()[1:]
    return torch.tensor([[float(line.split(",")[1]) / 100] for line in lines])


def train(model: Forecaster, series: Tensor, steps: int) -> None:
    """Fits the model to pieces of the series, of random lengths: the rest of a row is padding."""
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        lengths = torch.randint(30, 100, (16,))
        starts = [int(torch.randint(len(series) - length, ())) for length in lengths.tolist()]
        pieces = [series[start : start + length + 1] for start, length in zip(starts, lengths.tolist(), strict=True)]
        padded = nn.utils.rnn.pad_sequence(pieces, batch_first=True)
        forecast, _ = model(padded[:, :-1], lengths)
        valid = valid_frames(lengths, forecast.shape[1])
        loss = F.mse_loss(forecast[valid], padded[:, 1:][valid])
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

    weights = torch.linalg.lstsq(pasts(fit[:-1]), fit[order:].double()).solution
    return (pasts(series) @ weights).float()


def rmse(forecast: Tensor, truth: Tensor) -> float:
    """The root of the mean square error, in spots."""
    return 100 * float(F.mse_loss(forecast, truth).sqrt())


def main(cell: str = "gru", steps: int = 300, seed: int = 0) -> dict[str, float]:
    """Trains, compares, streams; returns the root mean square errors, in spots."""
    torch.manual_seed(seed)
    series = sunspots()
    now = 4 * len(series) // 5
    past, truth, model = series[:now], series[now:], Forecaster(1, 16, cell)
    train(model, past, steps)
    model.eval()
    with torch.no_grad():
        whole = model(series[None])[0][0]
        state, live = model.cell.initial_state(series[None]), []  # year by year, only the state is kept
        for year in series:
            forecast, state = model.step(year[None], state)
            live.append(forecast[0])
    # The order of the linear model is chosen on the last fifth of the past.
    split = 4 * now // 5
    held_out = {order: linear_forecast(past[:split], past[split - order : -1], order) for order in range(1, 21)}
    order = min(held_out, key=lambda order: rmse(held_out[order], past[split:]))
    found = {
        "naive": rmse(series[now - 1 : -1], truth),
        "linear": rmse(linear_forecast(past, series[now - order : -1], order), truth),
        cell: rmse(whole[now - 1 : -1], truth),
    }
    apart = float((torch.stack(live) - whole).abs().max())
    assert apart < 1e-4
    print(f"error of the next year, {2008 - len(truth) + 1} to 2008, in spots:")
    for name, note in (("naive", ""), ("linear", f", {order} years back"), (cell, "")):
        print(f"  {name + note:<24} {found[name]:.1f}")
    print(f"year by year the forecasts differ from the whole by {apart:.0e} at most")
    return found


if __name__ == "__main__":
    main(*sys.argv[1:2])
