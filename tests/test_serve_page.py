"""The page of speechgru serve in a real browser. Oracle: recognizer.stream() over what the browser hears."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from chromium import BROWSER, browser, microphone
from server import server

from speechgru.decoding.operating_point import KeywordConfig
from speechgru.encoders import GRUEncoderConfig
from speechgru.features import LogMelConfig
from speechgru.heads import ClassificationConfig
from speechgru.model_folder import RecognizerConfig
from speechgru.recognizer import Recognizer, load
from speechgru.tokens import Tokens

needed = ["starlette", "uvicorn", "websockets", "python_multipart", "prometheus_client"]
missing = [name for name in needed if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing), reason="needs the extra serve"),
    pytest.mark.skipif(BROWSER is None, reason="needs Chromium"),
]
RATE = 8000


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
        browser(f"{up.url}/", tmp_path / "browser", *microphone(tmp_path / "sound.wav")) as page,
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
