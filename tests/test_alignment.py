"""Forced alignment: the path, the times of words, and the files they are written in."""

from __future__ import annotations

import difflib
import itertools
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import speechgru
from speechgru.cli import main
from speechgru.commands.recordings import load_recognizer
from speechgru.data.corpora.an4 import AN4, AN4Config
from speechgru.data.corpora.synth import record
from speechgru.decoding import GreedyConfig
from speechgru.decoding.alignment import align
from speechgru.decoding.transcription import Word
from speechgru.errors import ConfigError, DataError
from speechgru.recognizer import Recognizer
from speechgru.synthesis import speak
from speechgru.transcripts.alignment import align_recording
from speechgru.transcripts.alignment_formats import alignment_json, ctm, textgrid


def log_probs(frames: int, tokens: int, seed: int) -> np.ndarray:
    raw = 2 * np.random.default_rng(seed).standard_normal((frames, tokens))
    return (raw - np.log(np.exp(raw).sum(1, keepdims=True))).astype(np.float32)


# The path


@settings(deadline=None, max_examples=40)
@given(
    frames=st.integers(1, 6), targets=st.lists(st.integers(1, 2), min_size=1, max_size=4), seed=st.integers(0, 10_000)
)
def test_the_path_is_the_best_of_all(frames: int, targets: list[int], seed: int) -> None:
    """Oracle: every path of so many frames, by enumeration; infeasible texts are those no path says."""
    scores = log_probs(frames, 3, seed)
    paths = {
        path: sum(scores[t, token] for t, token in enumerate(path))
        for path in itertools.product(range(3), repeat=frames)
        if [token for token, _ in itertools.groupby(path) if token] == targets
    }
    if not paths:
        with pytest.raises(DataError, match=f"the text needs .* and the recording has {frames}"):
            align(scores, targets)
        return
    found = align(scores, targets)
    best = max(paths, key=lambda path: paths[path])
    assert found.score == pytest.approx(paths[best], abs=1e-4)
    runs, at = [], 0
    for token, group in itertools.groupby(best):
        length = len(list(group))
        runs += [(token, at, at + length)] if token else []
        at += length
    assert list(zip(found.tokens, found.starts, found.ends, strict=True)) == runs


@pytest.mark.parametrize(("frames", "tokens", "length"), [(30, 3, 8), (300, 29, 60), (900, 29, 100)])
def test_the_path_is_that_of_torchaudio(frames: int, tokens: int, length: int) -> None:
    """Oracle: torchaudio.functional.forced_align, the same frames for every token."""
    functional = pytest.importorskip("torchaudio.functional", reason="needs the extra torchaudio")
    for seed in range(5):
        targets = np.random.default_rng(seed).integers(1, tokens, length).tolist()
        targets[1] = targets[0]
        scores = log_probs(frames, tokens, seed)
        path, each = functional.forced_align(torch.from_numpy(scores)[None], torch.tensor([targets]), blank=0)
        found = align(scores, targets)
        said = np.zeros(frames, np.int64)
        for token, start, end in zip(found.tokens, found.starts, found.ends, strict=True):
            said[start:end] = token
        assert said.tolist() == path[0].tolist()
        assert found.score == pytest.approx(float(each.double().sum()), abs=1e-3)


def test_no_text_cannot_be_aligned() -> None:
    """One clear line; also for scores of a model that has diverged, or that rule the text out."""
    with pytest.raises(DataError, match="the text has no words"):
        align(log_probs(5, 3, 0), [])
    for wrong in (np.full((5, 3), np.nan), np.array([[-0.7, -0.7, -np.inf]] * 5)):
        with pytest.raises(DataError, match="gives the text no probability"):
            align(wrong, [2])


# Words


def test_words_are_found_where_they_are_said(tones) -> None:
    """Oracle: the true times. Frames are of 20 ms and windows of 25: a boundary may be off by three frames."""
    rng = np.random.default_rng(1)
    for _ in range(5):
        words = tones.words(12, rng)
        waveform, times = tones.say(words, rng)
        found = align_recording(tones.recognizer, waveform, " ".join(words).lower(), source_rate=tones.sample_rate)
        assert [word.word for word in found.words] == words, "normalised as in training"
        assert np.abs(np.array([(word.start_s, word.end_s) for word in found.words]) - times).max() < 0.06
        assert "".join(token.word for token in found.tokens) == "|".join(words)
        assert min(word.confidence for word in found.words) > 0.5
        assert found.duration_s == len(waveform) / tones.sample_rate


def test_a_word_that_is_not_said_is_told_by_its_confidence(tones) -> None:
    """Known answer: the fourth word of the text is another than the one spoken."""
    waveform, _ = tones.say(["AB", "CD", "BA", "CAD", "DC"], np.random.default_rng(2))
    found = align_recording(tones.recognizer, waveform, "AB CD BA BDC DC", source_rate=tones.sample_rate)
    sure = [word.confidence for word in found.words]
    assert min(range(5), key=sure.__getitem__) == 3
    assert sure[3] < 0.5 < 0.8 < min(sure[:3])


def test_words_of_transcribe_and_of_align_are_the_same(tones) -> None:
    """Oracle: greedy decoding. Given its own text the best path is found again, so words, times and confidences."""
    waveform, _ = tones.say(tones.words(8, np.random.default_rng(3)), np.random.default_rng(3))
    heard = tones.recognizer.transcribe(waveform, source_rate=tones.sample_rate)
    aligned = align_recording(tones.recognizer, waveform, heard.text, source_rate=tones.sample_rate)
    assert [(w.word, w.start_s, w.end_s) for w in aligned.words] == [(w.word, w.start_s, w.end_s) for w in heard.words]
    assert [w.confidence for w in aligned.words] == pytest.approx([w.confidence for w in heard.words])


@pytest.fixture
def english() -> Recognizer:
    """The model of SPEECHGRU_MODEL, a folder, or the transcription model that ships inside."""
    try:
        return load_recognizer(os.environ.get("SPEECHGRU_MODEL"), "cpu", None, "ctc")
    except ConfigError as error:
        pytest.skip(f"no transcription model: {error}; SPEECHGRU_MODEL names the folder of one")


# Words of AN4 and of the recipe synth_sentences alike.
WORDS = ["one", "two", "three", "five", "six", "eight", "nine", "ten", "twelve", "twenty", "forty", "sixty"]
WORDS += ["hundred", "stop", "repeat"]


def off_by_ms(found: list[Word], true: list[Any]) -> np.ndarray:
    """How late each word begins and ends, in ms, (words, 2)."""
    pairs = zip(found, true, strict=True)
    return 1e3 * np.array([(one.start_s - other.start_s, one.end_s - other.end_s) for one, other in pairs])


def said_of(name: str, off: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median and 95 % of the absolute errors of starts and ends in ms, shown under ``pytest -s``."""
    half, most = np.percentile(np.abs(off), [50, 95], axis=0)
    for side, late, median, limit in zip(("starts", "ends"), off.mean(0), half, most, strict=True):
        print(f"{name}, {side} of {len(off)} words: late by {late:+.0f} ms, off by {median:.0f}, 95 % by {limit:.0f}")
    return half, most


@pytest.mark.slow
def test_word_times_on_synthesised_speech(english: Recognizer) -> None:
    """Oracle: the synthesiser's own word times, over six voices, in noise and with silence around.

    Bounds, in frames of the net (30 ms in AN4's): half of the boundaries within 2, 95 % of the starts within 5 and of
    the ends within 8. Of what transcribe hears rightly it is the half: now and then another word passes for the one.
    """
    pytest.importorskip("espeakng_loader", reason="needs the extra synth: pip install 'speechgru[synth]'")
    rng = np.random.default_rng(0)
    aligned, heard, said, greedy = [], [], 0, english.decoder(GreedyConfig())
    for voice in (f"{accent}+{speaker}" for accent in ("en-us", "en-gb") for speaker in ("f2", "m3", "Andy")):
        for _ in range(5):
            words = [str(word) for word in rng.choice(WORDS, 6)]
            speech = speak(" ".join(words), voice, rate_wpm=int(rng.integers(120, 170)))
            assert [word.text for word in speech.words] == words
            waveform, start_s = record(speech.waveform, speech.sample_rate, 16000, rng, room_s=0.8)
            true = [word._replace(start_s=start_s + word.start_s, end_s=start_s + word.end_s) for word in speech.words]
            found = align_recording(english, waveform, " ".join(words), source_rate=16000)
            aligned.append(off_by_ms(found.words, true))
            transcribed = english.transcribe(waveform, source_rate=16000, decoder=greedy).words
            matches = difflib.SequenceMatcher(
                None, [word.word.lower() for word in transcribed], words, autojunk=False
            ).get_matching_blocks()
            heard += [off_by_ms(transcribed[i : i + n], true[j : j + n]) for i, j, n in matches if n]
            said += len(words)
    frame_ms = 1e3 * english.frame_s
    half, most = said_of("align", np.concatenate(aligned))
    assert (half <= 2 * frame_ms).all()
    assert (most <= np.array([5, 8]) * frame_ms).all()
    half, _ = said_of("transcribe", np.concatenate(heard))
    assert (half <= 2 * frame_ms).all()
    assert sum(map(len, heard)) > said / 3


@pytest.mark.slow
def test_word_times_on_recorded_speech(english: Recognizer, recordings: Path) -> None:
    """Oracle: PocketSphinx's word times of five sentences of an audio book, whose words the net has never heard.

    A sanity check, neither is the truth: half of the boundaries within three frames of 30 ms.
    """
    off = []
    for path in sorted((recordings / "librivox_align").glob("*.flac")):
        words = json.loads(path.with_suffix(".json").read_text())["w"]
        true = [Word(one["t"], one["b"], one["b"] + one["d"], 1) for one in words if one["t"] != "<sil>"]
        text = path.with_suffix(".txt").read_text().replace("<s>", "").replace("</s>", "").strip()
        off.append(off_by_ms(align_recording(english, str(path), text).words, true))
    half, _ = said_of("align", np.concatenate(off))
    assert len(off) == 5
    assert (half < 90).all()


# Files

ODD = [Word('say "hi"', 0.0, 0.25, 0.5), Word("ünd", 0.25, 0.5, 1.0), Word("c", 1.0, 1.123456, 0.25)]


def read_textgrid(text: str) -> dict[str, list[tuple[float, float, str]]]:
    """An own strict reader of Praat's long format: every count, bound and class is checked on the way."""
    lines = iter(text.split("\n"))

    def take(pattern: str) -> str:
        line = next(lines)
        found = re.fullmatch(pattern, line.strip())
        assert found, (pattern, line)
        return found[1] if found.groups() else ""

    def quoted() -> str:
        return r'"((?:[^"]|"")*)"'

    take(r'File type = "ooTextFile"'), take(r'Object class = "TextGrid"'), take("")
    assert float(take(r"xmin = (\S+)")) == 0
    end = float(take(r"xmax = (\S+)"))
    take(r"tiers\? <exists>")
    tiers = {}
    count = int(take(r"size = (\d+)"))
    take(r"item \[\]:")
    for tier in range(1, count + 1):
        take(rf"item \[{tier}\]:"), take('class = "IntervalTier"')
        name = take(f"name = {quoted()}").replace('""', '"')
        assert (float(take(r"xmin = (\S+)")), float(take(r"xmax = (\S+)"))) == (0, end)
        rows, at = [], 0.0
        for number in range(1, int(take(r"intervals: size = (\d+)")) + 1):
            take(rf"intervals \[{number}\]:")
            start, stop = float(take(r"xmin = (\S+)")), float(take(r"xmax = (\S+)"))
            assert start == at, "no hole"
            assert stop > start
            rows.append((start, stop, take(f"text = {quoted()}").replace('""', '"')))
            at = stop
        assert at == end
        tiers[name] = rows
    assert list(lines) == [""]
    return tiers


def test_textgrid() -> None:
    """Oracle: a strict reader of Praat's format; quotes and letters come back, gaps are intervals without text."""
    tiers = read_textgrid(textgrid({"words": ODD, 'a "tier"': []}, 2.0))
    assert tiers == {
        "words": [
            (0.0, 0.25, 'say "hi"'),
            (0.25, 0.5, "ünd"),
            (0.5, 1.0, ""),
            (1.0, 1.123456, "c"),
            (1.123456, 2.0, ""),
        ],
        'a "tier"': [(0.0, 2.0, "")],
    }
    assert read_textgrid(textgrid({"words": ODD[:2]}, 0.5))["words"][-1] == (0.25, 0.5, "ünd"), "no empty interval"


def test_ctm() -> None:
    """Oracle: NIST's columns, read back by splitting at white space."""
    rows = [line.split() for line in ctm(ODD[1:], "my tape").splitlines()]
    assert rows[0] == ["my_tape", "1", "0.250", "0.250", "ünd", "1.0000"]
    assert rows[1:] == [["my_tape", "1", "1.000", "0.123", "c", "0.2500"]]


def test_alignment_json() -> None:
    """Read back by json."""
    values = json.loads(alignment_json(ODD, ODD[:1], "a.wav", 2.0))
    assert values["text"] == 'say "hi" ünd c'
    assert values["words"][2] == {"word": "c", "start": 1.0, "end": 1.123, "confidence": 0.25}
    assert values["tokens"] == [{"token": 'say "hi"', "start": 0.0, "end": 0.25, "confidence": 0.5}]


# The command


@pytest.fixture
def said(tones, tmp_path: Path) -> tuple[str, str]:
    """A recording of AB C DA, and the model's folder."""
    waveform, _ = tones.say(["AB", "C", "DA"], np.random.default_rng(4))
    soundfile.write(tmp_path / "said it.wav", waveform, tones.sample_rate)
    tones.recognizer.save(tmp_path / "model")
    return str(tmp_path / "said it.wav"), str(tmp_path / "model")


def test_align_writes_each_format(said, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Oracle: the formats agree with one another; a text file does what the text does."""
    audio, model = said
    (tmp_path / "text.txt").write_text("ab c\nda\n")
    assert main(["align", audio, "AB C DA", "-m", model]) == 0
    grid = read_textgrid(capsys.readouterr().out)
    assert main(["align", audio, str(tmp_path / "text.txt"), "-m", model, "-f", "json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert main(["align", audio, "AB C DA", "-m", model, "-f", "ctm", "-o", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out' / 'said it.ctm'}\n"
    rows = [line.split() for line in (tmp_path / "out" / "said it.ctm").read_text().splitlines()]
    words = [(word["word"], word["start"], word["end"]) for word in values["words"]]
    assert [word for word, _, _ in words] == ["AB", "C", "DA"]
    assert [(row[4], float(row[2])) for row in rows] == [(word, start) for word, start, _ in words]
    assert [(text, round(start, 3), round(stop, 3)) for start, stop, text in grid["words"] if text] == words
    assert [text for _, _, text in grid["tokens"] if text] == list("AB|C|DA")


def test_a_text_that_is_not_said_is_warned_of(said, capsys: pytest.CaptureFixture[str]) -> None:
    """Known answers: what was said brings no word; another text brings one line, with what was heard instead."""
    audio, model = said
    assert main(["align", audio, "AB C DA", "-m", model, "-f", "ctm"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["align", audio, "BA DAD", "-m", model, "-f", "ctm"]) == 0
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 2
    (warning,) = captured.err.splitlines()
    assert warning.startswith(f"speechgru align: warning: {audio}: the text is hardly what is said: ")
    assert warning.endswith("than what the model hears (AB C DA)")


def test_right_texts_are_not_doubted_and_others_are(recordings: Path) -> None:
    """Oracle: AN4's transcripts, of a third of its test: at most 2 % of right texts and at least 95 % of others."""
    if not (recordings / "an4").is_dir():
        pytest.skip("SPEECHGRU_DATA has no an4/")
    recognizer = speechgru.load("an4")
    utterances = AN4(AN4Config(root=str(recordings / "an4"))).utterances("test")[::3]
    right = [align_recording(recognizer, one.audio, one.text).is_doubtful for one in utterances]
    by_length = sorted(utterances, key=lambda one: len(one.text))
    pairs = [(one, two) for one, two in itertools.pairwise(by_length) if one.text != two.text]
    wrong = [align_recording(recognizer, one.audio, two.text).is_doubtful for one, two in pairs]
    assert len(right) > 40
    assert np.mean(right) <= 0.02
    assert np.mean(wrong) >= 0.95
    hello = align_recording(recognizer, utterances[0].audio, "hello world")
    assert hello.shortfall > 5
    greedy = recognizer.decoder(GreedyConfig())
    assert hello.heard == recognizer.transcribe(utterances[0].audio, decoder=greedy).text


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("", 2, "TEXT is empty"),
        ("  \t ", 2, "TEXT is empty"),
        ("!?", 1, "'!?' has no words"),
        ("AB XY", 1, "'X', 'Y' not among the 6 tokens of the model"),
        ("ABCD " * 400, 1, "is it the text of this recording?"),
        ("missing.txt", 2, "no such text file"),
    ],
)
def test_a_text_that_cannot_be_aligned(
    said, text: str, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line on standard error that tells what is wrong, and nothing on standard output."""
    audio, model = said
    assert main(["align", audio, text, "-m", model]) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1
    assert not captured.out


def test_a_recording_that_cannot_be_aligned(said, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken, missing, a folder, shorter than a frame: a line each."""
    _, model = said
    (tmp_path / "broken.wav").write_bytes(b"RIFF....")
    soundfile.write(tmp_path / "short.wav", np.full(20, 0.1), 8000)
    for audio, code, message in (
        ("broken.wav", 1, "truncated or damaged"),
        ("missing.wav", 1, "no such file"),
        ("", 2, "a folder"),
        ("short.wav", 1, "the recording has 1;"),
    ):
        assert main(["align", str(tmp_path / audio), "AB", "-m", model]) == code
        captured = capsys.readouterr()
        assert message in captured.err
        assert len(captured.err.splitlines()) == 1
