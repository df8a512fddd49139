"""Decoders whose scores come in parts: the utterance at once is the oracle, to the bit."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechgru.decoding import BeamConfig, BeamDecoder, GreedyDecoder
from speechgru.decoding.beam import BeamStream
from speechgru.decoding.kneser_ney import train
from speechgru.decoding.language_model import LanguageModel
from speechgru.errors import DataError
from speechgru.text import Characters, CharactersConfig, Phones, PhonesConfig
from speechgru.tokens import Tokens

LETTERS = Tokens(["<blank>", "|", "a", "b", "c"])
SENTENCES = [text.split() for text in ("a b", "ab a", "b ab", "a ab b", "ab", "a b ab a", "ba", "b a c")]
MODEL = LanguageModel.from_ngrams(train(SENTENCES, 3))
CHARACTERS = Characters(CharactersConfig(normalization=[]))


def phone_decoder():
    units = Phones(PhonesConfig())
    units.pronunciations = {"AB": [["a", "b"]], "BA": [["b", "a"]], "C": [["c"]], "CA": [["c", "a"]]}
    return BeamDecoder(Tokens(["<blank>", "a", "b", "c"]), units, BeamConfig(beam_size=9, hotwords=["CA:2"]))


DECODERS = {
    "greedy": GreedyDecoder(LETTERS, CHARACTERS),
    "plain": BeamDecoder(LETTERS, CHARACTERS, BeamConfig(beam_size=7, nbest=3)),
    "open": BeamDecoder(LETTERS, CHARACTERS, BeamConfig(beam_size=5, hotwords=["ab:1"]), MODEL),
    "closed": BeamDecoder(
        LETTERS,
        CHARACTERS,
        BeamConfig(closed=True, token_threshold=1e-3, priors=[5, 2, 1, 1, 1], prior_weight=0.3),
        MODEL,
    ),
    "phones": phone_decoder(),
}


def sharp_scores(seed, frames, size):
    """Log-probabilities (frames, size) of a model that is mostly sure, with runs of the blank."""
    rng = np.random.default_rng(seed)
    logits = 3 * rng.standard_normal((frames, size))
    logits[:, 0] += 3 * np.sin(np.arange(frames))
    return (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)


@pytest.mark.parametrize("name", DECODERS)
@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    frames=st.integers(0, 120),
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=4).filter(any),
)
def test_parts_give_what_the_whole_gives(name, seed, frames, sizes):
    """Oracle: decode. Tokens, words, times and scores are the same to the bit, after every part too."""
    decoder = DECODERS[name]
    scores = sharp_scores(seed, frames, len(decoder.tokens))
    stream, at = decoder.stream(), 0
    for size in itertools.cycle(sizes):
        if at >= frames:
            break
        stream.feed(scores[at : at + size])
        at += size
        assert stream.hypotheses() == decoder.decode(scores[:at])
    assert stream.hypotheses() == decoder.decode(scores)


@pytest.mark.parametrize("name", DECODERS)
def test_what_is_settled_stays(name):
    """Oracle: the words of the end; every count is one that the final hypothesis begins with, and they rise."""
    decoder = DECODERS[name]
    seen = 0
    for seed in range(12):
        scores = sharp_scores(seed, 80, len(decoder.tokens))
        (final, *_) = decoder.decode(scores)
        wanted = words_of(decoder, final)
        stream, before = decoder.stream(), 0
        for frame in scores:
            stream.feed(frame[None])
            count = stream.settled()
            assert count >= before
            assert words_of(decoder, stream.hypotheses()[0])[:count] == wanted[:count]
            assert len(wanted) >= count
            before = count
        seen += before
    assert seen > 20  # there is something to see


def words_of(decoder, hypothesis):
    spans = hypothesis.words or decoder.units.words(hypothesis.tokens, decoder.tokens)
    return [word for word, _, _ in spans]


@pytest.mark.parametrize("share", [0.0, 1e-3, 0.5])
def test_the_settled_words_are_those_of_all_likely_ones(share):
    """Oracle: the longest common beginning of the words in the n-best list, of all that are likely enough."""
    decoder = BeamDecoder(LETTERS, CHARACTERS, BeamConfig(beam_size=6, nbest=6))
    seen = 0
    for seed in range(20):
        stream = decoder.stream()
        stream.feed(sharp_scores(seed, 40, len(LETTERS)))
        best = stream.hypotheses()[0].score
        beam = [one for one in stream.hypotheses() if one.score >= best + np.log(share + 1e-300)]
        whole = [
            [word for word, _, end in CHARACTERS.words(one.tokens, LETTERS) if end < len(one.tokens)] for one in beam
        ]
        shared = list(itertools.takewhile(lambda column: len(set(column)) == 1, zip(*whole, strict=False)))
        assert stream.settled(share) == len(shared)
        seen += len(shared)
    assert seen > 5


def test_wrong_scores_are_told_and_change_nothing():
    for decoder in DECODERS.values():
        stream, scores = decoder.stream(), sharp_scores(1, 20, len(decoder.tokens))
        stream.feed(scores[:10])
        with pytest.raises(DataError, match="NaN"):
            stream.feed(np.full((1, len(decoder.tokens)), np.nan, np.float32))
        stream.feed(scores[10:])
        assert stream.hypotheses() == decoder.decode(scores)


def test_planted_words_of_the_best_alone_are_seen(monkeypatch):
    """The test above must fail where what the best one says is taken for settled."""
    settled = BeamStream.settled
    monkeypatch.setattr(BeamStream, "settled", lambda stream: settled(stream, share=1.0))
    with pytest.raises(AssertionError):
        test_what_is_settled_stays("plain")
