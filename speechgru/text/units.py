"""What every set of units can do: normalise a transcript, write it as tokens, read tokens as words."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

from speechgru.errors import DataError
from speechgru.text.normalization import Step, normalize
from speechgru.tokens import Tokens

BLANK = "<blank>"
SPACE = "|"  # the space between words as a token, as wav2vec 2.0 writes it


@dataclasses.dataclass
class UnitsConfig:
    """Settings that all units share.

    Attributes:
        normalization: the steps that transcripts go through, in order; spaces are always made single.
    """

    normalization: list[Step] = dataclasses.field(default_factory=lambda: [Step.nfkc, Step.upper, Step.no_punctuation])


class Units(abc.ABC):
    """The units transcripts are written in. Subclasses are registered in the family "units", one file each.

    Attributes:
        config: the settings.
        gives_words: whether :meth:`words` gives words of the transcripts; phones are not words.
    """

    gives_words = True

    def __init__(self, config: UnitsConfig) -> None:
        self.config = config

    def normalize(self, text: str) -> str:
        """A transcript, or what is to be compared with one, after the steps of the config."""
        return normalize(text, self.config.normalization)

    def tokens(self, transcripts: Iterable[str]) -> Tokens:
        """The blank, then all units of the training transcripts.

        Raises:
            DataError: no transcript has a word.
        """
        found = self.inventory([self.normalize(text) for text in transcripts])
        if not found:
            raise DataError("no transcript of the training split has a word; a recognizer of speech learns from text")
        return Tokens([BLANK, *found])

    def encode(self, text: str, tokens: Tokens) -> list[int]:
        """The indices of a transcript's units; empty for a text without words.

        Raises:
            DataError: a unit that is not among ``tokens``; the message names it.
        """
        symbols = self.split(self.normalize(text))
        missing = list(dict.fromkeys(symbol for symbol in symbols if symbol not in tokens or symbol == BLANK))
        if missing:
            named = ", ".join(map(repr, missing[:5])) + (" ..." if len(missing) > 5 else "")
            raise DataError(f"{named} not among the {len(tokens)} tokens of the model")
        return [tokens.index(symbol) for symbol in symbols]

    def text(self, indices: Sequence[int], tokens: Tokens) -> str:
        """Token indices (without blanks; repetitions count) as text."""
        return " ".join(word for word, _, _ in self.words(indices, tokens))

    @abc.abstractmethod
    def inventory(self, transcripts: list[str]) -> list[str]:
        """The names of all tokens but the blank, in order, for these normalised transcripts."""

    @abc.abstractmethod
    def split(self, text: str) -> list[str]:
        """The units of a normalised text, by name.

        Raises:
            DataError: the text cannot be written in these units.
        """

    def words(self, indices: Sequence[int], tokens: Tokens) -> list[tuple[str, int, int]]:
        """Each word of a sequence of token indices, and the half-open span of its places in that sequence.

        Here each token is a word.
        """
        return [(tokens.names[index], place, place + 1) for place, index in enumerate(indices)]

    def files(self) -> dict[str, bytes]:
        """What a model folder keeps for these units beside its settings: content by file name."""
        return {}

    def restore(self, folder: Path) -> None:  # noqa: B027  most units have no files
        """Reads back what :meth:`files` gave from a model folder.

        Raises:
            DataError: a file is missing or not what it should be.
        """

    def portable_config(self) -> UnitsConfig:
        """The settings as a model folder keeps them: without paths of the machine it was trained on."""
        return self.config
