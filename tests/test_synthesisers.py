"""Synthesisers as components. Oracles: checksums of the audio from before they were components, set algebra, messages;
Kokoro itself where its files are given by KOKORO_MODEL and KOKORO_VOICES.
"""

import hashlib
import itertools
import os
import re
from typing import ClassVar

import numpy as np
import pytest

pytest.importorskip("espeakng_loader", reason="needs the extra synth: pip install 'speechgru[synth]'")

from speechgru.config import compose, plain, read_plain
from speechgru.data.corpora import synth
from speechgru.data.corpora.synth import synthesise_words
from speechgru.data.corpora.synth_sentences import say_sentence
from speechgru.data.splits import SPLITS
from speechgru.errors import ConfigError, SpeechGRUError
from speechgru.registry import names
from speechgru.synthesis import Espeak, Kokoro, KokoroConfig, pronounce
from speechgru.synthesis import kokoro as kokoro_module
from speechgru.training.run import portable


def test_the_corpora_sound_as_before_there_were_components():
    """Oracle: the SHA-256 of the same clips, made by the version before (espeakng-loader 0.2.4)."""
    digest = hashlib.sha256()
    for clip in synthesise_words(["left", "seven"], ["en-us+m1", "en-gb+f2"], 2, 3):
        digest.update(clip.waveform.tobytes())
    for number in range(3):
        text, waveform, _ = say_sentence("test", number, "en-us+f2", 1)
        digest.update(text.encode() + waveform.tobytes())
    assert digest.hexdigest() == "0ef89c3fca3720b0219efb618b39ce618b471903ef73afd8d5a8af9f01b85a71"


def test_a_run_chooses_its_synthesiser(tmp_path):
    """Oracle: the composed settings, there and back; a machine's own paths stay out of a model folder."""
    assert names("synthesiser") == ["espeak", "kokoro"]
    words = ["recipe=synth_digits", "synthesiser=kokoro", f"synthesiser.model={tmp_path}/a.onnx", "name=x"]
    config = compose("train", words)
    assert config.data.synthesiser == KokoroConfig(model=f"{tmp_path}/a.onnx")
    assert read_plain(plain(config)) == config
    assert portable(plain(config)["data"])["synthesiser"] == {"name": "kokoro", "voices": "", "threads": 1}
    assert compose("evaluate", ["model=m", "data=synth"]).data.synthesiser == synth.EspeakConfig()


def test_a_folder_made_before_is_still_the_same_corpus(tmp_path):
    """Oracle: settings.json of espeak does not name the synthesiser; another one is another corpus."""
    config = synth.SynthConfig(root=str(tmp_path))
    assert "synthesiser" not in synth.Synth(config)._settings()
    config.synthesiser = KokoroConfig("a", "b")
    assert synth.Synth(config)._settings()["synthesiser"]["name"] == "kokoro"


def test_no_speaker_of_kokoro_is_in_two_splits():
    """Oracle: set algebra over the sizes: no voice twice, no speaker in two splits, and parts that make one whole."""
    for count in (10, 40, kokoro_module.MOST_VOICES):
        found = {split: Kokoro().voices(split, count) for split in SPLITS}
        assert len({voice for split in SPLITS for voice in found[split]}) == count
        mixtures = [re.findall(r"([a-z]+_[a-z]+)(-?\d*)", voice) for split in SPLITS for voice in found[split]]
        names = [[name for name, _ in mixture] for mixture in mixtures]
        assert all(len(set(one)) == len(one) <= 4 for one in names)
        assert all(sum(int(share or 100) for _, share in mixture) == 100 for mixture in mixtures)
        speakers = {split: set(re.findall(r"[a-z]+_[a-z]+", " ".join(found[split]))) for split in SPLITS}
        assert speakers["train"] <= set(kokoro_module.SPEAKERS["train"])
        assert not any(speakers[one] & speakers[other] for one, other in itertools.combinations(SPLITS, 2))
        for split in SPLITS:
            assert found[split] == Kokoro().voices(split, kokoro_module.MOST_VOICES)[: len(found[split])]
    beyond = np.mean([any(share.startswith("-") for _, share in mixture) for mixture in mixtures])
    assert 0.25 < beyond < 0.75
    for count in (9, kokoro_module.MOST_VOICES + 1):
        with pytest.raises(ConfigError, match="voices="):
            Kokoro().voices("train", count)


class Vectors:
    """Kokoro's voices without its weights: one vector each."""

    styles: ClassVar = {"af_one": np.float32([1, 0]), "am_two": np.float32([0, 1])}

    def get_voices(self):
        return list(self.styles)

    def get_voice_style(self, name):
        return self.styles[name]


def test_a_mixture_is_the_sum_of_its_parts():
    """Oracle: the sums by hand; and what is no voice is named."""
    for voice, style in (("af_one", [1, 0]), ("af_one+am_two", [0.5, 0.5]), ("af_one130+am_two-30", [1.3, -0.3])):
        np.testing.assert_allclose(kokoro_module._style(Vectors(), voice), style, rtol=1e-6)
    for voice in ("nobody", "af_one50+nobody50", "af_one+", "-30"):
        with pytest.raises(ConfigError, match="is not a voice of Kokoro"):
            kokoro_module._style(Vectors(), voice)


@pytest.mark.parametrize(
    ("config", "text", "rate", "message"),
    [
        (KokoroConfig(), "hello", 175, "synthesiser.model is not given; download"),
        (KokoroConfig("no.onnx", "no.bin"), "hello", 175, "synthesiser.model no.onnx: no such file; download"),
        (KokoroConfig(), " ", 175, "text=' '"),
        (KokoroConfig(), "hello", 20, "rate_wpm=20: from 80 to 450"),
    ],
)
def test_kokoro_says_what_it_needs(config, text, rate, message):
    """Oracle: the documented message, one line."""
    with pytest.raises(ConfigError) as caught:
        Kokoro(config).speak(text, "af_heart", rate_wpm=rate)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_not_kokoros_are_refused(tmp_path):
    """Oracle: the documented message, with and without the extra."""
    for name in ("model.onnx", "voices.bin"):
        (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(SpeechGRUError, match=r"are not Kokoro's weights|pip install 'speechgru\[kokoro\]'"):
        Kokoro(KokoroConfig(str(tmp_path / "model.onnx"), str(tmp_path / "voices.bin"))).speak("a", "af_heart")


@pytest.mark.slow
@pytest.mark.skipif("KOKORO_MODEL" not in os.environ, reason="needs Kokoro's files: KOKORO_MODEL, KOKORO_VOICES")
def test_kokoro_speaks():
    """Oracle: the same call, twice; a faster rate is shorter; two voices in equal parts are half of each."""
    pytest.importorskip("kokoro_onnx")
    config = KokoroConfig(os.environ["KOKORO_MODEL"], os.environ["KOKORO_VOICES"])
    one, again, pair = (Kokoro(config).speak("hey", v) for v in ("af_heart", "af_heart", "af_heart+am_adam"))
    assert np.array_equal(one.waveform, again.waveform)
    assert not np.array_equal(one.waveform[:8000], pair.waveform[:8000])
    assert 0.1 < one.words[0].end_s <= len(one.waveform) / one.sample_rate
    halves, whole = (Kokoro(config).speak("hey", v) for v in ("af_heart50+am_adam50", "af_heart130+am_adam-30"))
    assert np.array_equal(halves.waveform, pair.waveform)
    assert not np.array_equal(whole.waveform[:8000], one.waveform[:8000])
    assert len(Kokoro(config).speak("hey", "af_heart", rate_wpm=300).waveform) < len(one.waveform)
    with pytest.raises(ConfigError, match="'nobody' is not a voice of Kokoro"):
        Kokoro(config).speak("hey", "nobody")
    assert Espeak().speak("hey", "en-us").words  # both in one process


def test_pronunciations():
    """Oracle: IPA as a dictionary has it (stress left out)."""
    assert pronounce(["cat", "marvin", "", "???"]) == [("k", "æ", "t"), ("m", "ɑːɹ", "v", "ɪ", "n"), (), ()]
    assert pronounce(["42"]) == pronounce(["forty-two"])
    assert pronounce(["bath"], "en-gb") != pronounce(["bath"], "en-us")
    with pytest.raises(ConfigError, match="no voice 'xx'"):
        pronounce(["cat"], "xx")
