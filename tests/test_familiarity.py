"""Whether a recording sounds like what the model knows: the score, the threshold, and who is told."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
from cards import read_card
from hypothesis import given, settings
from hypothesis import strategies as st

import speechgru
from speechgru.cli import main
from speechgru.config import compose
from speechgru.decoding.familiarity import FamiliarityConfig, choose_most_entropy, token_entropy
from speechgru.decoding.silence import is_even
from speechgru.errors import ConfigError, DataError, ModelError
from speechgru.evaluation.card import card_of_run, write_card
from speechgru.evaluation.evaluate import evaluate
from speechgru.evaluation.foreign import find_foreign
from speechgru.model_folder import write_chosen
from speechgru.recognizer import load

MARK = "this does not sound like what the model knows"


def test_the_entropy_of_tokens_by_hand() -> None:
    """A sure token has none; of two equal ones it is log 2; blanks weigh nothing; half a blank weighs half."""
    with np.errstate(divide="ignore"):
        blank, sure, torn = np.log([[1, 0, 0], [0, 1, 0], [0, 0.5, 0.5]])
    assert token_entropy(np.stack([blank, sure, torn])) == pytest.approx(math.log(2) / 2)
    assert token_entropy(np.stack([blank] * 5)) == 0
    assert token_entropy(np.zeros((0, 3), np.float32)) == 0
    half = np.log([0.5, 0.25, 0.25])
    expected = (0.5 * 1.5 * math.log(2) + math.log(2)) / 1.5
    assert token_entropy(np.stack([half, torn])) == pytest.approx(expected, rel=1e-6)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=12).map(lambda values: [one / 10 for one in values]),
    st.lists(st.integers(1, 30), min_size=1, max_size=12).map(lambda values: [one / 10 for one in values]),
)
def test_no_threshold_parts_better(own: list[float], foreign: list[float]) -> None:
    """Oracle: every threshold tried."""

    def wrong(most: float) -> float:
        return max(np.mean(np.array(own) > most), np.mean(np.array(foreign) <= most))

    assert wrong(choose_most_entropy(own, foreign)) == min(wrong(most) for most in np.arange(0.05, 3.2, 0.05))


def test_kinds_that_are_apart_are_parted_in_the_middle() -> None:
    """By hand; and both kinds are needed."""
    assert choose_most_entropy([0.1, 0.2], [0.6, 0.9]) == pytest.approx(0.4)
    with pytest.raises(DataError, match="2 own and 0 foreign recordings"):
        choose_most_entropy([0.1, 0.2], [])


def test_what_is_even() -> None:
    """By hand: nothing, zeros, hum and hiss are; a tone that comes and goes is not."""
    rng = np.random.default_rng(0)
    at = np.arange(16000) / 8000
    assert all(is_even(one, 8000) for one in (np.zeros(0), np.zeros(8000), rng.normal(0, 0.1, 8000), np.sin(900 * at)))
    assert not is_even(np.sin(900 * at) * (at % 1 > 0.5) + 1e-3 * rng.standard_normal(len(at)), 8000)


@pytest.fixture(scope="module")
def known(tones, tmp_path_factory) -> Path:
    """A folder with recordings of the speech of letters, of glides of tone that are none, and a model."""
    folder = tmp_path_factory.mktemp("known")
    rng, rate = np.random.default_rng(0), tones.sample_rate
    lines = []
    for number in range(12):
        words = tones.words(5, rng)
        soundfile.write(folder / f"own{number}.wav", tones.say(words, rng)[0], rate)
        lines.append(json.dumps({"audio_filepath": f"own{number}.wav", "text": " ".join(words)}))
    (folder / "valid.jsonl").write_text("\n".join(lines[:6]))
    (folder / "test.jsonl").write_text("\n".join(lines[6:]))
    rows = ["audio\tsplit"]
    for number in range(12):
        at = np.arange(2 * rate) / rate
        phase = 2 * np.pi * np.cumsum(700 + 500 * np.sin(2 * np.pi * rng.uniform(3, 6) * at)) / rate
        waveform = 0.1 * np.sin(phase) * (np.sin(5 * at) > 0) + 1e-3 * rng.standard_normal(len(at))
        soundfile.write(folder / f"glide{number}.wav", waveform, rate)
        rows.append(f"glide{number}.wav\t{'train' if number < 6 else 'test'}")
    (folder / "glides.tsv").write_text("\n".join(rows) + "\n")
    soundfile.write(folder / "hiss.wav", 0.05 * rng.standard_normal(2 * rate), rate)
    model = folder / "run" / "model"
    tones.recognizer.save(model)
    recognizer = load(model)
    recognizer.config.data = {"name": "manifest", "valid": "valid.jsonl", "test": "test.jsonl", "sample_rate": rate}
    recognizer.save(model)
    return folder


def test_a_model_learns_what_it_does_not_know(known: Path, capsys, monkeypatch) -> None:
    """Oracle: entropies of Recognizer.transcribe and all thresholds; then recordings that were not chosen on.

    The weights are not touched. A line on standard error and the JSON tell of each recording that is marked; a hiss of
    which the model makes letters gets no text and no mark.
    """
    monkeypatch.chdir(known)
    model = Path("run/model")
    assert load(model).config.familiarity is None
    before = (model / "model.safetensors").stat().st_mtime_ns
    assert load(model).transcribe("own0.wav").familiar is None
    heard = load(model).transcribe([f"{kind}{number}.wav" for kind in ("own", "glide") for number in range(6)])
    own, foreign = [one.entropy for one in heard[:6]], [one.entropy for one in heard[6:]]
    assert max(own) < min(foreign)
    assert load(model).transcribe("hiss.wav").text

    assert main(["tune-lm", "run/model", "--root", ".", "--foreign", "glides.tsv"]) == 0
    output = capsys.readouterr().out
    chosen = load(model).config.familiarity
    assert chosen is not None
    assert chosen.most_entropy == pytest.approx((max(own) + min(foreign)) / 2, rel=1e-3)
    assert output == f"most_entropy={chosen.most_entropy:g}: marks 0 of 6 own recordings and 6 of 6 foreign ones\n"
    assert chosen.chosen_on == {"own": 6, "own_marked": 0, "foreign": 6, "foreign_marked": 6}
    assert (model / "model.safetensors").stat().st_mtime_ns == before

    assert main(["transcribe", "own7.wav", "glide7.wav", "hiss.wav", "-m", "run/model", "-f", "json"]) == 0
    output, error = capsys.readouterr()
    first, second, third = json.loads(output)
    assert (first["familiar"], second["familiar"], third["text"], "familiar" in third) == (True, False, "", False)
    assert first["text"]
    assert error == f"glide7.wav\t{MARK}\n"
    recognizer = load(model)
    assert [one.familiar for one in recognizer.transcribe(["own7.wav", "glide7.wav", "hiss.wav"])] == [
        True,
        False,
        None,
    ]
    recognizer.config.familiarity = FamiliarityConfig(100.0)  # then all sounds familiar, and a hiss is a hiss still
    assert [one.familiar for one in recognizer.transcribe(["own7.wav", "glide7.wav", "hiss.wav"])] == [True, True, None]


def test_a_long_recording_is_marked_as_a_whole(known: Path, tones, tmp_path: Path, capsys) -> None:
    """Planted: a little of the foreign in much of its own leaves it known, and the other way round not."""
    model = load(known / "run" / "model")
    model.config.familiarity = FamiliarityConfig(0.3)
    model.save(tmp_path / "model")
    own, glide = (
        np.concatenate([soundfile.read(known / f"{kind}{number}.wav")[0] for number in range(5)])
        for kind in ("own", "glide")
    )
    soundfile.write(tmp_path / "a.wav", np.concatenate([own, own, glide[: len(glide) // 5]]), tones.sample_rate)
    soundfile.write(tmp_path / "b.wav", np.concatenate([own[: len(own) // 5], glide, glide]), tones.sample_rate)
    paths = [str(tmp_path / "a.wav"), str(tmp_path / "b.wav")]
    assert main(["transcribe", *paths, "-m", str(tmp_path / "model"), "--chunk_length", "4"]) == 0
    assert capsys.readouterr().err == f"{paths[1]}\t{MARK}\n"


def test_the_marks_are_measured_and_on_the_card(known: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    """Oracle: transcribe of the recordings of the test split, which the choice did not see."""
    monkeypatch.chdir(known)
    write_chosen(Path("run/model"), FamiliarityConfig(0.3))
    words = ["model=run/model", "split=test", "root=.", "foreign=[glides.tsv,hiss.wav]"]
    ((result, record, output),) = evaluate(compose("evaluate", words))
    model = load("run/model")
    own = [one.familiar for one in model.transcribe([f"own{number}.wav" for number in range(6, 12)])]
    foreign = [one.familiar for one in model.transcribe([f"glide{number}.wav" for number in range(6, 12)])]
    assert (result.marked, record["marked"]) == (own.count(False), own.count(False))
    assert record["foreign"] == [
        {"name": "glides", "n": 6, "failed": 0, "marked": foreign.count(False), "without_text": 0},
        {"name": "hiss", "n": 1, "failed": 0, "marked": 0, "without_text": 1},
    ]
    assert foreign.count(False) >= 5
    assert json.loads((output / "results.json").read_text())["foreign"] == record["foreign"]
    assert "of 6 foreign recordings of glides marked: 6" in (output / "report.html").read_text()
    run = {
        "name": "tones",
        "task": "ctc",
        "settings": {"card": {}},
        "training_data": [],
        "parameters": 1,
        "command": "",
        "wall_clock_s": 1,
    }
    write_card(tmp_path, card_of_run(run, [], 8000, [record]))
    _, body = read_card(tmp_path)
    assert "| glides | 6 | 6 | 0 |" in body
    assert "Marked as not sounding like what the model knows: 0 of these 6 recordings." in body


def test_what_is_wrong_is_told(known: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    """One line each; the model folder stays as it was."""
    monkeypatch.chdir(known)
    text = Path("run/model/config.yaml").read_text()
    for words, code, message in (
        (["tune-lm", "run/model", "--root", ".", "--foreign", "nowhere"], 1, "nowhere"),
        (["tune-lm", "run/model", "--root", ".", "--foreign", "valid.jsonl", "nothing.tsv"], 1, "nothing.tsv"),
        (["evaluate", "model=commands", "foreign=hiss.wav"], 2, "foreign=hiss.wav: "),
    ):
        assert main(words) == code
        assert message in (error := capsys.readouterr().err)
        assert len(error.strip().splitlines()) == 1
    assert Path("run/model/config.yaml").read_text() == text
    with pytest.raises(ConfigError, match="most_entropy=0: a finite number above 0"):
        FamiliarityConfig(0)
    (tmp_path / "only.tsv").write_text(f"audio\tsplit\n{known / 'hiss.wav'}\ttrain\n")
    with pytest.raises(DataError, match=r"only\.tsv: lists no recordings of the splits valid, test"):
        find_foreign([str(tmp_path / "only.tsv")], ("valid", "test"))
    rows = [("hiss.wav", 0, 1, "train"), ("hiss.wav", 2, 1, "test"), ("hiss.wav", 2, 1, "valid")]
    lines = "".join(f"{known / name}\t{start}\t{length}\t{split}\n" for name, start, length, split in rows)
    (tmp_path / "parts.tsv").write_text(f"audio\toffset\tduration\tsplit\n{lines}")
    [part] = find_foreign([str(tmp_path / "parts.tsv")], ("valid", "test"))
    assert part.items == [(str(known / "hiss.wav"), "", 2.0, 1.0)]
    for wrong, message in (("most_entropy: 0", "most_entropy=0"), ("most: 1", r"familiarity\.most is not a setting")):
        speechgru.load("./run/model").save(tmp_path / "model")
        path = tmp_path / "model" / "config.yaml"
        path.write_text(path.read_text().partition("familiarity:")[0] + f"familiarity:\n  {wrong}\n")
        with pytest.raises(ModelError, match=message):
            load(tmp_path / "model")
