"""How good a model is where recordings are not as its corpus has them: pauses, rooms, telephones, two in one."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from speechgru.audio import find_audio, read_audio, resample
from speechgru.augment import add_noise, background, coloured_noise, reverberate, synthetic_response
from speechgru.data.batching import Batch
from speechgru.data.utterance import Utterance

Change = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]
Batches = Iterable[Batch]
TELEPHONE_HZ = 8000


@dataclasses.dataclass(frozen=True)
class Condition:
    """A way in which recordings may differ from those of the corpus.

    Attributes:
        name: what tables call it.
        apply: makes the batches of changed recordings from those of the corpus.
        joins: whether it makes one recording of two; only transcripts can be joined.
    """

    name: str
    apply: Callable[[Batches], Iterator[Batch]]
    joins: bool = False


def conditions(sample_rate: int, rooms: str = "") -> list[Condition]:
    """Real conditions: pauses on both sides, two utterances in one recording, a room, noise, a telephone, far away.

    Args:
        sample_rate: of the recordings, in Hz.
        rooms: impulse responses (a folder, file or glob); each adds a condition.

    Raises:
        AudioError: there are no impulse responses, or one cannot be read.
    """

    def changed(name: str, change: Change) -> Condition:
        return Condition(name, functools.partial(_changed, change=change, sample_rate=sample_rate))

    def pairs(pause_s: float) -> Condition:
        silence = torch.zeros(round(pause_s * sample_rate))
        return Condition(f"two in one, {pause_s:g} s apart", functools.partial(_joined, pause=silence), joins=True)

    found = [
        changed("0.5 s of zeros around", functools.partial(_zeros, seconds=0.5)),
        changed("2 s of zeros around", functools.partial(_zeros, seconds=2.0)),
        changed("2 s of background around", functools.partial(_quiet, seconds=2.0)),
        pairs(1.0),
        pairs(3.0),
        changed("a simulated room", _simulated_room),
        changed("noise, 10 dB", _noisy),
        changed("20 dB softer", lambda samples, rate, rng: samples * np.float32(0.1)),
    ]
    if sample_rate > TELEPHONE_HZ:
        found.append(changed("8 kHz and back", _telephone))
    for path in find_audio([rooms]) if rooms else ():
        response = read_audio(path, sample_rate)[0].numpy()
        found.append(changed(f"room {Path(path).stem}", functools.partial(_room, response=response)))
    return found


def _changed(batches: Batches, change: Change, sample_rate: int) -> Iterator[Batch]:
    """Changes each recording by itself; the random numbers drawn for it depend only on its place."""
    place = 0
    for batch in batches:
        rows = []
        for row, length in zip(batch.waveforms, batch.lengths.tolist(), strict=True):
            samples = change(row[:length].numpy(), sample_rate, np.random.default_rng([0, place]))
            rows.append(torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32)))
            place += 1
        yield _batch(rows, batch.utterances, batch.errors)


def _joined(batches: Batches, pause: torch.Tensor) -> Iterator[Batch]:
    """Joins the first and second recording, the third and fourth, and so on; a single last one stays alone."""
    waiting: list[tuple[Utterance, torch.Tensor]] = []
    for batch in batches:
        lengths = batch.lengths.tolist()
        waiting += zip(
            batch.utterances, [row[:length] for row, length in zip(batch.waveforms, lengths, strict=True)], strict=True
        )
        pairs = [
            (dataclasses.replace(one, text=f"{one.text} {other.text}"), torch.cat([first, pause, second]))
            for (one, first), (other, second) in zip(waiting[::2], waiting[1::2], strict=False)
        ]
        waiting = waiting[2 * len(pairs) :]
        yield _batch([row for _, row in pairs], [one for one, _ in pairs], batch.errors)
    if waiting:
        yield _batch([waiting[0][1]], [waiting[0][0]], [])


def _batch(rows: list[torch.Tensor], utterances: list[Utterance], errors: list[str]) -> Batch:
    """A batch of recordings, without targets."""
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
    none = torch.zeros(len(rows), dtype=torch.int64)
    waveforms = pad_sequence(rows, batch_first=True) if rows else torch.zeros(0, 0)
    return Batch(waveforms, lengths, none, none + 1, utterances, errors)


def _zeros(samples: np.ndarray, sample_rate: int, rng: np.random.Generator, seconds: float) -> np.ndarray:
    return np.pad(samples, round(seconds * sample_rate))


def _quiet(samples: np.ndarray, sample_rate: int, rng: np.random.Generator, seconds: float) -> np.ndarray:
    before, after = (background(samples, sample_rate, round(seconds * sample_rate), rng) for _ in range(2))
    return np.concatenate([before, samples, after])


def _simulated_room(samples: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Each recording in another room, of 1 s of reverberation that is 5 dB louder than the direct sound."""
    return reverberate(samples, synthetic_response(sample_rate, 1.0, -5.0, rng))


def _room(samples: np.ndarray, sample_rate: int, rng: np.random.Generator, response: np.ndarray) -> np.ndarray:
    return reverberate(samples, response)


def _noisy(samples: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    return add_noise(samples, coloured_noise(len(samples), sample_rate, 1.0, rng), 10.0)


def _telephone(samples: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    narrow = resample(torch.from_numpy(samples), sample_rate, TELEPHONE_HZ)
    return resample(narrow, TELEPHONE_HZ, sample_rate).numpy()
