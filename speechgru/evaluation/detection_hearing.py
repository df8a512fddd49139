"""Lets a model hear clips and background as in a stream, and keeps the scores by which a detector decides."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch

from speechgru.audio import read_blocks
from speechgru.augment.recordings import Recordings
from speechgru.data.reading import read_utterance
from speechgru.data.shards.remote import fetch_shard
from speechgru.data.utterance import Utterance
from speechgru.decoding.operating_point import KeywordConfig
from speechgru.errors import AudioError, ConfigError
from speechgru.evaluation.detection import LOWEST, Background, Trial
from speechgru.evaluation.detection_sources import BackgroundRecording
from speechgru.streaming.keywords import KeywordSpotter
from speechgru.streaming.model import StreamedModel
from speechgru.streaming.scores import advance, score_stream
from speechgru.tokens import is_word

QUIET = "quiet"
# Silence around a clip: before it, room for a window of a model that hears windows; after it, time for the last word to
# end.
BEFORE_S, AFTER_S = 1.5, 1.5
# A detection counts until this long after the end of the clip.
TOLERANCE_S = 0.75
_LONGEST_CLIP_S = 60.0
_BLOCK_S = 10.0
_SOUND = 1e-3  # -60 dBFS


class Ears:
    """A model that listens with several smoothings at once, and the noises that clips are mixed with.

    Args:
        model: a classifier.
        smoothings_ms: over how many milliseconds scores are averaged; there are results for each.
        words: the words whose scores are kept.
        noises: recordings to mix clips with; None without any.
        seed: of the excerpts of noise.
    """

    def __init__(
        self,
        model: StreamedModel,
        smoothings_ms: Sequence[float],
        words: list[str],
        noises: Recordings | None = None,
        seed: int = 0,
    ) -> None:
        self.model, self.words, self.noises, self.seed = model, words, noises, seed
        self.smoothings_ms = list(smoothings_ms)
        labels = model.tokens.names
        self._columns = {label: place for place, label in enumerate(labels) if is_word(label)}

    def smoothed(self, blocks: Iterator[np.ndarray]) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
        """Times (frames,) and, for each smoothing, scores (frames, label) of a recording that comes in blocks."""
        stream = score_stream(self.model)
        spotters = [KeywordSpotter(self.model.tokens.names, KeywordConfig(one)) for one in self.smoothings_ms]
        for block in itertools.chain(blocks, [None]):
            chunk = torch.zeros(0) if block is None else torch.from_numpy(block)
            end_s, scores = advance(self.model, [stream], [chunk], [block is None])[0]
            if len(end_s):
                yield end_s, [spotter.smooth(end_s, scores) for spotter in spotters]

    def trial(self, clip: Utterance, snr_db: float | None = None) -> list[Trial]:
        """The trials of a clip, one for each smoothing: between silences, or with noise all along.

        Raises:
            AudioError: the clip, or the noise for it, cannot be read, or it is longer than a minute.
        """
        rate = self.model.sample_rate
        samples = read_utterance(clip, rate).numpy()
        if len(samples) > _LONGEST_CLIP_S * rate:
            raise AudioError(f"{clip.audio}: {len(samples) / rate:.0f} s; a positive is a clip of a minute at most")
        before = round(BEFORE_S * rate)
        heard = np.pad(samples, (before, round(AFTER_S * rate)))
        if snr_db is not None:
            heard = self._noisy(clip, heard, slice(before, before + len(samples)), snr_db)
        begin_s, end_s = BEFORE_S, BEFORE_S + len(samples) / rate + TOLERANCE_S
        best = [np.zeros(len(self.model.tokens)) for _ in self.smoothings_ms]
        for times, smoothed in self.smoothed(iter([heard])):
            inside = (times > begin_s) & (times <= end_s)
            best = [np.maximum(one, new[inside].max(0, initial=0.0)) for one, new in zip(best, smoothed, strict=True)]
        return [self._judged(clip, scores, QUIET if snr_db is None else f"{snr_db:g} dB") for scores in best]

    def _judged(self, clip: Utterance, scores: np.ndarray, condition: str) -> Trial:
        """The trial of a clip from the highest score of each label."""
        assert clip.label is not None
        found = {word: float(scores[self._columns[word]]) for word in self.words}
        score = found.pop(clip.label)
        other = max(found, key=lambda word: found[word], default="")
        return Trial(clip.label, clip.audio, condition, score, other, found.get(other, 0.0))

    def _noisy(self, clip: Utterance, heard: np.ndarray, where: slice, snr_db: float) -> np.ndarray:
        """Adds noise to all of the sound; the same excerpt at every ratio."""
        assert self.noises is not None
        rng = np.random.default_rng([self.seed, zlib.crc32(clip.audio.rpartition("/")[2].encode(errors="replace"))])
        for _ in range(20):  # excerpts of a noise that comes and goes may be silent
            index = int(rng.integers(len(self.noises)))
            noise = self.noises.excerpt(index, self.model.sample_rate, len(heard), rng)
            part = noise[where]
            if float(part @ part) > 1e-8 * len(part):
                clean = heard[where]
                gain = np.sqrt(float(clean @ clean) / float(part @ part)) * 10 ** (-snr_db / 20)
                return heard + noise * np.float32(gain)
        raise ConfigError("--noise: twenty excerpts of its recordings are silent; name recordings of noise")

    def background(self, recording: BackgroundRecording) -> list[Background]:
        """The scores of a recording of any length, heard in blocks, for each smoothing.

        Raises:
            AudioError: it cannot be read to its end.
        """
        rate, samples, sound = self.model.sample_rate, 0, 0.0

        def counted() -> Iterator[np.ndarray]:
            nonlocal samples, sound
            for block in self._blocks(recording.utterance):
                samples += len(block)
                sound += len(block) / rate * float(np.mean(_levels(block, rate) > _SOUND))
                yield block

        kept: list[dict[str, list[tuple[np.ndarray, np.ndarray]]]] = [{} for _ in self.smoothings_ms]
        for end_s, smoothed in self.smoothed(counted()):
            for own, scores in zip(kept, smoothed, strict=True):
                for word in self.words:
                    values = scores[:, self._columns[word]]
                    above = values >= LOWEST
                    if word not in recording.said and above.any():
                        own.setdefault(word, []).append((end_s[above], values[above]))
        one = recording.utterance
        heard = one.audio, recording.source, samples / rate, sound
        place = one.start_s, one.gain_db
        return [Background(*heard, {word: _joined(parts) for word, parts in own.items()}, *place) for own in kept]

    def _blocks(self, utterance: Utterance) -> Iterator[np.ndarray]:
        rate, gain = self.model.sample_rate, np.float32(10 ** (utterance.gain_db / 20))
        start_s, duration_s = utterance.start_s, utterance.duration_s
        fetch_shard(utterance.audio)
        for block, _ in read_blocks(utterance.audio, rate, block_s=_BLOCK_S, start_s=start_s, duration_s=duration_s):
            yield block * gain


def hear_clips(
    ears: Ears, clips: Iterable[Utterance], snrs_db: Sequence[float | None], errors: list[str]
) -> list[list[Trial]]:
    """For each smoothing, the trials of every clip at every ratio (None: without noise), condition by condition.

    Failures are added to ``errors``.
    """
    heard: list[list[list[Trial]]] = [[] for _ in snrs_db]  # ratio, clip, smoothing
    for clip in clips:
        try:
            trials = [ears.trial(clip, snr_db) for snr_db in snrs_db]
        except AudioError as error:
            errors.append(str(error))
            continue
        for of_ratio, one in zip(heard, trials, strict=True):
            of_ratio.append(one)
    joined = list(itertools.chain(*heard))
    return [[one[place] for one in joined] for place in range(len(ears.smoothings_ms))]


def hear_background(ears: Ears, recordings: Iterable[BackgroundRecording], errors: list[str]) -> list[list[Background]]:
    """For each smoothing, every recording; failures are added to ``errors``."""
    found = []
    for recording in recordings:
        try:
            if recording.error:
                raise AudioError(recording.error)
            found.append(ears.background(recording))
        except AudioError as error:
            errors.append(str(error))
    return [[one[place] for one in found] for place in range(len(ears.smoothings_ms))]


def _levels(block: np.ndarray, rate: int) -> np.ndarray:
    """Root mean square of each tenth of a second of a block."""
    size = min(len(block), rate // 10)
    whole = len(block) // size * size
    return np.sqrt(np.mean(block[:whole].reshape(-1, size) ** 2, axis=1))


def _joined(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    times, scores = zip(*parts, strict=True)
    return np.concatenate(times), np.concatenate(scores)
