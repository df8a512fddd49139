"""Heads as a graph: log-probabilities of every frame for CTC, probabilities of the labels otherwise."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from torch import nn

from speechgru.errors import ModelError
from speechgru.export.graph import Graph, Value
from speechgru.export.rows import count_of, masked, steps, take, valid_frames
from speechgru.heads.classification import ClassificationHead
from speechgru.heads.ctc import CTCHead
from speechgru.heads.keyword import KeywordHead
from speechgru.heads.pooling import AttentionPooling, BestFramePooling, EndsPooling, MaxPooling, MeanPooling


def write_head(g: Graph, head: object, hidden: Value, counts: Value) -> Value:
    """The scores: (batch, time, hidden), (batch,) -> (batch, time, token) for CTC, otherwise (batch, label).

    Scores of CTC are log-probabilities, zeros beyond the counts; the others are probabilities.

    Raises:
        ModelError: there is no writer for the head.
    """
    valid = valid_frames(g, counts, g.size(hidden, 1))
    if type(head) is CTCHead:
        return masked(g, write_log_probabilities(g, head, hidden), valid)
    if type(head) is ClassificationHead:
        return g.op("Softmax", _classified(g, head, hidden, counts, valid), axis=-1)
    if type(head) is KeywordHead:
        return g.op("Softmax", _keywords(g, head, hidden, counts, valid), axis=-1)
    raise ModelError(f"head {type(head).__name__} has no ONNX form; ctc, classification and keyword have one")


def write_log_probabilities(g: Graph, head: CTCHead, hidden: Value) -> Value:
    """Log-probabilities of the tokens in each frame."""
    return g.op("LogSoftmax", g.linear(hidden, head.output.weight, head.output.bias), axis=-1)


def _classified(g: Graph, head: ClassificationHead, hidden: Value, counts: Value, valid: Value) -> Value:
    if isinstance(head.pooling, BestFramePooling):
        scores = _scored(g, head, hidden)
        if head.config.background:
            scores = g.op("LogSoftmax", scores, axis=-1)
        return _best_frame(g, head.pooling, scores, counts, valid)
    return _scored(g, head, POOLINGS[type(head.pooling)](g, head.pooling, hidden, counts, valid))


def _scored(g: Graph, head: ClassificationHead, vectors: Value) -> Value:
    if head.embedding is not None:
        vectors = g.op("Relu", g.linear(vectors, head.embedding.weight, head.embedding.bias))
    return g.linear(vectors, head.output.weight, head.output.bias)


def _mean(g: Graph, pooling: nn.Module, hidden: Value, counts: Value, valid: Value) -> Value:
    total = g.op("ReduceSum", masked(g, hidden, valid), [1])
    return g.op("Squeeze", g.op("Div", total, count_of(g, counts)), [1])


def _max(g: Graph, pooling: nn.Module, hidden: Value, counts: Value, valid: Value) -> Value:
    largest = g.op("ReduceMax", masked(g, hidden, valid, -math.inf), axes=[1], keepdims=0)
    return _zero_where_empty(g, largest, counts)


def _ends(g: Graph, pooling: nn.Module, hidden: Value, counts: Value, valid: Value) -> Value:
    """The forward half of the last valid frame beside the backward half of the first."""
    assert isinstance(pooling, EndsPooling)
    place = g.op("Max", g.op("Unsqueeze", g.op("Sub", counts, 1), [1]), 0)
    last = g.op("Squeeze", take(g, hidden, place), [1])
    if pooling.bidirectional:
        half = pooling.output_size // 2
        first = g.op("Gather", hidden, 0, axis=1)
        last = g.op("Concat", g.slice(last, 0, half, 1), g.slice(first, half, 2 * half, 1), axis=1)
    return _zero_where_empty(g, last, counts)


def _attention(g: Graph, pooling: nn.Module, hidden: Value, counts: Value, valid: Value) -> Value:
    """Each head averages its slice of the features with weights of its own."""
    assert isinstance(pooling, AttentionPooling)
    keys = g.op("Tanh", g.linear(hidden, pooling.key.weight, pooling.key.bias))
    scores = masked(g, g.linear(keys, pooling.score.weight, pooling.score.bias), valid, float(np.finfo(np.float32).min))
    weights = masked(g, g.op("Softmax", scores, axis=1), valid)
    by_head = g.op("Unsqueeze", g.op("Transpose", weights, perm=[0, 2, 1]), [2])  # (batch, head, 1, time)
    slices = g.op("Reshape", hidden, [0, 0, pooling.heads, pooling.output_size // pooling.heads])
    means = g.op("MatMul", by_head, g.op("Transpose", slices, perm=[0, 2, 1, 3]))
    return g.op("Reshape", means, [0, pooling.output_size])


POOLINGS: dict[type[nn.Module], Callable[[Graph, nn.Module, Value, Value, Value], Value]] = {
    MeanPooling: _mean,
    MaxPooling: _max,
    EndsPooling: _ends,
    AttentionPooling: _attention,
}


def _zero_where_empty(g: Graph, vectors: Value, counts: Value) -> Value:
    return g.op("Where", g.op("Less", g.op("Unsqueeze", counts, [1]), 1), 0.0, vectors)


def _best_frame(g: Graph, pooling: BestFramePooling, scores: Value, counts: Value, valid: Value) -> Value:
    """The score of each label in its best frame; for a background label, the mean over all frames."""
    highest = _max(g, pooling, scores, counts, valid)
    return g.op("Where", pooling.background, _mean(g, pooling, scores, counts, valid), highest)


def write_log_odds(g: Graph, head: KeywordHead, hidden: Value) -> Value:
    """Log-odds of each word in every frame, and of each other label against the last of those: (batch, time, label)."""
    odds = g.linear(hidden, head.output.weight, head.output.bias)
    if not head.others:
        return odds
    last = g.op("Gather", odds, head.others[-1:], axis=2)
    return g.op("Where", head.words, odds, g.op("Sub", odds, last))


def write_frame_scores(g: Graph, head: KeywordHead, hidden: Value) -> Value:
    """The probability of each label in every frame by itself: (batch, time, label)."""
    odds = write_log_odds(g, head, hidden)
    heard = g.op("Where", head.words, g.op("Sigmoid", odds), 0.0)
    if not head.others:
        return heard
    left = g.op("Sub", 1.0, g.op("ReduceMax", heard, axes=[2]))
    shares = g.op("Softmax", g.op("Where", head.words, -math.inf, odds), axis=-1)
    return g.op("Where", head.words, heard, g.op("Mul", left, shares))


def _keywords(g: Graph, head: KeywordHead, hidden: Value, counts: Value, valid: Value) -> Value:
    odds = masked(g, write_log_odds(g, head, hidden), valid, -math.inf)
    best = head.config.best_frames
    # Padded with as many frames as are taken, so that there are always enough.
    highest = g.ops("TopK", 2, g.op("Pad", odds, [0, 0, 0, 0, best, 0], -math.inf), [best], axis=1)[0]
    taken = g.op("Min", g.op("Unsqueeze", counts, [1, 2]), best)
    within = g.op("Less", g.op("Unsqueeze", steps(g, 0, g.value(np.array([best]))), [1]), taken)
    total = g.op("ReduceSum", masked(g, highest, within), [1], keepdims=0)
    pooled = g.op("Div", total, g.cast(g.op("Max", g.op("Squeeze", taken, [2]), 1), np.float32))
    if not head.others:
        return pooled
    others = g.op("Where", head.words, -math.inf, pooled)
    shared = g.op("ReduceLogSumExp", others, axes=[1])
    return g.op("Where", head.words, pooled, g.op("Sub", pooled, shared))
