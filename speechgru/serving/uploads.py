"""Receives a form with a recording, within limits."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator

from python_multipart.exceptions import FormParserError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from speechgru.audio import audio_info
from speechgru.errors import AudioError
from speechgru.recordings.lines import brief
from speechgru.serving.limits import Limits, Refused

# A request must arrive within this time.
_ARRIVES_S = 60.0
_MOST_FIELDS = 32
_MOST_FIELD_BYTES = 16_384
# Channels times rate that a recording of the longest length may have: stereo at 96 kHz.
_MOST_VALUES_HZ = 192_000


@dataclasses.dataclass
class Upload:
    """A form that has arrived.

    Attributes:
        fields: its texts, several under one name where they were sent so.
        recording: its file.
    """

    fields: dict[str, list[str]]
    recording: UploadFile

    @property
    def name(self) -> str:
        """The name of the file, as it was sent."""
        return self.recording.filename or "recording"

    def text(self, name: str, default: str = "") -> str:
        """The text of a field; the last one where there are several."""
        return self.fields.get(name, [default])[-1]

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """A field that is one of some words; the first where it is not there."""
        value = self.text(name, choices[0])
        if value not in choices:
            raise Refused(400, f"{name}={_shown(value)}: one of {', '.join(choices)}")
        return value

    def number(self, name: str, low: float, high: float) -> float | None:
        """A field that is a number, or None where it is not there."""
        value = self.text(name)
        if not value:
            return None
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not low <= number <= high:  # NaN is neither
            raise Refused(400, f"{name}={_shown(value)}: a number from {low:g} to {high:g}")
        return number

    def flag(self, name: str) -> bool:
        """A field that is true or false; false where it is not there."""
        return self.choice(name, ("false", "true", "False", "True", "0", "1", "")) in ("true", "True", "1")

    @contextlib.contextmanager
    def file(self, folder: str, longest_s: float) -> Iterator[str]:
        """A path to the recording, while the block lasts.

        Raises:
            Refused: it cannot be read, or is longer than ``longest_s``.
        """
        with tempfile.NamedTemporaryFile(dir=folder) as copy:
            shutil.copyfileobj(self.recording.file, copy, 1 << 20)
            copy.flush()
            try:
                info = audio_info(copy.name, longest_s)
            except AudioError as error:
                raise Refused(400, f"file: {brief(copy.name, str(error))}") from None
            if info.duration_s > longest_s:
                raise Refused(413, f"file: more than {longest_s:g} s of sound; cut it")
            if info.samples * info.channels > longest_s * _MOST_VALUES_HZ:
                raise Refused(
                    413, f"file: {info.channels} channels at {info.sample_rate} Hz; one channel at 16000 Hz will do"
                )
            yield copy.name


class _Form(MultiPartParser):
    """Records whether the form came to its end."""

    ended = False

    def on_end(self) -> None:
        self.ended = True


@contextlib.asynccontextmanager
async def upload(request: Request, limits: Limits) -> AsyncIterator[Upload]:
    """The form of a request; its contents are kept until the block ends.

    Raises:
        Refused: the request is too large, too slow, not a form, a form that is broken off, or one without one file
            called ``file``.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        given = _shown(kind) if kind else "is missing"
        raise Refused(415, f"content-type {given}: send multipart/form-data with the field file")
    parser = _Form(
        request.headers,
        _bounded(request, limits),
        max_files=1,
        max_fields=_MOST_FIELDS,
        max_part_size=_MOST_FIELD_BYTES,
    )
    try:
        async with asyncio.timeout(_ARRIVES_S):
            form = await parser.parse()
    except TimeoutError:
        raise Refused(408, f"the request did not arrive within {_ARRIVES_S:g} s") from None
    except (MultiPartException, FormParserError) as error:
        reason = error.message if isinstance(error, MultiPartException) else str(error)
        raise Refused(400, f"the form cannot be read: {reason.rstrip('.')}") from None
    try:
        if not parser.ended:
            raise Refused(400, "the form is broken off: its last boundary is missing")
        yield _upload(form)
    finally:
        await form.close()


async def _bounded(request: Request, limits: Limits) -> AsyncGenerator[bytes, None]:
    """The body of a request, up to the limit; what comes after a refusal is dropped by the HTTP server."""
    declared, most, got = request.headers.get("content-length", ""), limits.upload_bytes, 0
    refused = Refused(413, f"the request is larger than {limits.upload_mb:g} MB; send a compressed or a shorter one")
    if declared.isdecimal() and int(declared[:20]) > most:
        raise refused
    async for chunk in request.stream():
        got += len(chunk)
        if got > most:
            raise refused
        yield chunk


def _upload(form: FormData) -> Upload:
    fields: dict[str, list[str]] = {}
    files = []
    for name, value in form.multi_items():
        if isinstance(value, str):
            fields.setdefault(name, []).append(value)
        elif name == "file":
            files.append(value)
        else:
            raise Refused(400, f"{_shown(name)}: is a file; the recording goes into the field file")
    if not files:
        raise Refused(400, "file: is missing, or has no file name; send the recording as a file")
    return Upload(fields, files[0])


def _shown(value: str) -> str:
    """Somebody else's value, as shown in a message."""
    return repr(value if len(value) <= 40 else value[:36] + " ...")
