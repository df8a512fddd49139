"""The corpus of a wake word. Oracles: a plain recursion for the distance, what was asked for, an uninterrupted run."""

import dataclasses
import functools
import itertools
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("espeakng_loader", reason="needs the extra synth: pip install 'speechgru[synth]'")

from speechgru.audio import read_audio
from speechgru.cli import main
from speechgru.config import compose
from speechgru.data.corpora.wake_word import UNKNOWN, WakeWord, WakeWordConfig, phones_of
from speechgru.data.near_misses import WORDS, distance, near_misses, says
from speechgru.data.splits import SPLITS
from speechgru.errors import ConfigError, DataError
from speechgru.model_folder import read_config
from speechgru.recognizer import load
from speechgru.registry import to_plain
from speechgru.shipped import shipped_model
from speechgru.streaming.scores import goes_by_frames, score_track
from speechgru.synthesis import KokoroConfig, pronounce

PHRASE = "hey marvin"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    config = WakeWordConfig(root=str(tmp_path_factory.mktemp("wake")), phrase=PHRASE, clips=100)
    WakeWord(config).prepare(progress=False)
    return config


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_distance_of_pronunciations():
    """Oracle: the recursive definition; and what is alike costs half."""

    @functools.cache
    def plain(one: tuple[str, ...], other: tuple[str, ...]) -> float:
        if not one or not other:
            return len(one) + len(other)
        cost = distance(one[:1], other[:1])
        return min(
            plain(one[1:], other[1:]) + cost,
            plain(one[1:], other) + 1,
            plain(one, other[1:]) + 1,
        )

    rng = np.random.default_rng(0)
    for _ in range(50):
        one, other = (tuple(rng.choice(list("ptaesnl"), rng.integers(5))) for _ in range(2))
        assert distance(one, other) == plain(one, other) == distance(other, one)
    pairs = {("p", "b"): 0.5, ("a", "e"): 0.5, ("s", "ʃ"): 0.5, ("m", "n"): 0.5, ("p", "s"): 1, ("a", "n"): 1}
    assert {pair: distance(pair[:1], pair[1:]) for pair in pairs} == pairs


def test_near_misses_are_near_and_no_phrase():
    """Oracle: espeak's pronunciation of each; the parts and the look-alikes that anybody would name."""
    found = near_misses(PHRASE, 60)
    assert len(found) == len(set(found)) == 60
    (target,) = pronounce([PHRASE])
    for phones in pronounce(found):
        assert distance(phones, target) >= 1
        assert not says(phones, target)
    assert {"marvin", "hey martin"} <= set(found)
    assert sum(not set(text.split()) <= {*WORDS, *PHRASE.split()} for text in found) <= 40
    assert says(pronounce(["so hey marvin go"])[0], target)
    assert near_misses.__wrapped__(PHRASE, 60) == found
    mean = {text: distance(phones, target) for text, phones in zip(WORDS, pronounce(WORDS), strict=True)}
    assert np.mean([distance(phones, target) for phones in pronounce(found)]) < np.mean(list(mean.values())) - 2


def test_the_corpus_is_what_was_asked_for(made):
    """Oracle: counts, labels, voices of each split, and the pronunciation of what is not the phrase."""
    corpus = WakeWord(made)
    assert corpus.labels() == [PHRASE, UNKNOWN]
    speakers = {}
    for split, count in zip(SPLITS, (70, 10, 20), strict=True):
        rows = corpus.utterances(split)
        assert len(rows) == count
        assert Counter(one.label for one in rows)[PHRASE] == round(0.4 * count)
        speakers[split] = {one.speaker.split("+")[1] for one in rows}
        for one, phones in zip(rows, pronounce([one.text for one in rows]), strict=True):
            assert says(phones, corpus.phones) == (one.label == PHRASE), one.text
            assert one.text.lower().startswith(PHRASE) or one.label != PHRASE
            waveform = read_audio(one.audio, 16000)[0]
            assert 0.1 < len(waveform) / 16000 == one.duration_s
            assert 0.09 < waveform.abs().max() < 0.9
    assert not any(speakers[one] & speakers[other] for one, other in itertools.combinations(SPLITS, 2))


def test_neural_voices_say_mostly_the_phrase_and_call_nothing_else_so(tmp_path):
    """Oracle: the documented shares, and how espeak says each text; behind "hey" a part of the phrase is all of it."""
    corpus = WakeWord(WakeWordConfig(root=str(tmp_path), phrase=PHRASE, clips=100, synthesiser=KokoroConfig("a", "b")))
    plan = [clip for clip in corpus._plan("train") if clip.neural]
    assert Counter(clip.kind for clip in plan) == {"phrase": 686, "near": 196, "other": 98}
    for clip, phones in zip(plan, pronounce([clip.text for clip in plan]), strict=True):
        assert says(phones, corpus.phones) == (clip.kind == "phrase"), clip.text
    parts = corpus._texts("near", "train", 100, ("marvin",), neural=True)
    assert not any(says(phones, corpus.phones) for phones in pronounce(parts))
    assert len({text.rstrip(".!?,") for text in parts}) > 3
    phrases = [clip for clip in plan if clip.kind == "phrase"]
    assert len({clip.voice for clip in phrases}) == len(phrases)
    assert 0.4 < np.mean([clip.text.rstrip(".!?,") != PHRASE for clip in phrases]) < 0.6


def test_a_stopped_one_goes_on_and_is_the_same(made, tmp_path):
    """Oracle: the folder made in one go; clips that are there are not made again, however long ago it was stopped."""
    whole = contents(WakeWord(made).folder)
    config = WakeWordConfig(**{**vars(made), "root": str(tmp_path)})
    corpus = WakeWord(config)
    text = (WakeWord(made).folder / "settings.json").read_text("utf-8")
    building = corpus._building(corpus.folder.resolve(), text)
    shutil.copytree(WakeWord(made).folder / "train", building / "train")
    kept = sorted((building / "train").rglob("*.flac"))
    kept.pop().unlink()
    for path in (building, *building.rglob("*")):
        os.utime(path, (0, 0))
    before = {path.relative_to(building): path.stat().st_mtime_ns for path in kept}
    corpus.utterances("valid")
    assert contents(corpus.folder) == whole
    assert {path: (corpus.folder / path).stat().st_mtime_ns for path in before} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hey_marvin"]


def test_other_settings_are_another_corpus(made):
    """Oracle: the documented refusal; where Kokoro's files lie makes no other speech."""
    with pytest.raises(DataError, match="was made with clips=100, not clips=200; remove the folder or choose"):
        WakeWord(WakeWordConfig(**{**vars(made), "clips": 200})).prepare()
    one, other = (
        WakeWord(WakeWordConfig(**{**vars(made), "synthesiser": KokoroConfig(path, path)}))._settings() for path in "ab"
    )
    assert one == other != WakeWord(made)._settings()
    WakeWord(dataclasses.replace(made, neural_clips=7)).prepare()  # nobody else speaks: the same corpus


def test_own_recordings_join(made, tmp_path):
    """Oracle: the recordings given, five times in training and once where one measures."""
    for number in range(20):
        soundfile.write(tmp_path / f"take{number}.wav", 0.1 * np.ones(1600), 16000)
    corpus = WakeWord(WakeWordConfig(**{**vars(made), "own": str(tmp_path)}))
    heard = {split: corpus.utterances(split)[count:] for split, count in zip(SPLITS, (70, 10, 20), strict=True)}
    assert {one.label for rows in heard.values() for one in rows} == {PHRASE}
    names = {split: Counter(Path(one.audio).name for one in rows) for split, rows in heard.items()}
    assert set(names["train"].values()) == {5}
    assert sum(map(len, names.values())) == 20
    assert len(set().union(*names.values())) == 20
    few = tmp_path / "few"
    few.mkdir()
    for number in range(2):
        shutil.copy(tmp_path / "take0.wav", few / f"{number}.wav")
    corpus = WakeWord(WakeWordConfig(**{**vars(made), "own": str(few)}))
    with pytest.raises(DataError, match="2 recordings; at least 3"):
        corpus.utterances("train")


@pytest.mark.parametrize(
    ("phrase", "message"),
    [
        ("", "phrase has no value; say what to listen for"),
        ("???", "phrase=???: there is nothing to say"),
        ("你好", "phrase=你好: '你好' has no English pronunciation; write it in Latin letters"),
        ("hey привет", "'привет' has no English pronunciation"),
        ("a very long story " * 5, "at most 40"),
    ],
)
def test_a_phrase_without_pronunciation_is_refused(phrase, message):
    """Oracle: the documented message, one line."""
    with pytest.raises(ConfigError) as caught:
        WakeWord(WakeWordConfig(phrase=phrase))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_digits_accents_and_short_phrases(capsys):
    """Oracle: espeak's reading of the words in full; the warning."""
    assert phones_of("42") == phones_of("forty two")
    assert phones_of("café olé")
    assert capsys.readouterr().err == ""
    assert len(phones_of("up")) == 2
    assert "only 2 sounds, expect false alarms" in capsys.readouterr().err


def test_the_recipe_begins_with_an_encoder_of_phones():
    """Oracle: the config of the model that ships, one layer more; another model of two layers gets one more, too."""
    words = ["recipe=wake_word", "data.phrase=hey computer"]
    given, other = (read_config(shipped_model(name)) for name in ("english_phones", "keywords"))
    config = compose("train", words)
    assert (config.init_from, config.freeze_encoder) == ("english_phones", True)
    assert to_plain(config.features) == to_plain(given.features)
    assert to_plain(config.encoder) == {**to_plain(given.encoder), "num_layers": given.encoder.num_layers + 1}
    assert compose("train", [*words, "encoder.num_layers=4"]).encoder.num_layers == 4
    third = compose("train", [*words, "init_from=keywords"]).encoder
    assert to_plain(third) == {**to_plain(other.encoder), "num_layers": 3}
    assert compose("train", [*words, "init_from=", "freeze_encoder=false"]).encoder.hidden_size == 64


@pytest.mark.slow
def test_one_command_makes_a_detector_that_goes_step_by_step(tmp_path, monkeypatch):
    """Oracle: the labels asked for; the scores of a clip, frame by frame, are probabilities."""
    monkeypatch.chdir(tmp_path)
    small = ["data.clips=100", "trainer.epochs=1", "trainer.workers=0", "trainer.device=cpu"]
    assert main(["train", "recipe=wake_word", "phrase=hey  bob", *small]) == 0
    model = load("runs/wake_word/model")
    assert model.tokens.names == ["hey bob", UNKNOWN]
    assert goes_by_frames(model)
    (clip, *_) = WakeWord(WakeWordConfig(phrase="hey bob", clips=100)).utterances("valid")
    track = score_track(model, read_audio(clip.audio, 16000)[0])
    assert track.scores.shape[1] == 2
    assert ((track.scores >= 0) & (track.scores <= 1)).all()
