"""How much a server accepts, and how it refuses."""

from __future__ import annotations

import dataclasses
import math

from speechgru.errors import ConfigError, SpeechGRUError


@dataclasses.dataclass(frozen=True)
class Limits:
    """How much is accepted; what exceeds it is answered with a status code and the reason.

    Attributes:
        upload_mb: size of one request in megabytes (413), 0.001 to 10000; it is kept in a temporary file.
        recording_s: length of a recording to be transcribed in seconds (413), 1 to 86400.
        clip_s: length of a recording to be classified in seconds (413), 0.1 to 600: it is computed in one piece.
        requests: recordings that arrive, wait and are computed at the same time (503), 1 to 10000.
        streams: streams that are open at the same time (503), 0 to 100000.
        stream_s: sound of one stream in seconds (1008), 1 to 1000000.
    """

    upload_mb: float = 25.0
    recording_s: float = 3600.0
    clip_s: float = 60.0
    requests: int = 64
    streams: int = 256
    stream_s: float = 14400.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("upload_mb", 0.001, 10_000),
            ("recording_s", 1, 86_400),
            ("clip_s", 0.1, 600),
            ("requests", 1, 10_000),
            ("streams", 0, 100_000),
            ("stream_s", 1, 1_000_000),
        ):
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise ConfigError(f"--max_{name} {value:g}: from {low:g} to {high:g}")

    @property
    def upload_bytes(self) -> int:
        """``upload_mb`` in bytes."""
        return round(self.upload_mb * 1e6)


class Refused(SpeechGRUError):
    """A request that gets only this answer.

    Args:
        status: the HTTP status.
        reason: one line for the client.
        code: a word for programs, as OpenAI's API has them, or none.
    """

    def __init__(self, status: int, reason: str, code: str | None = None) -> None:
        super().__init__(reason)
        self.status, self.code = status, code

    @property
    def body(self) -> dict[str, object]:
        """The body of the answer, as OpenAI's clients read it."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {"error": {"message": str(self), "type": kind, "param": None, "code": self.code}}
