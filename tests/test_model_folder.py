"""What a model folder brings along: the decoder with its files, and parameters of half the width."""

import dataclasses
import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from speechgru.decoding import BeamConfig, BeamDecoder, GreedyConfig
from speechgru.decoding.arpa import write_arpa
from speechgru.decoding.kneser_ney import train
from speechgru.errors import DataError, ModelError
from speechgru.features import Normalization
from speechgru.recognizer import Recognizer, load

LIKELY = ["AB", "CD", "A", "B"]


@pytest.fixture
def own(tones, tmp_path: Path) -> Recognizer:
    """A recognizer of tones whose decoder knows four words; its files lie in a folder of their own."""
    (tmp_path / "made").mkdir()
    write_arpa(tmp_path / "made" / "some.arpa", train([LIKELY] * 3 + [LIKELY[::-1]], 2))
    (tmp_path / "made" / "some.words").write_text("AB\nCD\nA\nB\nC\n")
    tones.recognizer.save(tmp_path / "plain")
    recognizer = load(tmp_path / "plain")
    recognizer.config.decoder = BeamConfig(
        beam_size=7,
        language_model=str(tmp_path / "made" / "some.arpa"),
        lexicon=str(tmp_path / "made" / "some.words"),
        lm_weight=0.9,
        closed=True,
    )
    return recognizer


def test_a_model_folder_brings_its_decoder(tones, own: Recognizer, tmp_path: Path) -> None:
    """Oracle: a decoder of the same settings and files. The folder is moved, and what it was made of is gone."""
    waveform = torch.from_numpy(tones.say(["ABD", "CD", "DA"], np.random.default_rng(0))[0])
    assert own.config.decoder is not None
    by_hand = own.transcribe_waveforms([waveform], own.decoder(own.config.decoder))
    assert set(by_hand[0].text.split()) <= {"AB", "CD", "A", "B", "C"}
    own.save(tmp_path / "model")
    shutil.move(tmp_path / "model", tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "made")
    again = load(tmp_path / "elsewhere")
    assert again.transcribe_waveforms([waveform]) == by_hand
    assert isinstance(again.decoder(), BeamDecoder)
    assert again.decoder() is again.decoder()  # its language model is read once
    greedy = again.transcribe_waveforms([waveform], again.decoder(GreedyConfig()))
    assert greedy == load(tmp_path / "plain").transcribe_waveforms([waveform])
    assert greedy[0].text != by_hand[0].text
    before = again.decoder()
    again.config.decoder.lm_weight = 0.0  # other settings are another decoder
    assert again.decoder() is not before
    for written in (tmp_path / "elsewhere").iterdir():
        assert str(tmp_path).encode() not in written.read_bytes()


def test_saved_again_the_decoder_stays(own: Recognizer, tmp_path: Path) -> None:
    """Oracle: the bytes of the first folder, over itself and elsewhere; the language model is packed."""
    own.save(tmp_path / "model")
    content = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    assert {"language_model.arpa.gz", "lexicon.txt"} <= set(content)
    assert gzip.decompress(content["language_model.arpa.gz"]) == (tmp_path / "made" / "some.arpa").read_bytes()
    again = load(tmp_path / "model")
    for folder in (tmp_path / "model", tmp_path / "copy"):
        again.save(folder)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == content
    said = yaml.safe_load(content["config.yaml"])["decoder"]
    assert (said["name"], said["beam_size"], said["language_model"]) == ("beam", 7, "language_model.arpa.gz")
    assert "decoder" not in yaml.safe_load((tmp_path / "plain" / "config.yaml").read_text())


def test_a_decoder_reads_no_file_outside_its_folder(own: Recognizer, tmp_path: Path) -> None:
    """Oracle: what the message must name."""
    own.save(tmp_path / "model")
    path = tmp_path / "model" / "config.yaml"
    text = path.read_text()
    for name in ("../made/some.words", str(tmp_path / "made" / "some.words"), "tokens.txt"):
        path.write_text(text.replace("lexicon: lexicon.txt", f"lexicon: {name}"))
        with pytest.raises(ModelError, match=r"yaml: decoder\.lexicon=.*the file of a model folder is lexicon"):
            load(tmp_path / "model")
    path.write_text(text.replace("name: beam", "name: bean"))
    with pytest.raises(ModelError, match="did you mean 'beam'"):
        load(tmp_path / "model")
    path.write_text(text)
    (tmp_path / "model" / "lexicon.txt").unlink()
    with pytest.raises(ModelError, match=r"holds no lexicon\.txt"):
        load(tmp_path / "model")
    (tmp_path / "made" / "some.arpa").unlink()
    with pytest.raises(DataError, match=r"decoder\.language_model=.*some\.arpa: cannot be read"):
        own.save(tmp_path / "again")


def test_half_precision_halves_the_folder_and_changes_next_to_nothing(tones, own: Recognizer, tmp_path: Path) -> None:
    """Oracle: the float32 model; rounding to 11 bits moves a parameter by at most 2**-11 of itself."""
    features = dataclasses.replace(own.config.features, normalization=Normalization["global"])
    state = own.state_dict()
    own = Recognizer(dataclasses.replace(own.config, features=features), own.tokens)
    own.load_state_dict(own.state_dict() | state)
    own.features.mean.add_(1 / 3)  # a statistic, and no number of float16
    own.features.fitted.fill_(True)
    own.save(tmp_path / "full")
    own.save(tmp_path / "half", half=True)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("full", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    full, half = load(tmp_path / "full"), load(tmp_path / "half")
    for (name, exact), (_, rounded) in zip(full.named_parameters(), half.named_parameters(), strict=True):
        assert rounded.dtype == torch.float32
        assert torch.allclose(exact, rounded, rtol=2**-11, atol=2**-25), name
    for (name, exact), (_, kept) in zip(full.named_buffers(), half.named_buffers(), strict=True):
        assert torch.equal(exact, kept), name
    waveform = torch.from_numpy(tones.say(["AB", "CD"], np.random.default_rng(1))[0])
    a, b = (model.log_probabilities([waveform])[0] for model in (full, half))
    assert 0 < np.abs(np.exp(a) - np.exp(b)).max() < 0.02
    with torch.no_grad():
        next(half.parameters()).view(-1)[0] = 1e6
    with pytest.raises(ModelError, match="numbers that float16 cannot hold"):
        half.save(tmp_path / "half", half=True)
