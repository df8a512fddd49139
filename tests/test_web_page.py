"""Pages of exported models in a real browser. Oracle: the models themselves, over the samples that a page has heard."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from chromium import BROWSER, browser, microphone

pytest.importorskip("onnx", reason="needs the extra export")
pytest.importorskip("onnxruntime", reason="needs the extra export")
pytest.importorskip("websockets", reason="needs websockets")

from speechgru.decoding.greedy import GreedyDecoder
from speechgru.decoding.operating_point import KeywordConfig
from speechgru.encoders import GRUEncoderConfig, LookAheadConfig
from speechgru.export.web import runtime
from speechgru.export.web.folder import export_web
from speechgru.features import LogMelConfig, Normalization
from speechgru.heads import ClassificationConfig, CTCConfig, KeywordHeadConfig
from speechgru.recognizer import Recognizer, RecognizerConfig
from speechgru.streaming.scores import score_track
from speechgru.text import CharactersConfig
from speechgru.tokens import Tokens

RUNTIME = Path(__file__).parents[1] / "node_modules" / "onnxruntime-web"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="needs Chromium"),
    pytest.mark.skipif(
        not RUNTIME.is_dir(), reason=f"needs npm install --no-save onnxruntime-web@{runtime.VERSION} in the checkout"
    ),
]
RATE = 8000
# What a page's scores may differ by.
BOUND = 1e-3
COLLECT = """
globalThis.steps = [];
document.addEventListener("heard", ({detail}) => steps.push({
  times: detail.times, scores: [...detail.scores], events: detail.events,
  shown: [detail.picture.length, ...detail.layers.map(one => one.length)],
}));
0
"""


def detector(frames: bool) -> Recognizer:
    """Of random weights, but sure of itself; of every frame, or of windows."""
    torch.manual_seed(7 if frames else 1)
    features = LogMelConfig(RATE, mels=12, normalization=Normalization.sliding, sliding_window_ms=500.0)
    encoder = LookAheadConfig(hidden_size=8, context=2) if frames else GRUEncoderConfig(hidden_size=8)
    config = RecognizerConfig(features, encoder, KeywordHeadConfig() if frames else ClassificationConfig())
    config.keywords = KeywordConfig(smoothing_ms=100, refractory_s=0.3, thresholds={"yes": 0.3, "no": 0.3})
    model = Recognizer(config, Tokens(["yes", "no", "_silence_"]))
    model.head.output.weight.data *= 8
    return model.eval()


def transcriber(steps: bool) -> Recognizer:
    """The same, of letters; step by step, or of whole recordings."""
    torch.manual_seed(3)
    kind = Normalization.sliding if steps else Normalization.utterance
    features = LogMelConfig(RATE, mels=12, normalization=kind, sliding_window_ms=500.0)
    encoder = LookAheadConfig(hidden_size=8, context=2) if steps else GRUEncoderConfig(hidden_size=8)
    config = RecognizerConfig(features, encoder, CTCConfig(), units=CharactersConfig(normalization=[]))
    model = Recognizer(config, Tokens(["<blank>", "|", "a", "b", "c"]))
    model.head.output.weight.data *= 25
    model.head.output.bias.data = torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0])
    return model.eval()


MODELS = {
    "frames": detector(True),
    "windows": detector(False),
    "words": transcriber(True),
    "texts": transcriber(False),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pages of all models, and a sound of four seconds: tones that glide, in noise that comes and goes."""
    where = tmp_path_factory.mktemp("pages")
    for name, model in MODELS.items():
        export_web(model, where / "nowhere", where / name, [], name, RUNTIME)
    rng = np.random.default_rng(0)
    tones = np.sin(np.cumsum(rng.uniform(0.1, 1, 4 * RATE))) * rng.uniform(0, 1, 4 * RATE)
    sound = (0.3 * tones * np.abs(np.sin(np.arange(4 * RATE) / 1500)) * 32768).astype(np.int16)
    soundfile.write(where / "sound.wav", sound, RATE)
    return where


class Handler(http.server.SimpleHTTPRequestHandler):
    """What python -m http.server is, without its lines."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def url(folder):
    """The pages as python -m http.server gives them."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))) as up:
        threading.Thread(target=up.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{up.server_port}"
        up.shutdown()


@pytest.fixture(scope="module")
def opened(folder, url, tmp_path_factory):
    """A browser whose microphone plays the sound."""
    profile = tmp_path_factory.mktemp("profile")
    with browser(f"{url}/frames/", profile, *microphone(folder / "sound.wav")) as page:
        yield page


def state_of(page):
    return page.value("document.getElementById('state').textContent")


def ready(page, address):
    page.go(address)
    page.wait("!document.getElementById('record').disabled || document.getElementById('state').className === 'bad'")
    assert not page.value("document.getElementById('record').disabled"), state_of(page)
    page.value(COLLECT)


def heard(page):
    """What the page has told when it is through: events, and times and scores side by side."""
    page.wait("/^Heard/.test(document.getElementById('state').textContent)")
    steps = json.loads(page.value("JSON.stringify(steps)"))
    events = [event for step in steps for event in step["events"]]
    return events, *(np.array([one for step in steps for one in step[name]]) for name in ("times", "scores"))


def same_events(found, expected):
    """Words and labels alike, their numbers to the bound."""
    assert [(one["text"], one["final"]) for one in found] == [(one.text, one.final) for one in expected]
    for name in ("start_s", "end_s", "confidence"):
        assert [one[name] for one in found] == pytest.approx([getattr(one, name) for one in expected], abs=BOUND)


@pytest.mark.parametrize("name", ["frames", "windows", "words"])
def test_a_file_that_is_dropped(opened, folder, url, name):
    """Oracles: the scores along the recording, and the events of a stream; greedy decoding."""
    ready(opened, f"{url}/{name}/")
    opened.value("""
fetch("../sound.wav").then(answer => answer.blob()).then(blob => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([blob], "sound.wav"));
  dispatchEvent(new DragEvent("drop", {dataTransfer}));
})
""")
    events, times, scores = heard(opened)
    model, samples = MODELS[name], soundfile.read(folder / "sound.wav", dtype="float32")[0]
    track = score_track(model, samples)
    assert times == pytest.approx(track.end_s)
    np.testing.assert_allclose(scores.reshape(track.scores.shape), track.scores, atol=BOUND)
    decoder = GreedyDecoder(model.tokens, model.transcript_units) if name == "words" else None
    stream = model.stream(decoder=decoder)
    expected = [*stream.feed(samples, RATE), *stream.flush()]
    assert len(expected) > 3
    same_events(events, expected)
    shown = np.array(json.loads(opened.value("JSON.stringify(steps.map(step => step.shown))"))).sum(0)
    if name != "windows":
        layers = len(model.encoder.layers)
        hidden = [len(track.scores) * 8] * layers
        assert shown.tolist() == [model.features.framing.count(len(samples)) * 12, *hidden]


def test_a_file_that_is_heard_whole(opened, folder, url):
    """Oracles: log-probabilities and greedy text of the recording."""
    ready(opened, f"{url}/texts/")
    opened.choose(folder / "sound.wav")
    events, _, scores = heard(opened)
    model, samples = MODELS["texts"], torch.from_numpy(soundfile.read(folder / "sound.wav", dtype="float32")[0])
    expected = model.log_probabilities([samples])[0]
    np.testing.assert_allclose(scores.reshape(expected.shape), expected, atol=BOUND)
    (text,) = model.transcribe_waveforms([samples], GreedyDecoder(model.tokens, model.transcript_units))
    assert " ".join(one["text"] for one in events) == text.text != ""


def press(page, key, code, text=""):
    for kind in ("keyDown", "keyUp"):
        extra = {"text": text} if text and kind == "keyDown" else {}
        page.do("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **extra)


def test_a_microphone_by_keyboard(opened, url):
    """Oracle: the scores of a stream over the samples that the browser gave."""
    ready(opened, f"{url}/frames/")
    opened.value("""
globalThis.taken = [];
globalThis.AudioWorkletNode = class extends AudioWorkletNode {
  constructor(...given) {
    super(...given);
    this.port.addEventListener("message", ({data}) => taken.push(...data));
  }
};
0
""")
    press(opened, "Tab", 9)
    assert opened.value("document.activeElement.id") == "record"
    press(opened, "Enter", 13, "\r")
    opened.wait(f"taken.length > {3 * RATE} || document.getElementById('state').className === 'bad'")
    press(opened, "Escape", 27)
    events, _, scores = heard(opened)
    taken = np.array(json.loads(opened.value("JSON.stringify(taken)")), np.float32)
    assert taken.std() > 0.01
    model = MODELS["frames"]
    track = score_track(model, taken)
    np.testing.assert_allclose(scores.reshape(track.scores.shape), track.scores, atol=BOUND)
    stream = model.stream()
    expected = [*stream.feed(taken, RATE), *stream.flush()]
    assert expected
    same_events(events, expected)


def test_what_cannot_be_heard_is_told(opened, folder, url, tmp_path):
    """A file that is no sound; then a stereo one at another rate, as long as it is."""
    ready(opened, f"{url}/frames/")
    opened.choose(Path(__file__))
    opened.wait("/cannot decode it/.test(document.getElementById('state').textContent)")
    wide = np.random.default_rng(0).uniform(-0.1, 0.1, (44100, 2))
    soundfile.write(tmp_path / "wide.wav", wide, 44100)
    opened.choose(tmp_path / "wide.wav")
    _, times, _ = heard(opened)
    assert state_of(opened).startswith("Heard 1.0 s.")
    assert times[-1] == pytest.approx(1, abs=0.01)


def test_nothing_leaves(opened, url):
    """The page asks its own address alone, and its policy lets it ask no other; nothing is wider than a small phone."""
    ready(opened, f"{url}/frames/")
    asked = opened.value("performance.getEntriesByType('resource').map(one => new URL(one.name).origin)")
    assert len(asked) > 10
    assert set(asked) == {url}
    blocked = """
new Promise(told => {
  document.addEventListener("securitypolicyviolation", event => told(event.effectiveDirective));
  fetch("http://127.0.0.2:9/").catch(() => 0);
})
"""
    assert opened.value(blocked) == "connect-src"
    opened.do("Emulation.setDeviceMetricsOverride", width=360, height=640, deviceScaleFactor=1, mobile=True)
    assert opened.value("document.documentElement.scrollWidth") <= 360
    opened.do("Emulation.clearDeviceMetricsOverride")


@pytest.mark.parametrize("name", list(runtime.INTEGRITY))
def test_another_runtime_is_not_run(opened, folder, url, name):
    """A byte more, and the hash is another."""
    path = folder / "words" / "runtime" / name
    right = path.read_bytes()
    path.write_bytes(right + b"\n")
    try:
        opened.do("Network.enable")
        opened.do("Network.setCacheDisabled", cacheDisabled=True)
        opened.go(f"{url}/words/")
        opened.wait("document.getElementById('state').className === 'bad'")
        assert f"{name} cannot be had: no network, or not what it should be" in state_of(opened)
        assert opened.value("document.getElementById('record').disabled")
    finally:
        path.write_bytes(right)
        opened.do("Network.setCacheDisabled", cacheDisabled=False)


def test_a_page_opened_as_a_file_says_what_it_needs(opened, folder):
    opened.go(f"file://{folder}/frames/index.html")
    assert "python -m http.server" in state_of(opened)
