"""The errors a user can cause and fix. A message is one line: what is wrong, where, with which value, and the fix."""


class SpeechGRUError(Exception):
    """Base of every error this package raises on purpose; the command line prints it without a traceback."""


class TrainingStopped(SpeechGRUError):
    """Training ended early; the message says why and how to go on."""


class Interrupted(SpeechGRUError):
    """Somebody asked the command to stop; the message says how to go on.

    Args:
        message: one line.
        signal: which one came, SIGINT (Ctrl-C) or SIGTERM; the exit code of the command is 128 more.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


class AudioError(SpeechGRUError):
    """A recording cannot be used; the message names the file (or the array) and what to do about it."""


class ConfigError(SpeechGRUError, ValueError):
    """A setting has an impossible value; the message names the key, the value and the legal range."""


class DataError(SpeechGRUError):
    """A corpus, manifest or download is not what it should be; the message names the file and line."""


class ModelError(SpeechGRUError):
    """A model folder or checkpoint cannot be loaded; the message names the folder and the file in it."""


def one_line(error: object) -> str:
    """The message of an error, or another text, in one short line."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else text[:296] + " ..."
