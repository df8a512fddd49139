"""A model that is served, and how it answers for recordings."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from speechgru.classification import Classification
from speechgru.contracts import Decoder
from speechgru.decoding.transcription import Transcription, Word
from speechgru.recognizer import Recognizer
from speechgru.recordings.classification import ClassifiedRecording, classify_recordings
from speechgru.serving.limits import Refused
from speechgru.serving.worker import Asked, Compute
from speechgru.transcripts.recordings import transcribe_recordings
from speechgru.transcripts.transcript import Transcript
from speechgru.warming import warm_up_model

# Pieces of a recording that are read ahead: 20 seconds each.
_READ_AHEAD = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Served:
    """A model with the name that requests use for it.

    Attributes:
        name: of the model in requests.
        recognizer: the recognizer; only one thread computes with it.
        loaded_s: when it was loaded, in seconds since 1970.
    """

    name: str
    recognizer: Recognizer
    loaded_s: float = dataclasses.field(default_factory=time.time)

    @property
    def verb(self) -> str:
        """What it does: ``transcribe`` or ``classify``."""
        return self.recognizer.head.verb

    def scores(self, waveforms: Sequence[Tensor]) -> list[Classification]:
        """The scores of all labels, best first, of waveforms (samples,)."""
        return self.recognizer.classify_waveforms(waveforms, len(self.recognizer.tokens))

    def warm_up(self) -> None:
        """Answers once, so that code is compiled and the language model read before anybody waits."""
        warm_up_model(self.recognizer)

    def transcript(self, path: str, asked: Asked, heard: Callable[[Sequence[Word], float], None] | None) -> Transcript:
        """What ``speechgru transcribe`` gives for a file; ``heard`` gets the words so far after each piece.

        Raises:
            CalledOff: nobody waits for the answer any more.
            Refused: the file cannot be read, or the answer cannot be computed.
        """
        shared = _Shared(self, asked)
        # With ``heard``, each piece is reported at once.
        ahead = 1 if heard else _READ_AHEAD
        (found,) = transcribe_recordings(cast(Recognizer, shared), [(path, "")], batch_size=ahead, heard=heard)
        shared.check(found.error)
        return found

    def classified(
        self, path: str, asked: Asked, top_k: int, threshold: Callable[[str], float] | None
    ) -> ClassifiedRecording:
        """What ``speechgru classify`` gives for a file; raises as :meth:`transcript`."""
        shared = _Shared(self, asked)
        (found,) = classify_recordings(cast(Recognizer, shared), [(path, "")], top_k=top_k, threshold=threshold)
        shared.check(found.error)
        return found


class _Shared:
    """Acts as a recognizer where recordings are read, cut and joined: another thread computes, for several at once.

    It has what :func:`transcribe_recordings` and :func:`classify_recordings` use of a recognizer.
    """

    def __init__(self, served: Served, asked: Asked) -> None:
        self._served, self._asked, self._failed = served, asked, False
        model = served.recognizer
        self.tokens, self.config, self.sample_rate = model.tokens, model.config, model.sample_rate
        self.require = model.require

    def transcribe(
        self, waveforms: Sequence[np.ndarray], *, source_rate: int, batch_size: int, decoder: Decoder | None
    ) -> list[Transcription]:
        return self._compute(self._served.recognizer.transcribe_waveforms, list(map(torch.from_numpy, waveforms)))

    def classify_waveforms(self, waveforms: Sequence[Tensor], top_k: int) -> list[Classification]:
        return self._compute(self._served.scores, waveforms)

    def _compute(self, compute: Compute, waveforms: Sequence[Tensor]) -> list[Any]:
        try:
            return self._asked.compute(compute, waveforms)
        except Exception:
            self._failed = True
            raise

    def check(self, error: str) -> None:
        """Raises Refused for the error of a recording: its own, or that of the computation."""
        if error:
            raise Refused(500, error) if self._failed else Refused(400, f"file: {error}")
