"""speechgru serve: streams over a WebSocket, the page, what is counted. Oracle: recognizer.stream() in this process."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import importlib.util
import json
import re
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from server import Server, server

from speechgru.decoding.operating_point import KeywordConfig
from speechgru.encoders import GRUEncoderConfig, LookAheadConfig
from speechgru.features import LogMelConfig, Normalization
from speechgru.heads import ClassificationConfig, CTCConfig
from speechgru.model_folder import RecognizerConfig
from speechgru.recognizer import Recognizer, load
from speechgru.text import CharactersConfig
from speechgru.tokens import Tokens

needed = ["starlette", "uvicorn", "websockets", "python_multipart", "prometheus_client"]
missing = [name for name in needed if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(missing), reason="needs the extra serve")

RATE = 8000


def sound(seconds: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    at = np.arange(round(seconds * RATE)) / RATE
    tone = np.sin(2 * np.pi * (400 + 900 * (np.sin(9 * at + seed) > 0)) * at)
    values = 0.3 * np.abs(np.sin(5 * at)) ** 2 * tone + 1e-3 * rng.standard_normal(len(at))
    return (32767 * values).astype(np.int16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A classifier heard through windows that tells something all the time, and a transcriber that goes by frames."""
    root = tmp_path_factory.mktemp("models")
    features = LogMelConfig(sample_rate=RATE, mels=12, normalization=Normalization.sliding)
    torch.manual_seed(1)
    config = RecognizerConfig(features, GRUEncoderConfig(hidden_size=8), ClassificationConfig())
    config.keywords = KeywordConfig(smoothing_ms=100, refractory_s=0.1, thresholds={"yes": 0.01, "no": 0.01})
    Recognizer(config, Tokens(["yes", "no"])).save(root / "labels")
    config = RecognizerConfig(features, LookAheadConfig(hidden_size=8, context=2), CTCConfig())
    config.units = CharactersConfig(normalization=[])
    words = Recognizer(config, Tokens(["<blank>", "|", "a", "b", "c"]))
    words.head.output.weight.data *= 25
    words.save(root / "words")
    return root


@pytest.fixture(scope="module")
def served(folder, tmp_path_factory):
    kept = tmp_path_factory.mktemp("served")
    with server("-m", folder / "labels", "-m", folder / "words", "--max_streams", 6, folder=kept) as up:
        yield up
    assert up.process.returncode == 0
    assert "Traceback" not in (kept / "said.txt").read_text()


def opened(served: Server, query: str, **how):
    from websockets.sync.client import connect

    return connect(f"ws://127.0.0.1:{served.port}/v1/stream?{query}", **how)


def heard(served: Server, query: str, samples: np.ndarray, chunk: int) -> list[dict]:
    """All messages of a stream; the sound goes in chunks of bytes, halves of samples too."""
    with opened(served, query) as stream:
        content = samples.tobytes()
        for start in range(0, len(content), chunk):
            stream.send(content[start : start + chunk])
        stream.send('{"type": "end"}')
        return [json.loads(message) for message in stream]


def same(messages: list[dict], recognizer: Recognizer, samples: np.ndarray, rate: int = RATE) -> None:
    stream = recognizer.stream()
    events = [*stream.feed(samples, rate), *stream.flush()]
    wanted = [event.record() for event in events]
    assert messages[-1] == {"kind": "end", "seconds": len(samples) / rate}
    assert len(wanted) > 5
    finals, found = ([one for one in some if one.get("final")] for some in (wanted, messages))
    assert [(one["kind"], one["text"]) for one in found] == [(one["kind"], one["text"]) for one in finals]
    for name in ("start_s", "end_s", "confidence"):
        np.testing.assert_allclose([one[name] for one in found], [one[name] for one in finals], atol=1.5e-3)
    assert [one["text"] for one in messages if one.get("final") is False] == [
        one["text"] for one in wanted if not one["final"]
    ]


@pytest.mark.parametrize("name", ["labels", "words"])
def test_events_are_those_of_a_stream(served, folder, name):
    """Oracle: recognizer.stream() over all samples at once; chunks of 0.1 s, of odd bytes, and all in one."""
    samples, recognizer = sound(5), load(folder / name)
    for chunk in (1600, 777, 10**6):
        same(heard(served, f"model={name}&rate={RATE}", samples, chunk), recognizer, samples)
    slower = sound(4)[::2]
    same(heard(served, f"model={name}&rate=4000", slower, 800), recognizer, slower, 4000)


def test_streams_go_on_together_and_do_not_mix(served, folder):
    """Oracle: each stream alone; two models, three streams of each, beside recordings that are computed."""
    models = {name: load(folder / name) for name in ("labels", "words")}
    found: dict[int, list[dict]] = {}

    def listen(number: int) -> None:
        name = ["labels", "words"][number % 2]
        found[number] = heard(served, f"model={name}&rate={RATE}", sound(4, number), 800 + 100 * number)

    threads = [threading.Thread(target=listen, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(6):
        same(found[number], models[["labels", "words"][number % 2]], sound(4, number))
    counted = served.ask("GET", "/metrics")[2].decode()
    # A sum of floats in the order in which the chunks of three streams came.
    assert float(re.search(r'^speechgru_stream_seconds_total\{model="words"\} (\S+)', counted, re.M)[1]) > 12 - 1e-9
    assert float(re.search(r'^speechgru_batch_size_count\{of="streams"\} (\S+)', counted, re.M)[1]) > 1


def test_what_a_stream_may_not_is_told_before_it_is_closed(served):
    """Oracle: the reason in a message, and the close codes of RFC 6455."""
    from websockets.exceptions import ConnectionClosed, InvalidStatus

    for query, message, code, reason in (
        ("model=none", None, 1008, "not served here"),
        ("rate=10", None, 1008, "rate=10: from 1000"),
        ("rate=fast", None, 1008, "rate=0: from 1000"),
        ("", "end", 1008, 'a text is {"type": "end"}'),
        ("", "[" * 100_000, 1008, "a text is"),
        ("", '{"type": "begin"}', 1008, "a text is"),
    ):
        with opened(served, query) as stream:
            if message:
                stream.send(message)
            assert reason in json.loads(stream.recv())["error"]["message"]
            with pytest.raises(ConnectionClosed):
                stream.recv()
            assert stream.close_code == code
    with opened(served, "") as stream:
        # In two fragments: what is not read when the connection is closed resets it, and the code would be lost.
        stream.send([bytes(1 << 20), bytes(1)])
        with pytest.raises(ConnectionClosed):
            stream.recv()
        assert stream.close_code == 1009
    for origin in ("http://elsewhere.example", "null", "file://", "http://["):
        with pytest.raises(InvalidStatus) as refused:
            opened(served, "", origin=origin)
        assert refused.value.response.status_code == 403
    with opened(served, "model=labels", origin=served.url) as stream:
        stream.send('{"type": "end"}')
        assert json.loads(stream.recv()) == {"kind": "end", "seconds": 0.0}


def _streams(served: Server) -> int:
    return json.loads(served.ask("GET", "/health")[2])["streams"]


def test_a_stream_too_many_is_refused_and_a_dead_one_makes_room(served):
    """Oracle: the limit of six."""
    with contextlib.ExitStack() as stack:
        several = [stack.enter_context(opened(served, "")) for _ in range(6)]
        while _streams(served) < 6:
            time.sleep(0.02)
        with opened(served, "") as one_more:
            assert json.loads(one_more.recv())["error"]["code"] == "busy"
        several[0].socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        several[0].socket.shutdown(socket.SHUT_RDWR)  # gone without a farewell
        while _streams(served) > 5:
            time.sleep(0.02)
        assert len(heard(served, f"model=labels&rate={RATE}", sound(1), 1600)) > 1


def test_a_client_that_does_not_read_is_cut_off(served):
    """Oracle: the connection ends before half of the sound was taken; its slot is free and nothing waits for it."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", served.port))
        key = base64.b64encode(bytes(16)).decode()
        lines = [f"GET /v1/stream?model=labels&rate={RATE} HTTP/1.1", "host: here", "upgrade: websocket"]
        lines += ["connection: upgrade", f"sec-websocket-key: {key}", "sec-websocket-version: 13", "", ""]
        client.sendall("\r\n".join(lines).encode())
        content = sound(10).tobytes()
        frame = b"\x82\xff" + len(content).to_bytes(8, "big") + bytes(4) + content
        sent, cut = 0, False
        try:
            for _ in range(400):
                client.sendall(frame)
                sent += 1
        except OSError:
            cut = True
    assert cut
    assert 0 < sent < 400
    while _streams(served):
        time.sleep(0.05)


def test_a_key_for_streams(folder, tmp_path):
    """Oracle: 401, as for other requests; browsers bring it as a subprotocol."""
    from websockets.exceptions import InvalidStatus

    with server("-m", folder / "labels", folder=tmp_path, SPEECHGRU_API_KEY="a ké y?") as up:
        coded = base64.urlsafe_b64encode("a ké y?".encode()).decode().rstrip("=")
        for how in (
            {},
            {"subprotocols": ["speechgru", "key.YQ"]},
            {"additional_headers": {"authorization": "Bearer a"}},
        ):
            with pytest.raises(InvalidStatus) as refused:
                opened(up, "", **how)
            assert refused.value.response.status_code == 401
        with opened(up, "", subprotocols=["speechgru", f"key.{coded}"]) as stream:
            assert stream.subprotocol == "speechgru"
            stream.send('{"type": "end"}')
            assert json.loads(stream.recv())["kind"] == "end"
        assert up.ask("GET", "/metrics")[0] == 401
        for path in ("/", "/docs", "/openapi.json", "/health"):
            assert up.ask("GET", path)[0] == 200


def test_the_description_names_what_there_is(served):
    """Oracle: the server; every path of the description answers, and the pages fetch nothing from elsewhere."""
    described = json.loads(served.ask("GET", "/openapi.json")[2])
    for path, methods in described["paths"].items():
        for method in methods:
            status = served.ask(method.upper(), path.replace("{name}", "labels"))[0]
            expected = {"/v1/stream": 404}.get(path, 415 if method == "post" else 200)
            assert status == expected, path
    for page in ("/", "/docs"):
        status, headers, body = served.ask("GET", page)
        assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert "default-src 'none'" in headers["content-security-policy"]
        assert not re.search(rb"(?:src|href)=[\"']?(?:https?:)?//", body)


def test_a_request_without_an_end_is_cut_off(monkeypatch):
    """A head that comes slowly, as the first request or the second; one whose head is there may take its time."""
    import uvicorn

    from speechgru.serving import protocols

    monkeypatch.setattr(protocols, "HEAD_S", 0.5)

    async def answers(scope, receive, send):
        assert scope["type"] == "http"
        await asyncio.sleep(1.0)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    config = uvicorn.Config(answers, http=protocols.HttpProtocol, log_level="critical", port=0, lifespan="off")
    running = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            for before in (b"", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"):
                with socket.create_connection(listener.getsockname(), timeout=10) as client:
                    client.sendall(before)
                    if before:
                        assert client.recv(1000).startswith(b"HTTP/1.1 200")
                    client.sendall(b"GET / HTTP/1.1\r\nhost")
                    with contextlib.suppress(ConnectionResetError):
                        while client.recv(1000) not in (b"", b"ok"):
                            pass
                        assert client.recv(1000) == b""
        finally:
            running.should_exit = True
            thread.join()
