"""A model measured where recordings are not as its corpus has them."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
import torch
from cards import read_card

from speechgru.cli import main
from speechgru.config import compose
from speechgru.data.batching import Batch, BatchLoader
from speechgru.data.utterance import Utterance
from speechgru.evaluation.card import card_of_run, write_card
from speechgru.evaluation.conditions import conditions
from speechgru.evaluation.error_rate import edit_distance
from speechgru.evaluation.evaluate import evaluate
from speechgru.recognizer import load

RATE = 16000


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> list[Utterance]:
    """Five tones in a little noise, 0.5 to 0.9 s."""
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    found = []
    for number in range(5):
        at = np.arange(round((0.5 + number / 10) * RATE)) / RATE
        samples = 0.2 * np.sin(2 * np.pi * (500 + 1500 * number) * at) + 1e-3 * rng.standard_normal(len(at))
        soundfile.write(folder / f"{number}.wav", samples, RATE)
        found.append(Utterance(str(folder / f"{number}.wav"), text=f"tone {number}"))
    return found


def rows(clips: list[Utterance], name: str, batch_size: int = 4, rooms: str = "") -> list[tuple[str, np.ndarray]]:
    """Text and samples of the recordings in a condition."""
    (condition,) = [one for one in conditions(RATE, rooms) if one.name == name]
    batches = BatchLoader(clips, None, RATE, batch_size=batch_size).epoch(0)
    found = []
    for batch in condition.apply(batches):
        for row, length, one in zip(batch.waveforms, batch.lengths.tolist(), batch.utterances, strict=True):
            assert not row[length:].any()
            found.append((one.text, row[:length].numpy()))
    return found


def read(clip: Utterance) -> np.ndarray:
    return soundfile.read(clip.audio, dtype="float32")[0]


def test_pauses_around(clips: list[Utterance]) -> None:
    """Oracle: the recording between zeros; of its background, the level and the same recording in the middle."""
    for clip, (text, samples) in zip(clips, rows(clips, "0.5 s of zeros around"), strict=True):
        assert text == clip.text
        assert np.array_equal(samples, np.pad(read(clip), RATE // 2))
    for clip, (_, samples) in zip(clips, rows(clips, "2 s of background around"), strict=True):
        assert np.array_equal(samples[2 * RATE : -2 * RATE], read(clip))
        assert 0 < samples[: 2 * RATE].std() < 2 * read(clip).std()


@pytest.mark.parametrize("pause_s", [1, 3])
def test_two_in_one(clips: list[Utterance], pause_s: int) -> None:
    """Oracle: by hand; the fifth stays alone."""
    found = rows(clips, f"two in one, {pause_s} s apart")
    pause = np.zeros(pause_s * RATE, np.float32)
    assert [text for text, _ in found] == ["tone 0 tone 1", "tone 2 tone 3", "tone 4"]
    assert np.array_equal(found[1][1], np.concatenate([read(clips[2]), pause, read(clips[3])]))
    assert np.array_equal(found[2][1], read(clips[4]))


def test_telephone_level_noise_and_rooms(clips: list[Utterance], tmp_path: Path) -> None:
    """Oracle: the spectrum, the definition of decibels, and scipy's convolution; batches make no difference."""
    for number, (_, samples) in enumerate(rows(clips, "8 kHz and back")):
        loud = np.sqrt((read(clips[number]) ** 2).mean())
        assert np.sqrt((samples**2).mean()) == pytest.approx(loud if number < 3 else 0, abs=0.01)  # 3.5 and 5 kHz
    for clip, (_, samples) in zip(clips, rows(clips, "20 dB softer"), strict=True):
        assert samples == pytest.approx(0.1 * read(clip), abs=1e-7)
    for clip, (_, samples) in zip(clips, rows(clips, "noise, 10 dB"), strict=True):
        noise = samples - read(clip)
        assert 10 * np.log10((read(clip) ** 2).sum() / (noise**2).sum()) == pytest.approx(10, abs=0.01)
    response = np.zeros(800)
    response[[100, 300, 700]] = 1, -0.5, 0.25
    soundfile.write(tmp_path / "hall.wav", response, RATE, subtype="FLOAT")
    for clip, (_, samples) in zip(clips, rows(clips, "room hall", rooms=str(tmp_path)), strict=True):
        heard = scipy.signal.convolve(read(clip), response[100:])[: len(samples)]
        heard *= np.linalg.norm(read(clip)) / np.linalg.norm(heard)
        assert samples == pytest.approx(heard, abs=1e-5)
    for name in ("a simulated room", "noise, 10 dB"):
        for (_, one), (_, other) in zip(rows(clips, name), rows(clips, name, batch_size=1), strict=True):
            assert np.array_equal(one, other)
            assert not np.array_equal(one, read(clips[0])[: len(one)])


def test_a_batch_without_rows_stays(clips: list[Utterance]) -> None:
    """Where no file of a batch can be read the errors pass on."""
    empty = Batch(torch.zeros(0, 0), torch.zeros(0).long(), torch.zeros(0), torch.zeros(0), [], ["broken"])
    for condition in conditions(RATE):
        (batch,) = condition.apply([empty])
        assert (len(batch), batch.errors) == (0, ["broken"])


def test_the_conditions_are_measured_and_on_the_card(tones, tmp_path: Path, capsys, monkeypatch) -> None:
    """Oracle: transcribe of recordings changed here. A classifier has no joined recordings."""
    monkeypatch.chdir(tmp_path)
    rng, lines, recordings = np.random.default_rng(0), [], []
    for number in range(4):
        words = tones.words(4, rng)
        recordings.append((words, tones.say(words, rng)[0]))
        soundfile.write(f"{number}.wav", recordings[-1][1], tones.sample_rate, subtype="FLOAT")
        lines.append(json.dumps({"audio_filepath": f"{number}.wav", "text": " ".join(words)}))
    Path("test.jsonl").write_text("\n".join(lines))
    tones.recognizer.save("model")
    model = load("model")
    model.config.data = {"name": "manifest", "test": "test.jsonl", "sample_rate": tones.sample_rate}
    model.save("model")
    assert main(["evaluate", "model=model", "root=.", "conditions=true"]) == 0
    output = capsys.readouterr().out
    record = json.loads(Path("evaluation/test/results.json").read_text())
    measured = {one["name"]: one["wer"] for one in record["conditions"]}
    wrong = 0
    for words, samples in recordings:
        padded = np.pad(samples, 2 * tones.sample_rate)
        heard = model.transcribe(padded, source_rate=tones.sample_rate).text.split()
        wrong += edit_distance(words, heard)
    assert measured["2 s of zeros around"] == pytest.approx(wrong / 16, abs=1e-6)
    assert f"2 s of zeros around: WER {100 * wrong / 16:.2f} %" in output
    assert "8 kHz and back" not in measured  # it is the model's own rate
    run = {"name": "tones", "task": "ctc", "settings": {"card": {}}, "training_data": [], "parameters": 1}
    write_card(tmp_path, card_of_run({**run, "command": "", "wall_clock_s": 1}, [], 8000, [record]))
    assert f"| 2 s of zeros around | {100 * wrong / 16:.2f} |" in read_card(tmp_path)[1]
    assert main(["evaluate", "model=model", "root=.", "rooms=hall.wav"]) == 2
    assert "rooms=hall.wav: has no effect without conditions=true" in capsys.readouterr().err


def test_a_classifier_is_measured_too(three_tones: Path, tmp_path: Path, monkeypatch) -> None:
    """Softer tones are the same to a model with normalised features: the accuracy stays; nothing is joined."""
    monkeypatch.chdir(tmp_path)
    words = ["data=folder", f"data.root={three_tones}", "run_dir=run", "trainer.epochs=1", "trainer.threads=1"]
    assert main(["train", *words, "encoder.hidden_size=8", "encoder.num_layers=1", "trainer.device=cpu"]) == 0
    ((result, record, _),) = evaluate(compose("evaluate", ["model=run/model", "conditions=true"]))
    measured = {one["name"]: one["accuracy"] for one in record["conditions"]}
    assert "two in one, 1 s apart" not in measured
    assert measured["20 dB softer"] == pytest.approx(result.accuracy)
    assert len(measured) >= 6
