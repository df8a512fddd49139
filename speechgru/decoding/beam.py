"""Beam search over token sequences: exact CTC scores, a language model, a lexicon and hot words."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

from speechgru.decoding.hypothesis import Hypothesis, check_scores
from speechgru.errors import ConfigError, DataError
from speechgru.registry import register
from speechgru.text import Phones, Units
from speechgru.text.pronunciation import read_pronunciations
from speechgru.text.units import BLANK
from speechgru.tokens import Tokens

if TYPE_CHECKING:  # numba is imported by the first beam search, not by the first import
    from speechgru.decoding.found import Found
    from speechgru.decoding.language_model import LanguageModel
    from speechgru.decoding.lexicon import Spellings, Words
    from speechgru.decoding.prefix_search import Search


@dataclasses.dataclass
class BeamConfig:
    """Settings of the beam search; a model folder keeps their files under the names in their ``metadata``.

    Attributes:
        beam_size: token sequences kept after each frame, at least 1. A larger beam is slower, and finds what looks
            unlikely at first; with all sequences kept the search is exact.
        token_threshold: a token whose posterior in a frame is below this extends no sequence there, 0 to below 1; 0 is
            exact, 1e-3 is faster with a language model and rarely changes a word.
        nbest: hypotheses returned, at least 1.
        language_model: n-gram model of words in ARPA format (.arpa, .arpa.gz); empty means none.
        lm_weight: factor on the language model's logarithms, at least 0.
        word_bonus: with a language model, added to the score for each word, in nats; above 0 it counters the model's
            preference for few words.
        unknown_bonus: added for each word that the language model does not know, in nats.
        lexicon: file of the words that may come out: one a line, or for phones a pronunciation dictionary. Phones
            without a lexicon use the dictionary that they were trained with.
        closed: only the words of the language model may come out.
        hotwords: words to expect, each as ``word`` or ``word:bonus``, the bonus in nats (below 0: a word not to
            expect).
        hotword_bonus: the bonus of a hot word that has none of its own.
        priors: how often the model gives each token, in the order of its tokens, each above 0; empty where unknown.
        prior_weight: exponent of the priors by which posteriors are divided, 0 to 1; 0 leaves the posteriors as they
            are. A frequent token, the blank above all, is likely even where it is not heard, and a language model
            counts its frequency once more (Miao et al., 1507.08240). ``speechgru tune-lm`` measures the priors and
            chooses the weight.
    """

    beam_size: int = 50
    token_threshold: float = 0.0
    nbest: int = 1
    language_model: str = dataclasses.field(default="", metadata={"file": "language_model.arpa.gz"})
    lm_weight: float = 0.5
    word_bonus: float = 1.0
    unknown_bonus: float = -10.0
    lexicon: str = dataclasses.field(default="", metadata={"file": "lexicon.txt"})
    closed: bool = False
    hotwords: list[str] = dataclasses.field(default_factory=list)
    hotword_bonus: float = 5.0
    priors: list[float] = dataclasses.field(default_factory=list)
    prior_weight: float = 0.0

    def __post_init__(self) -> None:
        for name in ("beam_size", "nbest"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: at least 1")
        if not 0 <= self.token_threshold < 1:
            raise ConfigError(f"token_threshold={self.token_threshold}: from 0 to below 1")
        if not 0 <= self.lm_weight < math.inf:
            raise ConfigError(f"lm_weight={self.lm_weight}: at least 0")
        if not 0 <= self.prior_weight <= 1:
            raise ConfigError(f"prior_weight={self.prior_weight}: from 0 to 1")
        if self.prior_weight and not self.priors:
            raise ConfigError(f"prior_weight={self.prior_weight}: needs priors (speechgru tune-lm measures them), or 0")
        if self.priors and not min(self.priors) > 0:
            raise ConfigError(f"priors={min(self.priors)}: each is above 0")
        for name in ("word_bonus", "unknown_bonus", "hotword_bonus"):
            if not abs(getattr(self, name)) <= 100:
                raise ConfigError(f"{name}={getattr(self, name)}: from -100 to 100 nats")


@register("decoder", "beam", BeamConfig)
class BeamDecoder:
    """The most likely token sequences, each with the probability of all its paths.

    Without words the score of a sequence is the logarithm of its CTC probability. With a language model, a lexicon or
    hot words, ``lm_weight`` times the language model's log-probability of the words and of the end, and the bonuses,
    are added. In characters and sub-words any word can come out unless a lexicon or ``closed`` forbids it; in phones
    and whole words only those of the lexicon can, and two words that sound alike are two hypotheses.

    Args:
        tokens: the output symbols, the blank first.
        units: how tokens spell words (:class:`speechgru.text.Units`); with None, tokens that no space or mark separates
            count as words.
        config: the settings.
        language_model: a model already read, used instead of the config's file.

    Raises:
        ConfigError: the hot words or the lexicon do not fit the units.
        DataError: a file cannot be read, or no word of it can be written in the tokens.

    Attributes:
        gives_words: whether hypotheses have words; phones alone do not give them.
        known: what is known of words, as arrays.
    """

    def __init__(
        self,
        tokens: Tokens,
        units: Units | None = None,
        config: BeamConfig | None = None,
        language_model: LanguageModel | None = None,
    ) -> None:
        self.tokens, self.units, self.config = tokens, units, config or BeamConfig()
        if self.config.priors and len(self.config.priors) != len(tokens):
            raise ConfigError(f"priors: {len(self.config.priors)} for {len(tokens)} tokens; one each")
        from speechgru.decoding.language_model import LanguageModel

        config = self.config
        if language_model is None and config.language_model:
            language_model = LanguageModel.read(config.language_model)
        self.language_model = language_model
        self.known, self._names = self._known_words(language_model)
        self.gives_words = bool(self.known.mode)  # whatever the units

    def _known_words(self, model: LanguageModel | None) -> tuple[Words, list[str]]:
        from speechgru.decoding.lexicon import parse_hotwords, word_arrays

        config = self.config
        hotwords = parse_hotwords(config.hotwords, config.hotword_bonus)
        hotwords = {self._normal(word): bonus for word, bonus in hotwords.items()}
        spellings, closed = self._spellings(model, list(hotwords))
        arrays, names = word_arrays(
            self.tokens,
            spellings,
            closed=closed,
            model=model,
            model_weight=config.lm_weight,
            word_bonus=config.word_bonus if model else 0.0,
            unknown_bonus=config.unknown_bonus if model else 0.0,
            hotwords=hotwords,
        )
        missing = sorted(set(hotwords).difference(names))
        if missing:
            raise ConfigError(f"hotwords={missing[0]}: not in the lexicon, or has symbols the model lacks")
        return arrays, names

    def _spellings(self, model: LanguageModel | None, hotwords: list[str]) -> tuple[Spellings | None, bool]:
        """The words and their spellings, None where words do not matter; and whether other words are impossible."""
        from speechgru.decoding.lexicon import read_words, separates

        config, tokens = self.config, self.tokens
        wanted = bool(model or hotwords or config.lexicon or config.closed)
        if not wanted:
            return None, False
        if self.units is not None and not self.units.gives_words:
            if not config.lexicon:
                if not isinstance(self.units, Phones):
                    raise ConfigError("decoder.lexicon: these units tell no words; give a pronunciation dictionary")
                return dict(self.units.pronunciations), True
            stress = any(name[-1].isdigit() for name in tokens)
            read = read_pronunciations(config.lexicon, stress=stress)
            return {self._normal(word): list(variants) for word, variants in read.items()}, True
        listed = [self._normal(word) for word in read_words(config.lexicon)] if config.lexicon else None
        if not separates(tokens):
            return {word: [[word]] for word in listed or tokens.names if word != BLANK}, True
        if listed is None:
            listed = model.words if model else []
            if config.closed and not listed:
                raise ConfigError("closed=true: needs a language model or a lexicon, whose words are those allowed")
        return {word: [list(word)] for word in [*listed, *hotwords]}, bool(config.closed or config.lexicon)

    def _normal(self, word: str) -> str:
        return word if self.units is None else self.units.normalize(word)

    def decode(self, log_probs: np.ndarray) -> list[Hypothesis]:
        """The ``nbest`` hypotheses of an utterance, best first; without frames, one empty hypothesis.

        Where only the words of a lexicon may come out and no sequence in the beam ends with a whole word, the result is
        the best sequence, cut after its last whole word.

        Args:
            log_probs: (frames, tokens), natural logarithms.

        Raises:
            DataError: another number of tokens, or a frame that holds a NaN.
        """
        stream = self.stream()
        stream.feed(log_probs)
        return stream.hypotheses()

    def stream(self) -> BeamStream:
        """The search of an utterance whose scores come in parts."""
        return BeamStream(self)

    def read(self, found: Found, log_probs: np.ndarray) -> list[Hypothesis]:
        """The hypotheses from what a search of ``log_probs`` (at least one frame) found."""
        if not len(found.rows):
            raise DataError("every token sequence has become impossible; the scores or the lexicon exclude them all")
        if np.isneginf(found.gains).all():
            best = int(found.scores.argmax())
            row = int(found.rows[best])
            while not found.whole[row]:
                row = int(found.parent[row])
            return [self._hypothesis(found, row, float(found.scores[best]), -1, log_probs)]
        scores = found.scores + found.gains
        order = np.argsort(-scores, kind="stable")[: self.config.nbest]
        return [
            self._hypothesis(found, int(found.rows[place]), float(scores[place]), int(found.last[place]), log_probs)
            for place in order
            if scores[place] > -math.inf
        ]

    def whole_words(self, trie: np.ndarray, row: int) -> list[object]:
        """The words of a prefix that every longer prefix keeps; as indices where they come from a lexicon."""
        from speechgru.decoding.words import CLOSED, JOINED

        path = []
        while row > 0:
            path.append(row)
            row = int(trie["parent"][row])
        path = path[::-1]
        if self.known.mode in (CLOSED, JOINED):
            return [word for word in trie["word"][path].tolist() if word >= 0]
        tokens = trie["token"][path].tolist()
        words = self.units.words(tokens, self.tokens) if self.units is not None else []
        return [word for word, _, end in words if end < len(tokens)]

    def without_priors(self, probabilities: np.ndarray) -> np.ndarray:
        """(frames, tokens), divided by the priors to the power ``prior_weight``; each frame sums to 1 again."""
        if not self.config.prior_weight:
            return probabilities
        scaled = probabilities * np.array(self.config.priors) ** -self.config.prior_weight
        return np.asarray(scaled / scaled.sum(1, keepdims=True))

    def _hypothesis(self, found: Found, row: int, score: float, last: int, log_probs: np.ndarray) -> Hypothesis:
        from speechgru.decoding.best_path import best_path
        from speechgru.decoding.words import CLOSED, JOINED

        path: list[int] = []
        while row > 0:
            path.append(row)
            row = int(found.parent[row])
        path = path[::-1]
        tokens, latest = found.token[path], found.latest[[0, *path]]
        starts, ends, _ = best_path(log_probs, tokens, found.born[path], latest)
        words: tuple[tuple[str, int, int], ...] = ()
        if self.known.mode in (CLOSED, JOINED):
            words = self._spans(found.word[path].tolist(), last, tokens)
        elif self.known.mode and self.units is not None:
            words = tuple(self.units.words(tokens.tolist(), self.tokens))
        return Hypothesis(tuple(tokens.tolist()), score, tuple(starts.tolist()), tuple(ends.tolist()), words)

    def _spans(self, completed: list[int], last: int, tokens: np.ndarray) -> tuple[tuple[str, int, int], ...]:
        """The words of a lexicon with the places of their tokens; ``completed`` holds the word that each token ends."""
        from speechgru.decoding.words import JOINED

        words, joined = self.known, self.known.mode == JOINED
        spans, start = [], 0
        for place, (word, token) in enumerate(zip(completed, tokens, strict=True)):
            if word >= 0:
                spans.append((self._names[word], start, place + joined))
                start = place + joined
            if words.boundary[token]:  # a space is not part of a word, the first piece of a word is
                start = place + int(words.symbol_first[token] == words.symbol_first[token + 1])
        if last >= 0:
            spans.append((self._names[last], start, len(tokens)))
        return tuple(spans)


class BeamStream:
    """The search of one utterance whose scores come in parts: it finds what ``decode`` finds, to the bit.

    The beam, with the state of the language model, is kept from part to part.
    """

    def __init__(self, decoder: BeamDecoder) -> None:
        self._decoder = decoder
        self._search: Search | None = None
        self._log_probs: list[np.ndarray] = []

    def feed(self, log_probs: np.ndarray) -> None:
        """Takes the next scores (frames, tokens); raises DataError as ``decode`` does."""
        from speechgru.decoding.prefix_search import advance, begin

        decoder, config = self._decoder, self._decoder.config
        log_probs = check_scores(log_probs, decoder.tokens)
        if not len(log_probs):
            return
        self._log_probs.append(log_probs)
        probabilities = decoder.without_priors(np.exp(log_probs, dtype=np.float64))
        search = begin(config.beam_size, decoder.known) if self._search is None else self._search
        self._search = advance(search, probabilities, config.token_threshold, decoder.known)

    def hypotheses(self) -> list[Hypothesis]:
        """What ``decode`` gives for all scores so far; the search can go on."""
        from speechgru.decoding.found import found

        if self._search is None:
            return [Hypothesis((), 0.0, (), ())]
        self._log_probs = [np.concatenate(self._log_probs)]
        return self._decoder.read(found(self._search, self._decoder.known), self._log_probs[0])

    def settled(self, share: float = 0.0) -> int:
        """The number of first words common to all sequences at least ``share`` times as likely as the best one.

        With a share of 0, all later hypotheses begin with these words.
        """
        search = self._search
        if search is None or not search.prefixes:
            return 0
        beam = search.beam[: search.prefixes]
        shared: list[object] | None = None
        for row in beam["row"][beam["total"] >= share * beam["total"].max()].tolist():
            words = self._decoder.whole_words(search.trie, row)
            same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(shared or words, words, strict=False))
            shared = [word for word, _ in same]
            if not shared:
                return 0
        return len(shared or ())
