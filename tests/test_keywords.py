"""Keyword spotting: smoothing, thresholds and refractory time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechgru.errors import ConfigError, ModelError
from speechgru.streaming.keywords import Detection, KeywordConfig, KeywordSpotter, alarm_places
from speechgru.tokens import is_word

LABELS = ["_silence_", "yes", "no"]


def track(seed: int, frames: int = 200, hop_s: float = 0.1):
    """Scores that rise and fall as those of words do, and the times of their frames."""
    random = np.random.default_rng(seed)
    logits = np.cumsum(random.normal(0, 1.5, (frames, len(LABELS))), axis=0)
    scores = np.exp(logits - logits.max(1, keepdims=True))
    scores = (scores / scores.sum(1, keepdims=True)).astype(np.float32)
    return 0.25 + hop_s * np.arange(1, frames + 1), scores


def by_hand(end_s, scores, config):
    """The definition, frame by frame and word by word."""
    found = []
    for column, label in enumerate(LABELS):
        if label.startswith("_"):
            continue
        threshold, fired, low = config.threshold(label), -1e9, end_s[0]
        for frame, now in enumerate(end_s):
            inside = [place for place in range(frame + 1) if end_s[place] > now - config.smoothing_ms / 1000 + 1e-6]
            mean = float(np.mean([float(scores[place, column]) for place in inside or [frame]]))
            if mean >= threshold and now >= fired + config.refractory_s - 1e-6:
                found.append(Detection(label, float(low), float(now), mean))
                fired = now
            if mean < threshold / 2:
                low = now
    return sorted(found, key=lambda one: one.end_s)


def same(found, expected):
    assert [one.label for one in found] == [one.label for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert (one.start_s, one.end_s) == pytest.approx((other.start_s, other.end_s), abs=1e-9)
        assert one.confidence == pytest.approx(other.confidence, abs=1e-8)


@pytest.mark.parametrize("smoothing_ms", [0, 100, 300, 1000])
def test_the_definition(smoothing_ms):
    """Oracle: the definition in Python, frame by frame."""
    for seed in range(4):
        config = KeywordConfig(smoothing_ms, 0.7, {"yes": 0.6, "no": 0.45})
        end_s, scores = track(seed)
        expected = by_hand(end_s, scores, config)
        assert len({one.label for one in expected}) == 2
        same(KeywordSpotter(LABELS, config).feed(end_s, scores), expected)


@settings(deadline=None, max_examples=100)
@given(
    st.integers(0, 50),
    st.lists(st.integers(0, 199), max_size=30),
    st.sampled_from([0, 30, 250, 300, 2000]),
    st.sampled_from([0.0, 0.3, 1.0]),
)
def test_chunks_make_no_difference(seed, cuts, smoothing_ms, refractory_s):
    """Oracle: the same scores in one piece, bit for bit."""
    config = KeywordConfig(smoothing_ms, refractory_s, {"yes": 0.55, "no": 0.5})
    end_s, scores = track(seed, hop_s=0.01 if seed % 2 else 0.1)
    whole = KeywordSpotter(LABELS, config).feed(end_s, scores)
    spotter, found = KeywordSpotter(LABELS, config), []
    ends = [*sorted(cuts), len(end_s)]
    for start, stop in zip([0, *ends], ends, strict=False):
        found += spotter.feed(end_s[start:stop], scores[start:stop])
    assert found == whole


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 50), st.floats(0.05, 1), st.floats(0.05, 1), st.sampled_from([0.0, 0.45, 1.0]))
def test_a_lower_threshold_never_gives_fewer_detections(seed, one, other, refractory_s):
    """Oracle: frames above a higher threshold are also above a lower one, and the first that may fire does."""
    end_s, scores = track(seed)
    low, high = sorted([one, other])
    counts = [len(alarm_places(end_s, scores[:, 1], at, refractory_s)) for at in (low, high)]
    assert counts[0] >= counts[1]


def test_a_word_held_counts_once_a_refractory_time():
    """Oracle: by hand; ten seconds above the threshold, one second of refractory time, frames each 0.1 s."""
    scores = np.tile(np.array([[0.0, 0.9, 0.1]], np.float32), (100, 1))
    end_s = 0.1 * np.arange(1, 101)
    found = KeywordSpotter(LABELS, KeywordConfig(300, 1.0, {"yes": 0.5})).feed(end_s, scores)
    assert [round(one.end_s, 3) for one in found] == [round(0.1 + second, 3) for second in range(10)]
    assert {one.label for one in found} == {"yes"}
    assert found[0].confidence == pytest.approx(0.9, abs=1e-7)


def test_only_words_with_a_threshold_are_detected():
    """Oracle: two words that are both sure; without any threshold all have 0.5."""
    end_s, scores = np.arange(1.0, 21.0), np.array([[0.0, 0.6, 0.6]] * 20, np.float32)
    for thresholds, heard in (({}, {"yes", "no"}), ({"yes": 0.6}, {"yes"}), ({"yes": 0.7, "no": 0.1}, {"no"})):
        found = KeywordSpotter(LABELS, KeywordConfig(thresholds=thresholds)).feed(end_s, scores)
        assert {one.label for one in found} == heard


def test_labels_that_are_no_words_never_fire():
    """Oracle: the two conventions of this package, and words that only look like them."""
    assert [is_word(label) for label in ("_unknown_", "_silence_", "<blank>", "<unk>")] == [False] * 4
    assert [is_word(label) for label in ("yes", "_", "up_", "a")] == [True] * 4
    scores = np.array([[1.0, 0.0, 0.0]] * 20, np.float32)
    assert KeywordSpotter(LABELS, KeywordConfig()).feed(np.arange(20.0), scores) == []


def test_settings_out_of_range_are_refused():
    """Oracle: the message names the key and the value."""
    for values, message in [
        ({"smoothing_ms": -1}, "smoothing_ms=-1"),
        ({"refractory_s": float("nan")}, "refractory_s=nan"),
        ({"thresholds": {"yes": 0.0}}, "yes=0.0"),
        ({"thresholds": {"yes": 1.5}}, r"thresholds\.yes=1\.5"),
        ({"thresholds": {"yes": True}}, "yes=True"),
        ({"thresholds": ["yes"]}, "thresholds=.*: a table"),
        ({"chosen_on": {"hours": [1]}}, r"chosen_on\.hours"),
    ]:
        with pytest.raises(ConfigError, match=message):
            KeywordConfig(**values)
    for label in ("maybe", "_silence_"):
        with pytest.raises(ConfigError, match=f"{label}: not among the words of this model \\(yes, no\\)"):
            KeywordSpotter(LABELS, KeywordConfig(thresholds={label: 0.5}))
    with pytest.raises(ModelError, match="probabilities"):
        KeywordSpotter(LABELS, KeywordConfig()).feed(np.array([0.1]), np.array([[np.nan, 0.5, 0.5]]))
