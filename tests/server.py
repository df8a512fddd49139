"""A server in a process of its own, on a free port, for tests that ask it as its users do."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Server:
    """``speechgru serve`` while it runs.

    Attributes:
        url: without a slash at its end.
    """

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process, self.port = process, port
        self.url = f"http://127.0.0.1:{port}"

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def post(self, path: str, audio: bytes | None, headers: dict[str, str] | None = None, **fields: str) -> Any:
        """Status and value of what a form is answered with; its JSON is read."""
        content, kind = form(audio, **fields)
        status, told, body = self.ask("POST", path, content, {"content-type": kind, **(headers or {})})
        return status, json.loads(body) if told.get("content-type") == "application/json" else body.decode()


def form(audio: bytes | None, name: str = "sound.wav", **fields: str) -> tuple[bytes, str]:
    """A form with a recording and fields, and its content type."""
    parts = [f'name="{key}"\r\n\r\n'.encode() + value.encode() for key, value in fields.items()]
    if audio is not None:
        parts.append(f'name="file"; filename="{name}"\r\ncontent-type: audio/wav\r\n\r\n'.encode() + audio)
    joined = b"".join(b"--edge\r\ncontent-disposition: form-data; " + part + b"\r\n" for part in parts)
    return joined + b"--edge--\r\n", "multipart/form-data; boundary=edge"


@contextlib.contextmanager
def server(*words: object, folder: Path, **environment: str) -> Iterator[Server]:
    """A server with these options, its temporary files below ``folder``; what it said lies in ``folder/said.txt``."""
    (folder / "temporary").mkdir(exist_ok=True)
    known = {name: value for name, value in os.environ.items() if name != "SPEECHGRU_API_KEY"}
    said = folder / "said.txt"
    with said.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "speechgru.cli", "serve", "--port", "0", *map(str, words)],
            env={**known, "TMPDIR": str(folder / "temporary"), "OMP_NUM_THREADS": "1", **environment},
            stderr=file,
        )
    try:
        while not (port := re.search(r"http://\S+:(\d+) ", said.read_text())):
            assert process.poll() is None, said.read_text()
            time.sleep(0.1)
        yield Server(process, int(port[1]))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(120)
