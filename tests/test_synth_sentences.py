"""Synthesised sentences: their grammar, their splits, and the times of their words."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("espeakng_loader", reason="needs the extra synth: pip install 'speechgru[synth]'")

from speechgru.data.corpora import synth
from speechgru.data.corpora.corpus import SPLITS
from speechgru.data.corpora.synth_sentences import (
    SynthSentences,
    SynthSentencesConfig,
    cardinal,
    say_sentence,
    sentence,
    split_of_sentence,
)
from speechgru.decoding.silence import levels_db
from speechgru.errors import ConfigError, DataError
from speechgru.synthesis import Espeak, Word


def value(words: list[str]) -> int:
    """The number that number words say, by a rule of its own: multiply by hundred and thousand, add the rest."""
    names = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    small = {name: number for number, name in enumerate(f"{names}seventeen eighteen nineteen".split())}
    tens = {name: 10 * number for number, name in enumerate(["twenty", "thirty", "forty", "fifty", "sixty"], 2)}
    small |= tens | {"seventy": 70, "eighty": 80, "ninety": 90}
    total, part = 0, 0
    for word in words:
        if word == "thousand":
            total, part = 1000 * part, 0
        elif word == "hundred":
            total, part = total + 100 * part, 0
        elif word != "and":
            part += small[word]
    return total + part


def test_numbers_say_what_they_are() -> None:
    """Oracle: read back by a rule of its own; each of the ten thousand has words of its own."""
    every = [cardinal(number) for number in range(10_000)]
    assert [value(text.split()) for text in every] == list(range(10_000))
    assert len(set(every)) == 10_000
    assert cardinal(4032) == "four thousand and thirty two"
    assert (cardinal(0), cardinal(100), cardinal(1110)) == ("zero", "one hundred", "one thousand one hundred and ten")
    with pytest.raises(ConfigError, match="number=10000: from 0 to 9999"):
        cardinal(10_000)


def test_sentences_of_every_kind_and_no_sentence_in_two_splits() -> None:
    """Oracle: set algebra over the sentences of a corpus; what each kind begins with."""
    sizes = {"train": 2100, "valid": 300, "test": 600}
    said = {split: [sentence(split, number) for number in range(sizes[split])] for split in SPLITS}
    for split, texts in said.items():
        assert texts[:20] == [sentence(split, number) for number in range(20)]
        assert {split_of_sentence(text) for text in texts} == {split}
        firsts = Counter(text.split()[0] for text in texts)
        for word in ("turn", "open", "set", "play", "call", "spell"):
            assert firsts[word] >= 5, (split, word)
        assert sum("o'clock" in text or "past" in text or "to " in text for text in texts) > 20
        assert all(text == text.lower() and "  " not in text for text in texts)
    assert said["train"][:20] != [sentence("train", number, seed=1) for number in range(20)]
    words = {split: {word for text in texts for word in text.split()} for split, texts in said.items()}
    assert not words["test"] - words["train"]
    assert len(words["train"]) == 119
    assert {letter for letter in words["train"] if len(letter) == 1} == set("bcdefghijklmnopqrstuvwxyz")


def test_words_are_where_the_sound_is() -> None:
    """Oracle: the energy of the waveform, in a quiet one; without its words the clip is what its noise is."""
    found = 0
    for number in range(12):
        text, waveform, words = say_sentence("test", number, Espeak().voices("test", 30)[number % 6])
        assert " ".join(word.text for word in words) == text
        spans = np.zeros(len(waveform), bool)
        for word in words:
            assert 0.02 < word.end_s - word.start_s < 1.2
            spans[round(word.start_s * 16000) : round(word.end_s * 16000)] = True
        assert np.abs(waveform).max() < 0.9
        inside, outside = (float(np.mean(waveform[part].astype(np.float64) ** 2)) for part in (spans, ~spans))
        assert inside > 4 * outside
        if inside > 100 * outside:
            levels = levels_db(waveform, 16000)
            loud = 0.01 * np.flatnonzero(levels > levels.max() - 25)
            assert loud[0] == pytest.approx(words[0].start_s, abs=0.15)
            assert loud[-1] == pytest.approx(words[-1].end_s, abs=0.15)
            found += 1
    assert found >= 4, "the noise is 10 to 45 dB below the speech"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> SynthSentences:
    """A small corpus, made."""
    root = tmp_path_factory.mktemp("made") / "sentences"
    made = SynthSentences(SynthSentencesConfig(root=str(root), sentences=100, voices=10))
    made.prepare(progress=False)
    return made


def word_times(corpus: SynthSentences, split: str) -> list[list[Word]]:
    """When the words of each utterance of a split are spoken, by its CTM; what is spoken as one is one entry."""
    found: dict[str, list[Word]] = {}
    for line in (corpus.folder / f"{split}.ctm").read_text("utf-8").splitlines():
        name, _, start_s, duration_s, word = line.split()
        start = float(start_s)
        found.setdefault(name, []).append(Word(start, start + float(duration_s), word.replace("_", " ")))
    return [found[Path(one.audio).stem] for one in corpus.utterances(split)]


def test_prepare_makes_the_corpus(corpus: SynthSentences) -> None:
    """Oracle: the sentences made one by one; soundfile; voices of one split only; a second run changes nothing."""
    root = Path(corpus.config.root)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    corpus.prepare(progress=False)
    assert before == {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    for split, count in (("train", 70), ("valid", 10), ("test", 20)):
        utterances, times = corpus.utterances(split), word_times(corpus, split)
        assert len(utterances) == len(times) == count
        for number, (one, words) in enumerate(zip(utterances, times, strict=True)):
            info = soundfile.info(one.audio)
            assert (info.samplerate, info.channels, info.duration) == (16000, 1, one.duration_s)
            assert one.text == sentence(split, number) == " ".join(word.text for word in words)
            assert one.speaker in Espeak().voices(split, 10)
        _, waveform, words = say_sentence("valid", 3, Espeak().voices("valid", 10)[0])
        written, _ = soundfile.read(corpus.utterances("valid")[3].audio)
        np.testing.assert_allclose(written, waveform, atol=1 / 32768)
        np.testing.assert_allclose(
            [(word.start_s, word.end_s) for word in word_times(corpus, "valid")[3]],
            [(word.start_s, word.end_s) for word in words],
            atol=2e-4,
        )
    assert corpus.labels() is None


def test_what_is_not_this_corpus_is_not_taken_for_it(corpus: SynthSentences, tmp_path: Path) -> None:
    """Oracle: the documented messages; another size, the corpus of words."""
    root = corpus.config.root
    with pytest.raises(DataError, match="was made with sentences=100, not sentences=200"):
        SynthSentences(SynthSentencesConfig(root=root, sentences=200, voices=10)).utterances("train")
    with pytest.raises(DataError, match="run `speechgru prepare synth_sentences`"):
        SynthSentences(SynthSentencesConfig(root=str(tmp_path / "none"))).utterances("train")
    with pytest.raises(DataError, match="was made with"):
        synth.Synth(synth.SynthConfig(root=root)).prepare(progress=False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sentences": 99}, "sentences=99: from 100 to 100000"),
        ({"voices": 9}, "voices=9: from 10 to 380"),
        ({"sample_rate": 4000}, "sample_rate=4000: from 8000"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_config_ranges(settings: dict[str, int], message: str) -> None:
    """Oracle: the documented ranges."""
    with pytest.raises(ConfigError, match=message):
        SynthSentencesConfig(**settings)
