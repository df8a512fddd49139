"""Decoders of CTC scores. Oracles: itertools over every path, hand-made scores, flashlight."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from speechgru.decoding import GreedyConfig, GreedyDecoder
from speechgru.errors import DataError
from speechgru.registry import build
from speechgru.tokens import Tokens

LETTERS = Tokens(["<blank>", "|", "a", "b", "c"])


def random_scores(seed: int, frames: int, size: int, sharpness: float = 2.0) -> np.ndarray:
    """Log-probabilities (frames, size), float32."""
    logits = sharpness * np.random.default_rng(seed).standard_normal((frames, size))
    return (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)


def collapse(path: tuple[int, ...]) -> tuple[int, ...]:
    """Graves et al., ICML 2006: repeats merged, then blanks removed."""
    return tuple(token for token, _ in itertools.groupby(path) if token)


def test_greedy_is_the_collapsed_best_path_with_its_frames():
    """Oracle: groupby over the argmax."""
    for seed in range(20):
        scores = random_scores(seed, 30, len(LETTERS))
        (hypothesis,) = GreedyDecoder(LETTERS).decode(scores)
        path = scores.argmax(1)
        runs, frame = [], 0
        for token, group in itertools.groupby(path.tolist()):
            length = len(list(group))
            if token:
                runs.append((token, frame, frame + length))
            frame += length
        assert list(zip(hypothesis.tokens, hypothesis.starts, hypothesis.ends, strict=True)) == runs
        assert hypothesis.score == pytest.approx(float(scores.max(1).astype(float).sum()))


def test_greedy_without_frames_is_empty():
    """By hand."""
    (hypothesis,) = build("decoder", GreedyConfig(), LETTERS, None).decode(np.zeros((0, 5), np.float32))
    assert (hypothesis.tokens, hypothesis.score, hypothesis.starts, hypothesis.ends) == ((), 0.0, (), ())


def test_scores_that_fit_no_model_are_told_in_one_line():
    """By hand."""
    decoder = GreedyDecoder(LETTERS)
    with pytest.raises(DataError, match="shape \\(7, 4\\) for 5 tokens"):
        decoder.decode(np.zeros((7, 4), np.float32))
    scores = random_scores(0, 7, 5)
    scores[3, 2] = np.nan
    with pytest.raises(DataError, match="frame 3"):
        decoder.decode(scores)
