"""flashlight's beam search (extra ``decode``), for those who know it and to check our own."""

from __future__ import annotations

import dataclasses
import functools
import math
import tempfile
from pathlib import Path

import numpy as np

from speechgru.decoding.hypothesis import Hypothesis, check_scores
from speechgru.errors import ConfigError
from speechgru.registry import register
from speechgru.text import Units
from speechgru.text.units import BLANK, SPACE
from speechgru.tokens import Tokens


@dataclasses.dataclass
class FlashlightConfig:
    """Settings of flashlight's search, in the units of :class:`speechgru.decoding.BeamConfig`.

    Attributes:
        beam_size: hypotheses kept after each frame, at least 1.
        beam_threshold: hypotheses whose score is more than this below the best one's are dropped, in nats, above 0.
        nbest: hypotheses returned, at least 1.
        language_model: n-gram model of words in ARPA format, of order 2 or more; empty means none. With one, only its
            words come out.
        lm_weight: factor on its natural logarithms, at least 0.
        word_bonus: with a language model, added for each word, in nats.
    """

    beam_size: int = 50
    beam_threshold: float = 50.0
    nbest: int = 1
    language_model: str = dataclasses.field(default="", metadata={"file": "language_model.arpa.gz"})
    lm_weight: float = 0.5
    word_bonus: float = 1.0

    def __post_init__(self) -> None:
        for name in ("beam_size", "nbest"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: at least 1")
        if not self.beam_threshold > 0:
            raise ConfigError(f"beam_threshold={self.beam_threshold}: above 0")
        if not 0 <= self.lm_weight < math.inf:
            raise ConfigError(f"lm_weight={self.lm_weight}: at least 0")


@register("decoder", "flashlight", FlashlightConfig)
class FlashlightDecoder:
    """The lexicon-free and the lexicon decoder of flashlight-text, through torchaudio (J. Kahn et al., 2201.12465).

    It keeps a prefix that ends in a blank separate from the same prefix that ends in its token, so its beam holds fewer
    prefixes than ours. With a language model every word of a hypothesis, the last one too, ends with a space.

    Args:
        tokens: the output symbols, the blank first.
        units: how tokens spell words; the words of a language model are separated by spaces.

    Raises:
        ConfigError: flashlight-text is not installed, or a language model is given for units without spaces.
        DataError: the language model cannot be read.
    """

    gives_words = False  # for units that do not give words by themselves

    def __init__(self, tokens: Tokens, units: Units | None = None, config: FlashlightConfig | None = None) -> None:
        self.tokens, self.units, self.config = tokens, units, config or FlashlightConfig()
        config = self.config
        try:
            from torchaudio.models.decoder import ctc_decoder
        except ImportError:
            raise ConfigError(
                "decoder=flashlight needs an extra that is not installed: pip install 'speechgru[decode]'; "
                "decoder=beam needs none"
            ) from None
        make = functools.partial(
            ctc_decoder,
            tokens=tokens.names,
            nbest=config.nbest,
            beam_size=config.beam_size,
            beam_threshold=config.beam_threshold,
            log_add=True,
            blank_token=BLANK,
            # flashlight puts a silence at both ends: a blank is harmless, a space would count as said.
            sil_token=SPACE if config.language_model and SPACE in tokens else BLANK,
        )
        if not config.language_model:
            self._decoder = make(lexicon=None, lm=None)
            return
        if SPACE not in tokens:
            raise ConfigError("decoder=flashlight: a language model needs characters as units; use decoder=beam")
        from speechgru.decoding.language_model import LanguageModel

        model = LanguageModel.read(config.language_model)  # ours says in one line what is wrong with a file
        words = [word for word in model.words if all(letter in tokens for letter in word)]
        if model.order < 2 or not words:
            what = "is of order 1, which KenLM refuses" if model.order < 2 else "has no word in the model's tokens"
            raise ConfigError(f"language_model={config.language_model}: {what}")
        with tempfile.TemporaryDirectory() as folder:
            lexicon = Path(folder) / "lexicon.txt"
            lexicon.write_text("".join(f"{word} {' '.join(word)} {SPACE}\n" for word in words), encoding="utf-8")
            self._decoder = make(
                lexicon=str(lexicon),
                lm=config.language_model,
                lm_weight=config.lm_weight * math.log(10),  # KenLM's logarithms are to the base 10
                word_score=config.word_bonus,
            )

    def decode(self, log_probs: np.ndarray) -> list[Hypothesis]:
        """The ``nbest`` hypotheses of an utterance, best first; an empty one without frames or where none is left.

        Args:
            log_probs: (frames, tokens), natural logarithms.

        Raises:
            DataError: another number of tokens, or a frame that holds a NaN.
        """
        import torch

        from speechgru.decoding.best_path import best_path

        log_probs = check_scores(log_probs, self.tokens)
        if not len(log_probs):
            return [Hypothesis((), 0.0, (), ())]
        scores = torch.from_numpy(np.array(log_probs, dtype=np.float32, order="C"))
        found = []
        for one in self._decoder(scores[None])[0]:
            tokens = one.tokens.numpy().astype(np.int64)
            if one.words:  # flashlight adds a space at both ends, as if it were in the frames
                spoken = np.flatnonzero(tokens != self.tokens.index(SPACE))
                tokens = tokens[spoken[0] : spoken[-1] + 1]
            anywhere = np.full(len(tokens) + 1, len(log_probs))
            starts, ends, _ = best_path(log_probs, tokens, np.zeros_like(tokens), anywhere)
            words = tuple(self.units.words(tokens.tolist(), self.tokens)) if one.words and self.units else ()
            times = tuple(starts.tolist()), tuple(ends.tolist())
            found.append(Hypothesis(tuple(tokens.tolist()), one.score, *times, words))
        return found or [Hypothesis((), -math.inf, (), ())]
