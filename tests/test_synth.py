"""Synthesis and the corpus made with it. Oracles: the signal itself (energy, pitch), librosa, fresh processes."""

import hashlib
import itertools
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("espeakng_loader", reason="needs the extra synth: pip install 'speechgru[synth]'")

from speechgru.data.corpora import made, synth
from speechgru.data.corpora.corpus import SPLITS
from speechgru.errors import ConfigError, DataError, SpeechGRUError
from speechgru.synthesis import ACCENTS, Espeak, espeak_ng, speak, variants
from speechgru.synthesis.espeak import MOST_VOICES, SPEAKERS

# The kinds of variants whose state espeak-ng carries over or draws at random: flutter, breath noise from its own
# generator, Klatt's synthesiser, breath noise from the C library's rand.
RESTLESS = ["en-us+m3", "en-gb+f1", "en-us+grandma", "en-gb-scotland+whisper", "en-029+klatt4", "en-us+Reed"]


def digest(waveform: np.ndarray) -> str:
    return hashlib.sha256(waveform.tobytes()).hexdigest()


def test_the_same_call_gives_the_same_samples_whatever_was_said_before():
    """Oracle: the call made first, in the other order, and after other speech in between."""
    first = {voice: digest(speak("seven", voice).waveform) for voice in RESTLESS}
    speak("something else entirely, at length", "en-us+f5", rate_wpm=300, pitch=90, pitch_range=10, seed=7)
    assert {voice: digest(speak("seven", voice).waveform) for voice in reversed(RESTLESS)} == first
    assert len(set(first.values())) == len(RESTLESS)
    for voice in ("en-gb-scotland+whisper", "en-us+Reed"):
        assert digest(speak("seven", voice, seed=1).waveform) != first[voice]


def test_another_process_gives_the_same_samples():
    """Oracle: a fresh interpreter that says one thing only."""
    code = "import sys, hashlib; from speechgru.synthesis import speak; "
    code += "print(hashlib.sha256(speak('seven', 'en-us+m3', seed=5).waveform.tobytes()).hexdigest())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest(speak("seven", "en-us+m3", seed=5).waveform)


def test_threads_take_turns():
    """Oracle: the same words said one after the other."""
    words = ["zero", "one", "two", "three", "four", "five"]
    alone = [digest(speak(word).waveform) for word in words]
    together = [""] * len(words)

    def say(index: int) -> None:
        together[index] = digest(speak(words[index]).waveform)

    threads = [threading.Thread(target=say, args=(index,)) for index in range(len(words))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_a_library_loaded_by_somebody_else_is_left_alone():
    """Oracle: the samples without the other user; espeak-ng's state in the other's library is not ours."""
    import ctypes

    import espeakng_loader

    expected = digest(speak("seven", "en-us+m3").waveform)
    other = ctypes.CDLL(espeakng_loader.get_library_path())
    try:
        assert [digest(speak("seven", "en-us+m3").waveform) for _ in range(2)] == [expected, expected]
    finally:
        espeak_ng._unload(other)
    assert digest(speak("seven", "en-us+m3").waveform) == expected


def test_word_times_bound_the_sound():
    """Oracle: the energy of the waveform. Words tile the speech, sound fills them, silence follows them."""
    speech = speak("seven, three. Stop", "en-us+m4")
    assert [word.text for word in speech.words] == ["seven", "three", "Stop"]
    energy = speech.waveform.astype(np.float64) ** 2
    inside = np.zeros(len(energy), bool)
    for word in speech.words:
        assert 0 <= word.start_s < word.end_s <= len(energy) / speech.sample_rate
        span = slice(round(word.start_s * speech.sample_rate), round(word.end_s * speech.sample_rate))
        inside[span] = True
        assert 0.15 < word.end_s - word.start_s < 0.8
        assert energy[span].mean() > 1e-4
    assert all(a.end_s <= b.start_s for a, b in itertools.pairwise(speech.words))
    assert energy[inside].sum() > 0.99 * energy.sum()
    pause = slice(round((speech.words[1].end_s + 0.03) * 22050), round((speech.words[2].start_s - 0.01) * 22050))
    assert pause.stop - pause.start > 2000
    assert energy[pause].max() < 1e-4 * energy.max()


def test_the_text_of_words_is_the_text_that_was_given():
    """Oracle: the text itself; joined again, nothing of it is lost or said twice."""
    speech = speak("of the people: naïve café, 42 times!")
    assert " ".join(word.text for word in speech.words) == "of the people naïve café 42 times"


def test_rate_pitch_and_range_do_what_they_say():
    """Oracle: duration, and librosa's pitch tracker."""
    import librosa

    def hz(**settings: int) -> np.ndarray:
        waveform = speak("nine nine nine", "en-us", **settings).waveform
        pitch = librosa.yin(waveform, fmin=50, fmax=400, sr=22050)
        loud = librosa.feature.rms(y=waveform)[0][: len(pitch)] > 0.05
        return pitch[: len(loud)][loud]

    assert np.median(hz(pitch=80)) > 1.2 * np.median(hz(pitch=20))
    lively, flat = (np.ptp(np.percentile(hz(pitch_range=value), [10, 90])) for value in (90, 5))
    assert lively > 1.5 * flat
    slow, fast = (speak("one two three", rate_wpm=rate).words[-1].end_s for rate in (100, 200))
    assert 1.5 < slow / fast < 2.5


def test_accents_and_variants_differ():
    """Oracle: no two accents or variants of the corpus give the same samples."""
    assert len({digest(speak("one two four", accent).waveform) for accent in ACCENTS}) == len(ACCENTS)
    speakers = [name for split in SPLITS for name in SPEAKERS[split]]
    assert set(speakers) <= set(variants())
    assert len({digest(speak("four", f"en-gb+{name}").waveform) for name in speakers}) == len(speakers)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"text": "  "}, "text="),
        ({"voice": "xx"}, "voice=xx: espeak-ng has no voice 'xx'"),
        ({"voice": "en-us+nobody"}, "'nobody' is not a variant"),
        ({"rate_wpm": 30}, "rate_wpm=30: from 80 to 450"),
        ({"pitch": 100}, "pitch=100: from 0 to 99"),
        ({"pitch_range": -1}, "pitch_range=-1"),
    ],
)
def test_wrong_arguments_say_what_is_legal(settings, message):
    """Oracle: the documented message."""
    with pytest.raises(ConfigError) as caught:
        speak(**{"text": "one", **settings})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(speak("one").words) == 1  # and the engine still works


def test_without_the_extra_the_error_names_it(monkeypatch):
    """Oracle: the documented message."""
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(SpeechGRUError, match=r"pip install 'speechgru\[synth\]'"):
        speak("one")


def test_a_long_path_to_the_voices_works(tmp_path, monkeypatch):
    """Oracle: the samples from the ordinary path. espeak-ng itself cuts paths at 160 bytes."""
    import espeakng_loader

    expected = digest(speak("one").waveform)
    deep = tmp_path / ("x" * 100) / ("y" * 100) / "espeak-ng-data"
    deep.parent.mkdir(parents=True)
    deep.symlink_to(espeakng_loader.get_data_path(), target_is_directory=True)
    monkeypatch.setattr(espeakng_loader, "get_data_path", lambda: str(deep))
    assert digest(speak("one").waveform) == expected


def test_an_error_in_the_callback_is_raised_here(monkeypatch):
    """Oracle: the exception itself, which C would have swallowed."""

    def fail(*_):
        raise MemoryError("no room")

    monkeypatch.setattr(espeak_ng.ctypes, "string_at", fail)
    with pytest.raises(MemoryError, match="no room"):
        speak("one")


def test_no_speaker_is_in_two_splits_and_a_larger_corpus_keeps_the_voices():
    """Oracle: set algebra over all sizes."""
    for count in (10, 37, 100, 150, MOST_VOICES):
        voices = {split: Espeak().voices(split, count) for split in SPLITS}
        everything = [voice for split in SPLITS for voice in voices[split]]
        assert len(everything) == len(set(everything)) == count
        for one, other in itertools.combinations(SPLITS, 2):
            assert not {v.split("+")[1] for v in voices[one]} & {v.split("+")[1] for v in voices[other]}
        for split in SPLITS:
            largest = Espeak().voices(split, MOST_VOICES)
            assert voices[split] == largest[: len(voices[split])]
            if count >= 100:
                assert len({voice.split("+")[0] for voice in voices[split]}) == len(ACCENTS)
    assert abs(len(Espeak().voices("test", 150)) - 30) <= 1


def test_a_clip_depends_on_nothing_else_that_is_asked_for():
    """Oracle: the clip made alone."""
    many = list(synth.synthesise_words(["left", "seven"], ["en-us+m1", "en-gb+f2"], takes=3, seed=4))
    alone = list(synth.synthesise_words(["seven"], ["en-gb+f2"], takes=2, seed=4))
    assert [(clip.word, clip.voice, clip.take) for clip in alone] == [("seven", "en-gb+f2", take) for take in (0, 1)]
    twin = {(clip.word, clip.voice, clip.take): clip.waveform for clip in many}
    for clip in alone:
        np.testing.assert_array_equal(clip.waveform, twin[clip.word, clip.voice, clip.take])
    assert len({digest(clip.waveform) for clip in many}) == len(many) == 12
    other = next(synth.synthesise_words(["seven"], ["en-gb+f2"], seed=5)).waveform
    assert digest(other) != digest(alone[0].waveform)


def test_clips_are_finite_unclipped_and_hold_the_whole_word():
    """Oracle: sample statistics; the word's length from the engine."""
    for clip in synth.synthesise_words(
        ["six"], ["en-us+Jacky", "en-us+whisper", "en-gb+zac"], takes=3, sample_rate=8000
    ):
        assert clip.waveform.dtype == np.float32
        assert len(clip.waveform) == 8000
        assert np.isfinite(clip.waveform).all()
        assert 0.09 < np.abs(clip.waveform).max() < 0.9
    long = next(synth.synthesise_words(["antidisestablishmentarianism"], ["en-us+m1"])).waveform
    assert len(long) > 1.3 * 16000


@pytest.fixture
def config(tmp_path):
    return synth.SynthConfig(root=str(tmp_path / "deep" / "digits"), words=["one", "two words"], voices=10, takes=1)


def contents(root: Path) -> dict[str, str]:
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in root.rglob("*") if p.is_file()
    }


def test_prepare_makes_the_corpus_once_and_the_same_everywhere(config, tmp_path):
    """Oracle: a second folder, and soundfile reading what the manifest says."""
    corpus = synth.Synth(config)
    assert corpus.labels() == ["one", "two words"]
    with pytest.raises(DataError, match="speechgru prepare synth"):
        corpus.utterances("train")
    corpus.prepare(progress=False)
    root = Path(config.root)
    assert os.listdir(root.parent) == ["digits"]
    made = contents(root)
    stamps = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    corpus.prepare(progress=False)
    assert stamps == {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    twin = synth.SynthConfig(**{**vars(config), "root": str(tmp_path / "twin")})
    synth.Synth(twin).prepare(progress=False)
    assert contents(tmp_path / "twin") == made
    counts = {}
    for split in SPLITS:
        utterances = corpus.utterances(split)
        counts[split] = len(utterances)
        for one in utterances:
            info = soundfile.info(one.audio)
            assert (info.samplerate, info.channels, info.duration) == (16000, 1, one.duration_s)
            assert one.label == one.text == Path(one.audio).parent.name.replace("_", " ")
            assert one.speaker in Espeak().voices(split, 10)
    assert counts == {"train": 14, "valid": 2, "test": 4}
    with pytest.raises(DataError, match="split 'dev'"):
        corpus.utterances("dev")


def test_another_setting_is_not_mistaken_for_the_corpus_that_is_there(config):
    """Oracle: the message names both values; nothing is touched."""
    synth.Synth(config).prepare(progress=False)
    before = contents(Path(config.root))
    other = synth.Synth(synth.SynthConfig(**{**vars(config), "takes": 2}))
    for act in (lambda: other.prepare(progress=False), lambda: other.utterances("test")):
        with pytest.raises(DataError, match="was made with takes=1, not takes=2; remove the folder"):
            act()
    assert contents(Path(config.root)) == before


def test_a_folder_of_something_else_is_left_alone(config):
    """Oracle: the file in it."""
    root = Path(config.root)
    root.mkdir(parents=True)
    (root / "thesis.txt").write_text("mine")
    for settings in (None, "not json", "[1]"):
        if settings is not None:
            (root / "settings.json").write_text(settings)
        with pytest.raises(DataError, match="is not a folder made by"):
            synth.Synth(config).prepare(progress=False)
    assert (root / "thesis.txt").read_text() == "mine"


def test_a_killed_run_leaves_nothing_that_counts(config, monkeypatch):
    """Oracle: the folder of a run that was not killed; an old leftover is swept away, a fresh one is not."""
    root = Path(config.root)
    settings = {key: value for key, value in vars(config).items() if key != "synthesiser"}
    code = "import os, sys, json; from speechgru.data.corpora import synth; save = synth._save; made = []\n"
    code += "def dying(*a):\n    made.append(1)\n    os._exit(9) if len(made) > 3 else None\n    return save(*a)\n"
    code += "synth._save = dying; synth.Synth(synth.SynthConfig(**json.loads(sys.argv[1]))).prepare(False)"
    assert subprocess.run([sys.executable, "-c", code, json.dumps(settings)]).returncode == 9
    assert not root.exists()
    (leftover,) = root.parent.iterdir()
    synth.Synth(config).prepare(progress=False)
    assert leftover.exists()
    assert len(contents(root)) == 20 + 3 + 1
    monkeypatch.setattr(made, "_ABANDONED_S", -1.0)
    made._remove_abandoned(root, root)
    assert os.listdir(root.parent) == ["digits"]


def test_a_failure_on_the_way_leaves_no_folder(config, monkeypatch):
    """Oracle: the file system, after the disk is full and after Ctrl-C."""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(synth, "_save", full)
    with pytest.raises(DataError, match=r"cannot be written .No space left on device"):
        synth.Synth(config).prepare(progress=False)
    assert os.listdir(Path(config.root).parent) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"voices": 9}, "voices=9: from 10 to 380"),
        ({"takes": 0}, "takes=0: from 1 to 100"),
        ({"sample_rate": 4000}, "sample_rate=4000: from 8000 to 48000"),
        ({"words": []}, "at least one"),
        ({"words": ["one", "One"]}, "each once"),
        ({"words": ["../x"]}, "no slash"),
        ({"words": ["..."]}, "letters"),
        ({"words": [1]}, "quote numbers"),
    ],
)
def test_config_ranges(settings, message):
    """Oracle: the documented ranges."""
    with pytest.raises(ConfigError) as caught:
        synth.SynthConfig(**settings)
    assert message in str(caught.value)
