"""What is around a recording in training: windows of background, and words mixed into them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from speechgru.data.background import SILENCE, BackgroundConfig
from speechgru.data.utterance import Utterance

_FADE_S = 0.01
_PIECE_S = (0.2, 0.8)
_CODEC_LEVELS = (0.8, 0.97)  # of libsndfile's Opus: about 60 to 15 kbit/s


class Surroundings:
    """Cuts a window out of a row of background, and mixes any other recording into such a window.

    The label stays true: a recording is mixed in whole, and the background has none of the words. If there are speech
    and noise, the background is each of them equally often. Silence stays as it is. What is mixed in is faded at its
    ends, so that its edges cannot be heard.

    Args:
        config: see :class:`BackgroundConfig`.
        utterances: all training utterances.
        windows: those of them that are rows of background.
    """

    def __init__(self, config: BackgroundConfig, utterances: Sequence[Utterance], windows: Iterable[Utterance]) -> None:
        self.config = config
        known = set(windows)
        self.rows = [index for index, one in enumerate(utterances) if one in known]
        self._background = set(self.rows)
        self._silent = {index for index, one in enumerate(utterances) if one.label == SILENCE}
        # The rows that others are mixed into: those that fill a window.
        places = [index for index in self.rows if (utterances[index].duration_s or 0) >= config.window_s]
        kinds = [[index for index in places if (index in self._silent) == silent] for silent in (False, True)]
        self._places = [kind for kind in kinds if kind]

    def recorded(self, index: int, waveform: Tensor, sample_rate: int, seed: int) -> Tensor:
        """A recording as it is kept, coded or not; that choice is always the same."""
        if index in self._background or not self.config.coded:
            return waveform
        rng = np.random.default_rng([seed, index])
        if rng.random() >= self.config.coded:
            return waveform
        return torch.from_numpy(through_opus(waveform.numpy(), sample_rate, rng.uniform(*_CODEC_LEVELS)))

    def around(
        self, index: int, waveform: Tensor, sample_rate: int, rng: np.random.Generator, read: Callable[[int], Tensor]
    ) -> Tensor:
        """What training gets of a recording in this epoch, (samples,) -> (samples,).

        Args:
            index: of the utterance.
            waveform: the recording.
            sample_rate: of it.
            rng: draws places and levels.
            read: gives the waveform of another utterance.
        """
        window = round(self.config.window_s * sample_rate)
        if index in self._background and len(waveform) >= window:
            if index in self._silent or not self.config.pieces or rng.random() >= self.config.pieces:
                return _cut(waveform, window, rng)
            waveform = _cut(waveform, round(rng.uniform(*_PIECE_S) * sample_rate), rng)
            return self._inside(waveform, window, sample_rate, rng, read)
        if index in self._silent or not self._places or rng.random() >= self.config.laid:
            return waveform
        return self._inside(waveform, window, sample_rate, rng, read)

    def _inside(
        self, waveform: Tensor, window: int, sample_rate: int, rng: np.random.Generator, read: Callable[[int], Tensor]
    ) -> Tensor:
        """The waveform in a drawn window of background."""
        kind = self._places[int(rng.integers(len(self._places)))]
        background = _cut(read(kind[int(rng.integers(len(kind)))]), max(window, len(waveform)), rng)
        snr_db = rng.uniform(self.config.min_snr_db, self.config.max_snr_db)
        return _laid(waveform, background, snr_db, round(_FADE_S * sample_rate), rng)


def _cut(waveform: Tensor, samples: int, rng: np.random.Generator) -> Tensor:
    """``samples`` samples from a drawn place; a shorter waveform is repeated."""
    if len(waveform) < samples:
        waveform = waveform.repeat(-(-samples // max(1, len(waveform))))
    start = int(rng.integers(len(waveform) - samples + 1))
    return waveform[start : start + samples]


def _laid(waveform: Tensor, background: Tensor, snr_db: float, fade: int, rng: np.random.Generator) -> Tensor:
    """The waveform inside the background, which is scaled to the given ratio of their powers."""
    start = int(rng.integers(len(background) - len(waveform) + 1))
    power, other = waveform.square().mean(), background.square().mean()
    scale = torch.sqrt(power / other) * 10 ** (-snr_db / 20) if power > 0 and other > 0 else 1.0
    heard = background * scale
    ends = torch.linspace(0, 1, min(fade, len(waveform) // 2))
    weight = torch.ones(len(waveform))
    weight[: len(ends)] = ends
    weight[len(waveform) - len(ends) :] = ends.flip(0)
    heard[start : start + len(waveform)] += waveform * weight
    return heard


def through_opus(samples: np.ndarray, sample_rate: int, compression: float) -> np.ndarray:
    """Samples ``(samples,)`` coded with Opus and decoded, of the same length.

    Args:
        samples: float32.
        sample_rate: in Hz; where Opus does not have it (it has 8, 12, 16, 24, 48 kHz) the samples come back as they
            are.
        compression: 0, the least, to 1.
    """
    import soundfile

    if sample_rate not in (8000, 12000, 16000, 24000, 48000) or not len(samples):
        return samples
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate, format="OGG", subtype="OPUS", compression_level=compression)
    file.seek(0)
    decoded, _ = soundfile.read(file, dtype="float32")
    return np.resize(decoded, len(samples)) if len(decoded) else samples
