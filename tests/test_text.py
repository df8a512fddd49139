"""Text: normalisation, units and pronunciations; round trips, what is refused, what a model folder keeps."""

import string
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from speechgru.errors import ConfigError, DataError
from speechgru.text import (
    BLANK,
    SPACE,
    Characters,
    CharactersConfig,
    Phones,
    PhonesConfig,
    Step,
    Subwords,
    SubwordsConfig,
    Words,
    WordsConfig,
    normalize,
    read_pronunciations,
)
from speechgru.text.pronunciation import format_pronunciations
from speechgru.tokens import Tokens

ALL = [Step.nfkc, Step.upper, Step.no_punctuation]


@pytest.mark.parametrize(
    ("text", "steps", "expected"),
    [
        ("  a \t b\n", [], "a b"),
        ("Ab", [Step.lower], "ab"),
        ("straße", [Step.upper], "STRASSE"),
        ("ﬁ １", [Step.nfkc], "fi 1"),
        ("Élan über", [Step.no_accents], "Elan uber"),
        ("it’s 'so' well-known, isn't it?", ALL, "IT'S SO WELL KNOWN ISN'T IT"),
        ("' a' 'b a'' b", [Step.no_punctuation], "a b a b"),
        ("£5 + 3", [Step.no_punctuation], "5 3"),
        ("", ALL, ""),
    ],
)
def test_steps(text, steps, expected):
    """Oracle: written by hand."""
    assert normalize(text, steps) == expected


@settings(deadline=None, max_examples=60)
@given(st.text())
def test_normalising_twice_changes_nothing(text):
    """Oracle: idempotence; and no two spaces meet."""
    once = normalize(text, ALL)
    assert normalize(once, ALL) == once
    assert once == " ".join(once.split())


WORD = st.text(string.ascii_letters + "'éß½", min_size=1, max_size=6)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(WORD, max_size=6).map(" ".join), min_size=1, max_size=5))
@example(["b a", "", "  "])
def test_round_trip_and_spans(transcripts):
    """Oracle: the normalised transcript; each word is spelled by the tokens of its span, which follow one another."""
    for units in (Characters(CharactersConfig()), Words(WordsConfig())):
        if not any(map(units.normalize, transcripts)):
            with pytest.raises(DataError, match="no transcript"):
                units.tokens(transcripts)
            continue
        tokens = units.tokens(transcripts)
        assert tokens.names[0] == BLANK
        assert (SPACE in tokens) == isinstance(units, Characters)
        for text in transcripts:
            indices = units.encode(text, tokens)
            assert 0 not in indices
            assert units.text(indices, tokens) == units.normalize(text)
            words = units.words(indices, tokens)
            assert [word for word, _, _ in words] == units.normalize(text).split()
            before = 0
            for word, first, last in words:
                assert before <= first < last <= len(indices)
                assert "".join(tokens.names[index] for index in indices[first:last]) == word
                before = last


def test_characters_are_sorted_and_the_space_is_a_token():
    """Oracle: written by hand, also for spaces in odd places, as a recognizer may hear them."""
    units = Characters(CharactersConfig())
    tokens = units.tokens(["dab", "cab bad"])
    assert tokens.names == ["<blank>", "|", "A", "B", "C", "D"]
    assert units.encode("a  cab", tokens) == [2, 1, 4, 2, 3]
    assert units.words([1, 2, 1, 1, 3, 4, 1], tokens) == [("A", 1, 2), ("BC", 4, 6)]
    assert units.words([], tokens) == units.words([1, 1], tokens) == []


def test_what_is_not_among_the_tokens_is_named():
    """Oracle: the symbols written here."""
    units = Characters(CharactersConfig(normalization=[Step.upper]))
    tokens = units.tokens(["AB"])
    with pytest.raises(DataError, match=r"^'Q', '!' not among the 4 tokens"):
        units.encode("aqb!q", tokens)
    with pytest.raises(DataError, match="stands for the space"):
        units.encode("a|b", tokens)
    words = Words(WordsConfig())
    with pytest.raises(DataError, match="'TWO' not among"):
        words.encode("one two", words.tokens(["one"]))
    with pytest.raises(DataError, match="'<blank>' not among"):
        Words(WordsConfig(normalization=[])).encode("<blank>", Tokens([BLANK, "a"]))


DICTIONARY = """;;; a comment
# another
READ  R IY1 D
READ(2)  R EH1 D # the past
READ(3)  R EH2 D
A(1)  AH0
TWO-WAY  T UW1 W EY2
(PAREN  P ER0
isn't  IH1 Z
"""


@pytest.fixture
def dictionary(tmp_path: Path) -> Path:
    path = tmp_path / "some.dic"
    path.write_text(DICTIONARY)
    return path


def test_dictionary(dictionary: Path, tmp_path: Path):
    """Oracle: written by hand; and a round trip through the file format."""
    found = read_pronunciations(dictionary)
    assert found["READ"] == [("R", "IY1", "D"), ("R", "EH1", "D"), ("R", "EH2", "D")]
    assert found["A"] == [("AH0",)]
    assert list(found) == ["READ", "A", "TWO-WAY", "(PAREN", "isn't"]
    assert read_pronunciations(dictionary, stress=False)["READ"] == [("R", "IY", "D"), ("R", "EH", "D")]
    (tmp_path / "again").write_text(format_pronunciations(found))
    assert read_pronunciations(tmp_path / "again") == found
    for content, message in (("A\n", r"bad:1: 'A' has no phones"), ("# x\n", "has no words")):
        (tmp_path / "bad").write_text(content)
        with pytest.raises(DataError, match=message):
            read_pronunciations(tmp_path / "bad")
    with pytest.raises(DataError, match="cannot be read"):
        read_pronunciations(tmp_path / "none")


def test_phones(dictionary: Path, tmp_path: Path):
    """Oracle: the dictionary above; the model folder's copy needs the file no more."""
    units = Phones(PhonesConfig(dictionary=str(dictionary)))
    tokens = units.tokens(["a", "read"])
    assert tokens.names == [BLANK, "AH", "D", "EH", "ER", "IH", "IY", "P", "R", "Z"]  # TWO WAY is no word
    indices = units.encode("read a; Isn't", tokens)
    assert units.text(indices, tokens) == "R IY D AH IH Z"
    assert units.words(indices[:2], tokens) == [("R", 0, 1), ("IY", 1, 2)]
    assert not units.gives_words
    with pytest.raises(DataError, match="'WROTE' not in the pronunciation dictionary"):
        units.encode("a wrote", tokens)
    with pytest.raises(ConfigError, match=r"units\.dictionary is empty"):
        Phones(PhonesConfig()).tokens(["a"])
    for name, content in units.files().items():
        (tmp_path / name).write_bytes(content)
    again = Phones(units.portable_config())
    assert again.config.dictionary == ""
    again.restore(tmp_path)
    assert again.pronunciations == units.pronunciations


def test_usual_pronunciation_is_learned(dictionary: Path, tmp_path: Path):
    """Oracle: the dictionary above; the other variants keep their order, also through a model folder."""
    config = PhonesConfig(dictionary=str(dictionary), stress=True, usual=["READ R EH2 D"])
    units = Phones(config)
    tokens = units.tokens(["read"])
    assert units.text(units.encode("Read", tokens), tokens) == "R EH2 D"
    assert units.pronunciations["READ"] == [("R", "EH2", "D"), ("R", "IY1", "D"), ("R", "EH1", "D")]
    for name, content in units.files().items():
        (tmp_path / name).write_bytes(content)
    again = Phones(units.portable_config())
    again.restore(tmp_path)
    assert again.pronunciations == units.pronunciations
    for entry in ("READ R OW D", "WROTE R OW T", ""):
        with pytest.raises(DataError, match=rf"usual='{entry}' is not one of its pronunciations"):
            Phones(PhonesConfig(dictionary=str(dictionary), usual=[entry])).tokens(["a"])


def test_subwords(tmp_path: Path):
    """Oracle: the normalised text, after a round trip through a model folder."""
    pytest.importorskip("sentencepiece")
    transcripts = [f"{a} and {b}" for a in ("walking", "walked", "talker") for b in ("talking", "talked", "walker")]
    units = Subwords(SubwordsConfig(size=24))
    tokens = units.tokens(transcripts)
    assert tokens.names[0] == BLANK
    for name, content in units.files().items():
        (tmp_path / name).write_bytes(content)
    again = Subwords(SubwordsConfig(size=24))
    again.restore(tmp_path)
    for text in transcripts:
        indices = again.encode(text, tokens)
        assert again.text(indices, tokens) == text.upper()
        assert len(indices) < len(text)
    with pytest.raises(DataError, match="not among"):
        again.encode("talk 5", tokens)
    (tmp_path / "subwords.model").write_bytes(b"nonsense")
    with pytest.raises(DataError, match=r"subwords\.model"):
        again.restore(tmp_path)
