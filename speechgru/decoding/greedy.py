"""Greedy decoding: the best token of every frame, repeats merged, blanks removed."""

from __future__ import annotations

import dataclasses

import numpy as np

from speechgru.decoding.hypothesis import Hypothesis, check_scores
from speechgru.registry import register
from speechgru.text import Units
from speechgru.tokens import Tokens

BLANK = 0


@dataclasses.dataclass
class GreedyConfig:
    """Greedy decoding has nothing to set."""


@register("decoder", "greedy", GreedyConfig)
class GreedyDecoder:
    """The most likely path, which need not be the most likely token sequence (Graves et al., ICML 2006, section 3.2).

    Args:
        tokens: the output symbols, the blank first.
        units: how tokens spell words; only a stream needs them.
    """

    gives_words = False

    def __init__(self, tokens: Tokens, units: Units | None = None, config: GreedyConfig | None = None) -> None:
        self.tokens, self.units, self.config = tokens, units, config or GreedyConfig()

    def stream(self) -> GreedyStream:
        """The path of an utterance whose scores come in parts."""
        return GreedyStream(self)

    def decode(self, log_probs: np.ndarray) -> list[Hypothesis]:
        """The one hypothesis of an utterance; without frames it is empty with the score 0.

        Args:
            log_probs: (frames, tokens), natural logarithms.

        Raises:
            DataError: another number of tokens, or a frame that holds a NaN.
        """
        log_probs = check_scores(log_probs, self.tokens)
        best = log_probs.argmax(1) if len(log_probs) else np.zeros(0, np.int64)
        edges = np.flatnonzero(np.diff(best, prepend=-1, append=-1)) if len(best) else np.zeros(1, np.int64)
        labels = best[edges[:-1]]
        spoken = labels != BLANK
        score = float(np.take_along_axis(log_probs, best[:, None], 1).sum(dtype=np.float64))
        return [
            Hypothesis(
                tokens=tuple(labels[spoken].tolist()),
                score=score,
                starts=tuple(edges[:-1][spoken].tolist()),
                ends=tuple(edges[1:][spoken].tolist()),
            )
        ]


class GreedyStream:
    """The path of one utterance whose scores come in parts."""

    def __init__(self, decoder: GreedyDecoder) -> None:
        self._decoder = decoder
        self._log_probs: list[np.ndarray] = []

    def feed(self, log_probs: np.ndarray) -> None:
        """Takes the next scores (frames, tokens); raises DataError as ``decode`` does."""
        self._log_probs.append(check_scores(log_probs, self._decoder.tokens))

    def hypotheses(self) -> list[Hypothesis]:
        """What ``decode`` gives for all scores so far."""
        self._log_probs = [np.concatenate(self._log_probs)] if self._log_probs else []
        return self._decoder.decode(self._log_probs[0]) if self._log_probs else [Hypothesis((), 0.0, (), ())]

    def settled(self, share: float = 0.0) -> int:
        """The number of first words that all later hypotheses keep: those that a token of another word follows."""
        (best,), units = self.hypotheses(), self._decoder.units
        words = units.words(best.tokens, self._decoder.tokens) if units is not None else []
        return sum(end < len(best.tokens) for _, _, end in words)
