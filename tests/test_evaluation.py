import html.parser
import json
import math
import pathlib
import re

import matplotlib.image
import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from speechgru.data.utterance import Utterance
from speechgru.errors import DataError
from speechgru.evaluation import classification_report, page, pictures, results
from speechgru.evaluation.classification import ClassificationResult, classification_result, wilson_interval

LABELS = ["yes", "no", "up", "_unknown_"]


def made_up(clips=200, labels=LABELS, seed=0, speakers=7, **more):
    """Scores of a classifier that is right most of the time."""
    random = np.random.default_rng(seed)
    true = random.integers(0, len(labels), clips)
    scores = random.normal(0, 1.5, (clips, len(labels)))
    scores[np.arange(clips), true] += 2
    references = [labels[place] for place in true]
    utterances = [Utterance(f"clips/{clip:03d}.wav", speaker=f"s{clip % speakers}") for clip in range(clips)]
    return classification_result(references, scores, labels, utterances, **more)


def record_of(result=None, **more):
    facts = {"dataset": "digits", "split": "test", "model": "small", "seed": 0, "date": "2026-01-01T00:00:00+00:00"}
    return results.result_record(result or made_up(), machine={"cpu": "abacus", "cores": 2}, **(facts | more))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 5000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_wilson_interval(drawn):
    """Oracle: scipy.stats.binomtest."""
    interval = scipy.stats.binomtest(*drawn).proportion_ci(method="wilson")
    assert wilson_interval(*drawn) == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_wilson_interval_by_hand():
    """Oracle: Wilson's formula with z = 2 for 1 of 2, worked out: (0.5 + 1 ± 2 sqrt(1/8 + 1/4)) / 3."""
    confidence = math.erf(2 / math.sqrt(2))
    half = 2 * math.sqrt(1 / 8 + 1 / 4)
    assert wilson_interval(1, 2, confidence) == pytest.approx(((1.5 - half) / 3, (1.5 + half) / 3))
    assert wilson_interval(0, 0) == (0, 1)
    assert wilson_interval(50, 50)[1] == 1
    assert wilson_interval(0, 50)[0] == 0


@pytest.mark.parametrize("seed", range(3))
def test_measures_equal_scikit_learn(seed):
    """Oracle: scikit-learn's accuracy, confusion matrix, precision, recall, F1, top-k and log loss."""
    result = made_up(seed=seed)
    true, guessed = result.references, result.predictions
    assert result.accuracy == pytest.approx(sklearn.metrics.accuracy_score(true, guessed))
    assert (result.confusion == sklearn.metrics.confusion_matrix(true, guessed, labels=LABELS)).all()
    wanted = sklearn.metrics.precision_recall_fscore_support(true, guessed, labels=LABELS)
    for place, score in enumerate(result.per_class):
        assert (score.precision, score.recall, score.f1, score.support) == pytest.approx([row[place] for row in wanted])
    assert result.macro_recall == pytest.approx(sklearn.metrics.balanced_accuracy_score(true, guessed))
    assert result.macro_f1 == pytest.approx(wanted[2].mean())
    places = [LABELS.index(label) for label in true]
    for k in (1, 2, 3):
        wanted_k = sklearn.metrics.top_k_accuracy_score(places, result.scores, k=k)
        assert result.top_k_accuracy(k) == pytest.approx(wanted_k)
    probabilities = np.exp(result.scores) / np.exp(result.scores).sum(1, keepdims=True)
    assert result.cross_entropy == pytest.approx(sklearn.metrics.log_loss(places, probabilities, labels=range(4)))


def test_calibration_error_by_brute_force():
    """Oracle: equation 3 of Guo et al. 2017, bin by bin."""
    result = made_up(clips=500)
    hits = np.array([a == b for a, b in zip(result.references, result.predictions, strict=True)])
    wanted = 0.0
    for number in range(15):
        inside = (result.confidences > number / 15) & (result.confidences <= (number + 1) / 15)
        if inside.any():
            wanted += inside.mean() * abs(hits[inside].mean() - result.confidences[inside].mean())
    assert wanted > 0.02
    assert result.calibration_error() == pytest.approx(wanted)


def test_calibration_bins_are_closed_above():
    """Oracle: three clips by hand in bins (0, 1/4], (1/4, 1/2], ...: a confidence of 1/4 belongs to the first."""
    scores = np.log([[0.25, 0.75], [0.125, 0.875], [0.3, 0.7]])
    clips = [Utterance("a"), Utterance("b"), Utterance("c")]
    result = ClassificationResult(["yes", "no", "no"], ["yes"] * 3, scores, ["yes", "no"], clips)
    assert result.calibration_error(bins=4) == pytest.approx((abs(0.75 - 0.125) + 0.3) / 3)


def test_logits_and_log_probabilities_are_the_same():
    """Oracle: log-softmax of log-softmax is log-softmax, so all measures agree, also for a class held impossible."""
    result = made_up()
    other = ClassificationResult(
        result.references, result.predictions, result.log_probabilities, LABELS, result.utterances
    )
    assert other.cross_entropy == pytest.approx(result.cross_entropy)
    assert other.calibration_error() == pytest.approx(result.calibration_error())
    sure = classification_result(["yes"], np.array([[-np.inf, 0.0]]), ["yes", "no"], [Utterance("a")])
    assert sure.cross_entropy == math.inf
    assert record_of(sure)["cross_entropy"] is None


def test_a_class_that_never_occurs_is_unknown_not_bad():
    """Oracle: the definitions; 0/0 is None and stays out of the means."""
    clips = [Utterance("a"), Utterance("b")]
    result = classification_result(["yes", "yes"], np.array([[2.0, 1, 0], [1, 2, 0]]), ["yes", "no", "up"], clips)
    yes, no, up = result.per_class
    assert (yes.precision, yes.recall) == (1, 0.5)
    assert (no.precision, no.recall, no.f1) == (0, None, 0)
    assert (up.precision, up.recall, up.f1) == (None, None, None)
    assert result.macro_recall == 0.5


def test_worst_clips_and_pairs_by_hand():
    """Oracle: five clips, worked out: the surest error comes first; pairs by count."""
    scores = np.log(
        [[0.6, 0.3, 0.1], [0.9, 0.05, 0.05], [0.2, 0.1, 0.7], [0.8, 0.1, 0.1], [0.5, 0.4, 0.1]],
    )
    references = ["b", "b", "a", "a", "b"]
    clips = [Utterance(f"{place}.wav", speaker=name) for place, name in enumerate(["x", "x", "y", "y", ""])]
    result = classification_result(references, scores, ["a", "b", "c"], clips)
    worst = result.worst_clips()
    assert [one.utterance.audio for one in worst] == ["1.wav", "2.wav", "0.wav", "4.wav"]
    assert (worst[0].confidence, worst[0].reference_probability) == pytest.approx((0.9, 0.05))
    pairs = [(one.reference, one.prediction, one.count, one.share) for one in result.confused_pairs()]
    assert pairs == [("b", "a", 3, 1.0), ("a", "c", 1, 0.5)]
    assert [(one.speaker, one.clips, one.correct) for one in result.per_speaker] == [("x", 2, 0), ("y", 2, 1)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"references": []}, "nothing to evaluate"),
        ({"references": ["yes"] * 3}, "do not belong together"),
        ({"scores": np.zeros((2, 3))}, "do not belong together"),
        ({"references": ["yes", "perhaps"]}, "b.wav: the label 'perhaps' is none"),
        ({"predictions": ["yes", "perhaps"]}, "b.wav: the prediction 'perhaps' is none"),
        ({"scores": np.array([[0, 1], [0, np.nan]])}, "b.wav: the model's scores are not finite"),
        ({"scores": np.array([[0.5, 0.5], [0.1, 0.9]])}, "probabilities"),
        ({"labels": ["yes", "yes"]}, "twice"),
    ],
)
def test_bad_input_is_one_line(change, message):
    """Oracle: the message names what is wrong and where."""
    given = {"references": ["yes", "no"], "predictions": ["yes", "no"], "scores": np.array([[2.0, 1], [1, 2]])}
    given |= {"labels": ["yes", "no"], "utterances": [Utterance("a.wav"), Utterance("b.wav")]}
    ClassificationResult(**given)
    with pytest.raises(DataError, match=message) as caught:
        ClassificationResult(**(given | change))
    assert "\n" not in str(caught.value)


def test_results_file_is_read_back_and_deterministic(tmp_path):
    """Oracle: the record itself; the same numbers give the same bytes, in the documented order, as strict JSON."""
    record = record_of(command=["speechgru", "evaluate", "model=run/model"])
    for name in ("a.json", "b.json"):
        results.write_results(tmp_path / name, record)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text == (tmp_path / "b.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail) == record
    assert list(json.loads(text)) == list(record)
    assert results.read_results(tmp_path / "a.json") == [record]
    assert record["correct"] / record["n"] == pytest.approx(record["accuracy"], abs=1e-6)
    assert text.count("\n") < 60  # a row of the confusion matrix is a line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b.json"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.text(max_size=5), json_values, max_size=4))
def test_layout_is_json(content):
    """Oracle: the json module reads back what was laid out."""
    assert json.loads(results._layout(content)) == content


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"runs": 3}', "nonsense", "[1]"])
def test_a_file_without_results_is_refused(tmp_path, content):
    """Oracle: one line that names the file."""
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(DataError, match=r"results\.json"):
        results.read_results(tmp_path / "results.json")
    with pytest.raises(DataError, match="run evaluate first"):
        results.read_results(tmp_path / "other.json")


def test_mean_and_spread_over_seeds(tmp_path):
    """Oracle: numpy's mean and sample deviation (n - 1)."""
    values = [0.91, 0.95, 0.93]
    runs = [record_of(seed=seed) | {"accuracy": value} for seed, value in enumerate(values)]
    other = record_of(model="large")
    first, second = results.write_summary(tmp_path / "results.json", [*runs, other])
    assert (first["accuracy"], first["accuracy_std"]) == pytest.approx(
        (np.mean(values), np.std(values, ddof=1)), abs=1e-6
    )
    assert (first["seeds"], first["runs"], first["n"]) == ([0, 1, 2], 3, 200)
    assert (second["accuracy_std"], second["interval"]) == (None, other["interval"])
    assert results.aggregate(results.read_results(tmp_path / "results.json")) == [first, second]
    with pytest.raises(DataError, match="seed 0 is there twice"):
        results.aggregate([runs[0], runs[0]])


def test_folds_are_averaged_inside_each_seed():
    """Oracle: means worked out by hand; the spread is over seeds, not over folds."""
    values = {(0, "ann"): 0.8, (0, "bob"): 0.6, (1, "ann"): 0.9, (1, "bob"): 0.7}
    runs = [record_of(seed=seed, fold=fold) | {"accuracy": one} for (seed, fold), one in values.items()]
    (summary,) = results.aggregate(runs)
    assert summary["accuracy"] == pytest.approx(0.75)
    assert summary["accuracy_std"] == pytest.approx(np.std([0.7, 0.8], ddof=1), abs=1e-6)
    assert summary["by_fold"] == pytest.approx({"ann": 0.85, "bob": 0.65})
    assert (summary["n"], summary["interval"]) == (400, None)
    with pytest.raises(DataError, match="seed 1 lacks the fold bob"):
        results.aggregate(runs[:3])


def test_interval_over_folds():
    """Oracle: scipy's interval of Student's t over the means of the folds, cut at 100 %."""
    values = [0.8, 0.9, 0.7, 1.0]
    runs = [record_of(seed=0, fold=str(fold)) | {"accuracy": one} for fold, one in enumerate(values)]
    (summary,) = results.aggregate(runs)
    low, high = scipy.stats.t.interval(0.95, 3, loc=0.85, scale=scipy.stats.sem(values))
    assert high > 1
    assert summary["interval"] == [pytest.approx(low, abs=1e-6), 1.0]
    assert f"85.00 ({100 * low:.2f} to 100.00)" in results.markdown_table([summary])


def test_a_table_is_written_between_the_marks_and_only_there(tmp_path):
    """Oracle: the text around the marks stays byte for byte; a second run changes nothing."""
    readme = tmp_path / "README.md"
    readme.write_bytes(b"# Digits\r\n<!-- results -->\r\nold\r\n<!-- /results -->\r\nMore \xc3\xa9\r\n")
    table = results.markdown_table(results.aggregate([record_of(model="a|b", parameters=12345)]))
    assert results.update_readme(readme, table)
    text = readme.read_bytes().decode()
    assert text.startswith("# Digits\r\n<!-- results -->\r\n| Model")
    assert text.endswith("|\r\n<!-- /results -->\r\nMore é\r\n")
    assert "a\\|b" in text
    assert "12,345" in text
    assert "\n" not in text.replace("\r\n", "")
    assert not results.update_readme(readme, table)
    assert readme.read_bytes().decode() == text


@pytest.mark.parametrize(
    "text",
    ["none", "<!-- results -->", "<!-- /results -->\n<!-- results -->", "<!-- results -->\n<!-- /results -->\n" * 2],
)
def test_missing_or_double_marks_leave_the_readme_alone(tmp_path, text):
    """Oracle: the file is unchanged and the error names it."""
    readme = tmp_path / "README.md"
    readme.write_text(text)
    with pytest.raises(DataError, match=r"README\.md"):
        results.update_readme(readme, "| a |")
    assert readme.read_text() == text


def test_the_table_says_what_was_measured():
    """Oracle: the row written by hand."""
    runs = [record_of(seed=seed, train_wall_clock_s=700 + seed) | {"accuracy": 0.9 + seed / 50} for seed in (0, 1)]
    row = results.markdown_table(results.aggregate(runs)).splitlines()[2]
    assert row == "| small |  | digits, test | 200 | 91.00 ± 1.41 | seeds 0, 1 | 11 min 40 s | 2 cores, abacus |"
    assert [results.duration(one) for one in (None, 3.21, 59.7, 3599.6, 7260)] == [
        "",
        "3.2 s",
        "1 min 00 s",
        "1 h 00 min",
        "2 h 01 min",
    ]


def test_command_line_tells_no_folders(tmp_path, monkeypatch):
    """Oracle: paths written by hand; other words stay as they are."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    here = pathlib.Path.cwd()
    words = [
        "evaluate",
        f"model={here}/run/model",
        f"data.root={here.parent}/secret/digits",
        "a/b",
        "x=[/u/v,/w/z]",
        "~/c d",
    ]
    assert results.plain_command(words) == (
        "evaluate model=run/model data.root=.../digits a/b 'x=[.../v,.../z]' '.../c d'"
    )


def test_the_machine_is_named_without_its_owner():
    """Oracle: Python's own names of host and home are not in it; Linux tells which vectors the processor has."""
    import platform

    from speechgru.evaluation.machine import describe_machine

    machine = describe_machine()
    assert machine["python"] == platform.python_version()
    assert machine["cores"] >= 1
    assert machine["cpu"]
    flags = pathlib.Path("/proc/cpuinfo")
    if flags.is_file() and "avx2" in flags.read_text():
        assert re.search(r" AVX(2|512)$", machine["cpu"])
    assert platform.node() not in machine.values()
    assert str(pathlib.Path.home()) not in json.dumps(machine)


def pixels(png):
    import io

    return matplotlib.image.imread(io.BytesIO(png))


@pytest.mark.parametrize("dark", [False, True])
def test_pictures_are_deterministic_and_hold_ink(tmp_path, dark):
    """Oracle: the same result gives the same bytes, another result other ones; the file holds what is returned."""
    draw = pictures.confusion_picture
    first = draw(made_up(), tmp_path / "c.png", dark=dark)
    assert first == (tmp_path / "c.png").read_bytes() == draw(made_up(), dark=dark)
    assert first != draw(made_up(seed=1), dark=dark)
    image = pixels(first)
    assert (image[..., :3].mean() < 0.5) == dark
    assert image[..., :3].std() > 0.05


def test_hostile_labels_are_drawn_as_they_are():
    """Oracle: no exception and no warning from mathematics, line breaks, missing glyphs or great length."""
    labels = ["$\\frac$", "$x", "a\nb", "零", "", "very" * 30, "\x00", "_"]
    result = made_up(labels=labels, clips=60)
    assert pictures.confusion_picture(result, title="$\\bad$\n" * 9)
    assert pictures.recall_picture(result, title="$\\bad$")
    assert pictures.learning_curves([{"step": 1, "valid_$\\bad$_loss": 1.0}], title="$\\bad$")


@pytest.mark.parametrize("classes", [1, 2, 20, 21])
def test_pictures_of_few_and_many_classes(classes):
    """Oracle: the picture grows with the classes and is drawn for one class as well."""
    result = made_up(labels=[f"word{place}" for place in range(classes)], clips=40)
    assert min(pixels(pictures.confusion_picture(result)).shape[:2]) > 300
    assert pixels(pictures.recall_picture(result)).shape[1] > 900


def test_learning_curves_split_by_meaning():
    """Oracle: panels written by hand; null leaves a gap; shares are in per cent."""
    rows = [
        {"step": 1, "epoch": 1, "train_loss": 2.0, "learning_rate": 0.1, "seconds": 3.0},
        {"step": 2, "epoch": 1, "train_loss": None, "valid_loss": 1.0, "valid_accuracy": 0.5, "kept": True},
    ]
    (_, loss), (label, share), (_, other), (_, rate) = pictures._panels(rows)
    assert loss["valid_loss"] == ([2], [1.0])
    assert loss["train_loss"][0] == [1, 2]
    assert np.isnan(loss["train_loss"][1][1])
    assert (label, share) == ("Accuracy, %", {"valid_accuracy": ([2], [50.0])})
    assert other == {}
    assert rate == {"learning_rate": ([1], [0.1])}
    tall, short = (pixels(pictures.learning_curves(one)).shape[0] for one in (rows, rows[:1]))
    assert tall > short
    assert pictures.learning_curves([])


def test_learning_curves_are_over_epochs_and_mark_the_one_kept():
    """Oracle: rows written by hand; of two that were best so far the later is kept. The mark changes the picture."""
    rows = [{"step": 10 * epoch, "epoch": epoch, "valid_wer": 0.5 / epoch, "best": epoch < 3} for epoch in (1, 2, 3)]
    assert pictures._axis(rows) == ("epoch", 2)
    assert pictures._axis([*rows, rows[-1] | {"step": 35}]) == ("step", 20)  # two rows in an epoch
    assert pictures._axis([{"step": 4}]) == ("step", None)
    ((_, curves),) = [panel for panel in pictures._panels(rows, "epoch") if panel[1]]
    assert curves["valid_wer"][0] == [1, 2, 3]
    assert pictures.learning_curves(rows) != pictures.learning_curves([row | {"best": False} for row in rows])


class Page(html.parser.HTMLParser):
    """Every tag with its attributes, and the text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.words.append(data)


def test_report_escapes_everything_and_fetches_nothing(tmp_path):
    """Oracle: Python's HTML parser finds no tag, attribute or address but ours."""
    evil = "<script>alert(1)</script>\"'&"
    labels = [evil, "no", "</td><img src=http://evil/x>"]
    result = made_up(labels=labels, clips=40, errors=[f"{evil}.wav: empty"])
    for place, utterance in enumerate(result.utterances):
        result.utterances[place] = Utterance(f'x" onerror="alert(1)/{evil}{utterance.audio}', speaker=evil)
    result.utterances[0] = Utterance("http://evil/\udcff.wav", speaker=evil)
    record = record_of(result, model=evil, dataset=evil, command=[evil])
    rows = [{"step": 1, "train_loss": 1.0}]
    classification_report.write_report(
        tmp_path / "report.html", result, record, curves=rows, settings=f"{evil}: 1", worst=100
    )
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    known = "html head meta title style body h1 h2 section p ul li div table tr th td span picture source img audio pre"
    assert {tag for tag, _ in page.tags} <= set(known.split())
    for tag, attributes in page.tags:
        assert not {name for name in attributes if name.startswith("on")}
        for name in ("src", "srcset", "href"):
            if name in attributes:
                start = ".." if tag == "audio" else "data:image/png;base64,"
                assert attributes[name].startswith(start)
    assert sum(tag == "picture" for tag, _ in page.tags) == 3
    assert sum(tag == "audio" for tag, _ in page.tags) == result.clips - result.correct
    assert page.words.count(evil) >= 3


@pytest.mark.parametrize(
    "name", ["plain.wav", "a b#c?d%41.wav", "javascript:alert(1).wav", "é/ü.flac", "http://x/y.wav"]
)
def test_clips_are_found_from_the_report(tmp_path, name):
    """Oracle: urllib resolves the address against the page's own to the path of the file."""
    import urllib.parse
    import urllib.request

    folder = tmp_path / "run 1"
    address = page.audio_address(Utterance(str(tmp_path / "data" / name)), folder)
    url = urllib.parse.urljoin((folder / "report.html").as_uri(), address)
    assert url.startswith("file:///")
    assert urllib.request.url2pathname(urllib.parse.urlsplit(url).path) == str(tmp_path / "data" / name)
    sliced = page.audio_address(Utterance(str(tmp_path / "a.wav"), start_s=1.5, duration_s=2), folder)
    assert sliced == "../a.wav#t=1.500,3.500"


def test_report_of_a_perfect_result(tmp_path):
    """Oracle: 100 % with its Wilson interval, and no list of errors."""
    scores = np.eye(4)[[0, 1, 2, 3] * 5] * 9
    result = classification_result(LABELS * 5, scores, LABELS, [Utterance("a.wav")] * 20)
    classification_report.write_report(tmp_path / "report.html", result, record_of(result))
    words = " ".join(Page((tmp_path / "report.html").read_text(encoding="utf-8")).words)
    low, high = scipy.stats.binomtest(20, 20).proportion_ci(method="wilson")
    assert f"{100 * low:.2f} to {100 * high:.2f} %" in words
    assert words.count("No errors.") == 2
