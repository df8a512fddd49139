"""What a head can say: the ordered names behind its output indices."""

from __future__ import annotations

import difflib
import os
import reprlib
from collections.abc import Iterator, Sequence

from speechgru.errors import DataError
from speechgru.files import write_atomically
from speechgru.text_files import read_text

_MOST_BYTES = 16 << 20


class Tokens:
    """An ordered list of distinct names; the place of a name is the output index of the head.

    The names are the labels of a classifier, or of a CTC model the blank and the units of transcripts. Stored as
    ``tokens.txt``: UTF-8, one name per line, in order.

    Args:
        names: distinct, not empty, without line breaks.

    Raises:
        DataError: no names, an empty name, a line break in a name, or a name that comes twice.
    """

    def __init__(self, names: Sequence[str], where: str = "tokens"):
        if not names:
            raise DataError(f"{where}: no names; at least one is needed")
        self._indices: dict[str, int] = {}
        for index, name in enumerate(names):
            if not name:
                raise DataError(f"{where}: name {index + 1} is empty; remove it or name it")
            if "\n" in name or "\r" in name:
                raise DataError(
                    f"{where}: name {index + 1} ({reprlib.repr(name)}) has a line break; names are one line each"
                )
            if name in self._indices:
                raise DataError(
                    f"{where}: {reprlib.repr(name)} is there twice ({self._indices[name] + 1} and {index + 1})"
                )
            self._indices[name] = index
        self.names = list(names)

    def index(self, name: str) -> int:
        """The index of ``name``; an unknown name raises DataError that lists the nearest ones."""
        index = self._indices.get(name)
        if index is None:
            near = difflib.get_close_matches(name, self.names, n=3) or self.names[:10]
            more = "" if len(near) == len(self.names) else f" of {len(self.names)}"
            raise DataError(f"{name!r} is not among the tokens; near or known: {', '.join(near)}{more}")
        return index

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self._indices

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokens) and self.names == other.names

    def __hash__(self) -> int:
        return hash(tuple(self.names))

    def __repr__(self) -> str:
        shown = ", ".join(self.names[:8]) + (", ..." if len(self.names) > 8 else "")
        return f"Tokens({len(self)}: {shown})"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one name per line (UTF-8, ``\\n``)."""
        write_atomically(path, "".join(name + "\n" for name in self.names))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Tokens:
        """Read what :meth:`save` wrote (Windows line ends are accepted).

        Raises:
            DataError: the file is missing, not UTF-8, or its names are not distinct and non-empty.
        """
        text = read_text(path, _MOST_BYTES, mend="it should hold one name per line")
        # Only "\n" ends a line: splitlines() would also cut at characters a name may hold (U+2028, form feed).
        lines = text.removesuffix("\n").split("\n") if text else []
        return cls([line.removesuffix("\r") for line in lines], where=str(path))


def is_word(label: str) -> bool:
    """Whether a label is a word to be detected; ``_silence_``, ``_unknown_`` and ``<blank>`` are not."""
    return not (len(label) > 1 and (label[0] + label[-1] in ("__", "<>")))
