"""Recordings of any length: blocks, pauses, pieces and the seams between them."""

from __future__ import annotations

import io
import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from speechgru.audio import read_audio, read_blocks
from speechgru.commands.recordings import load_recognizer
from speechgru.data.corpora.an4 import AN4, AN4Config
from speechgru.decoding import GreedyConfig
from speechgru.decoding.silence import levels_db, without_silence
from speechgru.decoding.transcription import Word
from speechgru.errors import AudioError, ConfigError
from speechgru.evaluation.error_rate import align
from speechgru.recognizer import Recognizer
from speechgru.transcripts import PiecesConfig, join, pauses, pieces, segments, transcribe_recordings

RATE = 8000


def wav(waveform: np.ndarray, rate: int, **how: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, waveform, rate, **{"format": "wav", **how})
    return file.getvalue()


def noise(duration_s: float, level: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (level * rng.standard_normal(round(duration_s * RATE))).astype(np.float32)


def spoken(*parts: tuple[float, float]) -> np.ndarray:
    """Noise in parts of (duration in seconds, level)."""
    return np.concatenate([noise(duration_s, level, seed) for seed, (duration_s, level) in enumerate(parts)])


# Blocks


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100])
@pytest.mark.parametrize("block_s", [0.013, 0.4, 60.0])
def test_blocks_are_the_recording(rate: int, block_s: float) -> None:
    """Oracle: read_audio, to the sample, resampled and not; two channels."""
    audio = wav(0.1 * np.random.default_rng(0).standard_normal((31007, 2)), rate)
    whole, _ = read_audio(audio, 16000)
    blocks = [block for block, given in read_blocks(audio, 16000, block_s=block_s) if given == 16000]
    assert np.array_equal(np.concatenate(blocks), whole.numpy())
    assert all(len(block) for block in blocks)
    assert max(map(len, blocks)) <= 16000 * block_s + 2000, "no more than a block and what the resampler kept"


def test_blocks_of_an_mp3(recordings) -> None:
    """Oracle: read_audio; an mp3 may hold a frame less than its header says, and the resampler must be flushed."""
    waveform, rate = soundfile.read(next((recordings / "an4").rglob("*.flac")))
    audio = wav(waveform, rate, format="mp3")
    for wanted in (rate, 8000):
        whole, _ = read_audio(audio, wanted)
        blocks = np.concatenate([block for block, _ in read_blocks(audio, wanted, block_s=0.3)])
        assert len(blocks) == len(whole)
        assert np.abs(blocks - whole.numpy()).max() < 1e-7, "libmpg123 rounds otherwise at the end of a read"


def test_what_is_wrong_further_on_is_found_when_it_is_reached() -> None:
    """A NaN after 0.75 s: the first half second is given, then the place is named."""
    waveform = noise(1.0, 0.1)
    waveform[6000] = np.nan
    blocks = read_blocks(wav(waveform, RATE, subtype="FLOAT"), RATE, block_s=0.5)
    assert len(next(blocks)[0]) == RATE // 2
    with pytest.raises(AudioError, match=r"NaN or infinite samples, the first after 0\.750 s"):
        next(blocks)
    with pytest.raises(AudioError, match="the file is empty"):
        next(read_blocks(b""))


# Pauses


def test_the_level_of_a_frame() -> None:
    """Oracle: a sine of amplitude 1/2 has the power 1/8, -9.03 dB, whatever the offset; silence is at the floor."""
    tone = 0.5 * np.sin(2 * np.pi * 400 * np.arange(RATE) / RATE)
    expected = np.full(100, 10 * np.log10(1 / 8))
    assert levels_db((tone + 0.3).astype(np.float32), RATE) == pytest.approx(expected, abs=1e-3)
    assert levels_db(np.zeros(RATE, np.float32), RATE) == pytest.approx(np.full(100, -120.0))


@pytest.mark.parametrize("floor", [0.0, 1e-4, 3e-3])
def test_the_pauses(floor: float) -> None:
    """Known answer: those of 0.3 and 0.5 s and not the one of 0.1 s, at any noise floor, to a frame of 10 ms."""
    waveform = spoken((2, 0.1), (0.3, floor), (1, 0.1), (0.5, floor), (2, 0.1), (0.1, floor), (1, 0.1))
    first, second = pauses(waveform, RATE, 0.2)
    assert (first.start_s, first.end_s) == pytest.approx((2.0, 2.3), abs=0.0101)
    assert (second.start_s, second.end_s, second.middle_s) == pytest.approx((3.3, 3.8, 3.55), abs=0.0101)
    assert (first.before_s, first.after_s) == pytest.approx((2, 4), abs=0.0201)
    assert (second.before_s, second.after_s) == pytest.approx((3, 3), abs=0.0301)
    assert len(pauses(waveform, RATE, 0.4)) == 1
    assert len(pauses(waveform, RATE, 0.05)) == 3


@pytest.mark.parametrize("level", [0.0, 1e-3, 0.2])
def test_what_is_all_alike_has_no_pause(level: float) -> None:
    """Steady noise of any level, silence among it, offers no cut that is better than another."""
    assert not pauses(noise(5, level), RATE, 0.2)
    assert not pauses(np.zeros(0, np.float32), RATE, 0.2)


def test_words_do_not_begin_or_end_in_silence() -> None:
    """Known answer: sound from 0.5 to 0.8 and from 1.2 to 1.5 s. What is short, all silent or all alike stays."""
    waveform = spoken((0.5, 1e-3), (0.3, 0.1), (0.4, 1e-3), (0.3, 0.1), (1.5, 1e-3))
    given = [Word("early", 0.1, 0.7, 0.9), Word("late", 1.15, 2.4, 0.8), Word("nothing", 2.5, 2.9, 0.1)]
    found = without_silence(given, waveform, RATE)
    spans = [(word.start_s, word.end_s) for word in found]
    assert spans == [pytest.approx((0.5, 0.7)), pytest.approx((1.15, 1.5)), (2.5, 2.9)]
    assert [(word.word, word.confidence) for word in found] == [("early", 0.9), ("late", 0.8), ("nothing", 0.1)]
    assert without_silence(given, noise(3, 0.1), RATE) == given
    assert without_silence([Word("x", 0, 0, 0.5)], np.zeros(0, np.float32), RATE) == [Word("x", 0, 0, 0.5)]


# Pieces


def blocks_of(waveform: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    edges = np.cumsum(sizes)
    return [block for block in np.split(waveform, edges[edges < len(waveform)]) if len(block)]


def random_recording(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    parts = [(float(rng.uniform(0.2, 4)), 0.1 if i % 2 else 1e-3) for i in range(int(rng.integers(1, 12)))]
    return spoken(*parts)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 20_000))
def test_pieces_are_the_recording(seed: int, size: int) -> None:
    """Invariants: what follows on what, whole, each piece within the limit, and the same for blocks of any size."""
    waveform, config = random_recording(seed), PiecesConfig(longest_s=4, pause_s=0.3, overlap_s=1)
    found = list(pieces([waveform], RATE, config))
    again = list(pieces(blocks_of(waveform, [size + i % 7 for i in range(len(waveform) // size + 1)]), RATE, config))
    at = 0
    for piece, other in zip(found, again, strict=True):
        start, shared = round(piece.start_s * RATE), round(piece.overlap_s * RATE)
        assert start == at - shared
        assert shared in (0, RATE)
        assert 0 < len(piece.waveform) <= 4 * RATE
        assert len(piece.waveform) > shared, "no piece ends in what it shares with the one before"
        assert np.array_equal(piece.waveform, waveform[start : start + len(piece.waveform)])
        assert (piece.start_s, piece.overlap_s) == (other.start_s, other.overlap_s)
        assert np.array_equal(piece.waveform, other.waveform)
        at = start + len(piece.waveform)
    assert at == len(waveform)
    if len(waveform) <= 4 * RATE:
        assert len(found) == 1, "what is short enough stays whole"


def test_pieces_are_cut_in_pauses() -> None:
    """Known answer: the middles of the pauses at 3.0, 6.25 and 9.55 s, none inside a word, none overlapping."""
    waveform = spoken((2.8, 0.1), (0.4, 1e-3), (2.8, 0.1), (0.5, 1e-3), (2.8, 0.1), (0.5, 1e-3), (2, 0.1))
    found = list(pieces([waveform], RATE, PiecesConfig(longest_s=4, overlap_s=1)))
    assert [piece.start_s for piece in found] == pytest.approx([0, 3.0, 6.25, 9.55], abs=0.0101)
    assert all(piece.overlap_s == 0 for piece in found)


def test_pieces_end_at_the_first_pause_that_counts() -> None:
    """Known answer: not at the pause of 0.3 s, nor after a click, before 1 s is over, or before a click at the end."""
    parts = [(0.05, 0.1), (2.5, 1e-3), (0.8, 0.1), (0.5, 1e-3), (0.5, 0.1), (0.4, 1e-3), (0.6, 0.1), (0.3, 1e-3)]
    waveform = spoken(*parts, (0.6, 0.1), (0.5, 1e-3), (0.7, 0.1), (0.5, 1e-3), (0.05, 0.1))
    config = PiecesConfig(longest_s=5, pause_s=0.4, overlap_s=1)
    assert [piece.start_s for piece in pieces([waveform], RATE, config)] == pytest.approx([0, 3.6, 6.5], abs=0.0101)
    assert len(list(pieces([waveform], RATE, PiecesConfig(longest_s=20, pause_s=0.4)))) == 1, "short enough"


def test_a_full_piece_ends_in_the_longest_of_its_short_pauses() -> None:
    """Known answer: pauses of 0.25, 0.3 and 0.22 s in 4 s, none of which would end a piece; the first is too early."""
    parts = [(0.6, 0.1), (0.35, 1e-3), (0.8, 0.1), (0.25, 1e-3), (0.8, 0.1), (0.3, 1e-3), (0.5, 0.1), (0.22, 1e-3)]
    found = list(pieces([spoken(*parts, (0.6, 0.1))], RATE, PiecesConfig(longest_s=4, pause_s=0.5, overlap_s=1)))
    assert [piece.start_s for piece in found] == pytest.approx([0, 2.95], abs=0.0101)


def test_no_piece_ends_in_what_it_shares_with_the_one_before() -> None:
    """Known answer: seen from what follows, the lull at 3.66 s is a pause; the piece before has words after it."""
    waveform = spoken((3.5, 0.01), (0.32, 3e-3), (0.38, 0.01), (2.4, 0.1), (0.4, 1e-3), (1, 0.1))
    found = list(pieces([waveform], RATE, PiecesConfig(longest_s=4, pause_s=0.3, shortest_s=0.1, overlap_s=1)))
    assert [piece.start_s for piece in found] == pytest.approx([0, 3.0, 6.8], abs=0.0101)
    assert found[1].overlap_s == 1


def test_no_more_than_the_longest_piece_and_a_block_is_held() -> None:
    """Counted: samples taken from the blocks less those before the piece just given, over an hour."""
    block, taken = np.tile(spoken((3, 0.1), (0.4, 1e-3), (6, 0.1)), 2), 0

    def blocks():
        nonlocal taken
        for _ in range(190):
            taken += len(block)
            yield block

    config = PiecesConfig(longest_s=20, overlap_s=4)
    most = max(taken - round(piece.start_s * RATE) for piece in pieces(blocks(), RATE, config))
    assert taken > 3500 * RATE
    assert most <= 20 * RATE + len(block)


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"longest_s": 1.0}, "longest_s=1.0: from 2 to 600"),
        ({"longest_s": float("nan")}, "longest_s=nan"),
        ({"pause_s": 0.0}, "pause_s=0.0: from 0.05"),
        ({"shortest_s": 11.0}, "shortest_s=11.0: from 0.1 to 10"),
        ({"overlap_s": 6.0}, "overlap_s=6.0: from 0.5 to 5"),
    ],
)
def test_impossible_settings(settings_: dict[str, float], message: str) -> None:
    """Each names the key, the value and the range."""
    with pytest.raises(ConfigError, match=message):
        PiecesConfig(**settings_)


# Seams


def heard(true: list[Word], from_s: float, to_s: float, rng: np.random.Generator) -> list[Word]:
    """What a piece hears of the true words: those it holds whole, moved by a frame, and a wrong one for half a word."""
    found = []
    for word in true:
        moved = float(rng.choice([-0.04, 0, 0.04]))
        start_s, end_s = word.start_s + moved, word.end_s + moved
        if word.start_s >= from_s and word.end_s <= to_s:
            found.append(Word(word.word, start_s, end_s, 0.9))
        elif word.end_s > from_s and word.start_s < to_s:
            found.append(Word("half", max(from_s, start_s), min(to_s, end_s), 0.3))
    return found


@pytest.mark.parametrize("gaps", [(0.0,), (0.04, 0.1, 0.3)])
@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 100_000), wrong=st.sampled_from([0.0, 0.2]))
def test_no_word_is_lost_or_doubled_at_a_seam(seed: int, wrong: float, gaps: tuple[float, ...]) -> None:
    """Oracle: the true words. Few distinct ones, so that equal neighbours are frequent; some misheard by one side.

    Without gaps no moment is free of words in both pieces: only the words they agree on tell where to join.
    """
    rng = np.random.default_rng(seed)
    true, at = [], 0.0
    while at < 40:
        duration_s = float(rng.uniform(0.2, 0.9))
        true.append(Word(str(rng.choice(["nine", "two", "oh"])), at, at + duration_s, 0.9))
        at += duration_s + float(rng.choice(gaps))
    words: list[Word] = []
    step_s, longest_s = 8.0, 12.0
    for start_s in np.arange(0, 36, step_s):
        piece = heard(true, start_s, start_s + longest_s, rng)
        piece = [Word(f"misheard {start_s}", w.start_s, w.end_s, 0.2) if rng.random() < wrong else w for w in piece]
        words = join(words, piece, start_s, start_s + longest_s - step_s) if start_s else piece
    expected = [word for word in true if word.end_s <= 44]
    assert len(words) == len(true)
    assert all(a.word == b.word or "misheard" in a.word for a, b in zip(words, expected, strict=True))
    assert "half" not in {word.word for word in words}
    centres = [(word.start_s + word.end_s) / 2 for word in words]
    assert centres == pytest.approx([(word.start_s + word.end_s) / 2 for word in expected], abs=0.041)


def test_words_without_a_silence_are_joined_at_one_both_agree_on() -> None:
    """Known answer: one piece hears all 40 ms later, so that the middle, at 5 s, lies between the centres of b."""
    left = [Word(word, at, end, 0.9) for word, at, end in (("a", 3.8, 4.8), ("b", 4.8, 5.18), ("c", 5.18, 6.2))]
    right = [Word(word.word, word.start_s + 0.04, word.end_s + 0.04, 0.9) for word in left]
    assert [word.word for word in join(left, right, 4, 6)] == ["a", "b", "c"]


@pytest.mark.parametrize("later_s", [0.08, -0.08])
def test_equal_neighbours_are_not_taken_for_one_another(later_s: float) -> None:
    """Known answer: the second of three short equal words is heard later (earlier) by one piece, near its neighbour."""
    left = [Word("two", 4.5, 4.75, 0.9), Word("two", 4.75, 5.0, 0.9), Word("two", 5.0, 5.25, 0.9)]
    right = [Word(word.word, word.start_s + later_s, word.end_s + later_s, 0.9) for word in left]
    assert len(join(left, right, 4, 6)) == 3


def test_where_both_hear_something_else_the_seam_is_in_a_silence() -> None:
    """Known answer: in the middle one hears six, the other sick, a little later; one of them remains."""
    left = [Word("one", 1, 1.4, 0.9), Word("six", 4.8, 5.1, 0.9)]
    right = [Word("sick", 4.9, 5.2, 0.9), Word("two", 7, 7.4, 0.9)]
    assert [word.word for word in join(left, right, 4, 6)] in (["one", "six", "two"], ["one", "sick", "two"])
    assert [word.word for word in join(left, [], 4, 6)] == ["one", "six"]
    assert join([], [], 4, 6) == []


# Segments


@settings(deadline=None, max_examples=50)
@given(gaps=st.lists(st.sampled_from([0.02, 0.1, 0.5, 0.9, 3.0]), max_size=60))
def test_segments_end_at_pauses_and_are_short_enough(gaps: list[float]) -> None:
    """Invariants: every word once and in order, no pause inside, none too long, and no needless cut."""
    words, at = [], 0.0
    for gap in gaps:
        words.append(Word("word", at, at + 0.4, 0.5))
        at += 0.4 + gap
    found = segments(words, pause_s=0.8, longest_s=5)
    assert [word for segment in found for word in segment.words] == words
    assert [segment.id for segment in found] == list(range(len(found)))
    for segment in found:
        inner = zip(segment.words, segment.words[1:], strict=False)
        assert all(b.start_s - a.end_s < 0.8 for a, b in inner)
        assert segment.end_s - segment.start_s <= 5
    for left, right in itertools.pairwise(found):
        stretch = [w for w in words if left.start_s <= w.start_s and w.end_s <= right.end_s]
        pause = right.start_s - left.end_s
        inside = [b.start_s - a.end_s for a, b in itertools.pairwise(stretch)]
        assert pause >= 0.8 or pause == pytest.approx(max(inside)) or right.end_s - left.start_s > 5


def test_a_segment_says_what_its_words_say() -> None:
    """By hand."""
    (one,) = segments([Word("a", 1.0, 1.5, 0.5), Word("b", 1.6, 2.0, 1.0)])
    assert (one.text, one.start_s, one.end_s, one.confidence) == ("a b", 1.0, 2.0, 0.75)


# Real recordings, joined


@pytest.fixture
def english() -> Recognizer:
    """The model of SPEECHGRU_MODEL, a folder, or the transcription model that ships inside."""
    try:
        return load_recognizer(os.environ.get("SPEECHGRU_MODEL"), "cpu", None, "ctc")
    except ConfigError as error:
        pytest.skip(f"no transcription model: {error}; SPEECHGRU_MODEL names the folder of one")


def trimmed(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """A recording from the first to the last frame within 30 dB of its loudest, and 20 ms around."""
    levels = levels_db(waveform, sample_rate)
    loud, frame = np.flatnonzero(levels > levels.max() - 30), sample_rate // 100
    return waveform[max(0, (int(loud[0]) - 2) * frame) : (int(loud[-1]) + 3) * frame]


def errors(recognizer: Recognizer, text: str, heard: str) -> tuple[int, int]:
    """Word errors of a transcript, and how many of them are words lost or heard that were not said."""
    kinds = [edit.kind for edit in align(recognizer.units.normalize(text).split(), heard.split())]
    return sum(kind != "equal" for kind in kinds), sum(kind in ("insert", "delete") for kind in kinds)


@pytest.mark.slow
@pytest.mark.parametrize(
    "pauses",
    [
        pytest.param(
            True, marks=pytest.mark.xfail(reason="64 errors joined, 40 one by one: one too many", strict=True)
        ),
        False,
    ],
)
def test_joined_recordings_say_what_the_single_ones_say(
    pauses: bool, english: Recognizer, recordings: Path, tmp_path: Path
) -> None:
    """Oracle: the same recordings of AN4 one by one, which is all the net has learned to hear.

    The whole test set, speaker after speaker, six minutes, as it was recorded and without any pause. With pauses there
    may be wrong 3 % of the words more, whatever the longest piece: some sentences follow one another without a pause,
    others have one inside, and the net has learned to hear neither several sentences nor parts of one. At the seams no
    word may be lost or doubled: without pauses there are 10 overlaps at 8 s and none at 20 s, and the words lost or
    doubled are no more than 1 % more.
    """
    utterances = sorted(AN4(AN4Config(str(recordings / "an4"))).utterances("test"), key=lambda one: one.speaker)
    waveforms = [read_audio(one.audio, english.sample_rate)[0].numpy() for one in utterances]
    if not pauses:
        waveforms = [trimmed(waveform, english.sample_rate) for waveform in waveforms]
    # A language model hears each piece as a sentence of its own: greedily nothing but the seams counts.
    greedy = english.decoder(GreedyConfig())
    single = english.transcribe(waveforms, source_rate=english.sample_rate, decoder=greedy)
    alone = sum(errors(english, one.text, heard.text)[0] for one, heard in zip(utterances, single, strict=True))
    soundfile.write(tmp_path / "long.wav", np.concatenate(waveforms), english.sample_rate)
    text, joined = " ".join(one.text for one in utterances), {}
    for longest_s, overlap_s in ((8.0, 2.0), (20.0, 5.0)):
        config = PiecesConfig(longest_s=longest_s, overlap_s=overlap_s)
        items = [(str(tmp_path / "long.wav"), "")]
        (found,) = transcribe_recordings(english, items, decoder=greedy, config=config)
        assert not found.error
        joined[longest_s] = errors(english, text, found.text)
    words = len(text.split())
    print(
        f"{words} words, {found.duration_s:.0f} s: {alone} errors one by one; joined, by longest piece, "
        f"errors and among them words lost or doubled: {joined}"
    )
    assert joined[8.0][1] <= joined[20.0][1] + 0.01 * words
    if pauses:
        assert max(joined[8.0][0], joined[20.0][0]) <= alone + 0.03 * words


_PEAK = """
import re, sys
from speechgru.recognizer import load
from speechgru.transcripts import transcribe_recordings
recognizer = load(sys.argv[1])
(found,) = transcribe_recordings(recognizer, [(sys.argv[2], "")], batch_size=2)
assert not found.error and found.text, found.error
peak = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]
print(found.duration_s, 1024 * int(peak))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ten_minutes_need_the_memory_of_one(tones, tmp_path: Path) -> None:
    """Oracle: the kernel's peak of a fresh process. Ten minutes of samples are 115 MB; within 15 MB is the same."""
    tones.recognizer.save(tmp_path / "model")
    waveform, _ = tones.say(tones.words(150, np.random.default_rng(0)), np.random.default_rng(0))
    minute = np.tile(waveform, 60 * tones.sample_rate // len(waveform) + 1)[: 60 * tones.sample_rate]
    minute = soxr.resample(minute, tones.sample_rate, 48000)  # 12 MB
    peaks = {}
    for minutes in (1, 10):
        soundfile.write(tmp_path / "long.flac", np.tile(minute, minutes), 48000)
        done = subprocess.run(
            [sys.executable, "-c", _PEAK, str(tmp_path / "model"), str(tmp_path / "long.flac")],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        duration_s, peaks[minutes] = map(float, done.stdout.split())
        assert duration_s == pytest.approx(60 * minutes, abs=0.01)
    print(f"peak of one minute {peaks[1] / 1e6:.0f} MB, of ten {peaks[10] / 1e6:.0f} MB")
    assert peaks[10] - peaks[1] < 15e6
