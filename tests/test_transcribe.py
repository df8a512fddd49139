"""Transcripts of recordings of any length: their text against that of the parts, their formats, and the command."""

from __future__ import annotations

import difflib
import itertools
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

import speechgru
from speechgru.cli import main
from speechgru.decoding.transcription import Word
from speechgru.errors import ConfigError, ModelError
from speechgru.evaluation.error_rate import edit_distance
from speechgru.recordings import parts as parts_module
from speechgru.recordings.lines import JSON_ESCAPES
from speechgru.recordings.names import file_names
from speechgru.transcripts import PiecesConfig, Transcript, segments, transcribe_recordings
from speechgru.transcripts.cues import CuesConfig, cues
from speechgru.transcripts.formats import record, srt, timestamp, to_json, tsv, txt, vtt

# Long recordings


@pytest.mark.parametrize(("gap_s", "seed"), [((0.12, 0.6), 1), ((0.12, 0.2), 2), ((0.12, 0.2), 3)])
def test_a_long_recording_says_what_its_parts_say(
    tones: Any, tmp_path: Path, gap_s: tuple[float, float], seed: int
) -> None:
    """Oracle: the words of parts that the recognizer hears right alone; with pauses to cut at and without.

    Two of 180 words may differ: the recognizer, never taught so long, may mishear one anywhere. A seam that loses
    or doubles a word does so at each of ten to fifty seams.
    """
    rng, rate = np.random.default_rng(seed), tones.sample_rate
    parts: list[tuple[list[str], np.ndarray, list[tuple[float, float]]]] = []
    while len(parts) < 30:
        words = tones.words(6, rng)
        waveform, times = tones.say(words, rng, gap_s, edge_s=0.08)
        if tones.recognizer.transcribe(waveform, source_rate=rate).text == " ".join(words):
            parts.append((words, waveform, times))
    whole = np.concatenate([waveform for _, waveform, _ in parts])
    soundfile.write(tmp_path / "long.flac", whole, rate)
    starts = np.cumsum([0, *(len(waveform) for _, waveform, _ in parts[:-1])]) / rate
    spoken = [word for words, _, _ in parts for word in words]
    true = [(at + a, at + b) for at, (_, _, times) in zip(starts, parts, strict=True) for a, b in times]
    for longest_s in (4.0, 7.3):
        config = PiecesConfig(longest_s=longest_s, pause_s=0.3, overlap_s=1.0)
        (found,) = transcribe_recordings(tones.recognizer, [(str(tmp_path / "long.flac"), "")], config=config)
        heard = [word for segment in found.segments for word in segment.words]
        assert found.text.split() == [word.word for word in heard]
        assert edit_distance(spoken, found.text.split()) <= 2
        assert found.duration_s == pytest.approx(len(whole) / rate)
        assert all(a.end_s <= b.start_s for a, b in itertools.pairwise(heard))
        matching = difflib.SequenceMatcher(None, spoken, found.text.split(), autojunk=False).get_matching_blocks()
        pairs = [(block.a + i, block.b + i) for block in matching for i in range(block.size)]
        assert len(pairs) >= 178
        for place, other in pairs:
            assert (heard[other].start_s, heard[other].end_s) == pytest.approx(true[place], abs=0.06)


def test_the_number_of_samples_held_does_not_grow(tones: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted: samples read less those whose text is there, at every block of a recording of four minutes."""
    rate, batch_size, config = tones.sample_rate, 4, PiecesConfig(longest_s=4, overlap_s=1)
    rng = np.random.default_rng(0)
    parts = [tones.say(tones.words(6, rng), rng, (0.12, 0.6))[0] for _ in range(80)]
    soundfile.write(tmp_path / "long.wav", np.concatenate(parts), rate)
    monkeypatch.setattr(parts_module, "_BLOCK_S", 1.0)
    read, done, most = 0, 0, 0
    original_blocks, original_transcribe = parts_module.read_blocks, tones.recognizer.transcribe

    def blocks(*arguments: Any, **settings: Any) -> Any:
        nonlocal read, most
        for block in original_blocks(*arguments, **settings):
            read += len(block[0])
            most = max(most, read - done)
            yield block

    def transcribe(waveforms: list[np.ndarray], **settings: Any) -> Any:
        nonlocal done
        assert len(waveforms) <= batch_size
        done += sum(map(len, waveforms))
        return original_transcribe(waveforms, **settings)

    monkeypatch.setattr(parts_module, "read_blocks", blocks)
    monkeypatch.setattr(tones.recognizer, "transcribe", transcribe)
    (found,) = transcribe_recordings(
        tones.recognizer, [(str(tmp_path / "long.wav"), "")], batch_size=batch_size, config=config
    )
    assert not found.error
    assert read > 150 * rate
    assert most <= ((batch_size + 1) * 4 + 1) * rate


def test_recordings_of_a_batch_make_no_difference(tones: Any, tmp_path: Path) -> None:
    """Oracle: each recording alone. Long and short ones mixed, so that batches hold pieces of several."""
    rng = np.random.default_rng(5)
    items = []
    for number, count in enumerate([2, 40, 1, 12, 25, 3]):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, tones.say(tones.words(count, rng), rng, (0.12, 0.5))[0], tones.sample_rate)
        items.append((str(path), ""))
    config = PiecesConfig(longest_s=4, overlap_s=1)
    together = list(transcribe_recordings(tones.recognizer, items, batch_size=3, config=config))
    for item, found in zip(items, together, strict=True):
        (alone,) = transcribe_recordings(tones.recognizer, [item], batch_size=1, config=config)
        assert (found.audio, found.text) == (item[0], alone.text)
        assert found.text
        a, b = ([(w.start_s, w.confidence) for s in one.segments for w in s.words] for one in (found, alone))
        assert np.array(a) == pytest.approx(np.array(b), abs=1e-4)


def test_a_short_recording_is_not_cut(tones: Any, tmp_path: Path) -> None:
    """Oracle: Recognizer.transcribe of the file, to the bit: a recording up to longest_s is one piece."""
    rng = np.random.default_rng(6)
    soundfile.write(tmp_path / "a.wav", tones.say(tones.words(20, rng), rng, (0.12, 0.9))[0], tones.sample_rate)
    expected = tones.recognizer.transcribe(str(tmp_path / "a.wav"))
    (found,) = transcribe_recordings(tones.recognizer, [(str(tmp_path / "a.wav"), "")])
    assert [word for segment in found.segments for word in segment.words] == expected.words
    assert found.duration_s == expected.duration_s


def test_a_piece_the_model_cannot_take_fails_alone(tones: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: every batch that holds more than 3 s fails as if the memory were full; the short ones are done."""
    rng = np.random.default_rng(7)
    items = []
    for name, count in (("a", 2), ("b", 14), ("c", 3)):
        soundfile.write(tmp_path / f"{name}.wav", tones.say(tones.words(count, rng), rng)[0], tones.sample_rate)
        items.append((str(tmp_path / f"{name}.wav"), ""))
    original = tones.recognizer.transcribe

    def refuse(waveforms: list[np.ndarray], **settings: Any) -> Any:
        if max(map(len, waveforms)) > 3 * tones.sample_rate:
            raise RuntimeError("out of memory")
        return original(waveforms, **settings)

    monkeypatch.setattr(tones.recognizer, "transcribe", refuse)
    found = list(transcribe_recordings(tones.recognizer, items))
    assert [transcript.error for transcript in found] == ["", "out of memory", ""]
    assert found[0].text
    assert found[2].text


def test_wrong_calls(tones: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One clear line each."""
    with pytest.raises(ConfigError, match="batch_size=0"):
        list(transcribe_recordings(tones.recognizer, [], batch_size=0))
    with pytest.raises(ModelError, match="classification head; transcribe needs one with a ctc head"):
        list(transcribe_recordings(speechgru.load("commands"), []))


# Formats

WORDS = [
    Word("one", 0.0, 0.5, 0.9),
    Word("<two>", 0.6, 1.0, 0.8),
    Word("three", 1.0, 1.5, 0.7),
    Word("b-->a", 3599.9994, 3600.5, 1.0),
    Word("e\tf&", 3661.0, 3661.2346, 0.5),
]
SAID = Transcript("a/b.wav", segments(WORDS, pause_s=1.0), 3700.0)


@pytest.mark.parametrize(
    ("seconds", "short", "long"),
    [
        (0.0, "00:00.000", "00:00:00,000"),
        (59.9996, "01:00.000", "00:01:00,000"),
        (61.2344, "01:01.234", "00:01:01,234"),
        (3599.9994, "59:59.999", "00:59:59,999"),
        (3600.0, "01:00:00.000", "01:00:00,000"),
        (360000.5, "100:00:00.500", "100:00:00,500"),
    ],
)
def test_timestamps(seconds: float, short: str, long: str) -> None:
    """By hand, as openai/whisper's format_timestamp writes them."""
    assert timestamp(seconds) == short
    assert timestamp(seconds, ",", hours=True) == long


def test_subtitles_by_hand() -> None:
    """Oracle: the files written by hand. SubRip keeps < and &, WebVTT must not; an arrow would end the times."""
    assert vtt(SAID) == (
        "WEBVTT\n\n"
        "00:00.000 --> 00:01.500\none &lt;two&gt; three\n\n"
        "59:59.999 --> 01:00:00.500\nb-&gt;a\n\n"
        "01:01:01.000 --> 01:01:01.235\ne\tf&amp;\n\n"
    )
    assert srt(SAID) == (
        "1\n00:00:00,000 --> 00:00:01,500\none <two> three\n\n"
        "2\n00:59:59,999 --> 01:00:00,500\nb->a\n\n"
        "3\n01:01:01,000 --> 01:01:01,235\ne\tf&\n\n"
    )
    assert txt(SAID) == "one <two> three\nb-->a\ne\tf&\n"
    assert tsv(SAID) == "start\tend\ttext\n0\t1500\tone <two> three\n3599999\t3600500\tb-->a\n3661000\t3661235\te f&\n"
    assert (vtt(Transcript("a")), srt(Transcript("a")), txt(Transcript("a"))) == ("WEBVTT\n\n", "", "")


def test_highlighted_words() -> None:
    """By hand: each word underlined while it is spoken, the plain line in the gap after the first."""
    shown = srt(Transcript("a", segments(WORDS[:3])), CuesConfig(highlight_words=True)).split("\n\n")
    assert [block.split("\n")[1:] for block in shown[:-1]] == [
        ["00:00:00,000 --> 00:00:00,500", "<u>one</u> <two> three"],
        ["00:00:00,500 --> 00:00:00,600", "one <two> three"],
        ["00:00:00,600 --> 00:00:01,000", "one <u><two></u> three"],
        ["00:00:01,000 --> 00:00:01,500", "one <two> <u>three</u>"],
    ]


@pytest.mark.parametrize(("width", "count"), [(None, None), (1, None), (12, None), (12, 1), (20, 2), (1000, 3)])
def test_cues_hold_every_word_in_lines_that_fit(width: int | None, count: int | None) -> None:
    """Invariants: words and times kept, no line too wide but of one word, no cue too high, none fuller than needed."""
    rng = np.random.default_rng(0)
    words = [Word("x" * int(rng.integers(1, 15)), i * 0.5, i * 0.5 + 0.4, 1.0) for i in range(50)]
    found = list(cues(segments(words), CuesConfig(width, count)))
    assert [word for cue in found for line in cue.lines for word in line] == words
    for cue in found:
        assert (cue.start_s, cue.end_s) == (cue.lines[0][0].start_s, cue.lines[-1][-1].end_s)
        assert count is None or len(cue.lines) <= count
        texts = [" ".join(word.word for word in line) for line in cue.lines]
        assert width is None or all(len(text) <= width or " " not in text for text in texts)
        if width is not None:
            for text, following in itertools.pairwise(texts):
                assert len(text) + 1 + len(following.split()[0]) > width
        else:
            assert len(texts) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((0, None, False), "max_line_width=0: at least 1"),
        ((10, 0, False), "max_line_count=0: at least 1"),
        ((None, 2, False), "no effect without max_line_width"),
    ],
)
def test_impossible_cues(settings: tuple[Any, Any, bool], message: str) -> None:
    """Each names the key and the value."""
    with pytest.raises(ConfigError, match=message):
        CuesConfig(*settings)


def test_json() -> None:
    """Read back by json: whisper's keys; words only where asked for; a name that is not UTF-8 survives."""
    values = json.loads(to_json(record(SAID)))
    assert values["text"] == "one <two> three b-->a e\tf&"
    assert values["segments"][0] == {"id": 0, "start": 0.0, "end": 1.5, "text": "one <two> three", "confidence": 0.8}
    values = json.loads(to_json(record(SAID, word_timestamps=True)))
    assert values["segments"][1]["words"] == [{"word": "b-->a", "start": 3599.999, "end": 3600.5, "confidence": 1.0}]
    failed = to_json(record(Transcript("bad\udcff.wav", error="no")))
    assert json.loads(failed.encode("utf-8", JSON_ESCAPES)) == {"audio": "bad\udcff.wav", "error": "no"}


# The command


@pytest.fixture
def said(tones: Any, tmp_path: Path) -> tuple[Path, str]:
    """A folder of three recordings, one in a folder below and of a name that is there twice, and the model's folder."""
    rng, folder = np.random.default_rng(8), tmp_path / "audio"
    (folder / "sub").mkdir(parents=True)
    for name, words in (("a.wav", ["AB", "C"]), ("sub/a.flac", ["DA", "BC", "CAD"]), ("b.wav", ["D"])):
        soundfile.write(folder / name, tones.say(words, rng)[0], tones.sample_rate)
    tones.recognizer.save(tmp_path / "model")
    return folder, str(tmp_path / "model")


def test_a_folder_a_glob_and_a_file(said, capsys: pytest.CaptureFixture[str]) -> None:
    """Known answer: what was said. A folder gives PATH <tab> TEXT, also of one file; a file its text alone."""
    folder, model = said
    assert main(["transcribe", str(folder), "-m", model]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{folder}/a.wav\tAB C\n{folder}/b.wav\tD\n{folder}/sub/a.flac\tDA BC CAD\n"
    assert not captured.err
    assert main(["transcribe", str(folder / "sub"), "-m", model]) == 0
    assert capsys.readouterr().out == f"{folder}/sub/a.flac\tDA BC CAD\n"
    assert main(["transcribe", str(folder / "*" / "a.*"), "-m", model, "--batch_size", "1"]) == 0
    assert capsys.readouterr().out == f"{folder}/sub/a.flac\tDA BC CAD\n"
    assert main(["transcribe", str(folder / "a.wav"), "-m", model, "--threads", "1"]) == 0
    assert capsys.readouterr().out == "AB C\n"


def test_the_options_of_the_search_reach_it(said, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Known answers: the beam hears what was said; a lexicon without CAD forbids it; a hot word wins over the sound."""
    folder, model = said
    audio = str(folder / "sub" / "a.flac")
    (tmp_path / "words.txt").write_text("da\nbc\nca\n")
    for options, expected in (
        (["--beam_size", "5"], "DA BC CAD"),
        (["--lexicon", str(tmp_path / "words.txt")], "DA BC CA"),
        (["--hotwords", "ba:90"], "BA"),
    ):
        assert main(["transcribe", audio, "-m", model, *options]) == 0
        assert expected in capsys.readouterr().out
    assert main(["transcribe", audio, "-m", model, "--lm", str(tmp_path / "none.arpa")]) == 1
    assert "none.arpa" in capsys.readouterr().err


def test_standard_input(said, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Known answer: what was said."""
    folder, model = said
    with open(folder / "a.wav", "rb") as file:
        monkeypatch.setattr("sys.stdin", type("Stdin", (), {"buffer": file}))
        assert main(["transcribe", "-", "-m", model, "-f", "json", "--word_timestamps"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert (values["audio"], values["text"]) == ("-", "AB C")
    assert [word["word"] for word in values["segments"][0]["words"]] == ["AB", "C"]


def test_all_formats_of_all_files(said, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The files agree with one another; equal names keep as much of their folders as they need; again: the same."""
    folder, model = said
    out = tmp_path / "out"
    for _ in range(2):
        assert main(["transcribe", str(folder), "-m", model, "-f", "all", "-o", str(out)]) == 0
        printed = capsys.readouterr().out.splitlines()
        names = [f"{name}.{kind}" for name in ("a", "b", "sub/a") for kind in ("txt", "vtt", "srt", "tsv", "json")]
        assert printed == [str(out / name) for name in names]
        for name, text in (("a", "AB C"), ("b", "D"), ("sub/a", "DA BC CAD")):
            assert (out / f"{name}.txt").read_text() == text + "\n"
            values = json.loads((out / f"{name}.json").read_text())
            assert values["text"] == text
            start, end, last = (out / f"{name}.tsv").read_text().splitlines()[1].split("\t")
            (segment,) = values["segments"]
            assert (int(start) / 1000, int(end) / 1000, last) == (segment["start"], segment["end"], text)
            times = r"00:00:0\d,\d{3} --> 00:00:0\d,\d{3}"
            assert re.fullmatch(rf"1\n{times}\n{text}\n\n", (out / f"{name}.srt").read_text())


def test_file_names() -> None:
    """By hand."""
    assert file_names(["x/a.wav", "x/b.wav", "-"]) == ["a", "b", "stdin"]
    assert file_names(["x/a.wav", "y/z/a.wav", "b.wav"]) == ["x/a", "y/z/a", "b"]
    assert file_names(["x/a.wav", "x/a.flac"]) == ["a.wav", "a.flac"]
    assert file_names(["x/a.wav", "x/a.flac", "x/a.wav.mp3"]) == ["a.wav", "a.flac", "a.wav.mp3"]
    assert file_names(["x/a.wav", "x/a.wav"]) == ["a", "a"]
    assert file_names(["../a.wav", "a.wav"])[0] != file_names(["../a.wav", "a.wav"])[1]
    assert not any(".." in name for name in file_names(["../a.wav", "a.wav", "../../q/a.wav"]))


def test_failures_do_not_stop_the_others(said, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A broken, an empty and a missing file, and a glob without a match: a line each, the others done, exit code 1."""
    folder, model = said
    (folder / "c.wav").write_bytes(b"RIFF....")
    (folder / "d.wav").write_bytes(b"")
    arguments = [str(folder), str(tmp_path / "none.wav"), str(tmp_path / "*.ogg"), "-m", model]
    assert main(["transcribe", *arguments]) == 1
    captured = capsys.readouterr()
    assert [line.split("\t")[1] for line in captured.out.splitlines()] == ["AB C", "D", "DA BC CAD"]
    errors = captured.err.splitlines()
    assert [line.split("\t")[0] for line in errors[:-1]] == [
        f"{folder}/c.wav",
        f"{folder}/d.wav",
        f"{tmp_path}/none.wav",
        f"{tmp_path}/*.ogg",
    ]
    assert all("error: " in line for line in errors[:-1])
    assert errors[-1] == "speechgru transcribe: 4 of 7 failed"
    assert main(["transcribe", *arguments, "-f", "json"]) == 1
    captured = capsys.readouterr()
    values = json.loads(captured.out)
    assert ["error" in value for value in values] == [False, False, True, True, False, True, True]
    assert captured.err.splitlines() == ["speechgru transcribe: 4 of 7 failed"]
    assert main(["transcribe", *arguments, "-f", "all", "-o", str(tmp_path / "out")]) == 1
    assert sorted(path.name for path in (tmp_path / "out").glob("c.*")) == ["c.json"]
    assert "error" in json.loads((tmp_path / "out" / "c.json").read_text())


def test_an_odd_recording(said, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Silence and less than a frame have no text, and are no failure."""
    _, model = said
    soundfile.write(tmp_path / "silence.wav", np.zeros(30 * 8000), 8000)
    soundfile.write(tmp_path / "short.wav", np.full(20, 0.1), 8000)
    assert main(["transcribe", str(tmp_path / "silence.wav"), str(tmp_path / "short.wav"), "-m", model]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/silence.wav\t\n{tmp_path}/short.wav\t\n"
    assert main(["transcribe", str(tmp_path / "silence.wav"), "-m", model, "-f", "srt"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-f", "all"], "-f all writes files; name a folder for them with -o"),
        (["-f", "srt"], "-f srt is a file for each recording"),
        (["--batch_size", "0"], "--batch_size 0: at least 1"),
        (["--threads", "0"], "--threads 0: at least 1"),
        (["--chunk_length", "1"], "--chunk_length 1: from 2 to 600"),
        (["--chunk_pause", "nan"], "--chunk_pause nan: from 0.05 to 2"),
        (["--max_line_count", "2"], "no effect without max_line_width"),
        (["--beam_size", "0"], "beam_size=0: at least 1"),
        (["--lm_weight", "1"], "--lm_weight: has no effect without --lm"),
        (["--device", "tpu"], "--device tpu: auto, cpu, cuda, cuda:<number> or mps"),
        (["-m", "nowhere"], "-m nowhere: no such folder"),
        (["-f", "doc"], "invalid choice"),
    ],
)
def test_wrong_options(said, options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and one line."""
    folder, model = said
    arguments = [str(folder), *options]
    assert main(["transcribe", *arguments, *([] if "-m" in options else ["-m", model])]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1
    assert not captured.out


def test_nothing_to_transcribe(said, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty folder, a classifier, and an output folder that is a file: exit code 2 and one line."""
    folder, model = said
    (tmp_path / "empty").mkdir()
    for arguments, message in (
        ([str(tmp_path / "empty"), "-m", model], "no audio file at any depth"),
        ([str(folder), "-m", "commands"], "classification head does not transcribe; try speechgru classify"),
        ([str(folder), "-m", model, "-o", str(folder / "a.wav")], "cannot be made"),
    ):
        assert main(["transcribe", *arguments]) == 2
        captured = capsys.readouterr()
        assert message in captured.err
        assert len(captured.err.splitlines()) == 1


@given(
    st.lists(
        st.builds(
            lambda folders, stem, suffix: "/".join([*folders, stem + suffix]),
            st.lists(st.sampled_from(["x", "y", "a.wav", "..", "A"]), max_size=3),
            st.sampled_from(["a", "A", "b", "a.wav", "a.wav.mp3", "stdin", ".a", "x"]),
            st.sampled_from(["", ".wav", ".flac", ".mp3", ".WAV"]),
        )
        | st.just("-"),
        max_size=12,
    )
)
def test_two_recordings_never_share_a_name(paths: list[str]) -> None:
    """Oracle: the absolute paths; no name leaves the folder of the output."""
    names = file_names(paths)
    owners: dict[str, set[str]] = {}
    for name, path in zip(names, paths, strict=True):
        owners.setdefault(name, set()).add(os.path.abspath(path))
        assert not os.path.isabs(name)
        assert ".." not in name.split("/")
    assert all(len(same) == 1 for same in owners.values())


def test_no_transcript_is_written_over_another(said, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Oracle: the recording named in each file. The stem of the third is what the first is called with its suffix."""
    folder, model = said
    names = ("a.flac", "a.wav", "a.wav.mp3")
    (tmp_path / "same").mkdir()
    for name in names:
        shutil.copy(folder / "a.wav", tmp_path / "same" / name)
    assert main(["transcribe", str(tmp_path / "same"), "-m", model, "-f", "json", "-o", str(tmp_path / "out")]) == 0
    written = capsys.readouterr().out.splitlines()
    audio = [json.loads(Path(path).read_text())["audio"] for path in written]
    assert audio == [str(tmp_path / "same" / name) for name in names]
    assert len(set(written)) == 3


def test_a_name_that_is_too_long_stops_nothing(said, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name of 255 bytes has no room for .json in place of .wav; a line break in a name stays on its line."""
    folder, model = said
    odd, out = tmp_path / "odd", tmp_path / "out"
    odd.mkdir()
    long = odd / ("a" * 251 + ".wav")
    for path in (long, odd / "b\nc.wav", odd / "d.wav"):
        shutil.copy(folder / "a.wav", path)
    assert main(["transcribe", str(odd), "-m", model, "-f", "json", "-o", str(out)]) == 1
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [f"{out}/b\\nc.json", f"{out}/d.json"]
    assert json.loads((out / "b\nc.json").read_text())["text"] == "AB C"
    failure, count = captured.err.splitlines()
    assert failure.startswith(f"{long}\terror: ")
    assert "File name too long" in failure
    assert count == "speechgru transcribe: 1 of 3 failed"


@pytest.mark.parametrize("output", [[], ["-o", "out"]])
def test_a_terminal_has_lines_or_a_bar(
    said, output: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bar on the terminal that takes the lines would tear them; where they go to a file, it is there."""
    folder, model = said
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    for lines_on_terminal in (True, False):
        monkeypatch.setattr(sys.stdout, "isatty", lambda shown=lines_on_terminal: shown)
        assert main(["transcribe", str(folder / "a.wav"), "-m", model, *output]) == 0
        captured = capsys.readouterr()
        assert captured.out == ("out/a.txt\n" if output else "AB C\n")
        assert ("1/1" in captured.err) is not lines_on_terminal
