import pytest
import yaml
from cards import read_card
from hypothesis import given, settings
from hypothesis import strategies as st

from speechgru.decoding.operating_point import KeywordConfig
from speechgru.evaluation.card import Card, TrainingData, front_matter, write_card

RECORD = {
    "dataset": "fsdd",
    "split": "test",
    "n": 300,
    "failed": 2,
    "accuracy": 0.99,
    "interval": [0.971, 0.9966],
    "macro_f1": 0.989,
    "per_class": {
        "ze|ro": {"support": 30, "precision": 0.9, "recall": 1.0, "f1": 0.947},
        "one": {"support": 0, "precision": None, "recall": None, "f1": None},
    },
    "command": "speechgru evaluate model=run/model",
}


def made_up(**more):
    data = [TrainingData("FSDD", "CC BY-SA 4.0", "https://example.org/fsdd", "six speakers"), TrainingData("own")]
    facts = {"name": "digits", "summary": "Tells ten digits apart.", "labels": ["ze|ro", "one"], "results": [RECORD]}
    facts |= {"training_data": data, "limits": ["Whispering."], "command": "speechgru train recipe=fsdd"}
    return Card(**(facts | {"sample_rate": 8000, "parameters": 1234567, "train_wall_clock_s": 61.0} | more))


def test_an_operating_point_is_told(tmp_path):
    """By hand; without a choice, or without thresholds, there is no such line."""
    chosen_on = {"hours": 6.2, "alarms": 3, "clips": 400, "misses": 21}
    keywords = KeywordConfig(thresholds={"ze|ro": 0.85, "one": 0.9}, chosen_on=chosen_on)
    write_card(tmp_path, made_up(keywords=keywords))
    wanted = (
        "- in running sound a word is heard where its score reaches 0.85 to 0.9 (mean over 100 ms): chosen on 6.2 h of "
        "background with 3 false alarms and 400 clips, 21 of them missed\n"
    )
    assert wanted in read_card(tmp_path)[1]
    write_card(tmp_path, made_up(keywords=KeywordConfig()))
    assert "running sound" not in read_card(tmp_path)[1]


def test_front_matter_is_the_hubs(tmp_path):
    """Oracle: the model-index example of the Hub's documentation, key by key, through PyYAML."""
    path = write_card(tmp_path, made_up())
    front = yaml.safe_load(path.read_text(encoding="utf-8").split("---\n")[1])
    assert front["library_name"] == "speechgru"
    assert front["license"] == "apache-2.0"
    (model,) = front["model-index"]
    assert model["name"] == "digits"
    (result,) = model["results"]
    assert result["task"]["type"] == "audio-classification"
    assert result["dataset"] == {"type": "fsdd", "name": "fsdd", "split": "test"}
    assert result["metrics"][0] == {"type": "accuracy", "value": 0.99, "name": "Accuracy"}
    assert read_card(tmp_path)[0] == front == front_matter(made_up())


def test_body_tells_what_a_user_must_know(tmp_path):
    """Oracle: sentences and rows written by hand."""
    write_card(tmp_path, made_up())
    body = read_card(tmp_path)[1]
    assert body.startswith("# digits\n\nTells ten digits apart.\n")
    for line in (
        "- 1,234,567 parameters",
        "- works at 8,000 Hz, mono; other recordings are converted",
        "- **FSDD**, licence: CC BY-SA 4.0, https://example.org/fsdd, six speakers",
        "- **own**, licence not stated",
        "Made in 1 min 01 s by",
        "speechgru train recipe=fsdd",
        "Accuracy **99.00 %** of 300 clips; 95 % interval 97.10 to 99.66 %; failed files: 2.",
        "| ze\\|ro | 30 | 90.0 | 100.0 | 94.7 |",
        "| one | 0 | – | – | – |",
        "speechgru evaluate model=run/model",
        "- Whispering.",
        'recognizer = speechgru.load("path/to/this/folder")',
    ):
        assert line in body.splitlines(), line


@settings(deadline=None, max_examples=60)
@given(st.text(min_size=1), st.text(), st.lists(st.text(min_size=1), max_size=3))
def test_any_text_survives(tmp_path_factory, name, text, tags):
    """Oracle: the card is read back as the plain values it was written from."""
    folder = tmp_path_factory.mktemp("model")
    record = RECORD | {"dataset": name, "split": text}
    card = made_up(name=name, summary=text, tags=tags, results=[record], command=text, limits=[text])
    write_card(folder, card)
    front, body = read_card(folder)
    assert front == front_matter(card)
    assert body.startswith("# ")


@pytest.mark.parametrize(
    "evil", ["---\nlicense: mit", "a\n---\n", "*anchor", "!!python/object:os.system x", "{a: b}", "no"]
)
def test_hostile_text_stays_text(tmp_path, evil):
    """Oracle: the text comes back as one string and changes no other key."""
    write_card(tmp_path, made_up(name=evil, license=evil, language=[evil]))
    front, _ = read_card(tmp_path)
    assert (front["license"], front["language"], front["model-index"][0]["name"]) == (evil, [evil], evil)
    assert front["library_name"] == "speechgru"


def test_a_command_cannot_leave_its_block(tmp_path):
    """Oracle: CommonMark closes a fence only by one at least as long."""
    write_card(tmp_path, made_up(command="train '```\n# Not a heading\n````'"))
    lines = read_card(tmp_path)[1].splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("`````"))
    assert lines[start] == "`````sh"
    assert lines[lines.index("````'") + 1] == "`````"
