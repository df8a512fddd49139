"""Utterances said one after the other in one recording, which a model trained on single ones does not know."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import torch

from speechgru.augment.draw import happens
from speechgru.augment.pause import Pause, PauseConfig
from speechgru.data.utterance import Utterance

LONGEST_PAUSE_S = 3.0


class Joining:
    """Draws whether a training utterance is followed by another one of its speaker, after a pause of up to 3 s.

    Args:
        utterances: all of the training set.
        probability: of joining, 0 to 1.
    """

    def __init__(self, utterances: Sequence[Utterance], probability: float) -> None:
        self.utterances, self.probability = utterances, probability
        self.pause = Pause(PauseConfig(max_s=LONGEST_PAUSE_S))
        self.of_speaker: dict[str, list[int]] = {}
        for index, utterance in enumerate(utterances):
            self.of_speaker.setdefault(utterance.speaker, []).append(index)

    def __call__(
        self,
        index: int,
        waveform: torch.Tensor,
        read: Callable[[int], torch.Tensor],
        sample_rate: int,
        rng: np.random.Generator,
    ) -> tuple[Utterance, torch.Tensor]:
        """The utterance, or the two as one, with their recordings end to end.

        Args:
            index: of the utterance.
            waveform: its recording, (samples,).
            read: gives the recording of another one.
            sample_rate: of both, in Hz.
            rng: source of the draws; nothing is drawn where the probability is 0.
        """
        utterance = self.utterances[index]
        if not happens(rng, self.probability):
            return utterance, waveform
        choices = self.of_speaker[utterance.speaker]
        other = choices[int(rng.integers(len(choices)))]
        pause = torch.from_numpy(self.pause.draw(waveform.numpy(), sample_rate, rng))
        text = f"{utterance.text} {self.utterances[other].text}"
        return dataclasses.replace(utterance, text=text), torch.cat([waveform, pause, read(other)])
