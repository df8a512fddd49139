"""Names of files and messages on one line, in whatever encoding they are written."""

from __future__ import annotations

import codecs
import json

# The error handler of a stream that takes JSON: what its encoding does not have is written as JSON's own escapes.
JSON_ESCAPES = "speechgru.json"


def _escaped(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


codecs.register_error(JSON_ESCAPES, _escaped)


def brief(path: str, error: str) -> str:
    """The message without the name of the file, which the record has already, on one line."""
    return " ".join(error.removeprefix(f"{path}: ").splitlines())


def one_field(path: str) -> str:
    """A path as one field of a tab-separated line: a tab or line break in it is written \\\\t, \\\\n or \\\\r."""
    return path.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def printable(text: str) -> str:
    """A name of a file that is not UTF-8, for a stream that is."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
