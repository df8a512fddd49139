"""``speechgru serve``: models behind HTTP and WebSocket, as OpenAI's clients ask for transcripts."""

from __future__ import annotations

import argparse
import os
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from speechgru.commands.recordings import load_recognizer
from speechgru.errors import ConfigError
from speechgru.shipped import model_path

if TYPE_CHECKING:
    from speechgru.serving.limits import Limits
    from speechgru.serving.served import Served

_EPILOG = """\
MODEL is a model folder or the name of a shipped model; NAME=MODEL serves it under another name, such as whisper-1 for
programs that ask for that. Without -m the models that ship inside are served.
It needs the extra serve: pip install 'speechgru[serve]'

  POST /v1/audio/transcriptions    as OpenAI's: json, verbose_json, text, srt, vtt; stream=true
  POST /v1/audio/classifications   a form with file, model, top_k, threshold
  WebSocket /v1/stream?model=NAME&rate=HZ   int16 samples in, the events of speechgru listen out
  GET  /v1/models, /health

Whoever reaches the port may ask. If SPEECHGRU_API_KEY is set, all requests but those of the page and /health need
Authorization: Bearer KEY.
The server listens on this machine only, unless --host says otherwise. On SIGTERM or Ctrl-C it finishes what it has
begun and ends. The exit code is 0 then, 2 when it cannot begin.

examples:
  speechgru serve
  speechgru serve -m runs/an4/model -m whisper-1=an4 --port 9000
  curl -F file=@memo.wav -F model=an4 http://127.0.0.1:8000/v1/audio/transcriptions
"""

# Bytes that wait in the kernel for a client that does not read.
_SEND_BYTES = 1 << 18
# Seconds that requests being answered have to end.
_ENDS_S = 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``speechgru serve``."""
    from speechgru.serving.limits import Limits

    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("-m", "--model", action="append", metavar="[NAME=]MODEL", help="may be given several times")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one (default: 8000)")
    limits = parser.add_argument_group("limits")
    for name, kind, text in (
        ("upload_mb", float, "megabytes of a request"),
        ("recording_s", float, "seconds of a recording to be transcribed"),
        ("clip_s", float, "seconds of a recording to be classified"),
        ("requests", int, "recordings that arrive, wait and are computed"),
        ("streams", int, "streams that are open"),
        ("stream_s", float, "seconds of sound of a stream"),
    ):
        default = getattr(Limits, name)
        limits.add_argument(f"--max_{name}", type=kind, default=default, help=f"{text} (default: {default:g})")
    parser.add_argument("--batch_size", type=int, default=16, help="recordings computed together (default: 16)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--threads", type=int, default=1, help="processor threads that compute (default: 1)")


def run(arguments: argparse.Namespace) -> int:
    """Serves until SIGTERM or Ctrl-C; 0.

    Raises:
        ConfigError: an option is out of range, a package is missing, the port is taken, or there is no such model.
        ModelError: a model folder cannot be loaded.
    """
    for name in ("batch_size", "threads"):
        if getattr(arguments, name) < 1:
            raise ConfigError(f"--{name} {getattr(arguments, name)}: at least 1")
    limits = _limits(arguments)
    key = os.environ.get("SPEECHGRU_API_KEY")
    if key is not None and not key.strip():
        raise ConfigError("SPEECHGRU_API_KEY is empty; set it to a key, or unset it to let everybody ask")
    names = _names(arguments.model)
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        raise ConfigError("no folder for temporary files can be written to; set TMPDIR to one") from None
    try:
        import uvicorn

        from speechgru.serving.app import application
        from speechgru.serving.protocols import HttpProtocol, SocketProtocol
        from speechgru.serving.sockets import MOST_BYTES
    except ModuleNotFoundError as error:
        raise ConfigError(f"serve needs the package {error.name}: pip install 'speechgru[serve]'") from None
    with _listening(arguments.host, arguments.port) as listener:
        models = {name: _loaded(name, model, arguments) for name, model in names.items()}
        config = uvicorn.Config(
            application(models, limits, arguments.batch_size, key),
            http=HttpProtocol,
            ws=SocketProtocol,
            ws_max_size=MOST_BYTES,
            ws_per_message_deflate=False,  # sound hardly shrinks, and each stream would cost more
            # The answer to a ping would wait behind the sound of a client that sends faster than it is heard. A dead
            # client sends nothing, and is found by that.
            ws_ping_interval=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_ENDS_S,
            limit_concurrency=limits.requests + limits.streams + 128,
        )
        server = uvicorn.Server(config)
        listener.listen()  # clients that connect from now on wait a moment and are not refused
        host, port = listener.getsockname()[:2]
        _tell(host, port, models, key)
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:  # raised by the command line for the signal, after the server has ended
            return 0
    return 0


def _limits(arguments: argparse.Namespace) -> Limits:
    from speechgru.serving.limits import Limits

    given = {name.removeprefix("max_"): value for name, value in vars(arguments).items() if name.startswith("max_")}
    return Limits(**given)


def _names(models: list[str] | None) -> dict[str, str]:
    """The name of each model in requests -> what -m names."""
    from speechgru.shipped import model_names

    found: dict[str, str] = {}
    for given in models or model_names():
        name, equals, model = given.partition("=")
        if not equals or os.path.isdir(given):
            path = Path(given).resolve()
            name, model = path.parent.name if path.name == "model" else path.name, given
        if not name or not model:
            raise ConfigError(f"-m {given}: give MODEL or NAME=MODEL")
        if name in found:
            raise ConfigError(f"-m {given}: {name} is {found[name]} already; give it another name, NAME={model}")
        found[name] = model
    if not found:
        raise ConfigError("no model ships with this version; give the folder of a trained one with -m")
    return found


def _loaded(name: str, model: str, arguments: argparse.Namespace) -> Served:
    from speechgru.serving.served import Served

    folder = model_path(model)
    # Compiling for the first time takes seconds.
    print(f"speechgru serve: loading {name}", file=sys.stderr, flush=True)
    served = Served(name, load_recognizer(folder, arguments.device, arguments.threads, None))
    served.warm_up()
    return served


def _listening(host: str, port: int) -> socket.socket:
    """A socket that is bound to this address.

    Raises:
        ConfigError: there is no such address, or it is taken.
    """
    if not 0 <= port <= 65535:
        raise ConfigError(f"--port {port}: from 0 to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except (OSError, UnicodeError) as error:  # the latter of a name that can be none, such as a..b
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"--host {host} --port {port}: {reason}; choose another one") from None
    return listener


def _tell(host: str, port: int, models: dict[str, Served], key: str | None) -> None:
    shown = f"[{host}]" if ":" in host else host
    names = ", ".join(models)
    print(f"speechgru serve: http://{shown}:{port} ({names}); Ctrl-C ends", file=sys.stderr, flush=True)
    if key is None and host not in ("127.0.0.1", "::1"):
        print("speechgru serve: whoever reaches this port may ask; SPEECHGRU_API_KEY sets a key", file=sys.stderr)
