"""Misses and false alarms of a detector: numbers from scores, and scores from recordings."""

import dataclasses
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import soundfile
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from speechgru.augment.recordings import Recordings
from speechgru.cli import main
from speechgru.data.utterance import Utterance
from speechgru.encoders import GRUEncoderConfig
from speechgru.errors import AudioError, ConfigError, DataError
from speechgru.evaluation.detection import Alarm, Background, Detections, Trial, hours_needed
from speechgru.evaluation.detection_hearing import BEFORE_S, TOLERANCE_S, Ears
from speechgru.evaluation.detection_record import cut_alarms, detection_record
from speechgru.evaluation.detection_sources import BackgroundRecording, find_background, find_positives
from speechgru.evaluation.intervals import binomial_interval, poisson_interval
from speechgru.features import LogMelConfig, Normalization
from speechgru.heads import ClassificationConfig, CTCConfig, KeywordHeadConfig
from speechgru.recognizer import Recognizer, RecognizerConfig, load
from speechgru.streaming.keywords import KeywordConfig, KeywordSpotter
from speechgru.streaming.scores import score_track
from speechgru.streaming.stream import StreamConfig
from speechgru.text import CharactersConfig
from speechgru.tokens import Tokens

RATE = 8000


@pytest.mark.parametrize(("count", "total"), [(0, 20), (1, 20), (7, 20), (20, 20), (3, 800), (0, 1)])
def test_exact_interval_of_a_share(count, total):
    """Oracle: Clopper and Pearson's definition: at each end, what was seen has a chance of 2.5 % (5 % on one side)."""
    low, high = binomial_interval(count, total)
    tail = 0.05 if count in (0, total) else 0.025
    if count:
        assert scipy.stats.binom.sf(count - 1, total, low) == pytest.approx(tail)
    if count < total:
        assert scipy.stats.binom.cdf(count, total, high) == pytest.approx(tail)
    assert (low == 0) == (count == 0)
    assert (high == 1) == (count == total)


@pytest.mark.parametrize("count", [0, 1, 2, 40])
def test_exact_interval_of_a_rate(count):
    """Oracle: Garwood's definition; and the rule of three: nothing in 0.86 h bounds the rate under 3.5 an hour."""
    low, high = poisson_interval(count, 4.0)
    tail = 0.025 if count else 0.05
    assert scipy.stats.poisson.cdf(count, 4 * high) == pytest.approx(tail)
    if count:
        assert scipy.stats.poisson.sf(count - 1, 4 * low) == pytest.approx(tail)
    assert poisson_interval(0, 0.86)[1] == pytest.approx(-math.log(0.05) / 0.86)
    assert round(poisson_interval(0, 0.86)[1], 1) == 3.5
    assert hours_needed(0.5) == pytest.approx(-math.log(0.05) / 0.5)


def drawn(seed, recordings=4):
    """Scores of two words in some recordings, and those of trials, that overlap."""
    random = np.random.default_rng(seed)
    background = []
    for number in range(recordings):
        count = int(random.integers(20, 120))
        end_s = 0.1 * np.arange(1, count + 1)
        tracks = {}
        for word in ("yes", "no"):
            scores = np.clip(random.beta(0.4, 3, count), 0, 1)
            tracks[word] = (end_s[scores >= 0.01], scores[scores >= 0.01])
        background.append(Background(f"{number}.wav", "talk", 0.1 * count, 0.1 * count, tracks))
    trials = [
        Trial(word, f"{number}.wav", condition, float(random.beta(4, 2)), "no", float(random.beta(0.4, 3)))
        for condition in ("quiet", "5 dB")
        for number, word in enumerate(["yes"] * 9 + ["no"] * 6)
    ]
    return Detections(["yes", "no"], trials, background, 1.0)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 1000), st.floats(0.02, 1))
def test_alarms_are_those_of_the_spotter(seed, threshold):
    """Oracle: the spotter of streams on each recording by itself, at the same threshold."""
    found = drawn(seed)
    expected = []
    for recording in found.background:
        for word in found.words:
            end_s, scores = recording.tracks[word]
            spotter = KeywordSpotter([word], KeywordConfig(0, 1.0, {word: threshold}))
            expected += [(word, recording.audio, one.end_s) for one in spotter.feed(end_s, scores[:, None])]
    alarms = found.alarms(threshold)
    assert sorted((one.word, one.recording.audio, one.end_s) for one in alarms) == sorted(expected)
    assert found.alarm_count(dict.fromkeys(found.words, threshold)) == len(expected)
    assert [one.score for one in alarms] == sorted((one.score for one in alarms), reverse=True)
    assert all(one.score >= threshold for one in alarms)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 1000), st.sampled_from([0, 1, 3, 10]))
def test_the_threshold_misses_least_of_those_that_keep_to_the_rate(seed, allowed):
    """Oracle: all thresholds in steps of a hundredth, and just above each score beyond which few alarms are left."""
    found = drawn(seed)
    per_hour = allowed / found.hours
    chosen = found.threshold_for(per_hour)
    assert found.allowed(per_hour) == allowed
    assert found.alarm_count(chosen) <= allowed
    scores = np.concatenate([track for one in found.background for _, track in one.tracks.values()])
    tried = [one for one in [*np.arange(0.01, 1, 0.01), *(np.sort(scores)[-60:] + 2e-6)] if one <= 1]
    fitting = [one for one in tried if found.alarm_count(float(one)) <= allowed]
    assert found.misses(chosen).count == min(found.misses(float(one)).count for one in fitting)


def test_numbers_by_hand():
    """Oracle: counted by hand: three clips of yes, one of no, an alarm at 0.8 after 0.5 s and one at 0.6 after 3 s."""
    trials = [Trial("yes", f"{score}", "quiet", score, "no", 0.3) for score in (0.9, 0.7, 0.2)]
    trials.append(Trial("no", "b", "quiet", 0.95, "yes", 0.65))
    track = (np.array([0.5, 1.0, 3.0]), np.array([0.8, 0.7, 0.6]))
    found = Detections(["yes", "no"], trials, [Background("a", "talk", 3600, 3600, {"yes": track})], 1.0)
    assert [(one.end_s, one.score) for one in found.alarms(0.55)] == [(0.5, 0.8), (3.0, 0.6)]
    assert (found.misses(0.75).count, found.misses(0.75).total) == (2, 4)
    assert (found.misses(0.75, word="yes").count, found.misses(0.2, word="yes").count) == (2, 0)
    assert found.confusions(0.6).count == 1
    assert found.misses({"yes": 0.95, "no": 0.95}).count == 3
    # One alarm is allowed: from just above 0.6 to the 0.7 of a clip; none: from just above 0.8 to 0.9.
    assert found.threshold_for(1) == pytest.approx(0.65, abs=2e-6)
    assert found.threshold_for(0.5) == pytest.approx(0.85, abs=2e-6)
    assert (found.rate(0.55).per_hour, found.rate(0.65).per_hour) == (2, 1)
    # The curve: 1, just above 0.8 (no alarm, three clips missed but the surest), just above 0.6, and the floor.
    assert found.curve() == [(1.0, 0), (0.800001, 0), (0.600001, 1), (0.01, 2)]
    certain = dataclasses.replace(found.background[0], tracks={"yes": (np.array([1.0]), np.array([1.0]))})
    assert Detections(["yes"], trials[:3], [certain], 1.0).threshold_for(0.5) is None


def test_a_word_without_a_threshold_of_its_own():
    """Oracle: JSON, which knows no infinity; a word that is not listed is never detected."""
    record = detection_record(drawn(3), 100.0, 0.5, {"yes": 0.4, "no": math.inf})
    assert json.loads(json.dumps(record["own"], allow_nan=False))["threshold"] == {"yes": 0.4}
    assert record["own"]["misses"]["quiet"]["count"] >= 6  # each "no"


def test_alarms_are_cut_where_they_are(tmp_path):
    """Oracle: the file's own samples. A row of a list may begin in the middle of its file, and be louder than it."""
    samples = np.random.default_rng(0).uniform(-0.2, 0.2, 8000 * 12)
    soundfile.write(tmp_path / "long.wav", samples, 8000, subtype="FLOAT")
    background = Background(str(tmp_path / "long.wav"), "talk", 6.0, 6.0, {}, 5.0, 6.0)
    (row,) = cut_alarms([Alarm("yes", background, 3.0, 0.9)], tmp_path / "alarms", 8000)
    cut, _ = soundfile.read(tmp_path / row["clip"])
    np.testing.assert_allclose(cut, samples[50_000:68_000] * 10 ** (6 / 20), atol=1e-4)
    assert row["end_s"] == 8.0


def heard(log_odds, hours, clip=0.0):
    """One trial, and alarms of one word whose scores have these log odds, far apart in so many hours."""
    scores = 1 / (1 + np.exp(-np.asarray(log_odds, dtype=float)))
    track = (3600 * hours * (np.arange(len(scores)) + 0.5) / max(1, len(scores)), scores)
    background = Background("a", "talk", 3600 * hours, 3600 * hours, {"yes": track})
    return Detections(["yes"], [Trial("yes", "b", "quiet", clip)], [background], 1.0)


@pytest.mark.parametrize("hours", [0.9, 10.0])
def test_the_expected_rate_comes_true(hours):
    """Oracle: 400 backgrounds whose alarms have, by construction, a rate of 30 exp(-z) an hour above z."""
    random = np.random.default_rng(0)
    rates = []
    for _ in range(400):
        log_odds = random.exponential(1, random.poisson(30 * hours))
        threshold = heard(log_odds, hours).threshold_expecting(0.5)
        rates.append(30 * (1 - threshold) / threshold)
    mean = np.exp(np.log(rates).mean())
    if hours > 2:
        assert mean == pytest.approx(0.5, rel=0.15)
    else:  # the surest alarm often ends it: more than is asked for, less than one in so many hours
        assert 0.5 < mean < 1 / hours
    assert np.log(rates).std() < 0.95


def test_the_expected_rate_by_hand():
    """Oracle: the formula: 20 alarms lie above the 21st, by 0.1 to 1.9 and 6 log odds; their mean is 1.25."""
    steps = [1 + 0.1 * place for place in range(20)] + [7]
    assert heard([*steps, -1, -2], 2).threshold_expecting(0.5) == pytest.approx(
        1 / (1 + math.exp(-(1 + 1.25 * math.log(20)))), abs=2e-5
    )
    # It is not foretold above the surest alarm: without the one at 7 it would be 1 + 1.05 log(20) = 4.15.
    assert heard([*steps[:-1], 3], 2).threshold_expecting(0.5) == pytest.approx(1 / (1 + math.exp(-3)), abs=2e-6)
    # A clip that is surer makes no difference. Without alarms: half-way from the lowest score there is to the clip's.
    assert heard([*steps, -1, -2], 2, 0.9999).threshold_expecting(0.5) == heard([*steps, -1], 2).threshold_expecting(
        0.5
    )
    assert heard([], 2, 0.9).threshold_expecting(0.5) == pytest.approx((0.01 + 0.9) / 2, abs=2e-6)
    # Alarms that are certain leave none.
    assert heard([math.inf] * 5, 2).threshold_expecting(0.5) is None


def tone(hertz, seed, seconds=1.0, burst_s=0.4):
    """Faint noise with a burst of a tone in the middle; none where ``hertz`` is 0."""
    random = np.random.default_rng(seed)
    at = np.arange(round(seconds * RATE))
    inside = np.abs(at / RATE - seconds / 2) < burst_s / 2
    wave = 0.2 * inside * np.sin(2 * np.pi * hertz * at / RATE)
    return (wave + 1e-3 * random.standard_normal(len(at))).astype(np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """The folder of a model that has learned two tones, in a second; it hears windows."""
    torch.manual_seed(0)
    encoder = GRUEncoderConfig(hidden_size=12, num_layers=1, dropout=0)
    config = RecognizerConfig(LogMelConfig(sample_rate=RATE, mels=16, hop_ms=20.0), encoder, ClassificationConfig())
    recognizer = Recognizer(config, Tokens(["low", "high", "_silence_"]))
    optimizer = torch.optim.Adam(recognizer.parameters(), 0.02)
    random = np.random.default_rng(0)
    for step in range(40):
        labels = [one % 3 for one in range(12)]
        waves = [
            np.roll(tone((400, 1500, 0)[label], [step, one]), random.integers(-2400, 2400))
            for one, label in enumerate(labels)
        ]
        scores, _ = recognizer(torch.tensor(np.stack(waves)), torch.full((12,), RATE))
        loss = torch.nn.functional.cross_entropy(scores, torch.tensor(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    folder = tmp_path_factory.mktemp("detector") / "model"
    recognizer.eval().save(folder)
    return folder


@pytest.fixture(scope="module")
def sounds(tmp_path_factory) -> Path:
    """Clips of both words; half a minute of background in which one of them is heard after 12 s; noise."""
    root = tmp_path_factory.mktemp("sounds")
    for label, hertz in (("low", 400), ("high", 1500)):
        (root / "clips" / label).mkdir(parents=True)
        for number in range(3):
            soundfile.write(root / "clips" / label / f"{number}.wav", tone(hertz, number), RATE)
    (root / "talk").mkdir()
    background = np.concatenate([tone(0, 9, 11.5), tone(400, 9), tone(0, 10, 17.5)])
    soundfile.write(
        root / "talk" / "long.wav", background + 2e-3 * np.random.default_rng(1).standard_normal(len(background)), RATE
    )
    (root / "noise").mkdir()
    soundfile.write(root / "noise" / "hiss.wav", 0.1 * np.random.default_rng(0).standard_normal(5 * RATE), RATE)
    return root


def test_a_clip_is_heard_as_in_a_stream(model, sounds):
    """Oracle: the scores along the clip between silences, smoothed, up to the tolerance after its end."""
    recognizer = load(model)
    clip = Utterance(str(sounds / "clips" / "low" / "0.wav"), label="low")
    wave, _ = soundfile.read(clip.audio, dtype="float32")
    around = np.concatenate([np.zeros(round(BEFORE_S * RATE)), wave, np.zeros(4 * RATE)]).astype(np.float32)
    end_s, scores = score_track(recognizer, around)
    inside = (end_s > BEFORE_S) & (end_s <= BEFORE_S + 1 + TOLERANCE_S)
    for smoothing_ms, trial in zip((300, 700), Ears(recognizer, [300, 700], ["low", "high"]).trial(clip), strict=True):
        smoothed = KeywordSpotter(recognizer.tokens.names, KeywordConfig(smoothing_ms)).smooth(end_s, scores)
        assert trial.score == pytest.approx(smoothed[inside, 0].max(), abs=1e-6)
        assert trial.other_score == pytest.approx(smoothed[inside, 1].max(), abs=1e-6)
        assert (trial.word, trial.other, trial.condition) == ("low", "high", "quiet")
    assert trial.score > 0.8
    soundfile.write(sounds / "minute.wav", np.zeros(61 * RATE), RATE)
    with pytest.raises(AudioError, match=r"minute\.wav: 61 s; a positive is a clip of a minute at most"):
        Ears(recognizer, [300], ["low"]).trial(Utterance(str(sounds / "minute.wav"), label="low"))


def test_noise_has_the_ratio_that_was_asked_for(model, sounds):
    """Oracle: powers measured over the clip; the excerpt is the same at each ratio, and again with the same seed."""
    clip = Utterance("clips/low/0.wav", label="low")
    clean = np.pad(tone(400, 0), (RATE, RATE))
    where = slice(RATE, 2 * RATE)
    ears = [Ears(load(model), [100], ["low"], Recordings(str(sounds / "noise"), 1), seed) for seed in (0, 0, 1)]
    added = [ears[0]._noisy(clip, clean, where, snr_db) - clean for snr_db in (10, 0)]
    for noise, snr_db in zip(added, (10, 0), strict=True):
        ratio = np.sum(clean[where] ** 2) / np.sum(noise[where] ** 2)
        assert 10 * np.log10(ratio) == pytest.approx(snr_db, abs=1e-3)
        assert np.abs(noise[:RATE]).max() > 0
    np.testing.assert_allclose(added[0] * 10**0.5, added[1], atol=1e-5)
    np.testing.assert_array_equal(ears[1]._noisy(clip, clean, where, 10) - clean, added[0])
    assert np.abs(ears[2]._noisy(clip, clean, where, 10) - clean - added[0]).max() > 1e-3


def test_background_in_blocks_is_the_whole(model, sounds, monkeypatch):
    """Oracle: the scores along the whole recording at once, where they are a hundredth at least.

    One model hears windows, the other, with random weights, scores each frame.
    """
    features = LogMelConfig(sample_rate=RATE, mels=16, hop_ms=20.0, normalization=Normalization.none)
    encoder = GRUEncoderConfig(hidden_size=8, num_layers=1, bidirectional=False)
    framewise = Recognizer(RecognizerConfig(features, encoder, KeywordHeadConfig()), load(model).tokens).eval()
    recording = BackgroundRecording(Utterance(str(sounds / "talk" / "long.wav")), "talk")
    wave, _ = soundfile.read(sounds / "talk" / "long.wav", dtype="float32")
    monkeypatch.setattr("speechgru.evaluation.detection_hearing._BLOCK_S", 0.73)
    for recognizer, least in ((load(model), 100), (framewise, 1400)):
        heard = Ears(recognizer, [100, 300], ["low", "high"]).background(recording)[1]
        end_s, scores = score_track(recognizer, wave, block_s=60)
        assert len(end_s) > least
        smoothed = KeywordSpotter(recognizer.tokens.names, KeywordConfig(300)).smooth(end_s, scores)[:, 0]
        assert heard.duration_s == 30
        np.testing.assert_allclose(heard.tracks["low"][0], end_s[smoothed >= 0.01])
        np.testing.assert_allclose(heard.tracks["low"][1], smoothed[smoothed >= 0.01], atol=1e-5)
        said = dataclasses.replace(recording, said=frozenset(["low"]))
        assert "low" not in Ears(recognizer, [100], ["low", "high"]).background(said)[0].tracks


def test_false_alarms_are_those_of_a_stream(model, sounds):
    """Oracle: what a stream of the recording tells, in chunks of a tenth of a second, with the same thresholds."""
    recognizer = load(model)
    recording = BackgroundRecording(Utterance(str(sounds / "talk" / "long.wav")), "talk")
    background = Ears(recognizer, [200], ["low", "high"]).background(recording)
    wave, _ = soundfile.read(sounds / "talk" / "long.wav", dtype="float32")
    for threshold in (0.03, 0.5):
        keywords = KeywordConfig(200, 0.3, {"low": threshold, "high": threshold})
        stream = recognizer.stream(StreamConfig(keywords=keywords))
        events = [event for start in range(0, len(wave), 800) for event in stream.feed(wave[start : start + 800], RATE)]
        events += stream.flush()
        alarms = Detections(["low", "high"], [Trial("low", "", "quiet", 1)], background, 0.3).alarms(threshold)
        told = sorted((one.text, round(one.end_s, 3)) for one in events)
        assert told == sorted((one.word, round(one.end_s, 3)) for one in alarms)
        assert len(told) >= 1


def test_silence_is_told_from_sound(model, sounds):
    """Oracle: three seconds of noise at -40 dBFS after two of zeros."""
    half = np.concatenate([np.zeros(2 * RATE), np.random.default_rng(0).normal(0, 0.01, 3 * RATE)])
    soundfile.write(sounds / "half.wav", half, RATE)
    recording = BackgroundRecording(Utterance(str(sounds / "half.wav")), "talk")
    assert Ears(load(model), [100], ["low"]).background(recording)[0].sound_s == pytest.approx(3)


def listed(path: Path, rows: list[str]) -> str:
    path.write_text("\n".join(rows) + "\n")
    return str(path)


def test_positives_are_found_by_folder_label_text_or_word(sounds, tmp_path):
    """Oracle: which clips there are, and what each says."""
    words = ["low", "hey_computer"]
    clips = str(sounds / "clips")
    found = find_positives([clips], words)
    assert [one.label for one in found.clips] == ["low"] * 3
    assert found.left_out == {"high": 3}
    assert [one.label for one in find_positives([clips + "/high"], words, word="hey_computer").clips] == [
        "hey_computer"
    ] * 3
    assert [one.label for one in find_positives([clips + "/low"], words).clips] == ["low"] * 3
    assert [one.label for one in find_positives([clips + "/high"], ["alexa"]).clips] == ["alexa"] * 3
    rows = ["audio\ttext\tsplit", "a.wav\tHey, computer!\ttest", "b.wav\tlower\ttest", "c.wav\tLOW\ttrain"]
    table = listed(tmp_path / "some.tsv", [*rows, "d.wav\tlow and low\ttest"])
    assert [(Path(one.audio).name, one.label) for one in find_positives([table], words).clips] == [
        ("a.wav", "hey_computer"),
        ("c.wav", "low"),
    ]
    assert [one.label for one in find_positives([table], words, split="test").clips] == ["hey_computer"]
    twice = listed(tmp_path / "twice.csv", ["audio,text", "a.wav,low low", "b.wav,low"])
    assert [Path(one.audio).name for one in find_positives([twice], words).clips] == ["b.wav"]
    with pytest.raises(ConfigError, match=r"--word foo: not among the words that are detected \(low, "):
        find_positives([clips], words, word="foo")
    with pytest.raises(ConfigError, match=r"no clip says a word of this model \(up, down\); they say low, high; name"):
        find_positives([listed(tmp_path / "l.csv", ["audio,label", "a.wav,low", "b.wav,high"])], ["up", "down"])
    with pytest.raises(DataError, match="is not there"):
        find_positives([str(tmp_path / "none")], words)
    with pytest.raises(DataError, match="no recordings of the valid split"):
        find_positives([table], words, split="valid")


def test_background_leaves_out_the_positives_and_knows_what_is_said(sounds, tmp_path):
    """Oracle: which recordings there are; of a list with texts, the words in them."""
    clip = Utterance(str(sounds / "clips" / "low" / "0.wav"))
    found = find_background([str(sounds / "clips"), str(sounds / "talk")], ["low"], [clip])
    assert len(found) == 6
    assert {one.source for one in found} == {str(sounds / "clips"), str(sounds / "talk")}
    table = listed(tmp_path / "talk.csv", ["audio,text", "a.wav,the high road", "b.wav,Lowlands are low", "c.wav,"])
    assert [one.said for one in find_background([table], ["low", "high"])] == [{"high"}, {"low"}, set()]
    rows = ["audio,text,split", "a.wav,the high road,train", "b.wav,Lowlands are low,valid"]
    (tmp_path / "split").mkdir()
    listed(tmp_path / "split" / "manifest.csv", rows)
    (chosen,) = find_background([str(tmp_path / "split")], ["low"], split="valid")
    assert (Path(chosen.utterance.audio).name, chosen.said) == ("b.wav", {"low"})
    with pytest.raises(ConfigError, match=r"--background .*no recording besides the positives"):
        find_background([clip.audio], ["low"], [clip])
    rows = [f"{clip.audio},{start},0.1" for start in (0.0, 0.1, 0.2)]
    stretches = listed(tmp_path / "stretches.csv", ["audio,offset,duration", *rows])
    said = dataclasses.replace(clip, start_s=0.1, duration_s=0.1)
    assert [one.utterance.start_s for one in find_background([stretches], ["low"], [said])] == [0.0, 0.2]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"--background .*empty: no audio file"):
        find_background([str(tmp_path / "empty")], ["low"])


def detect(model, sounds, out, *more):
    return main(
        [
            "detect",
            str(model),
            "--positives",
            f"{sounds}/clips",
            "--background",
            f"{sounds}/talk",
            "-o",
            str(out),
            *more,
        ]
    )


def test_the_command(model, sounds, tmp_path, capsys):
    """Oracle: the background has one tone of 400 Hz, after 12 s, and nothing else that resembles a word."""
    assert detect(model, sounds, tmp_path / "out", "--noise", f"{sounds}/noise", "--false_alarms_per_hour", "150") == 0
    printed = capsys.readouterr()
    record = json.loads((tmp_path / "out" / "detection.json").read_text())
    assert record["conditions"] == ["quiet", "10 dB", "5 dB", "0 dB"]
    assert (record["clips"], record["recordings"]) == (6, 1)
    assert record["hours"] == pytest.approx(30 / 3600, abs=1e-4)
    assert [one["at_most_per_hour"] for one in record["points"]] == [0.1, 0.5, 1, 2, 150]
    chosen = record["chosen"]
    assert (chosen["alarms"], chosen["misses"]["quiet"]["count"]) == (1, 0)  # 150 an hour: one in half a minute
    assert record["points"][0]["alarms"] == 0
    tried = record["missed_by_smoothing"]  # of the trials of all four conditions
    assert [smoothing_ms for smoothing_ms, _ in tried] == [50, 100, 200, 300]
    assert [record["smoothing_ms"], sum(one["count"] for one in chosen["misses"].values())] == min(
        tried, key=lambda one: one[1]
    )
    (alarm,) = record["false_alarms"]
    assert (alarm["word"], alarm["from_per_hour"]) == ("low", 150)
    assert 11.7 < alarm["end_s"] < 13.2
    clip, rate = soundfile.read(tmp_path / "out" / alarm["clip"])
    assert (rate, len(clip)) == (RATE, round(2.25 * RATE))
    whole, _ = soundfile.read(sounds / "talk" / "long.wav")
    start = round((alarm["end_s"] - 1.75) * RATE)
    np.testing.assert_allclose(clip, whole[start : start + len(clip)], atol=1e-4)
    page = (tmp_path / "out" / "report.html").read_text()
    assert f'src="{alarm["clip"]}"' in page
    assert "long.wav" in page
    assert "0:00:12" in page
    assert (tmp_path / "out" / "det.png").stat().st_size > 10_000
    assert re.search(r"^150\* +0\.\d+ +1 +120\.00 ", printed.out, re.MULTILINE)
    assert "are too short to tell 150 false alarms an hour: none in them bounds the rate only under 359" in printed.err


@pytest.fixture
def undrawn(monkeypatch):
    """Nothing is drawn: pictures take nine tenths of the time, and test_the_command draws them."""
    for room in ("measurement", "report"):
        monkeypatch.setattr(f"speechgru.evaluation.detection_{room}.detection_picture", lambda *args, **more: b"")


def test_the_point_is_kept_and_measured_again(undrawn, model, sounds, tmp_path, capsys):
    """Oracle: the model folder and the record; a second measurement tells what the model's own threshold gives."""
    recognizer = load(model)
    recognizer.save(tmp_path / "model")
    more = ("--smoothing_ms", "200", "--refractory_s", "2", "--false_alarms_per_hour", "150")
    assert detect(tmp_path / "model", sounds, tmp_path / "out", "--save", *more) == 0
    record = json.loads((tmp_path / "out" / "detection.json").read_text())
    kept = yaml.safe_load((tmp_path / "model" / "config.yaml").read_text())["keywords"]
    assert (kept["smoothing_ms"], kept["refractory_s"]) == (200, 2)
    assert kept["thresholds"] == dict.fromkeys(["low", "high"], record["chosen"]["threshold"])
    assert kept["chosen_on"] | {"date": ""} == {
        "false_alarms_per_hour": 150,
        "hours": record["hours"],
        "alarms": 1,
        "clips": 6,
        "misses": record["chosen"]["misses"]["quiet"]["count"],
        "date": "",
    }
    assert record["own"] is None
    assert record["missed_by_smoothing"] == [[200, kept["chosen_on"]["misses"]]]
    assert detect(tmp_path / "model", sounds, tmp_path / "out") == 0
    own = json.loads((tmp_path / "out" / "detection.json").read_text())["own"]
    assert (own["alarms"], own["misses"]) == (1, record["chosen"]["misses"])
    assert "the model's own" in capsys.readouterr().out


def test_bad_input_is_one_line(undrawn, model, sounds, tmp_path, capsys):
    """Oracle: exit codes, and what each line names."""

    def refused(code, message, *words):
        assert main(["detect", *words, "-o", str(tmp_path / "out")]) == code
        (line,) = capsys.readouterr().err.splitlines()
        assert re.search(message, line), line

    clips, talk = ["--positives", f"{sounds}/clips"], ["--background", f"{sounds}/talk"]
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "broken.wav").write_bytes(b"RIFF....")
    config = RecognizerConfig(LogMelConfig(mels=8), GRUEncoderConfig(4, 1), CTCConfig(), units=CharactersConfig())
    Recognizer(config, Tokens(["<blank>", "A"])).save(tmp_path / "letters")
    refused(2, "^speechgru detect: none: no such folder, and no model is called none", "none", *clips, *talk)
    refused(2, "with a ctc head detects no words", str(tmp_path / "letters"), *clips, *talk)
    refused(
        2,
        "--words maybe: not among the words of this model \\(low, high\\)",
        str(model),
        *clips,
        *talk,
        "--words",
        "maybe",
    )
    refused(2, "--background .*empty: no audio file", str(model), *clips, "--background", str(tmp_path / "empty"))
    refused(1, "empty: has no folders", str(model), "--positives", str(tmp_path / "empty"), *talk)
    refused(
        1,
        r"no background could be heard; the last: .*broken\.wav",
        str(model),
        *clips,
        "--background",
        str(tmp_path / "bad"),
    )
    refused(2, "--false_alarms_per_hour 0: above 0", str(model), *clips, *talk, "--false_alarms_per_hour", "0")
    refused(2, "--smoothing_ms=-1", str(model), *clips, *talk, "--smoothing_ms", "100", "-1")
    refused(2, "--noise .*empty: no audio file", str(model), *clips, *talk, "--noise", str(tmp_path / "empty"))
    soundfile.write(tmp_path / "empty" / "zeros.wav", np.zeros(10 * RATE), RATE)
    recognizer = load(model)
    recognizer.save(tmp_path / "copy")
    words = [str(tmp_path / "copy"), *clips, "--background", str(tmp_path / "empty"), "-o", str(tmp_path / "out")]
    assert main(["detect", *words, "--save"]) == 1
    assert "nothing is kept in the model folder: only 0.00 of 0.00 h of the background" in capsys.readouterr().err
    assert load(tmp_path / "copy").config.keywords is None
    assert main(["detect", str(model), *clips, *talk, str(tmp_path / "bad"), "-o", str(tmp_path / "out")]) == 1
    told = capsys.readouterr()
    assert "broken.wav" in told.err
    assert "6 clips of 2 words; background: 1 recordings" in told.out
    assert load(model).config.keywords is None
