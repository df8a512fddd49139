"""Decoders of CTC scores. Oracles: itertools over every path, hand-made scores, flashlight."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import sys
from collections.abc import Sequence

import numpy as np
import pytest

from speechgru.decoding import (
    BeamConfig,
    BeamDecoder,
    FlashlightConfig,
    FlashlightDecoder,
    GreedyConfig,
    GreedyDecoder,
)
from speechgru.decoding.arpa import write_arpa
from speechgru.decoding.kneser_ney import train
from speechgru.decoding.language_model import LanguageModel
from speechgru.errors import ConfigError, DataError
from speechgru.registry import build
from speechgru.text import Characters, CharactersConfig, Phones, PhonesConfig, Step
from speechgru.tokens import Tokens

LETTERS = Tokens(["<blank>", "|", "a", "b", "c"])
FEW = Tokens(["<blank>", "|", "a", "b"])
PIECES = Tokens(["<blank>", "▁", "▁a", "a", "b"])
ALL = 5000  # more than there are token sequences in the cases that are enumerated
SENTENCES = [text.split() for text in ("a b", "ab a", "b ab", "a ab b", "ab", "a b ab a", "ba", "b a")]


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    """A trigram model of the words a, b, ab and ba."""
    return LanguageModel.from_ngrams(train(SENTENCES, 3))


def random_scores(seed: int, frames: int, size: int, sharpness: float = 2.0) -> np.ndarray:
    """Log-probabilities (frames, size), float32."""
    logits = sharpness * np.random.default_rng(seed).standard_normal((frames, size))
    return (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)


def collapse(path: Sequence[int]) -> tuple[int, ...]:
    """Graves et al., ICML 2006: repeats merged, then blanks removed."""
    return tuple(token for token, _ in itertools.groupby(path) if token)


def test_greedy_is_the_collapsed_best_path_with_its_frames():
    """Oracle: groupby over the argmax."""
    for seed in range(20):
        scores = random_scores(seed, 30, len(LETTERS))
        (hypothesis,) = GreedyDecoder(LETTERS).decode(scores)
        path = scores.argmax(1)
        runs, frame = [], 0
        for token, group in itertools.groupby(path.tolist()):
            length = len(list(group))
            if token:
                runs.append((token, frame, frame + length))
            frame += length
        assert list(zip(hypothesis.tokens, hypothesis.starts, hypothesis.ends, strict=True)) == runs
        assert hypothesis.score == pytest.approx(float(scores.max(1).astype(float).sum()))


def test_greedy_without_frames_is_empty():
    """By hand."""
    (hypothesis,) = build("decoder", GreedyConfig(), LETTERS, None).decode(np.zeros((0, 5), np.float32))
    assert (hypothesis.tokens, hypothesis.score, hypothesis.starts, hypothesis.ends) == ((), 0.0, (), ())


def test_scores_that_fit_no_model_are_told_in_one_line():
    """By hand."""
    decoder = GreedyDecoder(LETTERS)
    with pytest.raises(DataError, match="shape \\(7, 4\\) for 5 tokens"):
        decoder.decode(np.zeros((7, 4), np.float32))
    scores = random_scores(0, 7, 5)
    scores[3, 2] = np.nan
    with pytest.raises(DataError, match="frame 3"):
        decoder.decode(scores)


@functools.cache
def every_path(frames: int, size: int) -> tuple[np.ndarray, list[tuple[int, ...]], np.ndarray]:
    """All paths, what they collapse to, and for each path which of these."""
    paths = np.array(list(itertools.product(range(size), repeat=frames)))
    number: dict[tuple[int, ...], int] = {}
    groups = [number.setdefault(collapse(path), len(number)) for path in paths.tolist()]
    return paths, list(number), np.array(groups)


def path_scores(scores: np.ndarray) -> np.ndarray:
    """Log-probability of every path."""
    return scores[np.arange(len(scores)), every_path(*scores.shape)[0]].sum(1, dtype=np.float64)


def exact_scores(scores: np.ndarray) -> dict[tuple[int, ...], float]:
    """Log-probability of every token sequence, by adding up all paths."""
    _, sequences, groups = every_path(*scores.shape)
    return dict(zip(sequences, np.log(np.bincount(groups, np.exp(path_scores(scores)))).tolist(), strict=True))


def word_scores(model: LanguageModel | None, words: list[str], config: BeamConfig) -> float:
    """What words add to a score, by the definition in BeamDecoder."""
    bonuses = dict(hot.split(":") for hot in config.hotwords)
    total = sum(float(bonuses.get(word, 0)) for word in words)
    if model:
        total += config.lm_weight * sum(model.log_probabilities(words)) + config.word_bonus * len(words)
        total += config.unknown_bonus * sum(word not in model.words for word in words)
    return total


def assert_same(hypotheses, expected: dict) -> None:
    """The n-best list is ``expected`` (score by key), best first; keys are tokens, or tokens and words."""
    with_words = isinstance(next(iter(expected))[0], tuple) if () not in expected else False
    got = {}
    for one in hypotheses:
        key = (one.tokens, tuple(word for word, _, _ in one.words)) if with_words else one.tokens
        assert key not in got
        got[key] = one.score
    assert set(got) == set(expected)
    for key, score in expected.items():
        assert got[key] == pytest.approx(score, abs=1e-9)
    assert [one.score for one in hypotheses] == sorted(got.values(), reverse=True)


@pytest.mark.parametrize("seed", range(8))
def test_the_whole_beam_is_exact(seed):
    """Oracle: every path, added up by what it collapses to. Scores and order of all sequences."""
    scores = random_scores(seed, 6, 4, sharpness=1 + seed / 2)
    assert_same(BeamDecoder(FEW, None, BeamConfig(beam_size=ALL, nbest=ALL)).decode(scores), exact_scores(scores))


def test_priors_are_divided_out_of_every_frame():
    """Oracle: every path over scores that were divided by hand. The times stay those of the scores as given."""
    scores = random_scores(3, 6, 4, sharpness=2)
    priors, weight = [0.6, 0.2, 0.15, 0.05], 0.5
    divided = np.exp(scores, dtype=np.float64) / np.array(priors) ** weight
    divided = np.log(divided / divided.sum(1, keepdims=True))
    config = BeamConfig(beam_size=ALL, nbest=ALL, priors=priors, prior_weight=weight)
    assert_same(BeamDecoder(FEW, None, config).decode(scores), exact_scores(divided))
    without = BeamDecoder(FEW, None, BeamConfig(beam_size=ALL, nbest=ALL, priors=priors)).decode(scores)
    assert_same(without, exact_scores(scores))


@pytest.mark.parametrize("seed", range(8))
def test_times_are_those_of_the_best_path(seed):
    """Oracle: the likeliest of all paths that collapse to the hypothesis."""
    scores = random_scores(seed, 6, 4)
    paths, sequences, groups = every_path(6, 4)
    likely = path_scores(scores)
    for hypothesis in BeamDecoder(FEW, None, BeamConfig(beam_size=ALL, nbest=ALL)).decode(scores):
        best = np.where(groups == sequences.index(hypothesis.tokens), likely, -np.inf).argmax()
        runs, frame = [], 0
        for token, group in itertools.groupby(paths[best].tolist()):
            length = len(list(group))
            if token:
                runs.append((frame, frame + length))
            frame += length
        assert list(zip(hypothesis.starts, hypothesis.ends, strict=True)) == runs


@pytest.mark.parametrize("beam_size", [1, 2, 3, 7, 20])
def test_a_small_beam_merges_equal_prefixes_and_adds_no_path_twice(beam_size):
    """Oracle: every path. What a prefix loses by pruning makes its score lower, never higher."""
    for seed in range(10):
        scores = random_scores(seed, 7, 4, sharpness=1.0)
        exact = exact_scores(scores)
        hypotheses = BeamDecoder(FEW, None, BeamConfig(beam_size=beam_size, nbest=ALL)).decode(scores)
        assert 1 <= len(hypotheses) <= beam_size
        assert len({one.tokens for one in hypotheses}) == len(hypotheses)
        for one in hypotheses:
            assert one.score <= exact[one.tokens] + 1e-9
            assert all(start < end for start, end in zip(one.starts, one.ends, strict=True))


def textbook_beam(scores: np.ndarray, beam_size: int) -> dict[tuple[int, ...], float]:
    """Hannun et al., arXiv 1408.2873, algorithm 1, without a language model: dictionaries of prefixes."""
    beam = {(): (1.0, 0.0)}  # of the paths that end in a blank, and in the last token
    for frame in np.exp(scores.astype(np.float64)):
        following: dict[tuple[int, ...], list[float]] = {}
        for prefix, (blank, spoken) in beam.items():
            following.setdefault(prefix, [0.0, 0.0])[0] += (blank + spoken) * frame[0]
            if prefix:
                following[prefix][1] += spoken * frame[prefix[-1]]
            for token in range(1, len(frame)):
                mass = blank if prefix[-1:] == (token,) else blank + spoken
                following.setdefault((*prefix, token), [0.0, 0.0])[1] += mass * frame[token]
        best = sorted(following, key=lambda prefix: -sum(following[prefix]))[:beam_size]
        beam = {prefix: (following[prefix][0], following[prefix][1]) for prefix in best}
    return {prefix: float(np.log(sum(pair))) for prefix, pair in beam.items()}


@pytest.mark.parametrize("beam_size", [1, 2, 4, 9])
def test_a_small_beam_is_the_one_of_the_textbook(beam_size):
    """Oracle: the algorithm on dictionaries. The same sequences in the beam with the same scores."""
    for seed in range(10):
        scores = random_scores(seed, 25, 5, sharpness=1.5)
        found = BeamDecoder(LETTERS, None, BeamConfig(beam_size=beam_size, nbest=ALL)).decode(scores)
        assert {one.tokens: one.score for one in found} == pytest.approx(textbook_beam(scores, beam_size), abs=1e-9)


def test_a_prefix_that_comes_back_is_the_one_that_was_dropped():
    """Oracle: the textbook's algorithm. By hand: in a beam of 4, "a" falls out in the second frame, comes back in the
    third, and in the fourth adds to "ab", which was there all the time."""
    frames = [[0.9, 0.1, 1e-9, 1e-9], [0.1, 1e-9, 0.85, 0.05], [0.1, 0.4, 0.5, 1e-9], [0.4, 1e-9, 0.6, 1e-9]]
    scores = np.log(np.array(frames))
    tokens = Tokens(["<blank>", "a", "b", "c"])
    found = BeamDecoder(tokens, None, BeamConfig(beam_size=4, nbest=4)).decode(scores)
    expected = textbook_beam(scores, 4)
    assert (1,) not in textbook_beam(scores[:2], 4)
    assert {(1,), (1, 2)} <= set(textbook_beam(scores[:3], 4))
    assert (1, 2) in expected
    assert {one.tokens: one.score for one in found} == pytest.approx(expected, abs=1e-9)


def test_the_best_prefix_needs_more_than_the_best_path():
    """By hand: the best path is all blank (0.36), the best sequence is a (0.24 + 0.24 + 0.16)."""
    scores = np.log(np.array([[0.6, 0.4], [0.6, 0.4]], np.float32))
    tokens = Tokens(["<blank>", "a"])
    assert GreedyDecoder(tokens).decode(scores)[0].tokens == ()
    (best,) = BeamDecoder(tokens).decode(scores)
    assert best.tokens == (1,)
    assert best.score == pytest.approx(np.log(0.64), abs=1e-6)


def test_a_token_below_the_threshold_extends_nothing():
    """By hand: b has 0.1 everywhere."""
    scores = np.log(np.tile(np.array([[0.5, 0.0001, 0.3999, 0.1]], np.float32), (5, 1)))
    found = BeamDecoder(FEW, None, BeamConfig(beam_size=ALL, nbest=ALL, token_threshold=0.2)).decode(scores)
    assert {token for one in found for token in one.tokens} == {2}


def test_long_utterances_keep_their_precision():
    """Oracle: torch's CTC loss in 64 bits. With one token a beam of 1,501 holds all that 3,000 frames can say."""
    import torch

    scores = random_scores(3, 3000, 2, sharpness=1.5) - 0.5
    (best,) = BeamDecoder(Tokens(["<blank>", "a"]), None, BeamConfig(beam_size=1501)).decode(scores)
    assert best.score < -745  # exp() of this is no positive float
    loss = torch.nn.functional.ctc_loss(
        torch.tensor(scores, dtype=torch.float64)[:, None],
        torch.tensor([best.tokens]),
        torch.tensor([3000]),
        torch.tensor([len(best.tokens)]),
        reduction="sum",
    )
    assert best.score == pytest.approx(-float(loss), rel=1e-9)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("closed", [False, True])
def test_a_language_model_scores_the_words_between_spaces(model, seed, closed):
    """Oracle: every path, and the words of what it says scored by LanguageModel in Python."""
    scores = random_scores(seed, 6, 4, sharpness=1.0)
    config = BeamConfig(beam_size=ALL, nbest=ALL, lm_weight=0.7, word_bonus=0.3, unknown_bonus=-2.0, closed=closed)
    units = Characters(CharactersConfig(normalization=[]))
    expected = {}
    for tokens, score in exact_scores(scores).items():
        words = units.text(tokens, FEW).split()
        if not closed or all(word in model.words for word in words):
            expected[tokens] = score + word_scores(model, words, config)
    found = BeamDecoder(FEW, units, config, model).decode(scores)
    assert_same(found, expected)
    for one in found:
        assert list(one.words) == units.words(one.tokens, FEW)


@pytest.mark.parametrize("seed", range(4))
def test_hot_words_count_when_whole_and_leave_no_trace_when_not(model, seed):
    """Oracle: every path, with the bonus for each whole word; also without a language model, and for unknown words."""
    scores = random_scores(seed, 6, 4, sharpness=1.0)
    units = Characters(CharactersConfig(normalization=[]))
    for known in (None, model):
        config = BeamConfig(beam_size=ALL, nbest=ALL, hotwords=["ab:3", "bb:2.5", "a:-1", "aba:4"])
        expected = {
            tokens: score + word_scores(known, units.text(tokens, FEW).split(), config)
            for tokens, score in exact_scores(scores).items()
        }
        assert_same(BeamDecoder(FEW, units, config, known).decode(scores), expected)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("closed", [False, True])
def test_pieces_spell_words_however_they_are_cut(model, seed, closed):
    """Oracle: every path; the words are the text, whichever pieces it is made of."""
    scores = random_scores(seed, 5, 5, sharpness=1.0)
    config = BeamConfig(beam_size=ALL, nbest=ALL, closed=closed)
    expected = {}
    for tokens, score in exact_scores(scores).items():
        words = "".join(PIECES.names[token] for token in tokens).replace("▁", " ").split()
        if not closed or all(word in model.words for word in words):
            expected[tokens] = score + word_scores(model, words, config)
    found = BeamDecoder(PIECES, None, config, model).decode(scores)
    assert_same(found, expected)
    if closed:
        for one in found:
            pieces = ["".join(PIECES.names[token] for token in one.tokens[first:last]) for _, first, last in one.words]
            assert [piece.removeprefix("▁") for piece in pieces] == [word for word, _, _ in one.words]


def test_phones_become_the_words_of_the_dictionary(tmp_path):
    """Oracle: every path, cut into words in every way the dictionary allows; homophones are two hypotheses."""
    dictionary = tmp_path / "words.dict"
    dictionary.write_text("two T U\ntoo T U\ntea T\ntea(2) T E\nyou U\n", encoding="utf-8")
    units = Phones(PhonesConfig(normalization=[], dictionary=str(dictionary)))
    tokens = units.tokens(["two"])
    assert tokens.names == ["<blank>", "E", "T", "U"]
    model = LanguageModel.from_ngrams(train([text.split() for text in ("two you", "tea too", "you two", "tea")], 2))

    def cuts(names: tuple[str, ...]) -> list[tuple[str, ...]]:
        if not names:
            return [()]
        return [
            (word, *rest)
            for word, variants in units.pronunciations.items()
            for phones in variants
            if names[: len(phones)] == phones
            for rest in cuts(names[len(phones) :])
        ]

    config = BeamConfig(beam_size=ALL, nbest=ALL, lm_weight=0.8, hotwords=["tea:1.5"])
    for seed in range(4):
        scores = random_scores(seed, 6, 4, sharpness=1.0)
        expected = {
            (sequence, words): score + word_scores(model, list(words), config)
            for sequence, score in exact_scores(scores).items()
            for words in cuts(tuple(tokens.names[token] for token in sequence))
        }
        found = BeamDecoder(tokens, units, config, model).decode(scores)
        got = {(one.tokens, tuple(word for word, _, _ in one.words)): one.score for one in found}
        assert len(got) == len(found)
        assert got == pytest.approx(expected, abs=1e-9)
        for one in found:
            spelled = [tuple(tokens.names[token] for token in one.tokens[first:last]) for _, first, last in one.words]
            assert all(
                phones in units.pronunciations[word] for (word, _, _), phones in zip(one.words, spelled, strict=True)
            )
            assert sum(map(len, spelled)) == len(one.tokens)


def test_where_no_word_ends_the_last_whole_one_is_given(tmp_path):
    """By hand: the scores say "ab a", the only word is ab."""
    words = tmp_path / "words.txt"
    words.write_text("# one\nab\n", encoding="utf-8")
    path = [2, 3, 1, 2]
    scores = np.log(np.where(np.eye(4)[path] > 0, 0.9999999, 1e-290))
    (best,) = BeamDecoder(FEW, None, BeamConfig(lexicon=str(words))).decode(scores)
    assert best.tokens[:2] == (2, 3)
    assert best.words == (("ab", 0, 2),)


def test_the_language_model_decides_between_words_that_sound_alike(tmp_path):
    """By hand: T U is said twice, and the model has seen "two too" alone."""
    dictionary = tmp_path / "words.dict"
    dictionary.write_text("too T U\ntwo T U\n", encoding="utf-8")
    units = Phones(PhonesConfig(normalization=[], dictionary=str(dictionary)))
    model = LanguageModel.from_ngrams(train([["two", "too"]] * 5, 2))
    scores = np.log(np.full((4, 3), 0.01) + 0.97 * np.eye(3)[[1, 2, 1, 2]]).astype(np.float32)
    (best,) = BeamDecoder(Tokens(["<blank>", "T", "U"]), units, BeamConfig(), model).decode(scores)
    assert best.words == (("two", 0, 2), ("too", 2, 4))
    assert (best.starts, best.ends) == ((0, 1, 2, 3), (1, 2, 3, 4))


def test_a_narrow_beam_sees_how_far_a_bonus_lifts():
    """By hand: b is unlikely after the space, and its bonus of 8 nats makes it the best; a beam of 2 finds it."""
    likely = np.array([[1e-6, 1e-6, 0.97, 1e-6], [1e-6, 0.97, 1e-6, 1e-6], [0.97, 0.01, 0.01, 0.01]], np.float32)
    units = Characters(CharactersConfig(normalization=[]))
    (best,) = BeamDecoder(FEW, units, BeamConfig(beam_size=2, hotwords=["b:8"])).decode(np.log(likely))
    assert best.words == (("a", 0, 1), ("b", 2, 3))


def test_hot_words_are_normalised_as_transcripts_are():
    """By hand: b is a little likelier than a, and the hot word is given in the other case."""
    units = Characters(CharactersConfig(normalization=[Step.lower]))
    scores = np.log(np.array([[0.1, 0.1, 0.35, 0.45]], np.float32))
    assert BeamDecoder(FEW, units).decode(scores)[0].tokens == (3,)
    assert BeamDecoder(FEW, units, BeamConfig(hotwords=["A:1"])).decode(scores)[0].tokens == (2,)


def test_no_frames_give_an_empty_hypothesis():
    """By hand."""
    (empty,) = BeamDecoder(FEW).decode(np.zeros((0, 4), np.float32))
    assert (empty.tokens, empty.score, empty.words) == ((), 0.0, ())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beam_size": 0}, "beam_size=0: at least 1"),
        ({"nbest": 0}, "nbest=0: at least 1"),
        ({"token_threshold": 1.0}, "token_threshold=1.0: from 0 to below 1"),
        ({"lm_weight": float("nan")}, "lm_weight=nan: at least 0"),
        ({"word_bonus": float("inf")}, "word_bonus=inf: from -100"),
        ({"hotwords": ["a:much"]}, "hotwords='a:much': word or word:bonus"),
        ({"hotwords": ["a b"]}, "hotwords='a b': word or word:bonus"),
        ({"hotwords": ["xyz"]}, "hotwords=xyz: not in the lexicon"),
        ({"closed": True}, "closed=true: needs a language model"),
        ({"prior_weight": 1.5}, "prior_weight=1.5: from 0 to 1"),
        ({"prior_weight": 0.5}, "prior_weight=0.5: needs priors"),
        ({"priors": [0.5, 0.5, 0.0, 0.0]}, "priors=0.0: each is above 0"),
        ({"priors": [0.5, 0.5]}, "priors: 2 for"),
    ],
)
def test_settings_out_of_range_are_told_in_one_line(settings, message):
    """By hand."""
    with pytest.raises(ConfigError, match=message.replace("(", "\\(")) as caught:
        BeamDecoder(FEW, None, BeamConfig(**settings))
    assert "\n" not in str(caught.value)


def test_what_belongs_to_other_tokens_is_told(tmp_path, model):
    """By hand: a lexicon and a model in capitals, scores of another model."""
    words = tmp_path / "words.txt"
    words.write_text("AB\n", encoding="utf-8")
    with pytest.raises(DataError, match="no word of the lexicon"):
        BeamDecoder(FEW, None, BeamConfig(lexicon=str(words)))
    words.write_text("ab\nb a\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"words\.txt:2: 'b a' is not one word"):
        BeamDecoder(FEW, None, BeamConfig(lexicon=str(words)))
    with pytest.raises(DataError, match=r"no word of the language model \(a, ab, b \.\.\.\)"):
        BeamDecoder(Tokens(["<blank>", "|", "A", "B"]), None, BeamConfig(), model)
    with pytest.raises(DataError, match="for 4 tokens"):
        BeamDecoder(FEW).decode(np.zeros((3, 5), np.float32))
    with pytest.raises(DataError, match="cannot be read"):
        BeamDecoder(FEW, None, BeamConfig(language_model=str(tmp_path / "none.arpa")))


flashlight = pytest.mark.skipif(
    not importlib.util.find_spec("flashlight"), reason="needs flashlight-text: pip install 'speechgru[decode]'"
)


@flashlight
@pytest.mark.parametrize("seed", range(5))
def test_flashlight_finds_the_same_sequences(seed):
    """Oracle: flashlight-text. Tokens, scores and order of the five best, beams wide enough for all."""
    scores = random_scores(seed, 7, 4)
    ours = BeamDecoder(FEW, None, BeamConfig(beam_size=ALL, nbest=5)).decode(scores)
    theirs = build("decoder", FlashlightConfig(beam_size=ALL, beam_threshold=1e9, nbest=5), FEW, None).decode(scores)
    assert [one.tokens for one in theirs] == [one.tokens for one in ours]
    assert [one.score for one in theirs] == pytest.approx([one.score for one in ours], abs=1e-4)
    assert [(one.starts, one.ends) for one in theirs] == [(one.starts, one.ends) for one in ours]


@flashlight
@pytest.mark.parametrize("seed", range(5))
def test_flashlight_finds_the_same_words_with_a_language_model(seed, tmp_path):
    """Oracle: flashlight-text with KenLM, on noisy scores of sentences the model can say.

    flashlight adds up sequences that differ in spaces alone, so the two need not agree on noise; and the utterance ends
    in a space, without which flashlight ends no word.
    """
    path = tmp_path / "words.arpa"
    write_arpa(path, train(SENTENCES, 3))
    units = Characters(CharactersConfig(normalization=[]))
    spoken = [frame for token in units.encode("a ab b ba a ", FEW) for frame in (token, token, 0)] + [1]
    logits = np.random.default_rng(seed).standard_normal((len(spoken), 4))
    logits[np.arange(len(spoken)), spoken] += 4.0
    scores = (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)
    settings = {"language_model": str(path), "lm_weight": 0.7, "word_bonus": 0.4}
    (ours,) = BeamDecoder(FEW, units, BeamConfig(beam_size=500, closed=True, **settings)).decode(scores)
    (theirs,) = FlashlightDecoder(FEW, units, FlashlightConfig(beam_size=500, beam_threshold=1e9, **settings)).decode(
        scores
    )
    assert [word for word, _, _ in theirs.words] == [word for word, _, _ in ours.words]
    assert len(theirs.words) >= 3


def test_flashlight_that_is_missing_is_told(monkeypatch):
    """By hand: the import is made to fail."""
    monkeypatch.setitem(sys.modules, "torchaudio.models.decoder", None)
    with pytest.raises(ConfigError, match=r"speechgru\[decode\]"):
        FlashlightDecoder(FEW)
    with pytest.raises(ConfigError, match="beam_size=0"):
        FlashlightConfig(beam_size=0)
