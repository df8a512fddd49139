"""What a model folder brings along: the decoder with its files, and parameters of half the width."""

import contextlib
import dataclasses
import gzip
import math
import re
import resource
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import speechgru.checksums
import speechgru.model_folder
import speechgru.tokens
from speechgru.decoding import BeamConfig, BeamDecoder, GreedyConfig
from speechgru.decoding.arpa import write_arpa
from speechgru.decoding.kneser_ney import train
from speechgru.decoding.operating_point import KeywordConfig
from speechgru.errors import DataError, ModelError
from speechgru.features import Normalization
from speechgru.files import write_atomically
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


def test_one_flipped_bit_is_refused_with_the_name_of_the_file(own: Recognizer, tmp_path: Path) -> None:
    """Every file but config.yaml, which may be edited; bits all over it. Without the checksums most would load."""
    own.save(tmp_path / "model")
    names = {path.name for path in (tmp_path / "model").iterdir()} - {"config.yaml", "SHA256SUMS"}
    assert names == {
        "model.safetensors",
        "tokens.txt",
        "fingerprint.json",
        "language_model.arpa.gz",
        "lexicon.txt",
    }
    rng = np.random.default_rng(0)
    for name in sorted(names):
        path = tmp_path / "model" / name
        whole = path.read_bytes()
        for place in (0, *rng.integers(len(whole), size=3), len(whole) - 1):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << int(rng.integers(8))
            path.write_bytes(damaged)
            with pytest.raises(ModelError, match=f"{name} is not what its line in SHA256SUMS says"):
                load(tmp_path / "model")
        path.write_bytes(whole)
    sums = tmp_path / "model" / "SHA256SUMS"
    whole = sums.read_bytes()
    sums.write_bytes(whole.replace(b"  ", b" !", 1))
    with pytest.raises(ModelError, match="SHA256SUMS:1: is not a checksum"):
        load(tmp_path / "model")
    sums.write_bytes(whole)
    load(tmp_path / "model")


def test_the_program_sha256sum_reads_the_checksums(own: Recognizer, tmp_path: Path) -> None:
    """Oracle: sha256sum of the GNU core utilities, where it is there."""
    own.save(tmp_path / "model")
    if not shutil.which("sha256sum"):
        pytest.skip("there is no sha256sum here")
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path / "model", capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.count(": OK\n") == 5


def test_settings_may_be_edited_and_old_folders_have_no_checksums(own: Recognizer, tmp_path: Path) -> None:
    """By hand: a weight of the decoder is changed in config.yaml; the folder of an older version has no SHA256SUMS."""
    own.save(tmp_path / "model")
    path = tmp_path / "model" / "config.yaml"
    path.write_text(path.read_text().replace("lm_weight: 0.9", "lm_weight: 0.25"))
    assert load(tmp_path / "model").config.decoder.lm_weight == 0.25
    (tmp_path / "model" / "SHA256SUMS").unlink()
    assert load(tmp_path / "model").config.decoder.lm_weight == 0.25


def test_a_save_cut_short_leaves_no_wrong_checksums(
    own: Recognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before any of its files over an older model: the folder loads, with old or new weights, each whole."""
    own.save(tmp_path / "model")
    old = own.state_dict()["head.output.bias"].clone()
    with torch.no_grad():
        own.head.output.bias += 1
    for files in range(8):
        left = [files]

        def write(path: Path, content: bytes | str, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            write_atomically(path, content)

        for module in (speechgru.model_folder, speechgru.checksums, speechgru.tokens):
            monkeypatch.setattr(module, "write_atomically", write)
        with contextlib.suppress(KeyboardInterrupt):
            own.save(tmp_path / "model")
        found = load(tmp_path / "model").state_dict()["head.output.bias"]
        assert found.equal(old) or found.equal(old + 1)
    assert found.equal(old + 1)
    assert (tmp_path / "model" / "SHA256SUMS").is_file()  # the last was not cut


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_is_refused_with_the_name_of_its_tensor(own: Recognizer, tmp_path, number) -> None:
    """A model that answers the same whatever it hears: one weight in the encoder would do."""
    with torch.no_grad():
        own.state_dict()["encoder.layers.0.forward_cell.weight_hh"][3, 1] = number
    own.save(tmp_path / "model")
    with pytest.raises(ModelError, match=r"safetensors: encoder\.layers\.0\.forward_cell\.weight_hh holds a number"):
        load(tmp_path / "model")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("encoder.hidden_size", 12_000),
        ("encoder.hidden_size", 2**62),
        ("encoder.num_layers", 900),
        ("encoder.num_layers", 10**9),
        ("encoder.projection_size", 10**12),
        ("features.window_ms", 1e7),
        ("features.hop_ms", 1e30),
        ("features.mels", 10**18),
        ("features.mels", 40),
        ("features.fft_size", 2**40),
        ("features.sample_rate", 10**12),
        ("features.delta_window", 10**9 + 1),
        ("features.sliding_window_ms", 1e30),
    ],
)
def test_sizes_are_not_believed(own: Recognizer, tmp_path: Path, key: str, value: float) -> None:
    """Oracle: less than 300 MB of memory more, where 12,000 units alone would take 1.7 GB."""
    own.save(tmp_path / "model")
    path = tmp_path / "model" / "config.yaml"
    plain = yaml.safe_load(path.read_text())
    part, name = key.split(".")
    plain[part][name] = value
    path.write_text(yaml.safe_dump(plain, sort_keys=False))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError, match=r"does not fit config\.yaml|cannot be read: \w+=|describes no model"):
        load(tmp_path / "model")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000


def test_an_operating_point_is_kept_with_the_model(tones, tmp_path: Path) -> None:
    """Oracle: what was written; the checksums stay true, the weights are not touched, and a second one takes its place.

    A value that is none is refused with its key.
    """
    tones.recognizer.save(tmp_path)
    assert load(tmp_path).config.keywords is None
    weights = (tmp_path / "model.safetensors").stat().st_mtime_ns
    for threshold in (0.4, 0.93):
        chosen = KeywordConfig(250.0, 0.75, {"A": threshold}, {"hours": 3.5, "date": "2026-11-27"})
        speechgru.model_folder.write_chosen(tmp_path, chosen)
        again = load(tmp_path)
        assert again.config.keywords == chosen
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == weights
    again.save(tmp_path / "copy")
    assert load(tmp_path / "copy").config == again.config
    text = (tmp_path / "config.yaml").read_text()
    for wrong, key in (("A: 0", "thresholds.A=0"), ("A: high", "thresholds.A='high'"), ("B", "thresholds='B'")):
        (tmp_path / "config.yaml").write_text(text.replace("A: 0.93", wrong))
        with pytest.raises(ModelError, match=re.escape(f"config.yaml cannot be read: {key}")):
            load(tmp_path)
    (tmp_path / "config.yaml").write_text(text.replace("smoothing_ms", "smoothing"))
    with pytest.raises(ModelError, match=r"keywords\.smoothing is not a setting"):
        load(tmp_path)
