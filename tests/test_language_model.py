"""n-gram language models. Oracles: a dictionary of the ARPA file, sums over the vocabulary, sums by hand."""

from __future__ import annotations

import gzip
import io
import json
import math
import random
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from speechgru.cli import main
from speechgru.decoding.arpa import END, START, UNKNOWN, NGrams, read_arpa, write_arpa
from speechgru.decoding.kneser_ney import train
from speechgru.decoding.language_model import LanguageModel
from speechgru.errors import ConfigError, DataError

ARPA = """\
\\data\\
ngram 1=5
ngram 2=4
ngram 3=1

\\1-grams:
-99 <s> -0.3
-0.7 </s>
-1.5 <unk>
-0.6 a -0.2
-0.9 b -0.4

\\2-grams:
-0.2 <s> a -0.1
-0.5 a b -0.25
-0.4 b a
-0.3 b </s>

\\3-grams:
-0.15 <s> a b

\\end\\
"""


def backoff_log10(ngrams: NGrams, history: tuple[str, ...], word: str) -> float:
    """The definition of the ARPA format, on dictionaries."""
    word = word if (word,) in ngrams[0] else UNKNOWN
    history = history[len(history) - len(ngrams) + 1 :] if len(history) >= len(ngrams) else history
    found = ngrams[len(history)].get((*history, word)) if len(history) < len(ngrams) else None
    if found:
        return found[0]
    weight = ngrams[len(history) - 1].get(history, (0.0, 0.0))[1]
    return weight + backoff_log10(ngrams, history[1:], word)


def random_sentences(seed: int, count: int = 300) -> list[list[str]]:
    """Sentences of a small random grammar, some words rare."""
    draw = random.Random(seed)
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "oh"]
    return [[words[int(10 * draw.random() ** 2)] for _ in range(draw.randint(1, 6))] for _ in range(count)]


@pytest.fixture
def arpa(tmp_path: Path) -> Path:
    """A file written by hand."""
    path = tmp_path / "hand.arpa"
    path.write_text(ARPA, encoding="utf-8")
    return path


def test_a_sentence_scored_by_hand(arpa):
    """By hand, log10: <s> a b is a trigram; a after "a b" backs off to "b a"; c is unknown; the end has no context."""
    model = LanguageModel.read(arpa)
    scores = model.log_probabilities(["a", "b", "a", "c"])
    expected = [-0.2, -0.15, -0.25 - 0.4, -0.2 - 1.5, -0.7]
    assert [score / math.log(10) for score in scores] == pytest.approx(expected)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_the_automaton_is_the_backoff_of_the_dictionary(order, tmp_path):
    """Oracle: the definition of ARPA's backoff on the dictionaries, on seen and unseen sentences."""
    ngrams = train(random_sentences(order), order)
    path = tmp_path / "model.arpa.gz"
    write_arpa(path, ngrams)
    read, model = read_arpa(path), LanguageModel.read(path)
    for sentence in [*random_sentences(99, 50), ["never", "one"], []]:
        words = [START, *sentence, END]
        expected = [
            math.log(10) * backoff_log10(read, tuple(words[:place]), words[place]) for place in range(1, len(words))
        ]
        assert model.log_probabilities(sentence) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_probabilities_after_every_context_add_up_to_one(order):
    """Oracle: the sum over all words, the end and the unknown word, for every context of the model."""
    ngrams = train(random_sentences(7), order)
    vocabulary = [words[0] for words in ngrams[0] if words != (START,)]
    contexts = {words for level in ngrams[:-1] for words in level} | {(), ("never",)}
    for context in contexts - {words for words in contexts if END in words}:
        total = sum(10 ** backoff_log10(ngrams, context, word) for word in vocabulary)
        assert total == pytest.approx(1, abs=1e-9), context


def test_a_context_without_a_discount():
    """One discount is exactly 0 here, which leaves nothing for the words not seen after some context."""
    text = ["a", "c a c", "d", "b a a a", "d", "a", "b a a c", "c d b b", "c b d c", "d", "b a", "b a c c d"]
    ngrams = train([line.split() for line in text], 3)
    assert min(weight for level in ngrams for _, weight in level.values()) == -99.0
    model = LanguageModel.from_ngrams(ngrams)
    assert math.isfinite(model.perplexity([["a", "c", "d"], ["b", "b"]])[0])


def test_kneser_ney_by_hand():
    """By hand: Chen & Goodman's eq. (23) with KenLM's fallback discounts, for which this text is small enough.

    Bigrams: <s> a 2, a b 1, b </s> 1, a </s> 1. Unigram counts are numbers of predecessors: a 1, b 1, </s> 2.
    """
    ngrams = train([["a", "b"], ["a"]], 2)
    mass = (0.5 + 0.5 + 1.0) / 4  # discounts 0.5, 0.5, 1.0 of the counts 1, 1, 2
    uniform = mass / 4  # a, b, </s>, <unk>
    a, end = 0.5 / 4 + uniform, 1.0 / 4 + uniform
    assert 10 ** ngrams[0][("a",)][0] == pytest.approx(a)
    assert 10 ** ngrams[0][(END,)][0] == pytest.approx(end)
    assert 10 ** ngrams[0][(UNKNOWN,)][0] == pytest.approx(uniform)
    assert 10 ** ngrams[1][(START, "a")][0] == pytest.approx((2 - 1) / 2 + 1 / 2 * a)
    assert 10 ** ngrams[1][("a", END)][0] == pytest.approx((1 - 0.5) / 2 + 1 / 2 * end)
    assert 10 ** ngrams[0][("a",)][1] == pytest.approx((0.5 + 0.5) / 2)
    perplexity, known, unknown = LanguageModel.from_ngrams(ngrams).perplexity([["a", "c"]])
    # After the unknown word nothing is known: the end has its unigram.
    assert (known, unknown) == (2, 1)
    assert perplexity == pytest.approx((((2 - 1) / 2 + 1 / 2 * a) * end) ** -0.5)


def test_the_discounts_of_a_large_text_are_those_of_its_counts():
    """Oracle: Chen & Goodman's eq. (26) by hand: n1 to n4 of the bigrams are 40, 30, 20, 10."""
    from speechgru.decoding.kneser_ney import _discounts

    counts = {(str(n), str(times)): times for times, many in enumerate((40, 30, 20, 10), 1) for n in range(many)}
    y = 40 / (40 + 60)
    expected = (1 - 2 * y * 30 / 40, 2 - 3 * y * 20 / 30, 3 - 4 * y * 10 / 20)
    assert _discounts(counts) == pytest.approx(expected)  # type: ignore[arg-type]


def test_seen_sentences_are_likelier_with_higher_orders():
    """By hand: a fixed phrase is nearly certain for a trigram model and not for a unigram model."""
    text = [["please", "erase", "all"]] * 20 + [["all", "please"], ["erase"]]
    low, high = (LanguageModel.from_ngrams(train(text, order)).perplexity(text[:1])[0] for order in (1, 3))
    assert high < 1.5 < low


def test_what_is_written_is_read_back(tmp_path):
    """Oracle: the n-grams themselves; the same text gives the same bytes."""
    ngrams = train(random_sentences(1), 3)
    for name in ("a.arpa", "b.arpa.gz"):
        write_arpa(tmp_path / name, ngrams)
        once = (tmp_path / name).read_bytes()
        write_arpa(tmp_path / name, ngrams)
        assert (tmp_path / name).read_bytes() == once
        read = read_arpa(tmp_path / name)
        assert [list(level) for level in read] == [list(level) for level in ngrams]
        for level, expected in zip(read, ngrams, strict=True):
            for words, values in level.items():
                assert values == pytest.approx(expected[words], abs=1e-5)
    assert gzip.decompress((tmp_path / "b.arpa.gz").read_bytes()) == (tmp_path / "a.arpa").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("-0.5 a b", "minus a b"), r"hand\.arpa:15: 'minus a b -0\.25': a number, 2 words"),
        (("-0.5 a b", "0.5 a b"), r"hand\.arpa:15: 0\.5 is not the logarithm"),
        (("-0.5 a b", "-0.5 a"), r"hand\.arpa:15: "),
        (("-0.5 a b", "-0.5 a z"), r"hand\.arpa:15: 'a z' has a word without a unigram"),
        (("ngram 2=4", "ngram 2=5"), r"hand\.arpa:19: 4 2-grams, 5 were announced"),
        (("ngram 2=4", "ngram 4=4"), r"hand\.arpa:3: .*order 2 is expected"),
        (("\\end\\\n", ""), r"hand\.arpa:20: ends before"),
        (("\\3-grams:", "\\4-grams:"), r"hand\.arpa:19: .*3-grams"),
        (("\\data\\", "data"), r"hand\.arpa: is not an ARPA"),
        (("ngram 1=5\nngram 2=4\nngram 3=1\n", ""), r"hand\.arpa:\d+: the language model is empty"),
    ],
)
def test_a_broken_file_is_told_with_its_line(change, message, arpa):
    """By hand: one thing wrong at a time."""
    assert change[0] in ARPA
    arpa.write_text(ARPA.replace(*change), encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        LanguageModel.read(arpa)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_text_are_told(tmp_path):
    """By hand: missing, a folder, binary, cut gzip, a model without words."""
    path = tmp_path / "x.arpa.gz"
    for content, message in ((b"\x00\xff\xfe", "not UTF-8"), (gzip.compress(ARPA.encode())[:40], "broken gzip")):
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            LanguageModel.read(path)
    with pytest.raises(DataError, match="cannot be read"):
        LanguageModel.read(tmp_path / "none.arpa")
    with pytest.raises(DataError, match="cannot be read"):
        LanguageModel.read(tmp_path)
    with pytest.raises(DataError, match="has no words"):
        LanguageModel.from_ngrams([{(START,): (-99.0, 0.0), (END,): (0.0, 0.0)}])


def test_texts_that_teach_nothing_are_told():
    """By hand."""
    with pytest.raises(DataError, match="has no words"):
        train([[], []], 3)
    with pytest.raises(DataError, match="holds </s>"):
        train([["a", "</s>"]], 3)
    with pytest.raises(ConfigError, match="order=0"):
        train([["a"]], 0)


def test_the_command_reads_texts_manifests_tables_and_standard_input(tmp_path, capsys, monkeypatch):
    """Oracle: train() on the same sentences."""
    (tmp_path / "a.txt").write_text("Go on, please!\n\nstop\n", encoding="utf-8")
    (tmp_path / "b.jsonl").write_text(json.dumps({"audio_filepath": "x.wav", "text": "go back"}) + "\n", "utf-8")
    table = "audio\ttext\tsplit\nx.wav\tstop it\ttrain\ny.wav\tnever this\ttest\n"
    (tmp_path / "c.tsv").write_text(table, encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"go on\n")))
    sources = [str(tmp_path / name) for name in ("a.txt", "b.jsonl", "c.tsv")]
    output = tmp_path / "out.arpa"
    words = ["lm", *sources, "-", "-o", str(output), "--order", "2", "--split", "train", "--test", sources[0]]
    assert main(words) == 0
    sentences = [text.split() for text in ("GO ON PLEASE", "STOP", "GO BACK", "STOP IT", "GO ON")]
    expected = train(sentences, 2)
    assert read_arpa(output)[1] == pytest.approx(
        {key: pytest.approx(value, abs=1e-5) for key, value in expected[1].items()}
    )
    captured = capsys.readouterr()
    assert f"{output}: 9 1-grams" in captured.err
    perplexity = LanguageModel.from_ngrams(expected).perplexity(sentences[:2])[0]
    assert f"perplexity {perplexity:.2f}\t6 words and ends\t0 unknown words" in captured.out


def test_the_command_reads_a_corpus_and_the_transcripts_of_sphinx(tmp_path, capsys, monkeypatch):
    """Oracle: train() on the same sentences. Of a corpus the training split is learned and valid is the test."""
    rows = ["audio\ttext\tsplit", *(f"{split}.wav\tgo {split}\t{split}" for split in ("train", "valid", "test"))]
    (tmp_path / "table.tsv").write_text("\n".join(rows), encoding="utf-8")
    (tmp_path / "cmu.transcription").write_text("<s> GO ON </s> (an1-x-b)\n\nSTOP (an2-x-b)\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    lists = [f"{split}=table.tsv" for split in ("train", "valid", "test")]
    words = ["lm", "manifest", *lists, "cmu.transcription", "-o", "a.arpa", "--order", "2"]
    assert main([*words, "--test", "manifest"]) == 0
    expected = train([["GO", "TRAIN"], ["GO", "ON"], ["STOP"]], 2)
    for level, learned in zip(expected, read_arpa("a.arpa"), strict=True):
        assert learned == {key: pytest.approx(value, abs=1e-5) for key, value in level.items()}
    assert "manifest\tperplexity" in (output := capsys.readouterr().out)
    assert output.endswith("2 words and ends\t1 unknown words\n")
    assert main([*words, "--split", "test"]) == 0
    assert ("TEST",) in read_arpa("a.arpa")[0]
    Path("manifest").write_text("a file\n", encoding="utf-8")  # a file of that name is meant then
    assert main(["lm", "manifest", "-o", "b.arpa"]) == 0
    assert ("FILE",) in read_arpa("b.arpa")[0]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["none.txt", "-o", "x.arpa"], 1, "none.txt: cannot be read"),
        (["empty.txt", "-o", "x.arpa"], 1, "no words"),
        (["good.txt", "-o", "x.txt"], 2, "ends in .arpa"),
        (["good.txt", "-o", "no/x.arpa"], 2, "its folder is not there"),
        (["good.txt", "-o", "x.arpa", "--order", "0"], 2, "--order 0: from 1 to 9"),
        (["good.txt", "-o", "x.arpa", "--normalize", "uper"], 2, "--normalize uper"),
        (["good.txt", "-o", "x.arpa", "--split", "dev"], 2, "--split dev"),
        (["good.txt"], 2, "-o"),
        (["good.txt", "root=x", "-o", "x.arpa"], 2, "root=x: a setting of a corpus, and none is named"),
        (["an4", "root=nowhere", "-o", "x.arpa"], 1, "nowhere"),
        (["an4", "rot=nowhere", "-o", "x.arpa"], 2, "did you mean 'root'?"),
        (["bad.transcription", "-o", "x.arpa"], 1, "bad.transcription:2: is not"),
    ],
)
def test_the_command_tells_what_is_wrong_in_one_line(words, code, message, tmp_path, capsys, monkeypatch):
    """By hand."""
    monkeypatch.chdir(tmp_path)
    Path("empty.txt").write_text(" \n\n", encoding="utf-8")
    Path("good.txt").write_text("go\n", encoding="utf-8")
    Path("bad.transcription").write_text("<s> GO </s> (a)\nGO\n", encoding="utf-8")
    assert main(["lm", *words]) == code
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not Path("x.arpa").exists()


HEAD = b"\\data\\\nngram 1=%d\n\n\\1-grams:\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: b"\n" * 50_000_000, "more than 10000 empty lines"),
        (lambda: b"x\n" * 50_000_000, "is not an ARPA language model"),
        (lambda: HEAD % 10**8 + b"-1\ta\n" * 10_000_000, r"bomb\.arpa\.gz:6: 'a' is there twice"),
        (lambda: HEAD % 2 + b"-1\ta\n-1\tb\n-1\tc\n", r"bomb\.arpa\.gz:7: more than the 2 1-grams"),
        (lambda: HEAD.replace(b"%d", b"9" * 5000), r"bomb\.arpa\.gz:2: the language model is empty"),
        (lambda: HEAD % 9 + b"-1\t" + b"a" * 50_000_000, r"bomb\.arpa\.gz:5: is a line of more than"),
        (
            lambda: HEAD % 10**8 + b"".join(b"-1\t%d%s\n" % (number, b"a" * 900) for number in range(20_000)),
            "unpacks to more than 16,777,216 bytes",
        ),
    ],
)
def test_a_packed_bomb_is_refused_while_it_is_read(content: Callable[[], bytes], message: str, tmp_path) -> None:
    """Oracle: Python's memory, less than 80 MB; unpacked these are up to 100 MB, and thirty times that as n-grams."""
    path = tmp_path / "bomb.arpa.gz"
    path.write_bytes(gzip.compress(content(), 1))
    tracemalloc.start()
    with pytest.raises(DataError, match=message) as caught:
        LanguageModel.read(path)
    assert tracemalloc.get_traced_memory()[1] < 80e6
    tracemalloc.stop()
    assert len(str(caught.value)) < 500
