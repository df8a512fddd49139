"""Whether an exported model gives the model's own answers: both are run on drawn waveforms and recordings."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from speechgru import compiled
from speechgru.errors import ModelError
from speechgru.export.rounding import allowed
from speechgru.plain import Record
from speechgru.recognizer import Recognizer
from speechgru.streaming.scores import score_track

if TYPE_CHECKING:
    import onnxruntime

LIMIT = 1e-4
DRAWS = 32
_MOST_S = 3.0  # a drawn waveform is at most this long


@dataclasses.dataclass(frozen=True)
class Difference:
    """How far a case's scores are from the model's.

    Attributes:
        value: the largest absolute difference.
        case: where it is.
        limit: how large it may be.
    """

    value: float
    case: str
    limit: float = LIMIT


def session_of(content: bytes) -> onnxruntime.InferenceSession:
    """A session of onnxruntime on one thread of the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def prove(model: Recognizer, session: onnxruntime.InferenceSession, recordings: Sequence[np.ndarray]) -> Record:
    """Compares file and model on drawn batches and recordings; returns what parity.json holds.

    The batches have one to four rows of up to three seconds, of which some are empty or shorter than a frame, with
    noise, tones, clicks, an offset and silence at levels over two decades, and padding that is not zero.

    Args:
        model: in eval mode, on the CPU.
        session: of the exported file.
        recordings: samples at the model's rate, each (samples,).

    Raises:
        ModelError: a score is further than 1e-4 from the model's and further than rounding explains
            (:func:`speechgru.export.rounding.allowed`), or a count of frames differs; the message says where.
    """
    found = differences(model, session, recordings)
    return {"limit": LIMIT, "draws": DRAWS, "recordings": len(recordings), **_worst(found, "model.onnx")}


def differences(
    model: Recognizer, session: onnxruntime.InferenceSession, recordings: Sequence[np.ndarray] = ()
) -> Iterator[Difference]:
    """How far the file is from the model in each drawn batch and recording."""
    rng = np.random.default_rng(0)
    cases = [_drawn(rng, model.sample_rate, place) for place in range(DRAWS)]
    cases += [(one[None], np.array([len(one)])) for one in recordings]
    for place, case in enumerate(cases):
        name = f"draw {place}" if place < DRAWS else f"recording {place - DRAWS}"
        yield difference(model, session, *case, name)


def prove_stream(model: Recognizer, session: onnxruntime.InferenceSession, recordings: Sequence[np.ndarray]) -> Record:
    """The same for the file for streams: chunks of any sizes, also empty ones, against the model's own stream."""
    rng = np.random.default_rng(1)
    waveforms = [_rows(rng, model.sample_rate, place) for place in range(DRAWS)]
    waveforms += [one[None] for one in recordings]
    found = (
        stream_difference(model, session, rows, rng, f"draw {place}" if place < DRAWS else "a recording")
        for place, rows in enumerate(waveforms)
    )
    return {"draws": DRAWS, "recordings": len(recordings), **_worst(found, "stream.onnx")}


def _worst(differences: Iterable[Difference], file: str) -> Record:
    """The largest difference; ModelError at the first one beyond its limit."""
    worst = Difference(-1.0, "")
    for one in differences:
        worst = max(worst, one, key=lambda one: one.value)
        if not one.value <= one.limit:
            raise ModelError(
                f"{file} differs from the model by {one.value:.3g} (at most {one.limit:.3g}): {one.case}; "
                "nothing was written"
            )
    return {"largest_difference": worst.value, "where": worst.case}


def difference(
    model: Recognizer, session: onnxruntime.InferenceSession, waveforms: np.ndarray, lengths: np.ndarray, name: str
) -> Difference:
    """The largest difference of a score in a valid frame; infinite where counts differ or a score is not a number."""
    given = torch.from_numpy(waveforms), torch.from_numpy(lengths)
    with model.in_eval_mode(), torch.inference_mode(), compiled.disabled():
        scores, counts = model(*given)
    expected = (scores if model.head.scores_frames else scores.float().softmax(1)).numpy()
    found, frames = session.run(["scores", "frames"], {"waveforms": waveforms, "lengths": lengths})
    case = f"{name}, {len(lengths)} rows of {lengths.tolist()} samples"
    if frames.tolist() != counts.tolist():
        return Difference(np.inf, f"{case}: {frames.tolist()} frames, not {counts.tolist()}")
    worst = Difference(0.0, case)
    for row, count in enumerate(frames):
        one, other = (scores[row, :count] if model.head.scores_frames else scores[row] for scores in (expected, found))
        if other.size:
            gaps = np.nan_to_num(np.abs(one - other), nan=np.inf)
            place = np.unravel_index(gaps.argmax(), gaps.shape)
            where = f"{case}: row {row}, score {'/'.join(map(str, place))} is {other[place]:.6g}, not {one[place]:.6g}"
            worst = max(worst, Difference(float(gaps.max()), where), key=lambda one: one.value)
    return _judged(worst, model, *given, of_frames=False)


def stream_difference(
    model: Recognizer, session: onnxruntime.InferenceSession, rows: np.ndarray, rng: np.random.Generator, name: str
) -> Difference:
    """The same for streams (batch, samples), cut into chunks at drawn places."""
    cuts = np.sort(rng.integers(0, rows.shape[1] + 1, int(rng.integers(0, 7))))
    chunks = np.split(rows, cuts, axis=1)
    found = np.concatenate(list(streamed(session, chunks)), 1)
    worst = Difference(0.0, f"{name}, {rows.shape[0]} streams of {rows.shape[1]} samples, cut at {cuts.tolist()}")
    for row, waveform in enumerate(rows):
        with compiled.disabled():
            expected = score_track(model, waveform).scores
        if len(expected) != found.shape[1]:
            return Difference(np.inf, f"{worst.case}: {found.shape[1]} frames, not {len(expected)}")
        if expected.size:
            gap = float(np.nan_to_num(np.abs(found[row] - expected), nan=np.inf).max())
            worst = max(worst, Difference(gap, worst.case), key=lambda one: one.value)
    given = torch.from_numpy(rows), torch.full((len(rows),), rows.shape[1])
    return _judged(worst, model, *given, of_frames=True)


def _judged(found: Difference, model: Recognizer, waveforms: Tensor, lengths: Tensor, of_frames: bool) -> Difference:
    """The difference with the limit that applies to its case."""
    if found.value <= LIMIT:
        return found
    with model.in_eval_mode():
        return dataclasses.replace(found, limit=allowed(LIMIT, model, waveforms, lengths, of_frames))


def streamed(session: onnxruntime.InferenceSession, chunks: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """The scores (batch, frames, labels) that each chunk (batch, samples) completes; the last chunk ends the stream."""
    kept = json.loads(session.get_modelmeta().custom_metadata_map["states"])
    batch = len(chunks[0])
    state = {
        f"state.{one['name']}": np.zeros([batch if size < 0 else size for size in one["shape"]], one["dtype"])
        for one in kept
    }
    wanted = ["scores", *(f"next.{one['name']}" for one in kept)]
    for place, chunk in enumerate(chunks):
        ended = np.array([place == len(chunks) - 1])
        scores, *after = session.run(wanted, {"samples": chunk, "ended": ended, **state})
        state = dict(zip(state, after, strict=True))
        yield scores


def _rows(rng: np.random.Generator, rate: int, place: int) -> np.ndarray:
    """Streams (batch, samples) of one length."""
    length = [0, 1, rate // 100][place] if place < 3 else int(rng.integers(rate // 20, int(rate * _MOST_S)))
    return np.stack([_sound(rng, rate, length) for _ in range(int(rng.integers(1, 4)))]).astype(np.float32)


def _drawn(rng: np.random.Generator, rate: int, place: int) -> tuple[np.ndarray, np.ndarray]:
    """Waveforms (batch, samples) of one case and their lengths; beyond the lengths is noise."""
    longest = int(rate * min(_MOST_S, 0.1 * 1.12**place))
    lengths = rng.integers(0, longest + 1, int(rng.integers(1, 5)))
    # Edge cases: no samples, one sample, less than a window.
    lengths[-1] = [lengths[-1], 0, 1, rate // 100, longest][place % 5]
    rows = [_sound(rng, rate, int(length)) for length in lengths]
    waveforms = rng.standard_normal((len(rows), max(lengths.max(), int(rng.integers(longest)))))
    for row, sound in zip(waveforms, rows, strict=True):
        row[: len(sound)] = sound
    return waveforms.astype(np.float32), lengths.astype(np.int64)


def _sound(rng: np.random.Generator, rate: int, length: int) -> np.ndarray:
    """Syllables of noise, a tone in noise, clicks, noise on an offset, or noise that digital silence interrupts.

    There is noise in all of them. Without it the model's own answer depends on rounding: a feature that is constant
    except for its last bit is divided by a standard deviation as small as 1e-3.
    """
    level, noise, time = 10 ** rng.uniform(-2.5, -0.5), rng.standard_normal(length), np.arange(length) / rate
    kind = rng.integers(5)
    if kind == 0:
        noise *= 0.05 + np.abs(np.sin(2 * np.pi * rng.uniform(1, 4) * time))
    elif kind == 1:
        noise = 0.5 * noise + np.sin(2 * np.pi * rng.uniform(50, rate / 2) * time)
    elif kind == 2:
        noise = np.where(np.abs(noise) > 3, noise, 0.05 * noise)
    elif kind == 3:
        noise = noise + 1
    else:
        noise[length // 3 : length // 2] = 0
    return level * noise
