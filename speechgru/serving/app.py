"""The paths of the server, who may use them, and how errors are reported."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from speechgru import page
from speechgru.serving.limits import Limits, Refused
from speechgru.serving.metrics import Counted, Metrics
from speechgru.serving.recordings import classifications, transcriptions
from speechgru.serving.served import Served
from speechgru.serving.service import Service, reader_threads
from speechgru.serving.sockets import stream
from speechgru.serving.worker import Worker

_PAGES = Path(__file__).parent / "page"
# The documentation page is self-contained.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Open without a key: the page, the health check, and the documentation.
_SCRIPTS = {f"/page/{name}": content for name, content in page.scripts().items()}
_OPEN = ("/", *_SCRIPTS, "/health", "/openapi.json", "/docs")


def application(models: dict[str, Served], limits: Limits, batch_size: int = 16, key: str | None = None) -> Starlette:
    """The server as an ASGI application.

    Args:
        models: by the name that requests use.
        limits: how much is accepted.
        batch_size: recordings computed together, at least 1.
        key: what requests must send as ``Authorization: Bearer``; with None no key is needed.
    """

    metrics = Metrics()

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        with (
            tempfile.TemporaryDirectory(prefix="speechgru-serve-") as folder,
            reader_threads() as readers,
            Worker(batch_size, metrics) as worker,  # it ends first, so that nobody waits for it
        ):
            app.state.service = Service(models, worker, limits, folder, readers, metrics)
            yield

    routes: list[BaseRoute] = [
        Route("/v1/audio/transcriptions", _Held(transcriptions), methods=["POST"]),
        Route("/v1/audio/classifications", _Held(classifications), methods=["POST"]),
        WebSocketRoute("/v1/stream", stream),
        Route("/v1/models", _models),
        Route("/v1/models/{name:path}", _model),
        Route("/health", _health),
        Route("/metrics", _metrics),
        Route("/openapi.json", _openapi),
        Route("/docs", _docs),
        Route("/", _index),
        *(Route(path, _script) for path in _SCRIPTS),
    ]
    return Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[
            Middleware(Counted, metrics=metrics),
            *([Middleware(_Keyed, key=key)] if key is not None else []),
        ],
        exception_handlers={Refused: _refused, HTTPException: _http_error, ClientDisconnect: _gone, 500: _failed},
    )


class _Held:
    """An endpoint that keeps its resources until its response is sent."""

    def __init__(self, endpoint: Callable[[Request], AbstractAsyncContextManager[Response]]) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._endpoint(Request(scope, receive, send)) as response:
            await response(scope, receive, send)


class _Keyed:
    """Lets only requests with the key pass.

    A browser cannot send a header with a WebSocket; there the key is a subprotocol: ``key.`` and the key in base64url.
    """

    def __init__(self, app: ASGIApp, key: str) -> None:
        # What is sent is stripped, too; a key from the environment need not be UTF-8.
        self._app, self._digest = app, hashlib.sha256(os.fsencode(key.strip())).digest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asks = scope["type"] in ("http", "websocket") and scope["path"] not in _OPEN
        if asks and not self._is_right(_brought(scope)):
            reason = "the key is missing or wrong; send it as Authorization: Bearer KEY"
            body = Refused(401, reason, "invalid_api_key").body
            response = JSONResponse(body, 401, headers={"www-authenticate": "Bearer"})
            if scope["type"] == "websocket":
                await WebSocket(scope, receive, send).send_denial_response(response)
            else:
                await response(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_right(self, brought: bytes) -> bool:
        # Digests have one length, whatever was sent: the time says nothing about the key.
        return hmac.compare_digest(hashlib.sha256(brought).digest(), self._digest)


def _brought(scope: Scope) -> bytes:
    kind, _, key = Headers(scope=scope).get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return key.strip().encode("latin-1")
    for protocol in scope.get("subprotocols", []):
        if protocol.startswith("key."):
            with contextlib.suppress(ValueError):
                return base64.urlsafe_b64decode(protocol.removeprefix("key.") + "===")
    return b""


def _described(served: Served) -> dict[str, object]:
    """A model as OpenAI lists it, and what it does."""
    return {
        "id": served.name,
        "object": "model",
        "created": int(served.loaded_s),
        "owned_by": "speechgru",
        "does": served.verb,
        "sample_rate": served.recognizer.sample_rate,
    }


async def _models(request: Request) -> Response:
    service: Service = request.app.state.service
    return JSONResponse({"object": "list", "data": [_described(one) for one in service.models.values()]})


async def _model(request: Request) -> Response:
    service: Service = request.app.state.service
    served = service.models.get(request.path_params["name"])
    if served is None:
        raise Refused(404, f"no such model is served here ({', '.join(service.models)})", "model_not_found")
    return JSONResponse(_described(served))


async def _health(request: Request) -> Response:
    service: Service = request.app.state.service
    return JSONResponse({"status": "ok", "requests": service.requests, "streams": service.streams})


async def _metrics(request: Request) -> Response:
    service: Service = request.app.state.service
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")


async def _openapi(request: Request) -> Response:
    return JSONResponse(json.loads(_PAGES.joinpath("openapi.json").read_text("utf-8")))


async def _docs(request: Request) -> Response:
    """The documentation, for people."""
    return HTMLResponse(_PAGES.joinpath("docs.html").read_text("utf-8"), headers={"content-security-policy": _POLICY})


async def _index(request: Request) -> Response:
    """The page that listens, with the models of this server."""
    policy = f"{page.policy()}; frame-ancestors 'none'"
    return HTMLResponse(page.index("server.js"), headers={"content-security-policy": policy})


async def _script(request: Request) -> Response:
    """A script of that page, or its style."""
    path = request.url.path
    return Response(_SCRIPTS[path], media_type=page.TYPES[Path(path).suffix])


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return JSONResponse(error.body, error.status, headers={"retry-after": "1"} if error.status == 503 else None)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    reason = f"{request.method} {request.url.path[:100]}: {error.detail.lower()}; /docs tells what there is"
    return JSONResponse(Refused(error.status_code, reason).body, error.status_code, headers=error.headers)


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it


async def _failed(request: Request, error: Exception) -> Response:
    return JSONResponse(Refused(500, "an error of the server; its log tells more").body, 500)
