"""Who speaks: the head and its margin, the corpus, trials, error rates, the command; loops and formulas as oracles."""

import itertools
import json
import math
import runpy

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechgru.cli import main
from speechgru.data.corpora.speakers import Speakers, SpeakersConfig
from speechgru.data.trials import Trial, find_trials, read_trials, speaker
from speechgru.data.utterance import Utterance
from speechgru.encoders import GRUEncoderConfig
from speechgru.errors import ConfigError, DataError
from speechgru.evaluation.verification import ErrorRates, equal_error, min_cost, verify
from speechgru.evaluation.verification_record import verification_table
from speechgru.features import LogMelConfig
from speechgru.heads import SpeakerHead, SpeakerHeadConfig, StatisticsPooling
from speechgru.model_folder import RecognizerConfig
from speechgru.recognizer import Recognizer
from speechgru.shipped import recipes_dir
from speechgru.tokens import Tokens
from speechgru.training.starting_point import start_from

SPLITS = ("train", "valid", "test")
TRIALS = sorted((recipes_dir() / "speaker" / "trials").glob("*.txt"))
SCRIPT = runpy.run_path(str(recipes_dir() / "speaker" / "draw_trials.py"))
draw_trials, strangers, write_trials = SCRIPT["draw_trials"], SCRIPT["strangers"], SCRIPT["write_trials"]


def frames(rows=(6, 3, 0, 1)):
    """Hidden frames with garbage in the padding."""
    torch.manual_seed(0)
    lengths = torch.tensor(rows)
    hidden = torch.randn(len(rows), max(rows) + 2, 8, dtype=torch.float64)
    for row, length in enumerate(rows):
        hidden[row, length:] = 1e4
    return hidden, lengths


def test_statistics_pooling_is_the_loop_over_each_rows_frames():
    """Oracle: the weighted mean and deviation by a loop over the frames of one row; padding is never looked at."""
    hidden, lengths = frames()
    pooling = StatisticsPooling(8, 5).double()
    with torch.no_grad():
        pooled = pooling(hidden, lengths)
        for row, length in enumerate(lengths.tolist()):
            if not length:
                assert pooled[row].eq(0).all()
                continue
            scores = [float(pooling.score(torch.tanh(pooling.key(hidden[row, t])))) for t in range(length)]
            weights = [math.exp(one - max(scores)) for one in scores]
            weights = [one / sum(weights) for one in weights]
            mean = sum(w * hidden[row, t] for t, w in enumerate(weights))
            square = sum(w * hidden[row, t] ** 2 for t, w in enumerate(weights))
            deviation = (square - mean**2).clamp(min=1e-9).sqrt()
            torch.testing.assert_close(pooled[row], torch.cat((mean, deviation)), rtol=0, atol=1e-7)
    assert pooling(hidden[:, :0], torch.zeros(4, dtype=torch.long)).eq(0).all()


def test_gradients_of_statistics_pooling():
    """Oracle: finite differences; a row of one frame, whose deviation is 0, has finite gradients."""
    hidden, lengths = frames((4, 3))
    pooling = StatisticsPooling(8, 5).double()
    assert torch.autograd.gradcheck(lambda x: pooling(x, lengths), hidden[:, :4].requires_grad_())
    one = torch.randn(1, 1, 8, dtype=torch.float64, requires_grad=True)
    pooling(one, torch.tensor([1])).sum().backward()
    assert one.grad.isfinite().all()


def test_statistics_pooling_under_autocast():
    """Oracle: the pooling in float32, to what bfloat16 rounds away."""
    hidden, lengths = frames()
    hidden, pooling = hidden.float(), StatisticsPooling(8, 5)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = pooling(hidden, lengths)
    torch.testing.assert_close(found.float(), pooling(hidden, lengths).detach(), rtol=0, atol=0.05)


def test_a_speaker_that_both_models_know_keeps_its_vector(tmp_path):
    """Oracle: the vectors by name; a speaker that is new begins fresh."""

    def model(names):
        config = RecognizerConfig(LogMelConfig(8000, mels=8), GRUEncoderConfig(4, 1), SpeakerHeadConfig(4, 5))
        return Recognizer(config, Tokens(names))

    torch.manual_seed(0)
    given, own = model(["ann", "bo", "cy"]), model(["cy", "ann", "dan"])
    given.save(tmp_path / "given")
    fresh = own.head.speakers.detach().clone()
    start_from(own, "given", tmp_path / "given")
    kept = {name: own.head.speakers[place] for place, name in enumerate(own.tokens)}
    torch.testing.assert_close(kept["cy"], given.head.speakers[2], rtol=0, atol=0)
    torch.testing.assert_close(kept["ann"], given.head.speakers[0], rtol=0, atol=0)
    torch.testing.assert_close(kept["dan"], fresh[2], rtol=0, atol=0)


def test_additive_margin_softmax_by_the_formula():
    """Oracle: the equation of the docstring in Python numbers, from cosines computed by hand."""
    hidden, lengths = frames()
    head = SpeakerHead(8, Tokens(["ann", "bo", "cy"]), SpeakerHeadConfig(4, 5, margin=0.3, scale=7.0, dropout=0.0))
    head = head.double().eval()
    targets = torch.tensor([2, 0, 1, 1])
    vectors = head.embedding(head.pooling(hidden, lengths)).detach()
    losses = head.loss(head(hidden, lengths), lengths, targets).detach()
    for row, target in enumerate(targets.tolist()):
        cosines = [float(vectors[row] @ w / vectors[row].norm() / w.norm()) for w in head.speakers.detach()]
        powers = [math.exp(7 * (one - 0.3 * (place == target))) for place, one in enumerate(cosines)]
        assert float(losses[row]) == pytest.approx(-math.log(powers[target] / sum(powers)), abs=1e-5)
    torch.testing.assert_close(head.embed(hidden, lengths).norm(dim=1), torch.ones(4), rtol=0, atol=1e-6)
    alone = head.embed(hidden[1:2, :3], lengths[1:2])
    torch.testing.assert_close(head.embed(hidden, lengths)[1:2], alone, rtol=0, atol=1e-6)
    assert head.narrow(Tokens(["ann", "bo"])) is head.config
    assert head(hidden, lengths).shape == (4, 2)


@pytest.mark.parametrize(
    ("values", "message"),
    [({"margin": 1.0}, "margin=1.0"), ({"scale": 0.0}, "scale=0.0"), ({"embedding_size": 0}, "embedding_size=0")],
)
def test_impossible_settings(values, message):
    """Oracle: the legal ranges of the docstring."""
    with pytest.raises(ConfigError, match=message):
        SpeakerHeadConfig(**values)


def by_hand(scores, same, prior):
    """Every threshold tried: between any two scores, below and above all."""
    edges = sorted(set(scores))
    points = []
    for threshold in [-math.inf, *[(a + b) / 2 for a, b in itertools.pairwise(edges)], math.inf]:
        rejects = np.mean([score < threshold for score, one in zip(scores, same, strict=True) if one])
        accepts = np.mean([score >= threshold for score, one in zip(scores, same, strict=True) if not one])
        points.append((float(rejects), float(accepts)))
    apart = min(abs(rejects - accepts) for rejects, accepts in points)
    equal = [(r + a) / 2 for r, a in points if abs(r - a) < apart + 1e-12]
    return equal, min(prior * r + (1 - prior) * a for r, a in points) / min(prior, 1 - prior)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=14),
    st.sampled_from([0.05, 0.5, 0.9]),
)
def test_error_rates_are_those_of_every_threshold_tried(trials, prior):
    """Oracle: a loop over all thresholds, ties among the scores included."""
    scores, same = [float(score) for score, _ in trials], [kind for _, kind in trials]
    if all(same) or not any(same):
        with pytest.raises(DataError, match="one at least of each"):
            ErrorRates(scores, same)
        return
    rates = ErrorRates(scores, same)
    rejects, accepts = rates.at()
    equal, cost = by_hand(scores, same, prior)
    rate, place = equal_error(rejects, accepts)
    assert min(abs(rate - one) for one in equal) < 1e-9
    assert min_cost(rejects, accepts, prior) == pytest.approx(cost, abs=1e-9)
    if 0 < place < len(rates.values):
        threshold = rates.threshold(place)
        assert np.mean([score < threshold for score, one in trials if one]) == pytest.approx(rejects[place])


def test_intervals_come_from_speakers_and_not_from_trials():
    """Oracle: every trial written ten times has the same intervals; a system without errors has none."""
    rng = np.random.default_rng(0)
    names = [f"s{number}" for number in range(12)]
    pairs = [(a, b) for a in names for b in names]
    same = [a == b for a, b in pairs]
    scores = [float(kind + rng.normal()) for kind in same]
    once = verify(scores, same, pairs, draws=200)
    again = verify(scores * 10, same * 10, pairs * 10, draws=200)
    assert once == again
    low, high = once.equal_error_rate_interval
    assert 0 <= low < once.equal_error_rate < high < 1
    clear = verify([float(kind) for kind in same], same, pairs, draws=50)
    assert (clear.equal_error_rate, clear.min_cost, clear.threshold) == (0, 0, 0.5)
    assert clear.equal_error_rate_interval == clear.min_cost_interval == (0, 0)


def clips(folder="c"):
    return [
        Utterance(f"{folder}/{word}/{who}_nohash_{take}.wav", text=word, speaker=who)
        for who in ("ann", "bo", "cy", "di")
        for word in ("yes", "no", "up")
        for take in range(2)
    ]


def test_drawn_trials(tmp_path):
    """Oracle: what a trial must be: its kind, other words, none twice; the seed decides; a list survives its file."""
    trials = draw_trials(clips(), "c", 20, 30, seed=1)
    assert [one.same for one in trials] == [True] * 20 + [False] * 30
    assert len({frozenset(one[1:]) for one in trials}) == 50
    for one in trials:
        assert (speaker(one.first) == speaker(one.second)) == one.same
        assert one.first.partition("/")[0] != one.second.partition("/")[0]
    counts = [sum(speaker(one.first) == who for one in trials if one.same) for who in ("ann", "bo", "cy", "di")]
    assert counts == [5, 5, 5, 5]
    assert trials == draw_trials(clips()[::-1], "c", 20, 30, seed=1) != draw_trials(clips(), "c", 20, 30, seed=2)
    write_trials(tmp_path / "trials.txt", trials)
    assert read_trials(tmp_path / "trials.txt") == trials
    with pytest.raises(SystemExit, match="no 60 pairs of one speaker"):
        draw_trials(clips(), "c", 60, 1, seed=1)


def test_trials_that_cannot_be_used(tmp_path):
    """Oracle: the messages name file, line and mend."""
    path = tmp_path / "trials.txt"
    for text, message in (("1 a b\n\n2 a b\n", "trials.txt:3: write 1"), ("\n", "holds no trial"), ("1 a\n", ":1: ")):
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            read_trials(path)
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.flac").touch()
    (tmp_path / "b.wav").touch()
    found = find_trials([Trial(True, "a", "b.wav")], [tmp_path / "none", tmp_path / "x", tmp_path])
    assert found == {"a": str(tmp_path / "x" / "a.flac"), "b.wav": str(tmp_path / "b.wav")}
    with pytest.raises(DataError, match="c: in none of the folders"):
        find_trials([Trial(True, "b.wav", "c")], [tmp_path])


def test_real_speakers_and_committed_trials(recordings):
    """Oracle: the manifests of the pack; the committed lists are what draw_trials makes of it, of strangers."""
    corpus = Speakers(SpeakersConfig(root=str(recordings)))
    found = {split: corpus.utterances(split) for split in SPLITS}
    learned = {one.speaker for one in found["train"]}
    assert sorted(learned) == corpus.labels()
    assert all(one.label == one.speaker for one in found["train"])
    assert not {one.audio for one in found["train"]} & {one.audio for one in found["valid"] + found["test"]}
    counts = {}
    for name in ("speech_commands", "an4"):
        for line in (recordings / name / "manifest.tsv").read_text().splitlines()[1:]:
            audio, _, who, split, _ = line.split("\t")
            if split == "train" and not audio.startswith("_"):
                counts[who] = counts.get(who, 0) + 1
    held_out = {one.speaker for split in ("valid", "test") for one in strangers(corpus, "an4", split)}
    wanted = {who for who, count in counts.items() if count >= 3} - held_out
    assert learned == wanted
    several = sum(counts[who] >= 5 for who in wanted)
    assert [len(found[split]) for split in SPLITS] == [
        sum(counts[who] for who in wanted) - 2 * several,
        several,
        several,
    ]
    for path in TRIALS:
        split, _, name = path.stem.partition("_")
        trials = read_trials(path)
        count = len(trials) // 2
        assert trials == draw_trials(strangers(corpus, name, split), str(recordings / name), count, count, 0)
        assert not {speaker(one) for trial in trials for one in trial[1:]} & learned
        find_trials(trials, [recordings / name])
    assert [path.stem for path in TRIALS] == [
        "test_an4",
        "test_speech_commands",
        "valid_an4",
        "valid_speech_commands",
    ]


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    """Recordings of three "speakers", tones of 300, 700 and 1500 Hz, and a model that has learned nothing."""
    root = tmp_path_factory.mktemp("voices")
    rng = np.random.default_rng(0)
    for who, hz in (("low", 300), ("middle", 700), ("high", 1500)):
        (root / who).mkdir()
        for take in range(3):
            tone = np.sin(2 * np.pi * hz * np.arange(4000 + 500 * take) / 16000)
            soundfile.write(root / who / f"{take}.wav", 0.3 * tone + 0.01 * rng.standard_normal(len(tone)), 16000)
    torch.manual_seed(0)
    config = RecognizerConfig(LogMelConfig(mels=20), GRUEncoderConfig(8, 1), SpeakerHeadConfig(6, 4))
    Recognizer(config, Tokens(["ann", "bo"])).save(root / "model")
    names = [f"{who}/{take}" for who in ("low", "middle", "high") for take in range(3)]
    pairs = itertools.combinations(names, 2)
    write_trials(root / "trials.txt", [Trial(a.split("/")[0] == b.split("/")[0], a, b) for a, b in pairs])
    return root


def test_command_chooses_a_threshold_and_gives_a_verdict(voices, capsys, tmp_path):
    """Oracle: the cosines of all pairs with every threshold tried; tones of three pitches have cepstra of their own."""
    model, trials = str(voices / "model"), ["--trials", str(voices / "trials.txt"), "--root", str(voices)]
    pairs = [[str(voices / f"{name}.wav") for name in one[1:]] for one in read_trials(voices / "trials.txt")]
    recognizer = Recognizer.load(voices / "model")
    scores = [float(recognizer.embed(pair).prod(0).sum()) for pair in pairs]
    equal, cost = by_hand(scores, [one.same for one in read_trials(voices / "trials.txt")], 0.05)
    assert main(["compare-speakers", *pairs[0], "-m", model]) == 0
    assert f"score {scores[0]:.3f}; no threshold was chosen" in capsys.readouterr().out
    readme = tmp_path / "README.md"
    readme.write_text("<!-- verification -->\n<!-- /verification -->\n")
    assert main(["compare-speakers", "-m", model, *trials, "--save", "--readme", str(readme)]) == 0
    content = json.loads((tmp_path / "verification.json").read_text())
    (record,) = content["lists"]
    assert (record["trials"], record["same"], record["speakers"]) == (36, 9, 3)
    assert min(abs(record["model"]["equal_error_rate"] - one) for one in equal) < 1e-6
    assert record["model"]["min_cost"] == pytest.approx(cost, abs=1e-6)
    assert record["baseline"]["equal_error_rate"] == record["baseline"]["min_cost"] == 0
    own = Recognizer.load(voices / "model").config.same_speaker
    assert own.chosen_on["trials"] == 36
    refused = [
        score < own.threshold for score, one in zip(scores, read_trials(voices / "trials.txt"), strict=True) if one.same
    ]
    assert record["own"]["false_rejects"] == pytest.approx(sum(refused) / 9, abs=1e-6)
    assert verification_table([record], content["model"]) in readme.read_text()
    assert f"threshold {own.threshold:.3f}" in capsys.readouterr().out
    for score, verdict in ((max(scores), "same speaker"), (min(scores), "different speakers")):
        assert main(["compare-speakers", *pairs[scores.index(score)], "-m", model]) == 0
        assert capsys.readouterr().out == f"score {score:.3f}, threshold {own.threshold:.3f}: {verdict}\n"


def test_command_errors(voices, capsys, tmp_path):
    """Oracle: one line with the mend; exit code 2 for what was typed, 1 for what was found."""
    model = ["-m", str(voices / "model")]
    wav = str(voices / "low" / "0.wav")
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    for code, words, message in (
        (2, [wav, *model], "1 recordings: name two"),
        (2, [wav, wav, *model, "--save"], "--save: only with --trials"),
        (2, [wav, *model, "--trials", "x"], "name two recordings or --trials, not both"),
        (1, [*model, "--trials", str(tmp_path / "none.txt")], "none.txt"),
        (1, [*model, "--trials", str(voices / "trials.txt"), "--root", str(tmp_path)], "say where it is with --root"),
        (1, [wav, str(broken), *model], "broken.wav"),
        (1, [wav, wav, "-m", str(tmp_path)], "holds no config.yaml"),
    ):
        assert main(["compare-speakers", *words]) == code
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def test_readme_has_the_table_its_results_make():
    """Oracle: the table of verification.json: no figure is written by hand."""
    folder = recipes_dir() / "speaker"
    results = folder / "verification.json"
    text = (folder / "README.md").read_text(encoding="utf-8")
    written = text.partition("<!-- verification -->")[2].partition("<!-- /verification -->")[0].strip()
    content = json.loads(results.read_text()) if results.is_file() else {}
    assert written == (verification_table(content["lists"], content["model"]) if content else "")


def test_many_classes_are_not_reported_one_by_one(tmp_path):
    """Oracle: the sizes: a report of 101 classes has neither the table of classes nor a matrix, one of 100 has both."""
    from speechgru.evaluation.classification import MOST_SHOWN, classification_result
    from speechgru.evaluation.tasks import TASKS

    for count in (MOST_SHOWN, MOST_SHOWN + 1):
        names = [str(number) for number in range(count)]
        scores = 9 * np.eye(2, count)
        result = classification_result(["0", "1"], scores, names, [Utterance("a"), Utterance("b")], [], 0.0)
        few = count == MOST_SHOWN
        assert ("confusion" in result.measures()) == ("per_class" in result.measures()) == few
        if not few:
            record = {
                "model": "m",
                "dataset": "d",
                "split": "test",
                "machine": {},
                "date": "",
                "command": "",
                **result.measures(),
            }
            TASKS["classification"].write_report(result, tmp_path, record)
            assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
            assert TASKS["classification"].card_result(record)[0].startswith("Accuracy **100.00 %**")
