"""``POST /v1/audio/transcriptions`` and ``/v1/audio/classifications``: a recording in, what was said in it out."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import io
import json
import math
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from speechgru.errors import one_line
from speechgru.recordings.classification import threshold_of
from speechgru.recordings.classification_formats import JSONWriter
from speechgru.serving.limits import Refused
from speechgru.serving.uploads import Upload, upload
from speechgru.serving.worker import Asked, CalledOff
from speechgru.transcripts.formats import record, srt, txt, vtt, word_record
from speechgru.transcripts.pieces import PiecesConfig

if TYPE_CHECKING:
    from speechgru.decoding.transcription import Word
    from speechgru.serving.service import Service
    from speechgru.transcripts.transcript import Segment, Transcript

Answer = TypeVar("Answer")
# Called with the words so far, and how far the recording was heard, in seconds.
Heard = Callable[[Sequence["Word"], float], None]

_FORMATS = ("json", "text", "srt", "vtt", "verbose_json")
_LABELS = 5
_ENDS = "the server ends; ask again"


@contextlib.asynccontextmanager
async def transcriptions(request: Request) -> AsyncIterator[Response]:
    """A transcript in one of OpenAI's formats, or as server-sent events while it is computed."""
    service: Service = request.app.state.service
    with service.admitted():
        async with upload(request, service.limits) as form:
            served = service.model(form.text("model"), "transcribe")
            form.number("temperature", 0, 1)  # checked, though a search has no temperature
            style, granularities = form.choice("response_format", _FORMATS), _granularities(form)

            def compute(asked: Asked, heard: Heard | None) -> Transcript:
                with form.file(service.folder, service.limits.recording_s) as path:
                    return served.transcript(path, asked, heard)

            if form.flag("stream"):
                async with _events(service, compute) as response:
                    yield response
            else:
                transcript = await _answered(request, service, lambda asked: compute(asked, None))
                yield _response(transcript, style, form.text("language"), granularities)


@contextlib.asynccontextmanager
async def classifications(request: Request) -> AsyncIterator[Response]:
    """The object that ``speechgru classify -f jsonl`` prints."""
    service: Service = request.app.state.service
    with service.admitted():
        async with upload(request, service.limits) as form:
            served = service.model(form.text("model"), "classify")
            top_k = min(int(form.number("top_k", 1, 10_000) or _LABELS), len(served.recognizer.tokens))
            threshold = threshold_of(served.recognizer, form.number("threshold", 0, 1))

            def compute(asked: Asked) -> str:
                with form.file(service.folder, service.limits.clip_s) as path:
                    found = served.classified(path, asked, top_k, threshold)
                text = io.StringIO()
                JSONWriter(text, lines=True).write(dataclasses.replace(found, audio=form.name))
                return text.getvalue()

            yield Response(await _answered(request, service, compute), media_type="application/json")


def _granularities(form: Upload) -> set[str]:
    given = {*form.fields.get("timestamp_granularities[]", []), *form.fields.get("timestamp_granularities", [])}
    if not given <= {"word", "segment"}:
        raise Refused(400, "timestamp_granularities[]: word, segment or both")
    return given or {"segment"}


async def _answered(request: Request, service: Service, compute: Callable[[Asked], Answer]) -> Answer:
    """What ``compute`` gives in a thread of its own; it is called off once the client has gone."""
    asked = Asked(service.worker)
    answer = service.in_thread(lambda: compute(asked))
    gone = asyncio.ensure_future(_gone(request))
    both: set[asyncio.Future[Any]] = {answer, gone}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            asked.call_off()
        return await answer
    except CalledOff:
        raise Refused(503, _ENDS) from None
    finally:
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


@contextlib.asynccontextmanager
async def _events(service: Service, compute: Callable[[Asked, Heard], Transcript]) -> AsyncIterator[Response]:
    """Server-sent events: after each piece the words that will not change any more, then the whole text."""
    loop, waiting = asyncio.get_running_loop(), asyncio.Queue[dict[str, object] | Exception]()
    asked, told = Asked(service.worker), ""

    def tell(item: dict[str, object] | Exception) -> None:
        loop.call_soon_threadsafe(waiting.put_nowait, item)

    def tell_more(text: str) -> None:
        nonlocal told
        if len(text) > len(told):
            tell({"type": "transcript.text.delta", "delta": text[len(told) :]})
            told = text

    def heard(words: Sequence[Word], until_s: float) -> None:
        tell_more(" ".join(word.word for word in words if word.end_s <= until_s - PiecesConfig.overlap_s))

    def run() -> None:
        try:
            transcript = compute(asked, heard)
        except Exception as error:  # passed on to whoever waits
            tell(Refused(503, _ENDS) if isinstance(error, CalledOff) else error)
        else:
            tell_more(transcript.text)
            tell({"type": "transcript.text.done", "text": transcript.text, "usage": _usage(transcript)})

    done = service.in_thread(run)
    try:
        first = await waiting.get()
        if isinstance(first, Exception):
            raise first
        yield StreamingResponse(_sent(first, waiting), media_type="text/event-stream")
    finally:
        asked.call_off()
        await done


async def _sent(item: dict[str, object] | Exception, waiting: asyncio.Queue) -> AsyncIterator[str]:
    """Items as server-sent events, up to the last."""
    while isinstance(item, dict):
        yield f"data: {json.dumps(item, ensure_ascii=False)}\n\n"
        if item["type"] == "transcript.text.done":
            return
        item = await waiting.get()
    refused = item if isinstance(item, Refused) else Refused(500, one_line(item))
    yield f"data: {json.dumps(refused.body)}\n\n"


def _response(transcript: Transcript, style: str, language: str, granularities: set[str]) -> Response:
    if style == "json":
        return JSONResponse({"text": transcript.text, "usage": _usage(transcript)})
    if style == "verbose_json":
        return JSONResponse(_verbose(transcript, language, granularities))
    text = {"text": txt, "srt": srt, "vtt": vtt}[style](transcript)
    return PlainTextResponse(text, media_type="text/vtt" if style == "vtt" else "text/plain")


def _usage(transcript: Transcript) -> dict[str, object]:
    return {"type": "duration", "seconds": math.ceil(transcript.duration_s)}


def _verbose(transcript: Transcript, language: str, granularities: set[str]) -> dict[str, object]:
    """OpenAI's fields, and ours where the model can tell: the confidences, and whether the recording is familiar."""
    ours = record(transcript)
    values: dict[str, object] = {
        "task": "transcribe",
        "language": language or "unknown",
        "duration": ours["duration_s"],
        "text": transcript.text,
        "usage": _usage(transcript),
    }
    if "familiar" in ours:
        values["familiar"] = ours["familiar"]
    if "word" in granularities:
        values["words"] = [word_record(word) for segment in transcript.segments for word in segment.words]
    if "segment" in granularities:
        values["segments"] = [_segment(segment) for segment in transcript.segments]
    return values


def _segment(segment: Segment) -> dict[str, object]:
    """A segment as whisper describes it; what a CTC model does not have is 0 or empty."""
    text = segment.text.encode()
    logarithms = [math.log(max(word.confidence, 1e-10)) for word in segment.words]
    return {
        "id": segment.id,
        "seek": 0,
        "start": round(segment.start_s, 3),
        "end": round(segment.end_s, 3),
        "text": segment.text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": round(sum(logarithms) / len(logarithms), 4),
        "compression_ratio": round(len(text) / len(zlib.compress(text)), 4),
        "no_speech_prob": 0.0,
        "confidence": round(segment.confidence, 4),
    }
