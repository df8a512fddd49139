"""Chromium, driven by the DevTools protocol, for tests of pages as their users see them."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def microphone(sound: Path) -> list[str]:
    """The options with which a browser has a microphone that plays ``sound`` once and may be heard."""
    how = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    return [*how, f"--use-file-for-fake-audio-capture={sound}%noloop"]


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
def browser(url: str, folder: Path, *options: str) -> Iterator[Page]:
    """A page at ``url`` in a browser of its own, whose profile is in ``folder``."""
    from websockets.sync.client import connect

    how = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={folder}"]
    process = subprocess.Popen(
        [str(BROWSER), *how, "--remote-debugging-port=0", *options, "about:blank"],
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
