"""The recognizer and its folder: the same scores after saving, in any batch, anywhere; every damage is one line."""

import concurrent.futures
import copy
import dataclasses
import io
import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import safetensors.torch
import soundfile
import torch
import yaml
from torch import nn

import speechgru
import speechgru.recognizer
from speechgru.audio import resample
from speechgru.classification import Classification
from speechgru.encoders import ConvolutionConfig, GRUEncoderConfig, Merge
from speechgru.errors import AudioError, ConfigError, ModelError
from speechgru.features import LogMelConfig, MFCCConfig, Normalization
from speechgru.files import write_atomically
from speechgru.heads import ClassificationConfig, Pooling
from speechgru.model_folder import RecognizerConfig
from speechgru.recognizer import Recognizer, load
from speechgru.tokens import Tokens

LABELS = Tokens(["yes", "no", "stop", "größer — 大"])
CONFIGS = {
    "log_mel, front end, attention": RecognizerConfig(
        LogMelConfig(mels=12),
        GRUEncoderConfig(
            hidden_size=6,
            front_end=ConvolutionConfig(channels=[3, 4], stride_time=[1, 2], stride_feature=[2, 2]),
        ),
        ClassificationConfig(attention_heads=2),
        {"name": "speech_commands", "root": "data"},
    ),
    "mfcc, pyramid, ends": RecognizerConfig(
        MFCCConfig(sample_rate=8000, deltas=1, normalization=Normalization.sliding),
        GRUEncoderConfig(hidden_size=5, pyramid=[1, 2], layer_norm=True),
        ClassificationConfig(pooling=Pooling.ends, embedding_size=7),
    ),
    "global statistics, mean": RecognizerConfig(
        LogMelConfig(mels=10, normalization=Normalization["global"]),
        GRUEncoderConfig(hidden_size=4, num_layers=1, merge=Merge.sum, residual=True, projection_size=3),
        ClassificationConfig(pooling=Pooling.mean, class_weights=[1.0, 2.0, 1.0, 0.5]),
    ),
}


def speech_like(seconds, rate, seed):
    """Noise under a moving envelope: nothing that is constant in time or frequency."""
    rng = np.random.default_rng(seed)
    samples = int(seconds * rate)
    envelope = np.abs(np.sin(np.linspace(0, 9 + seed, samples)))
    return (0.1 * envelope * np.convolve(rng.standard_normal(samples), [1, 0.7, 0.3], "same")).astype(np.float32)


def make(name="log_mel, front end, attention", seed=0):
    torch.manual_seed(seed)
    model = Recognizer(CONFIGS[name], LABELS)
    waveforms = torch.from_numpy(np.stack([speech_like(1.0, model.sample_rate, k) for k in range(4)]))
    lengths = torch.tensor([waveforms.shape[1]] * 4)
    if hasattr(model.features, "mean"):
        model.features.fit([(waveforms, lengths)])
    model.train()
    model(waveforms, lengths)  # moves the running statistics of the front end
    return model.eval()


@pytest.fixture
def folder(tmp_path):
    make().save(tmp_path / "model")
    return tmp_path / "model"


def clips(model, seconds=(1.0, 0.4, 0.7)):
    return [speech_like(length, model.sample_rate, seed) for seed, length in enumerate(seconds)]


def scores_of(model, recordings):
    results = model.classify(recordings, top_k=len(LABELS), source_rate=model.sample_rate)
    return torch.tensor([[result.scores[name] for name in LABELS] for result in results])


@pytest.mark.parametrize("name", CONFIGS)
def test_saved_and_loaded_is_the_same_to_the_bit(name, tmp_path):
    """Oracle: the model that was saved: scores, config, labels, and what is in the folder."""
    model = make(name)
    path = tmp_path / "a model, größer — 大"
    model.save(path)
    again = load(path)
    assert again.config == model.config
    assert again.tokens == model.tokens
    assert not again.training
    waveforms, lengths = torch.from_numpy(np.stack(clips(model, (1, 1)))), torch.tensor([model.sample_rate, 3000])
    with torch.no_grad():
        assert torch.equal(again(waveforms, lengths)[0], model(waveforms, lengths)[0])
    assert all(torch.equal(one, again.state_dict()[key]) for key, one in model.state_dict().items())
    again.save(tmp_path / "twice")
    for file in path.iterdir():
        assert file.read_bytes() == (tmp_path / "twice" / file.name).read_bytes(), file.name


@pytest.mark.parametrize("name", CONFIGS)
def test_a_clip_alone_in_a_batch_and_in_another_order(name):
    """Oracle: every clip alone; 1e-5."""
    model = make(name)
    recordings = clips(model, (1.0, 0.4, 0.7, 0.05))
    alone = torch.cat([scores_of(model, [one]) for one in recordings])
    torch.testing.assert_close(scores_of(model, recordings), alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(scores_of(model, recordings[::-1]), alone.flip(0), atol=1e-5, rtol=0)
    assert (alone[0] - alone[1]).abs().max() > 1e-4  # else this test could not see a mixed-up order


def test_classification_is_the_softmax_of_the_parts_in_a_row():
    """Oracle: features, encoder and head called by hand."""
    model = make()
    clip = torch.from_numpy(clips(model)[0])
    with torch.no_grad():
        features, frames = model.features(clip[None], torch.tensor([len(clip)]))
        probabilities = model.head(*model.encoder(features, frames)).softmax(1)[0]
    result = model.classify(clip.numpy(), top_k=3, source_rate=model.sample_rate)
    order = probabilities.argsort(descending=True)[:3].tolist()
    assert list(result.scores) == [LABELS.names[index] for index in order]
    assert list(result.scores.values()) == pytest.approx(probabilities[order].tolist(), abs=1e-6)
    assert result.label == LABELS.names[order[0]]
    assert result.confidence == result.scores[result.label]
    assert result.duration_s == 1.0
    full = model.classify(clip.numpy(), top_k=99, source_rate=model.sample_rate)
    assert sum(full.scores.values()) == pytest.approx(1)


@pytest.mark.parametrize("name", CONFIGS)
def test_embedding_is_what_the_scores_are_made_from(name):
    """Alone = in a batch, and the last layer on it gives classify's probabilities. Oracle: that layer by hand."""
    model = make(name)
    recordings = [speech_like(seconds, model.sample_rate, 5) for seconds in (1.0, 0.4)]
    together = model.embed(recordings, source_rate=model.sample_rate)
    for recording, vector in zip(recordings, together, strict=True):
        torch.testing.assert_close(model.embed(recording, source_rate=model.sample_rate), vector, atol=1e-5, rtol=0)
        told = model.classify(recording, top_k=4, source_rate=model.sample_rate)
        probabilities = model.head.output(vector).softmax(0).detach()
        for label, value in told.scores.items():
            assert value == pytest.approx(float(probabilities[model.tokens.index(label)]), abs=1e-5)
    none = model.embed([])
    assert (none.shape, none.dtype) == ((0, together.shape[1]), together.dtype)


def test_labels_that_only_helped_are_dropped(tmp_path):
    """The narrowed copy scores its labels as the whole model does, and is saved and loaded as such; the model stays."""
    model = make()
    narrow = model.narrowed(Tokens(LABELS.names[:2]))
    waveforms, lengths = torch.rand(2, 8000), torch.tensor([8000, 5000])
    torch.testing.assert_close(narrow(waveforms, lengths)[0], model(waveforms, lengths)[0][:, :2])
    narrow.save(tmp_path / "narrow")
    loaded = load(tmp_path / "narrow")
    assert loaded.tokens.names == LABELS.names[:2]
    assert torch.equal(loaded(waveforms, lengths)[0], narrow(waveforms, lengths)[0])
    assert model(waveforms, lengths)[0].shape == (2, 4)
    # What is set by label goes with its label.
    model.config = copy.deepcopy(model.config)  # the tests share it
    model.head.config = model.config.head = dataclasses.replace(model.config.head, class_weights=[1.0, 2.0, 3.0, 4.0])
    model.narrowed(Tokens(LABELS.names[:2])).save(tmp_path / "weighted")
    assert load(tmp_path / "weighted").config.head.class_weights == [1.0, 2.0]
    assert model.config.head.class_weights == [1.0, 2.0, 3.0, 4.0]


def test_every_kind_of_audio(tmp_path):
    """Oracle: the array itself; path, string, bytes, file object, tensor and another rate name the same recording."""
    model = make()
    clip = clips(model)[0]
    file = tmp_path / "ein Wort.wav"
    soundfile.write(file, clip, model.sample_rate, subtype="FLOAT")
    wanted = scores_of(model, [clip])[0]
    for audio in (file, str(file), file.read_bytes(), io.BytesIO(file.read_bytes())):
        result = model.classify(audio, top_k=4)
        assert isinstance(result, Classification)
        assert [result.scores[name] for name in LABELS] == pytest.approx(wanted.tolist(), abs=1e-6)
    mixed = model.classify([file, file.read_bytes()], top_k=4)
    assert [one.label for one in mixed] == [LABELS.names[int(wanted.argmax())]] * 2
    assert torch.equal(scores_of(model, [torch.from_numpy(clip)])[0], wanted)
    faster = resample(torch.from_numpy(clip), model.sample_rate, 48000).numpy()
    result = model.classify(faster, top_k=4, source_rate=48000)
    back = resample(torch.from_numpy(faster), 48000, model.sample_rate)
    assert [result.scores[name] for name in LABELS] == pytest.approx(scores_of(model, [back])[0].tolist(), abs=1e-6)
    assert model.classify([]) == []


def test_classify_on_real_speech(recordings):
    """Oracle: each recording alone; a batch of real clips of different lengths, of another rate among them."""
    model = make()
    files = sorted((recordings / "speech_commands").glob("*/*.flac"))[:400:100]
    files += sorted((recordings / "fsdd").rglob("*.flac"))[:2]
    assert len(files) == 6
    together = model.classify(files, top_k=4)
    for file, result in zip(files, together, strict=True):
        alone = model.classify(file, top_k=4)
        assert [alone.scores[name] for name in LABELS] == pytest.approx(
            [result.scores[name] for name in LABELS], abs=1e-5
        )
        assert result.duration_s == pytest.approx(soundfile.info(file).duration, abs=1e-3)


def test_wrong_use(tmp_path):
    """A user's errors say what is wrong."""
    model = make()
    with pytest.raises(ConfigError, match="top_k=0"):
        model.classify(clips(model)[0], top_k=0, source_rate=model.sample_rate)
    with pytest.raises(AudioError, match=r"nowhere\.wav"):
        model.classify(tmp_path / "nowhere.wav")
    with pytest.raises(AudioError, match="source_rate"):
        model.classify(clips(model)[0])


# The folder.


def test_nothing_in_the_folder_can_run_code(folder):
    """Oracle: the list of files, and each read by a reader that cannot execute: safetensors, plain YAML, JSON, text."""
    assert {file.name for file in folder.iterdir()} == {
        "config.yaml",
        "model.safetensors",
        "tokens.txt",
        "fingerprint.json",
        "SHA256SUMS",
    }
    with safetensors.safe_open(folder / "model.safetensors", "pt") as file:
        assert set(file.keys()) == set(make().state_dict())
    text = (folder / "config.yaml").read_text("utf-8")
    assert "!" not in text
    assert "speechgru." not in text  # names, not dotted paths
    assert yaml.safe_load(text)["encoder"]["name"] == "gru"
    json.loads((folder / "fingerprint.json").read_text())
    assert (folder / "tokens.txt").read_text("utf-8").split("\n")[:-1] == LABELS.names
    for file in folder.iterdir():
        assert not file.read_bytes().startswith((b"\x80", b"PK")), "pickle, or torch's zip of pickles"


def edit(name, change):
    """A damage: the plain content of config.yaml (or the bytes of another file) changed by a function."""

    def damage(folder):
        path = folder / name
        if name == "config.yaml":
            plain = yaml.safe_load(path.read_text("utf-8"))
            plain = change(plain) or plain
            path.write_text(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), "utf-8")
        else:
            path.write_bytes(change(path.read_bytes()))

    return damage


def write(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def swap_tensors(change):
    def damage(folder):
        path = folder / "model.safetensors"
        tensors = safetensors.torch.load_file(path)
        change(tensors)
        safetensors.torch.save_file(tensors, path)

    return damage


DAMAGES = {
    "unknown key": (
        edit("config.yaml", lambda c: c["encoder"].update(hiden_size=3)),
        "config.yaml",
        "encoder.hiden_size is not a setting .* did you mean 'hidden_size'",
    ),
    "unknown component": (
        edit("config.yaml", lambda c: c["encoder"].update(name="gro")),
        "config.yaml",
        "did you mean 'gru'",
    ),
    "unknown cell": (
        edit("config.yaml", lambda c: c["encoder"]["cell"].update(name="x")),
        "config.yaml",
        "cell=x is not known .known: fast_grnn, gru",
    ),
    "newer format": (
        edit("config.yaml", lambda c: c.update(format=99)),
        "config.yaml",
        "format 99, this speechgru reads up to 1",
    ),
    "format in words": (edit("config.yaml", lambda c: c.update(format="one")), "config.yaml", "format one, this"),
    "no format": (edit("config.yaml", lambda c: c.pop("format") and None), "config.yaml", "no key format"),
    "no head": (edit("config.yaml", lambda c: c.pop("head") and None), "config.yaml", "no key head"),
    "wrong type": (
        edit("config.yaml", lambda c: c["encoder"].update(hidden_size="6")),
        "config.yaml",
        "hidden_size='6'",
    ),
    "half a cell": (
        edit("config.yaml", lambda c: c["encoder"].update(hidden_size=6.5)),
        "config.yaml",
        "hidden_size=6.5",
    ),
    "out of range": (edit("config.yaml", lambda c: c["head"].update(dropout=7.0)), "config.yaml", "dropout=7.0"),
    "impossible together": (
        edit("config.yaml", lambda c: c["head"].update(attention_heads=5)),
        "config.yaml",
        "attention_heads=5",
    ),
    "encoder is a number": (edit("config.yaml", lambda c: c.update(encoder=3)), "config.yaml", "encoder=3"),
    "encoder is empty": (edit("config.yaml", lambda c: c.update(encoder=None)), "config.yaml", "encoder"),
    "empty config": (write("config.yaml", b""), "config.yaml", "no key format"),
    "a list as config": (write("config.yaml", b"- 1\n- 2\n"), "config.yaml", "no key format"),
    "not YAML": (write("config.yaml", b"format: [1\n  : {"), "config.yaml", "cannot be read"),
    "not UTF-8": (write("config.yaml", b"format: \xff\xfe"), "config.yaml", "is not UTF-8"),
    "no config": (lambda folder: (folder / "config.yaml").unlink(), "config.yaml", "holds no config.yaml"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors", "holds no"),
    "no tokens": (lambda folder: (folder / "tokens.txt").unlink(), "tokens.txt", "holds no"),
    "no fingerprint": (lambda folder: (folder / "fingerprint.json").unlink(), "fingerprint.json", "holds no"),
    "truncated weights": (edit("model.safetensors", lambda b: b[: len(b) // 2]), "model.safetensors", "damaged"),
    "hardly any weights": (edit("model.safetensors", lambda b: b[:4]), "model.safetensors", "damaged"),
    "empty weights": (write("model.safetensors", b""), "model.safetensors", "damaged"),
    "a pickle as weights": (
        write("model.safetensors", b"\x80\x04cos\nsystem\n(S'true'\ntR."),
        "model.safetensors",
        "damaged",
    ),
    "other shape": (
        swap_tensors(lambda t: t.update({"head.output.weight": torch.zeros(9, 12)})),
        "model.safetensors",
        "head.output.weight",
    ),
    "another encoder": (
        edit("config.yaml", lambda c: c["encoder"].update(num_layers=9, layer_norm=True)),
        "model.safetensors",
        "does not fit .* is missing .and \\d+ more",
    ),
    "missing tensor": (swap_tensors(lambda t: t.pop("head.output.bias")), "model.safetensors", "head.output.bias"),
    "one tensor too many": (swap_tensors(lambda t: t.update(extra=torch.zeros(1))), "model.safetensors", "extra"),
    "a label less": (edit("tokens.txt", lambda b: b.split(b"\n", 1)[1]), "tokens.txt", "head.output"),
    "a label twice": (write("tokens.txt", b"a\nb\na\nc\n"), "tokens.txt", "'a' is there twice"),
    "labels not UTF-8": (write("tokens.txt", b"a\n\xff\n"), "tokens.txt", "UTF-8"),
    "other features": (
        edit("config.yaml", lambda c: c["features"].update(preemphasis=0.5)),
        "fingerprint.json",
        "features computed here differ",
    ),
    "other rate": (
        edit("config.yaml", lambda c: c["features"].update(sample_rate=22050)),
        "fingerprint.json",
        "features computed here differ",
    ),
    "fingerprint of nothing": (write("fingerprint.json", b"{}"), "fingerprint.json", "is not a fingerprint"),
    "fingerprint of a number": (
        write("fingerprint.json", b'{"features": 3}'),
        "fingerprint.json",
        "is not a fingerprint",
    ),
    "fingerprint cut": (edit("fingerprint.json", lambda b: b[:40]), "fingerprint.json", "is not a fingerprint"),
    "fingerprint of words": (
        edit("fingerprint.json", lambda b: b.replace(b"[[", b'[["a", ')),
        "fingerprint.json",
        "is not a fingerprint",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_every_damage_is_one_line_that_names_the_file(folder, name):
    """Oracle: the damage itself; the message is one line, names the file, and says what about it.

    Without the checksums, as older versions wrote folders, so that what lies behind them is reached.
    """
    damage, file, says = DAMAGES[name]
    (folder / "SHA256SUMS").unlink()
    damage(folder)
    with pytest.raises(ModelError, match=says) as caught:
        load(folder)
    message = str(caught.value)
    assert file in message
    assert str(folder) in message
    assert "\n" not in message
    assert len(message) < 300 + 2 * len(str(folder)) + 150


def test_a_fingerprint_moved_by_a_hundredth_is_refused_and_by_less_is_not(folder):
    """The tolerance: other machines round differently, other features are further off."""
    (folder / "SHA256SUMS").unlink()
    path = folder / "fingerprint.json"
    plain = json.loads(path.read_text())
    plain["features"]["values"][2][1] += 0.005
    path.write_text(json.dumps(plain))
    load(folder)
    plain["features"]["values"][2][1] += 0.01
    path.write_text(json.dumps(plain))
    with pytest.raises(ModelError, match="differ"):
        load(folder)
    plain["features"]["values"][2][1] = float("nan")
    path.write_text(json.dumps(plain))
    with pytest.raises(ModelError, match="differ"):
        load(folder)


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.system ['touch PWNED']",
        "!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['PWNED']]",
        "!!python/name:os.system",
        "{_target_: os.system, command: 'touch PWNED', name: gru}",
        "{name: 'os.system'}",
        "${oc.env:HOME}",
    ],
)
def test_a_hostile_config_does_nothing_and_is_refused(folder, value, tmp_path, monkeypatch):
    """Oracle: the file the code would make is not there."""
    monkeypatch.chdir(tmp_path)
    path = folder / "config.yaml"
    lines = path.read_text("utf-8").split("\n")
    start = next(index for index, line in enumerate(lines) if line.startswith("encoder:"))
    stop = next(index for index in range(start + 1, len(lines)) if not lines[index].startswith(" "))
    path.write_text("\n".join([*lines[:start], f"encoder: {value}", *lines[stop:]]), "utf-8")
    with pytest.raises(ModelError, match=r"config\.yaml"):
        load(folder)
    assert not (tmp_path / "PWNED").exists()
    assert not (folder / "PWNED").exists()


def test_what_is_not_a_model_folder(tmp_path, folder):
    """Missing, a file, an empty folder, and the run's folder instead of the model's in it."""
    with pytest.raises(ModelError, match="nowhere: no such folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(ModelError, match=r"tokens\.txt: a file; name the model folder"):
        load(folder / "tokens.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"empty holds no config\.yaml"):
        load(tmp_path / "empty")
    with pytest.raises(ModelError, match="the model of a run is in its folder model"):
        load(folder.parent)


def test_it_loads_in_a_fresh_process_elsewhere(folder, tmp_path):
    """Oracle: the scores here; the other process has the folder alone, moved and renamed, and another directory."""
    model = load(folder)
    clip = clips(model)[0]
    soundfile.write(tmp_path / "clip.wav", clip, model.sample_rate, subtype="FLOAT")
    moved = tmp_path / "anders wo" / "Modell №2"
    shutil.move(folder, moved)
    (tmp_path / "cwd").mkdir()
    code = "import sys, speechgru; print(speechgru.load(sys.argv[1]).classify(sys.argv[2], top_k=4).scores)"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(moved), str(tmp_path / "clip.wav")],
        cwd=tmp_path / "cwd",
        env={"OMP_NUM_THREADS": "1", "PYTHONPATH": str(pathlib.Path(speechgru.__file__).parents[1]), "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    import ast

    scores = ast.literal_eval(result.stdout)
    assert [scores[name] for name in LABELS] == pytest.approx(scores_of(model, [clip])[0].tolist(), abs=1e-6)
    assert list((tmp_path / "cwd").iterdir()) == []


def test_saving_again_replaces_and_leaves_nothing_behind(folder):
    """A second save into the same folder is the second model, with no temporary file."""
    other = make(seed=5)
    other.save(folder)
    assert torch.equal(load(folder).head.output.weight, other.head.output.weight)
    assert not [file for file in folder.iterdir() if "tmp" in file.name]


def test_a_write_that_is_cut_leaves_the_old_content(tmp_path, monkeypatch):
    """Oracle: the old bytes; the kill comes just before the rename."""
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def killed(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(speechgru.recognizer.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"


def test_parameter_count():
    """Oracle: the formulas of the parts; statistics and frozen parameters are not counted."""
    model = make("mfcc, pyramid, ends")
    size, hidden = model.features.output_size, 5
    cells = 2 * 3 * hidden * (size + hidden + 2) + 2 * 3 * hidden * (2 * 2 * hidden + hidden + 2)
    assert model.parameter_count() == cells + 2 * 2 * 2 * hidden + (2 * hidden + 1) * 7 + (7 + 1) * len(LABELS)
    before = model.parameter_count()
    model.head.output.bias.requires_grad_(False)
    assert model.parameter_count() == before - len(LABELS)


# Planted errors: each must make a test above fail.


def test_planted_lost_order_is_seen(monkeypatch):
    classify = Recognizer.classify_waveforms

    def by_length(model, waveforms, top_k=1):
        return classify(model, sorted(waveforms, key=len), top_k)

    monkeypatch.setattr(Recognizer, "classify_waveforms", by_length)
    with pytest.raises(AssertionError):
        test_a_clip_alone_in_a_batch_and_in_another_order("log_mel, front end, attention")


def test_planted_forgotten_lengths_are_seen(monkeypatch):
    forward = Recognizer.forward

    def full(model, waveforms, lengths):
        return forward(model, waveforms, torch.full_like(lengths, waveforms.shape[1]))

    monkeypatch.setattr(Recognizer, "forward", full)
    with pytest.raises(AssertionError):
        test_a_clip_alone_in_a_batch_and_in_another_order("log_mel, front end, attention")


def test_planted_lost_statistics_are_seen(monkeypatch, tmp_path):
    state = nn.Module.load_state_dict

    def without_statistics(model, tensors, **options):
        return state(model, {key: value * (0 if "running" in key else 1) for key, value in tensors.items()}, **options)

    monkeypatch.setattr(Recognizer, "load_state_dict", without_statistics)
    with pytest.raises(AssertionError):
        test_saved_and_loaded_is_the_same_to_the_bit("log_mel, front end, attention", tmp_path)


def test_planted_unsafe_yaml_is_seen(monkeypatch, folder, tmp_path):
    monkeypatch.setattr(yaml, "SafeLoader", yaml.UnsafeLoader)
    with pytest.raises(AssertionError):
        test_a_hostile_config_does_nothing_and_is_refused(
            folder, "!!python/object/apply:os.system ['touch PWNED']", tmp_path, monkeypatch
        )


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ({"merge": Merge.sum}, "encoder.merge=concat"),
        ({"projection_size": 6}, "encoder.projection_size=0"),
        ({"merge": Merge.sum}, "head.pooling=attention"),
    ],
)
def test_ends_of_an_encoder_that_has_none_are_refused(encoder, message):
    """A half that is no direction would be pooled without a word; the message names the mend."""
    head = ClassificationConfig(pooling=Pooling.ends)
    with pytest.raises(ConfigError, match=message):
        Recognizer(RecognizerConfig(LogMelConfig(mels=8), GRUEncoderConfig(hidden_size=4, **encoder), head), LABELS)


def test_a_long_list_goes_in_batches_and_the_mode_stays():
    """Oracle: the recordings one by one; a module in training mode drops nothing here and is in training mode after."""
    recognizer = make().train()
    clips = [speech_like(0.3 + 0.1 * seed, 16000, seed) for seed in range(5)]
    sizes = []
    handle = recognizer.register_forward_pre_hook(lambda module, given: sizes.append(len(given[0])))
    results = recognizer.classify(tuple(clips), source_rate=16000, batch_size=2)
    handle.remove()
    assert sizes == [2, 2, 1]
    assert recognizer.training
    for clip, result in zip(clips, results, strict=True):
        alone = recognizer.classify(clip, source_rate=16000)
        assert alone.label == result.label
        assert alone.confidence == pytest.approx(result.confidence, abs=1e-5)
    with pytest.raises(AudioError, match="waveform 1 has no samples"):
        recognizer.classify_waveforms([torch.zeros(100), torch.zeros(0)])
    with pytest.raises(ConfigError, match="batch_size=0"):
        recognizer.classify([], batch_size=0)


def test_threads_share_a_model_in_training_mode():
    """Oracle: the same calls one after another in eval mode; dropout of 0.2 would move every score.

    The encoder's own mode, unlike that of the whole, must come back as well.
    """
    recognizer = make()
    clips = [speech_like(0.3 + 0.1 * seed, 16000, seed) for seed in range(8)]
    alone = [recognizer.classify(clip, 4, 16000) for clip in clips]
    recognizer.train().encoder.eval()
    modes = [module.training for module in recognizer.modules()]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda clip: recognizer.classify(clip, 4, 16000), clips * 12))
    assert together == alone * 12
    assert [module.training for module in recognizer.modules()] == modes
    with pytest.raises(AudioError):
        recognizer.classify(np.zeros(0, np.float32), source_rate=16000)
    assert [module.training for module in recognizer.modules()] == modes


def test_a_device_that_is_not_there_is_one_line(tmp_path):
    """Wherever this runs there is no CUDA device number 99."""
    make().save(tmp_path)
    with pytest.raises(ConfigError, match=r"device=cuda:99: torch sees \d+ CUDA devices"):
        load(tmp_path, device="cuda:99")
