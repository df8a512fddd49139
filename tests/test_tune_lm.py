"""The choice of a decoder on validation data, and the commands that use what a model folder says."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speechgru.cli import main
from speechgru.config import compose
from speechgru.data.batching import BatchLoader
from speechgru.data.utterance import Utterance
from speechgru.decoding import BeamConfig, GreedyConfig
from speechgru.decoding.arpa import write_arpa
from speechgru.decoding.calibration import Calibration
from speechgru.decoding.kneser_ney import train
from speechgru.evaluation.decoder_choice import Grid, calibrate, measure_grid, score, token_shares
from speechgru.evaluation.error_rate import correct_words, edit_distance
from speechgru.evaluation.evaluate import evaluate
from speechgru.evaluation.tasks import task_of
from speechgru.recognizer import Recognizer, load
from speechgru.text import PhonesConfig, Step

WORDS = ["AB", "CD", "DAB", "C", "BAD"]


@pytest.fixture(scope="module")
def spoken(tones, tmp_path_factory) -> Path:
    """A folder with noisy recordings of sentences of five words, a list of them, a language model and the model."""
    folder = tmp_path_factory.mktemp("spoken")
    rng = np.random.default_rng(0)
    sentences = [list(rng.choice(WORDS, 4)) for _ in range(40)]
    write_arpa(folder / "words.arpa", train(sentences, 2))
    lines = []
    for number, words in enumerate(sentences[:10]):
        waveform, _ = tones.say(words, rng)
        waveform += 0.03 * rng.standard_normal(len(waveform)).astype(np.float32)
        soundfile.write(folder / f"{number}.wav", waveform, tones.sample_rate)
        lines.append(json.dumps({"audio_filepath": f"{number}.wav", "text": " ".join(words)}))
    (folder / "valid.jsonl").write_text("\n".join(lines))
    tones.recognizer.save(folder / "model")
    model = load(folder / "model")
    model.config.data = {"name": "manifest", "valid": "valid.jsonl", "test": "valid.jsonl", "sample_rate": 8000}
    model.save(folder / "model")
    return folder


def heard(model: Recognizer, folder: Path, config: BeamConfig | GreedyConfig) -> tuple[int, list[float], list[bool]]:
    """Word errors, and confidence and truth of each word, of the recordings decoded one by one."""
    errors, confidences, correct = 0, [], []
    for line in (folder / "valid.jsonl").read_text().splitlines():
        row = json.loads(line)
        found = model.transcribe(str(folder / row["audio_filepath"]), decoder=model.decoder(config))
        errors += edit_distance(row["text"].split(), found.text.split())
        confidences += [word.confidence for word in found.words]
        correct += correct_words(row["text"].split(), found.text.split())
    return errors, confidences, correct


def test_the_grid_holds_the_errors_of_each_setting(spoken: Path) -> None:
    """Oracle: the recordings transcribed one by one with that decoder; two models count together."""
    model = load(spoken / "model")
    rows = [json.loads(line) for line in (spoken / "valid.jsonl").read_text().splitlines()]
    utterances = [Utterance(str(spoken / row["audio_filepath"]), text=row["text"].lower()) for row in rows]
    scored, errors = score(model, BatchLoader(utterances, None, 8000, batch_size=4).epoch(0))
    assert not errors
    config = BeamConfig(beam_size=10, language_model=str(spoken / "words.arpa"), closed=True)
    grid = measure_grid([(model, scored), (model, scored[:3])], config, [2.0, 0.0], [0.0, 5.0])
    assert (grid.lm_weights, grid.word_bonuses, grid.words) == ([0.0, 2.0], [0.0, 5.0], 4 * 13)
    first = measure_grid([(model, scored)], config, [2.0, 0.0], [0.0, 5.0])
    for row, bonus in enumerate(first.word_bonuses):
        for column, weight in enumerate(first.lm_weights):
            setting = BeamConfig(beam_size=10, language_model=config.language_model, closed=True)
            setting.lm_weight, setting.word_bonus = weight, bonus
            assert first.errors[row, column] == heard(model, spoken, setting)[0]
    assert len(set(first.errors.ravel().tolist())) > 1
    assert (grid.errors >= first.errors).all()
    _, confidences, correct = heard(model, spoken, GreedyConfig())
    expected = Calibration.fit(confidences, correct)
    assert expected.scale > 0
    model.config.calibration = Calibration(0.5, 1.0)  # of another decoder; it is not put on top of
    line = calibrate(model, scored, model.decoder(GreedyConfig()))
    assert (line.scale, line.offset) == pytest.approx((expected.scale, expected.offset), rel=1e-2)
    assert model.config.calibration == Calibration(0.5, 1.0)


def test_of_equal_settings_the_one_among_good_ones_is_taken() -> None:
    """By hand: three settings make one error; the neighbours of the one in the middle make the fewest."""
    errors = np.array([[1, 9, 9, 9], [9, 2, 2, 9], [9, 2, 1, 2], [9, 9, 2, 9], [1, 9, 9, 9]])
    grid = Grid([0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 3.0, 4.0], errors, 10)
    assert grid.best == (2, 2)
    assert not grid.at_edge
    assert Grid([0.0, 1.0], [0.0, 1.0], np.array([[3, 1], [3, 3]]), 10).at_edge
    assert not Grid([0.5], [0.0, 1.0, 2.0], np.array([[3], [1], [3]]), 10).at_edge  # one weight is no grid


def test_tuned_models_decode_so_everywhere(spoken: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    """Oracle: the same settings given by hand, to transcribe, evaluate and Python; and greedy as it was."""
    monkeypatch.chdir(spoken)
    before = load(spoken / "model")
    model = tmp_path / "run" / "model"
    before.save(model)
    options = [
        "--lm",
        "words.arpa",
        "--closed",
        "--beam_size",
        "10",
        "--lm_weights",
        "0.5,1.5",
        "--word_bonuses",
        "0,4",
        "--prior_weights",
        "0",
    ]
    assert main(["tune-lm", str(model), *options]) == 0
    output = capsys.readouterr().out.splitlines()
    assert output[0] == "prior_weight=0"
    assert output[1].split() == ["word_bonus", "\\", "lm_weight", "0.5", "1.5"]
    errors = {}
    for line in output[2:4]:
        bonus, *shares = line.split()
        errors |= {(weight, float(bonus)): float(share) for weight, share in zip((0.5, 1.5), shares, strict=True)}
    tuned = load(model)
    chosen = tuned.config.decoder
    assert errors[chosen.lm_weight, chosen.word_bonus] == min(errors.values())
    by_hand = BeamConfig(
        beam_size=10, language_model="words.arpa", closed=True, lm_weight=chosen.lm_weight, word_bonus=chosen.word_bonus
    )
    wrong, greedy = heard(before, spoken, by_hand)[0], heard(before, spoken, GreedyConfig())[0]
    assert errors[chosen.lm_weight, chosen.word_bonus] == pytest.approx(100 * wrong / 40, abs=0.01)
    assert f"decoder=greedy: {100 * greedy / 40:.2f} %" in output
    assert wrong < greedy
    texts = [one.text for one in before.transcribe(["0.wav", "1.wav"], decoder=before.decoder(by_hand))]
    assert [one.text for one in tuned.transcribe(["0.wav", "1.wav"])] == texts

    def transcribed(*words: str) -> list[str]:
        assert main(["transcribe", "0.wav", "1.wav", "-m", str(model), *words]) == 0
        return [line.partition("\t")[2] for line in capsys.readouterr().out.splitlines()]

    assert transcribed() == texts
    plain = [one.text for one in before.transcribe(["0.wav", "1.wav"])]
    assert transcribed("--decoder", "greedy") == plain
    beam = before.decoder(BeamConfig(beam_size=10))
    assert transcribed("--decoder", "beam", "--beam_size", "10") == [
        one.text for one in before.transcribe(["0.wav", "1.wav"], decoder=beam)
    ]
    hot = before.decoder(BeamConfig(**{**vars(by_hand), "hotwords": ["C:30"], "lm_weight": 0.1}))
    expected = [one.text for one in before.transcribe(["0.wav", "1.wav"], decoder=hot)]
    assert transcribed("--hotwords", "C:30", "--lm_weight", "0.1") == expected != texts

    ((result, record, output),) = evaluate(compose("evaluate", [f"model={model}", "split=valid"]))
    assert (result.counts.errors, record["decoder"][:4], output.name) == (wrong, "beam", "valid-beam")
    ((result, record, output),) = evaluate(compose("evaluate", [f"model={model}", "split=valid", "decoder=greedy"]))
    assert (result.counts.errors, record["decoder"], output.name) == (greedy, "greedy", "valid")


def test_priors_are_measured_and_weighed(spoken: Path, tmp_path: Path, capsys) -> None:
    """Oracle: the posteriors averaged here, and the recordings transcribed with that decoder."""
    model = load(spoken / "model")
    rows = [json.loads(line) for line in (spoken / "valid.jsonl").read_text().splitlines()]
    utterances = [Utterance(str(spoken / row["audio_filepath"]), text=row["text"]) for row in rows]
    scored, _ = score(model, BatchLoader(utterances, None, 8000, batch_size=4).epoch(0))
    posteriors = np.exp(np.concatenate([one.log_probabilities for one in scored]).astype(float))
    shares = token_shares(scored)
    assert shares == pytest.approx((posteriors.sum(0) + 1) / (len(posteriors) + posteriors.shape[1]), abs=1e-7)
    config = BeamConfig(beam_size=10, language_model=str(spoken / "words.arpa"), lm_weight=0.5, word_bonus=1.0)
    found = []
    for weight in (0.0, 1.0):
        config = dataclasses.replace(config, priors=shares, prior_weight=weight)
        grid = measure_grid([(model, scored)], config, [0.5], [1.0], weight)
        assert (grid.prior_weight, grid.errors[0, 0]) == (weight, heard(model, spoken, config)[0])
        found.append(grid.quality)
    assert found[0] != found[1]
    model.save(tmp_path / "run" / "model")
    options = ["--lm", str(spoken / "words.arpa"), "--root", str(spoken), "--beam_size", "10"]
    options += ["--lm_weights", "0.5", "--word_bonuses", "1"]
    assert main(["tune-lm", str(tmp_path / "run" / "model"), *options, "--prior_weights", "1"]) == 0
    chosen = load(tmp_path / "run" / "model").config.decoder
    assert (chosen.prior_weight, chosen.priors) == (1.0, pytest.approx(shares, abs=1e-6))
    assert "prior_weight=1: " in capsys.readouterr().out
    assert main(["tune-lm", str(tmp_path / "run" / "model"), "--prior_weights", "2"]) == 2


def test_phones_become_words_with_times_and_confidence(tones, spoken: Path, tmp_path: Path, capsys) -> None:
    """Oracle: what was said and when. The tones are phones here, of which every word has two pronunciations."""
    rng = np.random.default_rng(3)
    dictionary = "".join(f"{word} {' '.join(word)}\n{word}(2) {' '.join(word)} |\n" for word in WORDS)
    (tmp_path / "words.dic").write_text(dictionary + "BEAD B A D\nDA D A |\n")
    plain = tones.recognizer.config
    units = PhonesConfig(dictionary=str(tmp_path / "words.dic"), normalization=[Step.upper])
    data = {"name": "manifest", "valid": "valid.jsonl", "sample_rate": 8000, "root": str(spoken)}
    recognizer = Recognizer(dataclasses.replace(plain, units=units, data=data), tones.recognizer.tokens)
    recognizer.load_state_dict(tones.recognizer.state_dict())
    recognizer.save(tmp_path / "model")
    assert (
        main(["tune-lm", str(tmp_path / "model"), "--lm", str(spoken / "words.arpa"), "--lm_weights", "0.3,0.6"]) == 0
    )
    assert "greedy" not in capsys.readouterr().out  # phones are no words
    recognizer = load(tmp_path / "model")
    said = [WORDS, ["BAD", "C"]]
    spoken_now = [tones.say(words, rng) for words in said]
    waveforms = [torch.from_numpy(waveform) for waveform, _ in spoken_now]
    for words, (_, times), found in zip(said, spoken_now, recognizer.transcribe_waveforms(waveforms), strict=True):
        assert [word.word for word in found.words] == words  # BEAD sounds like BAD, and the language model knows BAD
        assert all(0.5 < word.confidence < 1 for word in found.words)
        for word, (start_s, end_s) in zip(found.words, times, strict=True):
            assert abs(word.start_s - start_s) < 0.06
            assert abs(word.end_s - end_s) < 0.15  # the space is the last phone of half the pronunciations
    utterances = [Utterance(str(spoken / f"{number}.wav"), text="ab cd") for number in range(2)]
    batches = list(BatchLoader(utterances, None, 8000, batch_size=2).epoch(0))
    assert task_of(recognizer.task).answer(recognizer, batches).references == ["AB CD"] * 2
    greedy = recognizer.decoder(GreedyConfig())
    assert task_of(recognizer.task).answer(recognizer, batches, greedy).references == ["A B C D"] * 2
    # Words are compared even where none was heard.
    batches[0].waveforms.zero_()
    found = task_of(recognizer.task).answer(recognizer, batches)
    assert (found.references, found.wer) == (["AB CD"] * 2, 1.0)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "--lm: the model has no language model of its own"),
        (["--lm", "none.arpa"], 1, "none.arpa: cannot be read"),
        (["--lm", "words.arpa", "--lm_weights", "a"], 2, "--lm_weights a: numbers with commas"),
        (["--lm", "words.arpa", "--lm_weights=-1,1"], 2, "lm_weight=-1.0: at least 0"),
        (["--lm", "words.arpa", "--word_bonuses", "0,200"], 2, "word_bonus=200.0: from -100 to 100"),
        (["--lm", "words.arpa", "--root", "nowhere"], 1, "nowhere"),
    ],
)
def test_what_is_wrong_with_a_choice_is_told(words: list[str], code: int, message: str, spoken, capsys, monkeypatch):
    """By hand; the model stays as it is."""
    monkeypatch.chdir(spoken)
    before = {path: path.read_bytes() for path in (spoken / "model").iterdir()}
    assert main(["tune-lm", "model", *words]) == code
    assert message in (error := capsys.readouterr().err)
    assert len(error.strip().splitlines()) == 1
    assert {path: path.read_bytes() for path in (spoken / "model").iterdir()} == before
    assert main(["tune-lm", "an4", "--lm", "words.arpa"]) == 2  # ships, and stays as it is
    assert "an4: the model that ships stays as it is" in capsys.readouterr().err
    assert main(["transcribe", "0.wav", "-m", "model", "--decoder", "greedy", "--beam_size", "5"]) == 2
    assert "--decoder greedy: beam_size" in capsys.readouterr().err
