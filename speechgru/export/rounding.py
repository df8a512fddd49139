"""What rounding explains: how far a model's own scores are from the exact ones."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor

from speechgru import compiled
from speechgru.recognizer import Recognizer
from speechgru.streaming.model import FrameScoringHead


def allowed(limit: float, model: Recognizer, waveforms: Tensor, lengths: Tensor, of_frames: bool) -> float:
    """How far the scores of an exported model may be from the model's, where they are further than ``limit``.

    In float32 the weak bins beside a loud tone are mostly rounding errors, and their logarithms carry these into the
    scores; a cell whose states grow without bound does the same. The model and the exported model may then both be as
    far from the exact scores as float32 puts them. So twice the distance of the model's own scores from its scores in
    float64 is added to ``limit``.

    Args:
        limit: what is allowed for a model that rounds nothing.
        model: in eval mode, on the CPU.
        waveforms: float32 (batch, samples).
        lengths: of each row, int64 (batch,).
        of_frames: whether the scores are those of every frame, as in a stream.
    """
    exact = copy.deepcopy(model).double()
    with torch.inference_mode(), compiled.disabled():
        own = _scores(model, waveforms, lengths, of_frames)
        gap = (own - _scores(exact, waveforms.double(), lengths, of_frames)).abs()
    return limit + 2 * float(gap.max()) if gap.numel() else limit


def _scores(model: Recognizer, waveforms: Tensor, lengths: Tensor, of_frames: bool) -> Tensor:
    """The scores of valid frames, one after the other; for a classifier, its probabilities."""
    hidden, counts = model.encoder(*model.features(waveforms, lengths))
    if of_frames and not model.head.scores_frames:
        scores = cast(FrameScoringHead, model.head).frame_scores(hidden)
    else:
        scores = model.head(hidden, counts)
        if not model.head.scores_frames:
            return scores.double().softmax(1)
    return scores[torch.arange(scores.shape[1]) < counts[:, None]].double()
