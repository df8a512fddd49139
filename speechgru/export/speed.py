"""How fast a file is, and what 8-bit weights cost."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from speechgru.plain import Record
from speechgru.recognizer import Recognizer

if TYPE_CHECKING:
    import onnxruntime

_REPEATS = 9


def cost(
    model: Recognizer,
    exact: onnxruntime.InferenceSession,
    small: onnxruntime.InferenceSession,
    recordings: Sequence[np.ndarray],
) -> Record:
    """What the small file changes: answers to recordings, how far their scores move, the time for a second of sound.

    The answer is the likeliest label, or the greedy path of CTC.
    """
    changed, largest = 0, 0.0
    for samples in recordings:
        inputs = {"waveforms": samples[None], "lengths": np.array([len(samples)])}
        one, other = (session.run(["scores"], inputs)[0][0] for session in (exact, small))
        changed += not np.array_equal(_answer(model, one), _answer(model, other))
        largest = max(largest, float(np.abs(one - other).max(initial=0)))
    second = second_of_noise(model)
    before, after = median_s(lambda: exact.run(None, second), lambda: small.run(None, second))
    return {
        "recordings": len(recordings),
        "answers_changed": changed,
        "largest_difference": largest,
        "ms_a_second_float32": 1e3 * before,
        "ms_a_second": 1e3 * after,
    }


def torch_answer(model: Recognizer) -> Callable[[], None]:
    """A function that scores a second of sound with the model itself."""
    waveforms, lengths = (torch.from_numpy(one) for one in second_of_noise(model).values())

    def answer() -> None:
        with torch.inference_mode():
            model(waveforms, lengths)

    return answer


def median_s(*runs: Callable[[], object]) -> list[float]:
    """The median time of each, in turns after an untimed first run, so that other work of the machine hits all."""
    times: list[list[float]] = [[] for _ in runs]
    for repeat in range(_REPEATS + 1):
        for run, own in zip(runs, times, strict=True):
            start = time.perf_counter()
            run()
            if repeat:
                own.append(time.perf_counter() - start)
    return [statistics.median(own) for own in times]


def _answer(model: Recognizer, scores: np.ndarray) -> np.ndarray:
    best = scores.argmax(-1)
    if not model.head.scores_frames:
        return best
    return best[(np.diff(best, prepend=0) != 0) & (best != 0)]


def second_of_noise(model: Recognizer) -> dict[str, np.ndarray]:
    """The inputs of an exported file, for a second of noise."""
    rng = np.random.default_rng(0)
    waveforms = 0.1 * rng.standard_normal((1, model.sample_rate)).astype(np.float32)
    return {"waveforms": waveforms, "lengths": np.array([model.sample_rate])}
