"""Which recordings the arguments of a command name: files, folders and globs."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable

from speechgru.audio.ffmpeg import FFMPEG_SUFFIXES
from speechgru.errors import AudioError

# What libsndfile reads, then what ffmpeg does: all of it is found, so that each is read or reported.
SUFFIXES = (
    *(".wav", ".wave", ".flac", ".ogg", ".oga", ".mp3", ".opus", ".aiff", ".aif", ".aifc", ".sph", ".w64", ".au"),
    *FFMPEG_SUFFIXES,
)


def find_audio(arguments: Iterable[str | os.PathLike[str]]) -> list[str]:
    """The recordings that arguments name, in the order of the arguments, as :func:`list_audio` finds them.

    Raises:
        AudioError: a folder without audio, a glob without a match, or something in a folder that cannot be opened.
    """
    found: list[str] = []
    for argument in arguments:
        for path, error in list_audio(argument):
            if error:
                raise AudioError(error)
            found.append(path)
    return found


def list_audio(argument: str | os.PathLike[str]) -> list[tuple[str, str]]:
    """(path, error) of each recording that one argument of a command names; the error is empty where it can be read.

    A file stays as it is, whatever its suffix and even if it is missing (reading it reports what is wrong); ``-`` stays
    ``-``. A folder gives the audio files at any depth below it, sorted, without hidden ones. A glob (``**`` crosses
    folders) gives its matches, sorted; folders among them are expanded, and files are kept if their suffix is that of
    audio or of the glob itself. What cannot be read to its end, such as a pipe in a folder, has an error, and so does a
    folder that cannot be opened.

    Raises:
        AudioError: a folder without audio, or a glob without a match.
    """
    argument = os.fspath(argument)
    if os.path.isdir(argument):
        below = _below(argument)
        if not below:
            raise AudioError(f"{argument}: no audio file at any depth of this folder ({' '.join(SUFFIXES)})")
        return below
    if argument != "-" and not os.path.lexists(argument) and glob.has_magic(argument):
        matches = _matching(argument)
        if not matches:
            raise AudioError(f"{argument}: no audio file matches this pattern; check the folder and the suffix")
        return matches
    return [(argument, "")]


def _below(folder: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []

    def closed(error: OSError) -> None:
        path = _tidy(error.filename)
        found.append((path, f"{path}: cannot be opened ({error.strerror}); check the permissions"))

    for parent, _, files in os.walk(folder, onerror=closed):
        # macOS leaves ._name.wav beside name.wav on foreign disks: hidden, and not audio.
        names = (name for name in files if not name.startswith("."))
        kept = (name for name in names if name.lower().endswith(SUFFIXES))
        found += [_checked(_tidy(os.path.join(parent, name))) for name in kept]
    return sorted(found)


def _matching(pattern: str) -> list[tuple[str, str]]:
    own = os.path.splitext(pattern)[1].lower()
    suffixes = (*SUFFIXES, *([own] if own and not glob.has_magic(own) else []))
    matches: dict[str, str] = {}  # in order, each once: ** matches a folder and what is in it
    for match in sorted(glob.glob(pattern, recursive=True)):
        if os.path.isdir(match):
            matches.update(_below(match))
        elif match.lower().endswith(suffixes):
            path, error = _checked(_tidy(match))
            matches[path] = error
    return list(matches.items())


def _tidy(path: str) -> str:
    return path if os.pardir in path.split(os.sep) else os.path.normpath(path)  # link/.. may be elsewhere


def _checked(path: str) -> tuple[str, str]:
    """A named pipe would wait for a writer that never comes, and some devices never end; reading reports the rest."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return path, ""
    return path, "" if stat.S_ISREG(mode) else f"{path}: a pipe, socket or device; left out"
