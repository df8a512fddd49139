"""The examples run, on the data that lies beside them, and say what they find."""

import importlib.util
import itertools
from pathlib import Path

import pytest
import torch

from speechgru.cells import valid_frames

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def example(name):
    """The module of an example, which is no part of the package."""
    specification = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_forecaster(capsys):
    """Oracle: the naive forecast worked out from the file; the net is well below it, and live it is the whole."""
    forecast = example("forecast")
    found = forecast.main(steps=100)  # a third of what it does by default
    years = [float(line.split(",")[1]) for line in (EXAMPLES / "sunspots.csv").read_text().splitlines()[1:]]
    errors = [(now - before) ** 2 for before, now in itertools.pairwise(years[246:])]
    assert len(years) == 309
    assert found["naive"] == pytest.approx((sum(errors) / len(errors)) ** 0.5, rel=1e-4)
    assert found["gru"] < 0.75 * found["naive"]
    assert found["linear"] < 0.75 * found["naive"]
    assert f"{found['gru']:.1f}" in capsys.readouterr().out


def test_forecaster_and_padding():
    """Oracle: the row alone: padding is inert."""
    forecast = example("forecast")
    torch.manual_seed(0)
    series, lengths = torch.randn(2, 9, 3), torch.tensor([9, 4])
    model = forecast.Forecaster(3, 5)
    with torch.no_grad():
        alone, _ = model(series[1:, :4])
        padded, _ = model(series, lengths)
    torch.testing.assert_close(padded[1:][:, valid_frames(lengths, 9)[1]], alone, rtol=0, atol=1e-6)


def test_sentiment(capsys):
    """Oracle: the reviews of each part, and the share of liked ones counted here; the net beats that share."""
    sentiment = example("sentiment")
    parts = sentiment.read_sentences()
    assert sum(map(len, parts.values())) == 1479
    liked = sum(label for _, label in parts["test"]) / len(parts["test"])
    found = sentiment.main(epochs=4)  # a third of what it does by default
    assert found["always liked"] == pytest.approx(liked)
    assert liked < found["gru"] < 1
    assert liked + 0.05 < found["naive Bayes"] < 1
    assert f"{100 * found['gru']:.1f} %" in capsys.readouterr().out
    model = sentiment.Classifier(["good", "bad"]).eval()
    with torch.no_grad():
        alone, padded = model([["good"]]), model([["good"], ["bad", "never", "seen"]])
    torch.testing.assert_close(padded[:1], alone, rtol=0, atol=1e-6)
