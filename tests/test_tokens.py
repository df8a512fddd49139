"""Tokens: order, look-up, the file, and what is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechgru.errors import DataError
from speechgru.tokens import Tokens

_names = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\r\n"), min_size=1, max_size=8)


@given(st.lists(_names, min_size=1, max_size=12, unique=True))
@settings(max_examples=60, deadline=None)
def test_file_gives_back_any_legal_names(tmp_path_factory, names):
    """Oracle: the list itself, over drawn names (spaces, U+2028 and form feeds included)."""
    path = tmp_path_factory.mktemp("tokens") / "tokens.txt"
    if names[0].startswith("\ufeff"):
        return  # a byte order mark at the head of a file is not part of the text
    Tokens(names).save(path)
    read = Tokens.load(path)
    assert read.names == names
    assert read == Tokens(names)
    assert [read.index(name) for name in names] == list(range(len(names)))


def test_file_is_one_name_per_line(tmp_path):
    """Oracle: the bytes, written out."""
    Tokens(["ja", "né", " "]).save(tmp_path / "t")
    assert (tmp_path / "t").read_bytes() == "ja\nné\n \n".encode()
    (tmp_path / "w").write_bytes(b"yes\r\nno\r\n")
    assert Tokens.load(tmp_path / "w").names == ["yes", "no"]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([], "no names"),
        (["a", ""], "name 2 is empty"),
        (["a\nb"], "line break"),
        (["a", "b", "a"], "'a' is there twice (1 and 3)"),
    ],
)
def test_impossible_names_are_refused(names, told):
    """Oracle: the rules in the docstring."""
    with pytest.raises(DataError) as error:
        Tokens(names)
    assert told in str(error.value)


def test_unknown_name_lists_the_near_ones(tmp_path):
    """Oracle: the message."""
    with pytest.raises(DataError, match=r"'rihgt' is not among the tokens.*right"):
        Tokens(["left", "right", "stop"]).index("rihgt")
    with pytest.raises(DataError, match="left, right"):
        Tokens(["left", "right"]).index("zzz")


def test_bad_files_are_named(tmp_path):
    """Oracle: the message names the file."""
    (tmp_path / "latin").write_bytes(b"\xe9t\xe9\n")
    (tmp_path / "empty").write_bytes(b"")
    for name, told in (("missing", "cannot be read"), ("latin", "not UTF-8"), ("empty", "no names")):
        with pytest.raises(DataError, match=f"{name}.*{told}"):
            Tokens.load(tmp_path / name)
