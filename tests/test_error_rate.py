import functools
import random

import jiwer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechgru.evaluation.error_rate import Edit, ErrorCounts, align, correct_words, count_errors, edit_distance

words = st.lists(st.sampled_from("abcd"), max_size=9)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "steps"),
    [
        ("a b c", "a b c", "= = ="),
        ("a b c", "a x c", "= b>x ="),
        ("a b c", "a c", "= -b ="),
        ("a b", "a x b", "= +x ="),
        ("", "x y", "+x +y"),
        ("a b", "", "-a -b"),
        ("", "", ""),
        ("a b", "b a", "+b = -b"),
        ("a", "x y", "+x a>y"),
        ("a b", "x", "a>x -b"),
        ("a a", "a", "= -a"),
    ],
)
def test_alignments_by_hand(reference, hypothesis, steps):
    """Oracle: worked out with the stated rule for ties (common ends first, then from behind: delete, insert, both)."""
    written = {"equal": "=", "substitute": "{0}>{1}", "insert": "+{1}", "delete": "-{0}"}
    found = align(reference.split(), hypothesis.split())
    assert " ".join(written[one.kind].format(one.reference, one.hypothesis) for one in found) == steps


@settings(deadline=None, max_examples=400)
@given(words, words)
def test_distance_is_the_least_of_all_edits(reference, hypothesis):
    """Oracle: the recursive definition of the Levenshtein distance."""

    @functools.cache
    def least(i, j):
        if not i or not j:
            return i + j
        different = reference[i - 1] != hypothesis[j - 1]
        return min(least(i - 1, j) + 1, least(i, j - 1) + 1, least(i - 1, j - 1) + different)

    wanted = least(len(reference), len(hypothesis))
    edits = [one for one in align(reference, hypothesis) if one.kind != "equal"]
    assert len(edits) == edit_distance(reference, hypothesis) == wanted


@settings(deadline=None, max_examples=400)
@given(words, words)
def test_an_alignment_is_one(reference, hypothesis):
    """Oracle: both texts can be read off it, equal words are equal, substituted ones are not."""
    steps = align(reference, hypothesis)
    assert [one.reference for one in steps if one.kind != "insert"] == reference
    assert [one.hypothesis for one in steps if one.kind != "delete"] == hypothesis
    for one in steps:
        assert (one.kind == "equal") == (one.reference == one.hypothesis)
        assert (one.kind == "insert") == (not one.reference)
        assert (one.kind == "delete") == (not one.hypothesis)
    right = [one.kind == "equal" for one in steps if one.kind != "delete"]
    assert correct_words(reference, hypothesis) == right


def pairs(count, longest, letters, seed):
    """Random texts and what a poor recogniser makes of them."""
    draw = random.Random(seed)
    for _ in range(count):
        reference = [draw.choice(letters) for _ in range(draw.randint(1, longest))]
        hypothesis = []
        for word in reference:
            hypothesis += draw.choice(
                [[word], [word], [word], [draw.choice(letters)], [], [word, draw.choice(letters)]]
            )
        yield reference, hypothesis if draw.random() < 0.9 else [draw.choice(letters) for _ in range(longest // 2)]


@pytest.mark.parametrize(("count", "longest", "letters"), [(4000, 12, "abcd"), (300, 150, "abcdefghij")])
def test_counts_and_steps_equal_jiwer(count, longest, letters):
    """Oracle: jiwer's substitutions, insertions, deletions and the alignment itself, on thousands of random pairs."""
    given_pairs = list(pairs(count, longest, letters, seed=count))
    texts = [[" ".join(one[side]) for one in given_pairs] for side in (0, 1)]
    output = jiwer.process_words(*texts)
    total = ErrorCounts()
    for (reference, hypothesis), chunks in zip(given_pairs, output.alignments, strict=True):
        wanted = []
        for chunk in chunks:
            said = reference[chunk.ref_start_idx : chunk.ref_end_idx]
            heard = hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx]
            said, heard = said or [""] * len(heard), heard or [""] * len(said)
            wanted += [Edit(chunk.type, one, other) for one, other in zip(said, heard, strict=True)]
        counts, edits = count_errors(" ".join(reference), " ".join(hypothesis))
        assert edits == align(reference, hypothesis) == wanted
        total += counts
    found = (total.substitutions, total.insertions, total.deletions)
    assert found == (output.substitutions, output.insertions, output.deletions)


def test_letters_of_a_long_text_equal_jiwer():
    """Oracle: jiwer's character error rate of 6,000 letters."""
    ((reference, hypothesis),) = pairs(1, 9000, "abcde fgh", seed=5)
    reference, hypothesis = ("".join(one).strip() for one in (reference, hypothesis))
    output = jiwer.process_characters(reference, hypothesis)
    wanted = output.substitutions + output.insertions + output.deletions
    assert wanted > 100
    assert edit_distance(reference, hypothesis) == wanted
