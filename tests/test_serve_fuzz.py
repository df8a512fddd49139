"""speechgru serve under requests that no client should send, and many that it should."""

from __future__ import annotations

import importlib.util
import json
import re
import socket
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from server import Server, form, server

from speechgru.encoders import GRUEncoderConfig
from speechgru.features import LogMelConfig
from speechgru.heads import ClassificationConfig
from speechgru.model_folder import RecognizerConfig
from speechgru.recognizer import Recognizer
from speechgru.tokens import Tokens

needed = ["starlette", "uvicorn", "websockets", "python_multipart", "prometheus_client"]
missing = [name for name in needed if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(missing), reason="needs the extra serve")

RATE = 8000
PATH = "/v1/audio/classifications"
JUNK = [
    "",
    "nan",
    "inf",
    "-1",
    "1e999",
    "0x10",
    "true",
    "\0",
    "é" * 50,
    "../../etc/passwd",
    "{}",
    "a" * 5000,
    "9" * 400,
]


def wav(samples: np.ndarray) -> bytes:
    """16 bits, written by hand: its header can be bent."""
    content = (32767 * samples).astype("<i2").tobytes()
    sizes = [(36 + len(content)).to_bytes(4, "little"), len(content).to_bytes(4, "little")]
    kind = b"".join(n.to_bytes(size, "little") for n, size in ((16, 4), (1, 2), (1, 2), (RATE, 4), (2 * RATE, 4)))
    return b"RIFF" + sizes[0] + b"WAVEfmt " + kind + b"\2\0\x10\0data" + sizes[1] + content


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    root = tmp_path_factory.mktemp("fuzz")
    torch.manual_seed(3)
    features, encoder = LogMelConfig(sample_rate=RATE, mels=12), GRUEncoderConfig(hidden_size=8)
    Recognizer(RecognizerConfig(features, encoder, ClassificationConfig()), Tokens(["yes", "no"])).save(root / "labels")
    with server("-m", root / "labels", "--max_upload_mb", 0.5, folder=root) as up:
        yield up
    assert up.process.returncode == 0
    said = (root / "said.txt").read_text()
    assert "Traceback" not in said, said
    assert not list((root / "temporary").glob("speechgru*"))


def changed(content: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes lost, doubled, added or turned into others."""
    values = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        at, many = int(rng.integers(len(values))), int(rng.integers(1, 40))
        kind = rng.integers(5)
        if kind == 0:
            values[at] = int(rng.integers(256))
        elif kind == 1:
            del values[at : at + many]
        elif kind == 2:
            values[at:at] = rng.bytes(many)
        elif kind == 3:
            values[at:at] = values[at : at + many]
        elif len(values) > 2 * many:
            del values[-many:]
    return bytes(values)


def malformed(rng: np.random.Generator) -> tuple[bytes, bool]:
    """The bytes of a request that is wrong somewhere, and whether it comes to an end."""
    sound = bytearray(wav(0.1 * rng.standard_normal(int(rng.integers(1, 2000)))))
    kind = int(rng.integers(8))
    fields = {"model": "labels"}
    if kind == 0:  # what is declared is not what is there
        place, value = [(4, 4), (16, 4), (20, 2), (22, 2), (24, 4), (34, 2), (40, 4)][rng.integers(7)]
        sound[place : place + value] = rng.bytes(value)
    elif kind == 1:
        sound[44:] = rng.choice(np.array([np.nan, np.inf, 1e30], np.float32), 400).tobytes()
        sound[20], sound[34] = 3, 32
    elif kind == 2:
        names = ["model", "top_k", "threshold", "file", "response_format", "stream", "temperature", "\r\n"]
        fields = {str(rng.choice(names)): str(rng.choice(JUNK)) for _ in range(int(rng.integers(1, 6)))}
    content, form_type = form(bytes(sound), **fields)
    length, method, path = str(len(content)), "POST", str(rng.choice([PATH, "/v1/audio/transcriptions"]))
    if kind == 3:
        content = changed(content, rng)
        length = str(len(content))
    elif kind == 4:
        form_type = str(
            rng.choice(["application/json", "multipart/form-data", "multipart/form-data; boundary=", "é", ""])
        )
        content = rng.bytes(int(rng.integers(200)))
        length = str(len(content))
    elif kind == 5:
        length = str(rng.choice(["99999999999999999999", "-1", "1e3", "five", str(10**9), str(len(content) + 50)]))
    elif kind == 6:
        method = str(rng.choice(["GET", "PUT", "OPTIONS", "HEAD", "TRACE"]))
        path = str(rng.choice([PATH, "/", "/v1/models/%00", "/../..", "/v1/stream", "/health?" + "a" * 3000]))
    head = f"{method} {path} HTTP/1.1\r\nhost: here\r\ncontent-type: {form_type}\r\ncontent-length: {length}\r\n\r\n"
    request = head.encode() + content
    return (changed(request, rng), False) if kind == 7 else (request, kind != 5)


def answer(served: Server, request: bytes, ends: bool) -> int | None:
    """The status of the answer; None where the line was closed without one."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=60 if ends else 0.3) as client:
        got = b""
        try:
            client.sendall(request)
            while b"\r\n\r\n" not in got and (more := client.recv(65536)):
                got += more
        except OSError:
            assert not ends or got
    status = re.match(rb"HTTP/1\.1 (\d+) ", got)
    return int(status[1]) if status else None


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_malformed_requests_are_answered_and_the_server_goes_on(served, count):
    """Oracle: a status below 500 (or a closed line), and after all of them the answer that was given before."""
    rng = np.random.default_rng(count)
    sound = wav(0.1 * rng.standard_normal(4000))
    before = served.post(PATH, sound)
    assert before[0] == 200
    found: dict[int | None, int] = {}
    for _ in range(count):
        request, ends = malformed(rng)
        status = answer(served, request, ends)
        assert status is None or status < 500, request[:2000]
        found[status] = found.get(status, 0) + 1
    assert {400, 404, 405, 415} <= found.keys()
    assert served.post(PATH, sound) == before
    assert json.loads(served.ask("GET", "/health")[2]) == {"status": "ok", "requests": 0, "streams": 0}


def memory_mb(served: Server) -> float:
    status = Path(f"/proc/{served.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_memory_does_not_grow(served):
    """Oracle: the resident memory after the first 500 requests and 40 streams, and after four times as many more."""
    from websockets.sync.client import connect

    sound = wav(0.1 * np.random.default_rng(0).standard_normal(8000))

    def work(number: int) -> None:
        for _ in range(125):
            assert served.post(PATH, sound)[0] == 200
        for _ in range(10):
            with connect(f"ws://127.0.0.1:{served.port}/v1/stream?rate={RATE}") as stream:
                for _ in range(20):
                    stream.send(sound[44:1644])
                if number % 2:
                    stream.send('{"type": "end"}')
                    assert json.loads(list(stream)[-1])["kind"] == "end"

    def round_of_work() -> float:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return memory_mb(served)

    first = round_of_work()
    grown = [round_of_work() - first for _ in range(4)]
    assert grown[-1] < 20, grown
    assert grown[-1] - grown[1] < 8, grown
