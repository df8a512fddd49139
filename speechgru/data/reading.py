"""The one way from an utterance to its samples: slice, resample, gain."""

from __future__ import annotations

import torch

from speechgru.audio import audio_info, read_audio
from speechgru.data.shards.remote import fetch_shard, is_gone
from speechgru.data.utterance import Utterance
from speechgru.errors import AudioError

_TRIES = 5  # a shard that was fetched may be removed again before it is read, where few are kept


def read_utterance(utterance: Utterance, sample_rate: int | None = None) -> torch.Tensor:
    """The samples of an utterance, mono float32 ``(samples,)``, at ``sample_rate`` (None: as recorded).

    Only the stretch of ``duration_s`` seconds from ``start_s`` is decoded; then ``gain_db`` is applied.

    Raises:
        AudioError: the recording cannot be used; the message names the file.
    """

    start_s, duration_s = utterance.start_s, utterance.duration_s
    for tries_left in reversed(range(_TRIES)):
        fetch_shard(utterance.audio)
        try:
            waveform, _ = read_audio(utterance.audio, sample_rate, start_s=start_s, duration_s=duration_s)
            break
        except AudioError:
            if not tries_left or not is_gone(utterance.audio):
                raise
    if utterance.gain_db:
        waveform = waveform * 10.0 ** (utterance.gain_db / 20.0)
    return waveform


def measure_s(utterance: Utterance) -> float:
    """How long an utterance lasts, in seconds: as stated, else from the file's header (nothing is decoded).

    Raises:
        AudioError: the recording's header cannot be read; the message names the file.
    """
    if utterance.duration_s is not None:
        return utterance.duration_s
    return max(audio_info(utterance.audio).duration_s - utterance.start_s, 0.0)
