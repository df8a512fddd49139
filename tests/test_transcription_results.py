import html.parser
import io
import random
import re

import jiwer
import matplotlib.image
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from speechgru.data.utterance import Utterance
from speechgru.errors import DataError
from speechgru.evaluation import pictures, results
from speechgru.evaluation.classification import classification_result
from speechgru.evaluation.transcription import ErrorCounts, TranscriptionResult, bootstrap_interval
from speechgru.evaluation.transcription_report import write_transcript_report


def heard(text, draw, words):
    """What a poor recogniser makes of a text."""
    found = []
    for word in text.split():
        found += draw.choice([[word]] * 6 + [[draw.choice(words)], [], [word, draw.choice(words)]])
    return " ".join(found)


def made_up(utterances=80, speakers=8, seed=0, confidences=True, **more):
    """A result with all kinds of errors; right words are surer."""
    draw = random.Random(seed)
    words = ["one", "two", "three", "four", "go", "stop", "it's", "übung"]
    references = [" ".join(draw.choices(words, k=draw.randint(1, 12))) for _ in range(utterances)]
    hypotheses = [heard(text, draw, words) for text in references]
    clips = [Utterance(f"clips/{one:03d}.wav", speaker=f"s{one % speakers}") for one in range(utterances)]
    result = TranscriptionResult(references, hypotheses, clips, **more)
    if confidences:
        sure = [
            [draw.uniform(0.6, 1) if edit.kind == "equal" else draw.uniform(0.3, 0.8) for edit in one.edits]
            for one in result.texts
        ]
        kept = [
            [c for c, edit in zip(given, one.edits, strict=True) if edit.kind != "delete"]
            for given, one in zip(sure, result.texts, strict=True)
        ]
        result = TranscriptionResult(references, hypotheses, clips, kept, **more)
    return result


def record_of(result=None, **more):
    facts = {"dataset": "digits", "split": "test", "model": "small", "seed": 0, "date": "2026-01-01T00:00:00+00:00"}
    return results.result_record(result or made_up(), machine={"cpu": "abacus", "cores": 2}, **(facts | more))


@pytest.mark.parametrize("seed", range(3))
def test_rates_equal_jiwer(seed):
    """Oracle: jiwer's word and character error rates and its counts; sentences by comparing the texts."""
    result = made_up(seed=seed)
    wanted = jiwer.process_words(result.references, result.hypotheses)
    counts = result.counts
    assert result.wer == pytest.approx(wanted.wer)
    assert result.cer == pytest.approx(jiwer.cer(result.references, result.hypotheses))
    assert (counts.substitutions, counts.insertions, counts.deletions) == (
        wanted.substitutions,
        wanted.insertions,
        wanted.deletions,
    )
    assert result.ser == np.mean([a != b for a, b in zip(result.references, result.hypotheses, strict=True)])
    assert sum((one for _, one in result.per_speaker), ErrorCounts()) == counts
    for name, one in result.per_speaker:
        chosen = [place for place, clip in enumerate(result.utterances) if clip.speaker == name]
        parts = [[given[place] for place in chosen] for given in (result.references, result.hypotheses)]
        assert one.wer == pytest.approx(jiwer.wer(*parts))


def test_lists_by_hand():
    """Oracle: five utterances worked out by hand, with an empty reference and an empty hypothesis."""
    references = ["a b c", "a  b", "", "c c", "a"]
    hypotheses = ["a x c", " a x b", "y y", "", "a"]
    speakers = ["ann", "ann", "bob", "bob", ""]
    clips = [Utterance(f"{place}.wav", speaker=name) for place, name in enumerate(speakers)]
    sure = [[0.9, 0.3, 0.8], [0.7, 0.2, 0.6], [0.1, 0.1], [], [1.0]]
    result = TranscriptionResult(references, hypotheses, clips, sure)
    assert result.counts == ErrorCounts(5, 4, 8, 1, 3, 2, 5 + 3 + 3 + 1, 1 + 2 + 3 + 3)
    assert result.wer == 6 / 8
    assert result.ser == 4 / 5
    assert [one.utterance.audio for one in result.worst()] == ["2.wav", "3.wav", "1.wav", "0.wav"]
    assert [one.utterance.audio for one in result.worst(1)] == ["2.wav"]
    (pair,) = result.confused()
    assert (pair.reference, pair.hypothesis, pair.count, pair.share) == ("b", "x", 1, 0.5)
    assert result.inserted() == [("y", 2), ("x", 1)]
    assert result.deleted() == [("c", 2)]
    assert [(name, one.errors, one.words) for name, one in result.per_speaker] == [("bob", 4, 2), ("ann", 2, 5)]
    assert result.texts[2].counts.wer is None
    given, right = result.word_confidences
    assert given.tolist() == [0.9, 0.3, 0.8, 0.7, 0.2, 0.6, 0.1, 0.1, 1.0]
    assert right.tolist() == [True, False, True, True, False, True, False, False, True]
    # One word each in the bins of 0.3, 0.9, 0.8, 0.7, 0.2, 0.6 and 1.0, two wrong ones in that of 0.1.
    gaps = [0.3, 0.1, 0.2, 0.3, 0.2, 0.4, 0.0, 0.2]
    assert result.calibration_error() == pytest.approx(sum(gaps) / 9)


def test_no_words_no_rate():
    """Oracle: a rate over nothing is an error that names a file; a rate above 1 is none."""
    with pytest.raises(DataError, match=r"has a word.*a\.wav"):
        TranscriptionResult(["", "  "], ["a", ""], [Utterance("a.wav"), Utterance("b.wav")])
    assert TranscriptionResult(["a"], ["b c d"], [Utterance("a.wav")]).wer == 3
    nothing = TranscriptionResult(["a b"], [""], [Utterance("a.wav")])
    assert (nothing.wer, nothing.cer, nothing.calibration_error()) == (1, 1, None)
    assert (ErrorCounts().wer, ErrorCounts().cer) == (None, None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"references": []}, "nothing to evaluate: .*; 1 failed, the first: x.wav: empty"),
        ({"hypotheses": ["a"]}, "do not belong together"),
        ({"utterances": []}, "do not belong together"),
        ({"confidences": [[0.5]]}, "do not belong together"),
        ({"confidences": [[0.5], [0.5]]}, "b.wav: 2 words and the confidences"),
        ({"confidences": [[0.5], [0.5, 1.5]]}, "b.wav: 2 words"),
        ({"confidences": [[0.5], [0.5, float("nan")]]}, "b.wav: 2 words"),
    ],
)
def test_bad_input_is_one_line(change, message):
    """Oracle: the message names what is wrong and where."""
    given = {"references": ["a", "b"], "hypotheses": ["a", "b c"], "confidences": [[0.5], [0.5, 1]]}
    given |= {"utterances": [Utterance("a.wav"), Utterance("b.wav")], "errors": ["x.wav: empty"]}
    TranscriptionResult(**given)
    with pytest.raises(DataError, match=message) as caught:
        TranscriptionResult(**(given | change))
    assert "\n" not in str(caught.value)


def test_bootstrap_equals_scipy():
    """Oracle: scipy.stats.bootstrap of the ratio, percentile method; both have the noise of their draws."""
    draw = np.random.default_rng(1)
    words = draw.integers(1, 30, 120)
    errors = draw.binomial(words, draw.beta(1, 6, 120))
    found = bootstrap_interval(errors.tolist(), words.tolist())

    def rate(wrong, said, axis):
        return wrong.sum(axis) / said.sum(axis)

    wanted = scipy.stats.bootstrap(
        (errors, words), rate, paired=True, n_resamples=10_000, method="percentile", rng=draw
    ).confidence_interval
    assert found == pytest.approx((wanted.low, wanted.high), abs=0.004)
    assert found == bootstrap_interval(errors.tolist(), words.tolist())
    assert found != bootstrap_interval(errors.tolist(), words.tolist(), seed=1)
    narrow = bootstrap_interval(errors.tolist(), words.tolist(), confidence=0.5)
    assert found[0] < narrow[0] < errors.sum() / words.sum() < narrow[1] < found[1]


def test_bootstrap_of_two_by_hand():
    """Oracle: two parts, rates 0, 1/4 and 1/2 with probabilities 1/4, 1/2, 1/4; a part without words may be alone."""
    assert bootstrap_interval([0, 1], [2, 2]) == (0, 0.5)
    assert bootstrap_interval([0, 1], [2, 2], confidence=0.4) == (0.25, 0.25)
    assert bootstrap_interval([0, 1], [2, 0]) == (0, 0.5)


def test_the_interval_is_over_speakers_where_there_are_enough():
    """Oracle: the interval of the sums, written out; errors that gather in speakers make it wider."""
    result = made_up(speakers=8)
    sums = {name: [0, 0] for name in {clip.speaker for clip in result.utterances}}
    for one in result.texts:
        sums[one.utterance.speaker][0] += one.counts.errors
        sums[one.utterance.speaker][1] += one.counts.words
    assert result.interval_over == "speakers"
    ordered = [sums[name] for name, _ in result.per_speaker]
    assert result.interval == bootstrap_interval(*zip(*ordered, strict=True))
    few = made_up(speakers=4)
    assert few.interval_over == "utterances"
    utterances = [(one.counts.errors, one.counts.words) for one in few.texts]
    assert few.interval == bootstrap_interval(*zip(*utterances, strict=True))
    result.utterances[3] = Utterance("unknown.wav")
    assert result.interval_over == "utterances"
    clustered = TranscriptionResult(
        ["a b c d"] * 60,
        ["a b c d" if clip % 6 else "" for clip in range(60)],
        [Utterance(f"{clip}.wav", speaker=f"s{clip % 6}") for clip in range(60)],
    )
    assert clustered.interval[1] - clustered.interval[0] > 0.4
    assert TranscriptionResult(["a"], ["a"], [Utterance("a.wav")]).interval is None


def test_results_file_is_read_back(tmp_path):
    """Oracle: the record itself, the numbers of the result; the same numbers give the same bytes."""
    result = made_up()
    record = record_of(result, decoder="greedy", command=["speechgru", "evaluate", "model=run/model"])
    for name in ("a.json", "b.json"):
        results.write_results(tmp_path / name, record)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert results.read_results(tmp_path / "a.json") == [record]
    assert (record["task"], record["decoder"]) == ("transcription", "greedy")
    assert record["wer"] == pytest.approx(result.wer, abs=1e-6)
    assert (record["cer"], record["ser"]) == pytest.approx((result.cer, result.ser), abs=1e-6)
    assert record["interval_over"] == "speakers"
    errors = record["substitutions"] + record["insertions"] + record["deletions"]
    assert errors / record["words"] == pytest.approx(record["wer"], abs=1e-6)
    assert record["interval"][0] < record["wer"] < record["interval"][1]
    assert record["per_speaker"]["s0"]["wer"] == pytest.approx(dict(result.per_speaker)["s0"].wer, abs=1e-6)
    assert record["confused"][0][2] == max(one.count for one in result.confused(None))
    assert record["calibration_error"] > 0
    silent = record_of(made_up(confidences=False))
    assert (silent["calibration_error"], silent["normalized_cross_entropy"]) == (None, None)


def test_mean_and_spread_over_seeds_and_decoders(tmp_path):
    """Oracle: numpy's mean and sample deviation; another decoder of the same seed is another row."""
    values = [0.081, 0.085, 0.089]
    more = {"parameters": 12345, "train_wall_clock_s": 700.0, "command": ["speechgru", "evaluate", "split=test"]}
    runs = [record_of(seed=seed, decoder="greedy", **more) | {"wer": one} for seed, one in enumerate(values)]
    beam = record_of(decoder="beam | lm", **more)
    first, second = results.write_summary(tmp_path / "results.json", [*runs, beam])
    assert (first["wer"], first["wer_std"]) == pytest.approx((np.mean(values), np.std(values, ddof=1)), abs=1e-6)
    assert (first["wer_min"], first["wer_max"], first["seeds"], first["n"]) == (0.081, 0.089, [0, 1, 2], 80)
    assert first["cer_std"] == 0
    assert (second["decoder"], second["wer_std"], second["interval"]) == ("beam | lm", None, beam["interval"])
    assert results.aggregate(results.read_results(tmp_path / "results.json")) == [first, second]
    with pytest.raises(DataError, match="seed 0 is there twice"):
        results.aggregate([runs[0], runs[0]])
    lines = results.markdown_table([first, second]).splitlines()
    assert lines[0] == (
        "| Model | Decoder | Parameters | Data | Utterances | Words | WER, % | CER, % | Runs | Training | Machine "
        "| Date | Command |"
    )
    low, high = (100 * end for end in beam["interval"])
    words, cer = beam["words"], 100 * beam["cer"]
    assert lines[2] == (
        f"| small | greedy | 12,345 | digits, test | 80 | {words} | 8.50 ± 0.40 | {cer:.2f} ± 0.00 | seeds 0, 1, 2 "
        "| 11 min 40 s | 2 cores, abacus | 2026-01-01 | speechgru evaluate split=test |"
    )
    wer = f"{100 * beam['wer']:.2f} ({low:.2f} to {high:.2f})"
    assert f"| beam \\| lm | 12,345 | digits, test | 80 | {words} | {wer} |" in lines[3]


def test_each_task_has_its_table():
    """Oracle: the two tables alone, a line between them."""
    clips = [Utterance("a.wav"), Utterance("b.wav")]
    labelled = classification_result(["yes", "no"], np.array([[2.0, 1], [1, 2]]), ["yes", "no"], clips)
    records = [record_of(labelled), record_of()]
    both = results.markdown_table(results.aggregate(records))
    alone = [results.markdown_table(results.aggregate([one])) for one in records]
    assert both == "\n\n".join(alone)
    assert "Accuracy, %" in alone[0]
    assert "decoder" not in records[0]


@pytest.mark.parametrize(
    "content", ['{"task": "transcription", "accuracy": 1}', '{"task": "x", "wer": 0}', '{"wer": 0}']
)
def test_a_file_of_something_else_is_refused(tmp_path, content):
    """Oracle: one line that names the file."""
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(DataError, match=r"results\.json: no results of an evaluation"):
        results.read_results(tmp_path / "results.json")


texts = st.lists(st.sampled_from(["a", "b", "it's"]), max_size=5).map(" ".join)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(texts, texts, st.sampled_from(["", "x", "y"])), min_size=1, max_size=12))
def test_any_texts_give_a_record(rows):
    """Oracle: sums over the utterances are those of the whole; the record is strict JSON."""
    references, hypotheses, speakers = (list(column) for column in zip(*rows, strict=True))
    clips = [Utterance(f"{place}.wav", speaker=name) for place, name in enumerate(speakers)]
    if not any(references):
        with pytest.raises(DataError, match="no reference"):
            TranscriptionResult(references, hypotheses, clips)
        return
    result = TranscriptionResult(references, hypotheses, clips)
    assert sum(one.count for one in result.confused(None)) == result.counts.substitutions
    assert sum(count for _, count in result.inserted(None)) == result.counts.insertions
    assert sum(count for _, count in result.deleted(None)) == result.counts.deletions
    assert len(result.worst()) == result.counts.wrong
    results._layout(record_of(result))


class Page(html.parser.HTMLParser):
    """Every tag with its attributes, the texts by their words' classes, and the style sheet."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.data, self.articles, self.style = [], [], [], ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append((tag, found))
        if tag == "article":
            self.articles.append((found["data-speaker"], []))
        if tag == "span" and found.get("class") in ("equal", "substitute", "insert", "delete"):
            self.articles[-1][1].append([found["class"], found["title"]])
        elif tag == "span" and self.articles and self.articles[-1][1]:
            self.articles[-1][1][-1].append("")

    def handle_data(self, data):
        self.data.append(data)
        if self.tags and self.tags[-1][0] == "style":
            self.style += data
        if self.articles and self.articles[-1][1] and data.strip():
            self.articles[-1][1][-1][-1] = data


def test_report_shows_each_alignment(tmp_path):
    """Oracle: the page read back: each word pair of the result with its kind and confidence, the worst text first."""
    result = made_up(utterances=20, speakers=3)
    write_transcript_report(tmp_path / "report.html", result, record_of(result, decoder="greedy"))
    page = Page(tmp_path / "report.html")
    right = [one for one in result.texts if not one.counts.errors]
    assert right
    for (speaker, words), one in zip(page.articles, result.worst() + right, strict=True):
        assert f"s{speaker}" == one.utterance.speaker
        assert [(word[0], word[2], word[3]) for word in words] == [
            (edit.kind, edit.reference, edit.hypothesis) for edit in one.edits
        ]
        told = [re.search(r"confidence (.*) %", word[1]) for word in words if word[0] != "delete"]
        assert [found[1] for found in told] == [f"{100 * sure:.1f}" for sure in one.confidences]
    text = " ".join(page.data)
    low, high = result.interval
    assert f"{100 * result.wer:.2f} %" in text
    assert f"95 % interval {100 * low:.2f} to {100 * high:.2f} % (bootstrap over 20 utterances)" in text
    assert f"calibration error of the word confidences {100 * result.calibration_error():.2f} %" in text
    assert f"chance alone would show {100 * result.calibration_noise():.2f} %" in text
    assert "greedy" in text


def test_report_hides_the_texts_of_other_speakers(tmp_path):
    """Oracle: for each speaker of the list one rule that hides the texts of other numbers; none where there is one."""
    result = made_up(utterances=20, speakers=3)
    write_transcript_report(tmp_path / "report.html", result, record_of(result))
    page = Page(tmp_path / "report.html")
    options = [found["value"] for tag, found in page.tags if tag == "option"]
    assert options == ["all", "0", "1", "2"]
    rules = re.findall(r'option\[value="(\d+)"\]:checked\) article:not\(\[data-speaker="(\d+)"\]\) {', page.style)
    assert rules == [("0", "0"), ("1", "1"), ("2", "2")]
    alone = made_up(utterances=5, speakers=1)
    write_transcript_report(tmp_path / "alone.html", alone, record_of(alone))
    assert "select" not in {tag for tag, _ in Page(tmp_path / "alone.html").tags}


def test_report_escapes_everything_and_fetches_nothing(tmp_path):
    """Oracle: Python's HTML parser finds no tag, attribute or address but ours."""
    evil = '<script>alert(1)</script>"onclick="\'&</style></option>'
    clips = [Utterance(f'x" onerror="alert(1)/{evil}{place}.wav', speaker=f"{evil}{place}") for place in range(6)]
    clips[0] = Utterance("http://evil/\udcff.wav", speaker=evil)
    references = [evil, f"a {evil}", "a", "\udcff b", "a b", "a"]
    hypotheses = ["a", "a", f"a {evil}", f"b {evil}", "a b", ""]
    sure = [[0.5] * len(text.split()) for text in hypotheses]
    result = TranscriptionResult(references, hypotheses, clips, sure, errors=[f"{evil}.wav: empty"])
    record = record_of(result, model=evil, dataset=evil, decoder=evil, command=[evil])
    rows = [{"step": 1, "valid_wer": 1.0}]
    write_transcript_report(tmp_path / "report.html", result, record, curves=rows, settings=f"{evil}: 1")
    page = Page(tmp_path / "report.html")
    known = "html head meta title style body h1 h2 h3 section p ul li div table tr th td span picture source img audio"
    known += " pre article header label select option"
    assert {tag for tag, _ in page.tags} <= set(known.split())
    for tag, attributes in page.tags:
        assert not {name for name in attributes if name.startswith("on")}
        for name in ("src", "srcset", "href"):
            if name in attributes:
                assert attributes[name].startswith(".." if tag == "audio" else "data:image/png;base64,")
    assert sum(tag == "picture" for tag, _ in page.tags) == 2
    assert sum(tag == "audio" for tag, _ in page.tags) == 6
    assert "script" not in page.style
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html"]


def test_report_of_perfect_texts_and_of_too_many(tmp_path):
    """Oracle: no list of errors, no picture without confidences; the note counts the texts that are left out."""
    clips = [Utterance("a.wav", duration_s=2.0, start_s=1.0)] * 12
    result = TranscriptionResult(["a b"] * 12, ["a b"] * 12, clips)
    write_transcript_report(tmp_path / "report.html", result, record_of(result), most=10)
    page = Page(tmp_path / "report.html")
    text = " ".join(page.data)
    assert "No errors." in text
    assert "The first 10 of 12." in text
    assert len(page.articles) == 10
    assert "picture" not in {tag for tag, _ in page.tags}
    assert {found["src"].partition("#")[2] for tag, found in page.tags if tag == "audio"} == {"t=1.000,3.000"}


@pytest.mark.parametrize("dark", [False, True])
def test_reliability_is_drawn(tmp_path, dark):
    """Oracle: the same words give the same bytes, others other ones; one word and equal ones are drawn as well."""
    sure, right = made_up().word_confidences
    first = pictures.reliability_picture(sure, right, tmp_path / "r.png", dark=dark)
    assert first == (tmp_path / "r.png").read_bytes() == pictures.reliability_picture(sure, right, dark=dark)
    assert first != pictures.reliability_picture(sure, ~right, dark=dark)
    image = matplotlib.image.imread(io.BytesIO(first))
    assert (image[..., :3].mean() < 0.5) == dark
    for words in (1, 40):
        assert pictures.reliability_picture([1.0] * words, [True] * words, title="$\\bad$", dark=dark)


def test_error_rates_have_a_panel_in_which_less_is_better(monkeypatch):
    """Oracle: the panel and its legend by hand."""
    rows = [{"step": step, "valid_wer": wer, "valid_cer": wer / 2} for step, wer in ((1, 0.9), (2, 0.2), (3, 0.5))]
    _, (label, curves), _, _ = pictures._panels(rows)
    assert label == "Error rate, %"
    assert curves["valid_wer"] == ([1, 2, 3], [90, 20, 50])
    legends = []
    monkeypatch.setattr(
        pictures, "png", lambda figure, path: legends.extend(figure.axes[0].get_legend_handles_labels()[1]) or b""
    )
    pictures.learning_curves(rows)
    assert legends == ["valid wer (best 20.00 at step 2)", "valid cer (best 10.00 at step 2)"]
