"""The training target of an utterance, as indices of a model's tokens."""

from __future__ import annotations

from speechgru.data.utterance import Utterance
from speechgru.errors import DataError
from speechgru.tokens import Tokens

Target = int | list[int]


def label_target(utterance: Utterance, tokens: Tokens) -> int:
    """The index of an utterance's label.

    Raises:
        DataError: it has none, or one that is not among the tokens; the message names the recording.
    """
    if utterance.label is None:
        raise DataError(f"{utterance.audio}: has no label and a classifier needs one; add it or leave it out")
    try:
        return tokens.index(utterance.label)
    except DataError as error:
        raise DataError(f"{utterance.audio}: its label {error}") from None
