"""The page of speechgru serve in a real browser. Oracle: recognizer.stream() over what the browser hears."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from server import server

from speechgru.decoding.operating_point import KeywordConfig
from speechgru.encoders import GRUEncoderConfig
from speechgru.features import LogMelConfig
from speechgru.heads import ClassificationConfig
from speechgru.model_folder import RecognizerConfig
from speechgru.recognizer import Recognizer, load
from speechgru.tokens import Tokens

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needed = ["starlette", "uvicorn", "websockets", "python_multipart", "prometheus_client"]
missing = [name for name in needed if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing), reason="needs the extra serve"),
    pytest.mark.skipif(BROWSER is None, reason="needs Chromium"),
]
RATE = 8000


class Page:
    """A page in a browser, by the DevTools protocol."""

    def __init__(self, line: Any) -> None:
        self._line, self._numbers = line, itertools.count(1)

    def do(self, method: str, **values: Any) -> Any:
        """The result of a method."""
        number = next(self._numbers)
        self._line.send(json.dumps({"id": number, "method": method, "params": values}))
        while True:
            message = json.loads(self._line.recv(60))
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]

    def value(self, code: str) -> Any:
        """What an expression is."""
        result = self.do("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True, userGesture=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, code: str, seconds: float = 60) -> None:
        """Until an expression is true."""
        until = time.monotonic() + seconds
        while not self.value(code):
            assert time.monotonic() < until, (code, self.value("document.body?.innerText"))
            time.sleep(0.1)

    def go(self, url: str) -> None:
        """Opens another page."""
        self.do("Page.navigate", url=url)
        self.wait(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    def choose(self, path: Path) -> None:
        """Puts a file into the page's field."""
        found = self.do("Runtime.evaluate", expression="document.getElementById('file')")["result"]["objectId"]
        self.do("DOM.setFileInputFiles", files=[str(path)], objectId=found)


@contextlib.contextmanager
def browser(url: str, sound: Path, folder: Path) -> Iterator[Page]:
    """A page at ``url``; the microphone plays ``sound``."""
    from websockets.sync.client import connect

    how = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={folder}"]
    how += ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", "--remote-debugging-port=0"]
    process = subprocess.Popen(
        [str(BROWSER), *how, f"--use-file-for-fake-audio-capture={sound}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        active = folder / "DevToolsActivePort"
        while not (active.exists() and active.read_text().count("\n")):
            assert process.poll() is None
            time.sleep(0.1)
        port = active.read_text().splitlines()[0]
        pages: list[dict] = []
        while not pages:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
                pages = [one for one in json.load(answer) if one["type"] == "page"]
        with connect(pages[0]["webSocketDebuggerUrl"], max_size=None) as line:
            page = Page(line)
            page.go(url)
            yield page
    finally:
        process.terminate()
        process.wait(30)


def test_the_page_shows_what_a_stream_tells(tmp_path):
    """A file gives, line by line, the events of a stream over its samples; a microphone gives lines as it is heard."""
    torch.manual_seed(1)
    config = RecognizerConfig(
        LogMelConfig(sample_rate=RATE, mels=12), GRUEncoderConfig(hidden_size=8), ClassificationConfig()
    )
    config.keywords = KeywordConfig(smoothing_ms=100, refractory_s=0.4, thresholds={"yes": 0.3, "no": 0.3})
    Recognizer(config, Tokens(["yes", "no"])).save(tmp_path / "labels")
    rng = np.random.default_rng(0)
    samples = (8000 * np.sin(np.cumsum(rng.uniform(0.1, 1, 4 * RATE))) * rng.uniform(0, 1, 4 * RATE)).astype(np.int16)
    soundfile.write(tmp_path / "sound.wav", samples, RATE)
    stream = load(tmp_path / "labels").stream()
    wanted = [
        f"{event.start_s:.2f} s {event.text} {event.confidence:.2f}"
        for event in [*stream.feed(samples, RATE), *stream.flush()]
    ]
    assert len(wanted) > 3
    lines = "[...document.querySelectorAll('#heard li')].map(li => [...li.children].map(c => c.textContent).join(' '))"
    with (
        server("-m", tmp_path / "labels", folder=tmp_path, SPEECHGRU_API_KEY="key") as up,
        browser(f"{up.url}/", tmp_path / "sound.wav", tmp_path / "browser") as page,
    ):
        page.wait("!document.getElementById('keyed').hidden")
        page.value("document.getElementById('key').value = 'key'; document.getElementById('key').onchange(); 0")
        page.wait("document.getElementById('model').options.length === 1")
        page.choose(tmp_path / "sound.wav")
        page.wait("document.getElementById('state').textContent === 'Heard 4.0 s.'")
        assert page.value(lines) == wanted
        page.value("document.getElementById('record').click(); 0")
        page.wait("document.querySelectorAll('#heard li').length > 2 && /Listening/.test(document.body.innerText)")
        page.value("dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape'})); 0")
        page.wait("/^Heard [0-9.]+ s\\.$/.test(document.getElementById('state').textContent)")
        page.choose(Path(__file__))
        page.wait("/cannot decode it/.test(document.getElementById('state').textContent)")
        page.go(f"{up.url}/docs")
        page.wait("document.querySelectorAll('main section').length === 7")
