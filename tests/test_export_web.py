"""Models as pages for the browser. Oracles: the model's own stream, its cells' gates, the streaming code of Python."""

import html.parser
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("onnx", reason="needs the extra export")
pytest.importorskip("onnxruntime", reason="needs the extra export")

from speechgru import compiled, page
from speechgru.cli import main
from speechgru.decoding.familiarity import FamiliarityConfig
from speechgru.decoding.greedy import GreedyDecoder
from speechgru.decoding.operating_point import KeywordConfig
from speechgru.decoding.silence import is_even
from speechgru.encoders import ConvolutionConfig, GRUEncoderConfig, LatencyControlledConfig, LookAheadConfig
from speechgru.export.onnx_model import describe
from speechgru.export.parity import session_of
from speechgru.export.stream import write_stream
from speechgru.export.web import runtime
from speechgru.export.web.about import about
from speechgru.export.web.gates import GATES
from speechgru.export.web.shown import Shown
from speechgru.features import LogMelConfig, MFCCConfig, Normalization
from speechgru.heads import ClassificationConfig, CTCConfig, KeywordHeadConfig
from speechgru.model_folder import RecognizerConfig
from speechgru.recognizer import Recognizer
from speechgru.registry import entry, names, read_dataclass
from speechgru.streaming.keywords import KeywordSpotter
from speechgru.streaming.phrases import Phrases
from speechgru.streaming.scores import score_track
from speechgru.text import CharactersConfig
from speechgru.tokens import Tokens

RATE = 8000
NODE = shutil.which("node")
PAGE = Path(page.__file__).parent
PLAIN = LogMelConfig(RATE, mels=12, normalization=Normalization.none)
CELLS = [(name, {}) for name in names("cell")] + [
    ("gru", {"layer_norm": True}),
    ("lstm", {"layer_norm": True}),
    ("qrnn", {"window": 1}),
    ("qrnn", {"window": 4}),
    ("fast_grnn", {"input_rank": 2, "hidden_rank": 3}),
]


def keyword_model(features=PLAIN, encoder=None):
    """A recognizer of two words with weights as they are drawn."""
    torch.manual_seed(0)
    encoder = encoder or LookAheadConfig(6, 2, context=3)
    config = RecognizerConfig(features, encoder, KeywordHeadConfig())
    config.keywords = KeywordConfig(smoothing_ms=60, refractory_s=0.2, thresholds={"yes": 0.5, "no": 0.52})
    model = Recognizer(config, Tokens(["yes", "no", "_unknown_", "_silence_"])).eval()
    if features.normalization is Normalization["global"]:
        model.features.fitted.fill_(True)
    return model


def words_model():
    """A recognizer of letters."""
    torch.manual_seed(3)
    config = RecognizerConfig(PLAIN, LookAheadConfig(6, 1, context=2), CTCConfig())
    config.units = CharactersConfig(normalization=[])
    config.familiarity = FamiliarityConfig(most_entropy=0.6)
    return Recognizer(config, Tokens(["<blank>", "|", "a", "b", "c"])).eval()


def shown_of(model, samples, chunks):
    """Everything that the graph of a page gives of samples (samples,), and what it has to show."""
    shown = Shown()
    session = session_of(write_stream(model, {}, shown).SerializeToString())
    given = [one.name for one in session.get_outputs()]
    kept = json.loads(session.get_modelmeta().custom_metadata_map["states"])
    state = {f"state.{one['name']}": np.zeros([abs(size) for size in one["shape"]], one["dtype"]) for one in kept}
    found = {name: [] for name in given if not name.startswith("next.")}
    pieces = np.array_split(samples, chunks)
    for place, piece in enumerate(pieces):
        ended = np.array([place == len(pieces) - 1])
        step = dict(zip(given, session.run(None, {"samples": piece[None], "ended": ended, **state}), strict=True))
        state = {f"state.{one['name']}": step[f"next.{one['name']}"] for one in kept}
        for name, values in found.items():
            values.append(step[name][0])
    return {name: np.concatenate(values) for name, values in found.items()}, shown


def sound(seconds, seed=0):
    return 0.1 * np.random.default_rng(seed).standard_normal(int(seconds * RATE)).astype(np.float32)


@pytest.mark.parametrize(("cell", "settings"), CELLS)
def test_gates_are_those_of_the_cell(cell, settings):
    """Oracle: :meth:`Cell.gates` over the model's own features, of what the layer before has given."""
    settings = read_dataclass(entry("cell", cell).config, settings, "cell")
    model = keyword_model(encoder=GRUEncoderConfig(5, 2, bidirectional=False, cell=settings))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    samples = sound(0.4)
    found, shown = shown_of(model, samples, 3)
    with torch.no_grad(), compiled.disabled():
        frames, _ = model.features(torch.from_numpy(samples)[None], torch.tensor([len(samples)]))
        np.testing.assert_allclose(found["picture"], frames[0], atol=1e-4)
        for place, layer in enumerate(model.encoder.layers):
            gates = layer.forward_cell.gates(frames)
            kept = next((name for name in ("update", "forget") if name in gates), "hidden")
            assert shown.layers[place] == (kept, 5)
            assert (kept != "hidden") == (type(layer.forward_cell) in GATES)
            np.testing.assert_allclose(found[f"layer.{place}"], gates[kept][0], atol=1e-5)
            frames = gates["hidden"]


def test_frames_of_chunks_come_once():
    """A latency-controlled encoder, whose chunks end between those of the sound: each frame of a gate, once."""
    encoder = LatencyControlledConfig(
        5, 2, chunk=3, right=2, pyramid=[2, 1], front_end=ConvolutionConfig([3], stride_time=[2], stride_feature=[1])
    )
    model = keyword_model(encoder=encoder)
    one, _ = shown_of(model, sound(0.7), 1)
    many, _ = shown_of(model, sound(0.7), 40)
    assert len(one["picture"]) == model.features.framing.count(5600) == 68
    assert len(one["layer.0"]) == len(one["layer.1"]) == len(one["scores"]) == 17
    for name, values in one.items():
        np.testing.assert_allclose(many[name], values, atol=1e-5)


@pytest.mark.parametrize(
    "features",
    [
        PLAIN,
        LogMelConfig(RATE, mels=12, deltas=2, normalization=Normalization["global"]),
        MFCCConfig(RATE, mels=16, normalization=Normalization.sliding, sliding_lookahead_ms=40),
        LogMelConfig(RATE, mels=12, normalization=Normalization.sliding, sliding_minimum_ms=300),
    ],
)
def test_the_page_knows_when_a_frame_was_heard(features):
    """Oracle: the times of a stream."""
    model = keyword_model(features, LookAheadConfig(6, 1, context=3, pyramid=[2]))
    shown = Shown()
    written = write_stream(model, {}, shown)
    told = about(model, written, shown, describe(model, Path("nowhere")), "mine")
    expected, heard = score_track(model, sound(1.5)).end_s, told["heard"]
    assert len(expected) > 60
    found = [max(heard["least"], heard["first"] + frame * heard["step"]) for frame in range(len(expected))]
    assert np.minimum(found, 1.5 * RATE) / RATE == pytest.approx(expected)
    assert [one["frame_s"] for one in told["layers"]] == [model.frame_s]


def by_node(tmp_path, code, value):
    """What a piece of JavaScript makes of a value; modules of the page are imported as ./NAME.mjs."""
    if NODE is None:
        pytest.skip("needs node")
    for path in PAGE.glob("*.js"):
        (tmp_path / path.with_suffix(".mjs").name).write_text(path.read_text().replace('.js"', '.mjs"'))
    (tmp_path / "value.json").write_text(json.dumps(value))
    (tmp_path / "main.mjs").write_text(
        f'import {{readFileSync}} from "node:fs";\nconst value = JSON.parse(readFileSync("value.json"));\n{code}'
    )
    done = subprocess.run([NODE, "main.mjs"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_words_of_the_page_are_those_of_a_stream(tmp_path):
    """Oracle: :class:`KeywordSpotter` over the same scores, in other chunks."""
    rng = np.random.default_rng(0)
    labels = ["yes", "no", "up", "_silence_"]
    config = KeywordConfig(smoothing_ms=110, refractory_s=0.35, thresholds={"yes": 0.55, "up": 0.6})
    scores = rng.uniform(0, 1, (600, 4)).astype(np.float32)
    scores[:, 0] = 0.5 + 0.5 * np.sin(np.arange(600) / 9)
    times = 0.04 + 0.02 * np.arange(600)
    spotter = KeywordSpotter(labels, config)
    expected = [one for at in range(0, 600, 70) for one in spotter.feed(times[at : at + 70], scores[at : at + 70])]
    assert {one.label for one in expected} == {"yes", "up"}
    assert len(expected) > 20
    words = [
        {"column": column, "label": label, "threshold": config.thresholds.get(label)}
        for column, label in enumerate(labels[:3])
    ]
    value = {
        "config": {"smoothing_ms": 110, "refractory_s": 0.35, "words": words},
        "times": times.tolist(),
        "scores": scores.ravel().tolist(),
    }
    code = """
import {Keywords} from "./keywords.mjs";
const keywords = new Keywords(value.config, 4), found = [], scores = Float32Array.from(value.scores);
for (let at = 0; at < 600; at += 37)
  found.push(...keywords.feed(value.times.slice(at, at + 37), scores.subarray(4 * at, 4 * (at + 37))));
console.log(JSON.stringify(found));
"""
    found = by_node(tmp_path, code, value)
    assert [one["label"] for one in found] == [one.label for one in expected]
    for name in ("start_s", "end_s", "confidence"):
        assert [one[name] for one in found] == pytest.approx([getattr(one, name) for one in expected], abs=1e-9)


def test_phrases_of_the_page_are_those_of_greedy_decoding(tmp_path):
    """Oracle: :class:`Phrases` with greedy decoding over the same scores: partial and final words, their numbers."""
    model = words_model()
    rng = np.random.default_rng(1)
    best = np.repeat(rng.choice(5, 220, p=[0.3, 0.2, 0.2, 0.2, 0.1]), rng.integers(1, 4, 220))
    best[100:160] = 0
    logits = rng.normal(0, 1.5, (len(best), 5))
    logits[np.arange(len(best)), best] += 4
    scores = torch.from_numpy(logits).log_softmax(1).float().numpy()
    phrases = Phrases(model, GreedyDecoder(model.tokens, model.transcript_units), 0.2, 2.0)
    expected = [event for at in range(0, len(scores), 31) for event in phrases.feed(scores[at : at + 31])]
    expected += phrases.flush()
    assert {event.final for event in expected} == {event.familiar for event in expected if event.final} == {True, False}
    shown = Shown()
    told = about(model, write_stream(model, {}, shown), shown, describe(model, Path("nowhere")), "mine")["ctc"]
    told |= {"pause": round(0.2 / model.frame_s), "longest": round(2.0 / model.frame_s)}
    code = """
import {Phrases} from "./phrases.mjs";
const phrases = new Phrases(value.about), found = [], scores = Float32Array.from(value.scores);
for (let at = 0; at < scores.length; at += 5 * 13) found.push(...phrases.feed(scores.subarray(at, at + 5 * 13)));
console.log(JSON.stringify([...found, ...phrases.end()]));
"""
    found = by_node(tmp_path, code, {"about": told, "scores": scores.ravel().tolist()})
    keys = ("text", "final", "familiar")
    assert [[one.get(key) for key in keys] for one in found] == [
        [event.text, event.final, event.familiar] for event in expected
    ]
    for name in ("start_s", "end_s", "confidence"):
        assert [one[name] for one in found] == pytest.approx([getattr(event, name) for event in expected], abs=1e-6)


def test_what_is_even_is_so_for_the_page(tmp_path):
    """Oracle: :func:`is_even`."""
    spoken = sound(1.0)
    spoken[2000:5000] *= 0.01
    sounds = [sound(1.0), spoken, np.zeros(800, np.float32), sound(0.005)]
    expected = [is_even(one, RATE) for one in sounds]
    assert expected == [True, False, True, True]
    code = """
import {isEven} from "./even.mjs";
console.log(JSON.stringify(value.map(one => isEven(Float32Array.from(one), 8000))));
"""
    assert by_node(tmp_path, code, [one.tolist() for one in sounds]) == expected


class Elements(html.parser.HTMLParser):
    """The elements of a page: their names and attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small detector, exported from the command line."""
    where = tmp_path_factory.mktemp("web")
    keyword_model().save(where / "mine")
    assert main(["export", str(where / "mine"), "-o", str(where / "page"), "--format", "web"]) == 0
    return where / "page"


def test_the_folder_of_a_page(folder):
    """Every file that the page names is there, and it may connect to itself and to the place of its runtime alone."""
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "index.html", "model.json", "model.onnx", "page", "parity.json",
    ]  # fmt: skip
    elements = Elements((folder / "index.html").read_text()).found
    named = [one.get("src") or one.get("href") for _, one in elements if one.get("src") or one.get("href")]
    assert [one for one in named if not one.startswith(("data:", "https:"))] == ["page/style.css", "page/page.js"]
    scripts = {path.name: path.read_text() for path in (folder / "page").iterdir()}
    imported = [name for text in scripts.values() for name in re.findall(r'(?:from |new URL\()"\./([\w.]+)"', text)]
    assert {*imported, "page.js", "here.js", "style.css"} == set(scripts)
    assert dict(elements)["html"]["data-source"] == "./here.js"
    policy = next(one["content"] for _, one in elements if one.get("http-equiv") == "content-security-policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["connect-src"] == f"'self' {runtime.SOURCE}"
    assert rules["script-src"] == f"'self' {runtime.SOURCE} 'wasm-unsafe-eval'"
    first = next(one for tag, one in elements if tag == "script")
    told = json.loads((folder / "model.json").read_text())
    assert first["integrity"] == told["runtime"]["script_integrity"] == runtime.INTEGRITY[runtime.SCRIPT]
    assert first["src"] == told["runtime"]["script"] == runtime.SOURCE + runtime.SCRIPT
    assert told["name"] == "mine"
    assert told["largest_difference"] == json.loads((folder / "parity.json").read_text())["largest_difference"] < 1e-4
    assert [(word["label"], word["threshold"]) for word in told["keywords"]["words"]] == [("yes", 0.5), ("no", 0.52)]


def test_all_that_can_be_used_or_seen_has_a_name(folder):
    """For those who hear the page: canvases, fields and sections are labelled."""
    text = (folder / "index.html").read_text()
    for tag, attributes in Elements(text).found:
        if tag in ("canvas", "section") or attributes.get("type") == "file":
            assert "aria-label" in attributes or "aria-labelledby" in attributes, attributes
    for field in ("model", "key"):
        assert re.search(rf"<label[^>]*>[^<]+<\w+ id=\"{field}\"", text)
    assert 'role="status"' in text
    assert '<html lang="en"' in text


def test_a_copy_of_the_runtime_goes_along(tmp_path, monkeypatch, capsys):
    """The page then connects to itself alone; a runtime of another version, or none, is refused in a line."""
    keyword_model().save(tmp_path / "mine")
    copy = tmp_path / "onnxruntime-web" / "dist"
    copy.mkdir(parents=True)
    export = ["export", str(tmp_path / "mine"), "-o", str(tmp_path / "page"), "--format", "web"]
    export += ["--runtime", str(copy.parent)]
    assert main(export) == 2
    assert f"has no {runtime.SCRIPT}; npm install onnxruntime-web@{runtime.VERSION}" in capsys.readouterr().err
    for name in runtime.INTEGRITY:
        (copy / name).write_text(name)
    assert main(export) == 2
    assert f"{runtime.SCRIPT}: is not that of onnxruntime-web {runtime.VERSION}" in capsys.readouterr().err
    assert not (tmp_path / "page").exists()
    monkeypatch.setattr(runtime, "INTEGRITY", {name: runtime.integrity(name.encode()) for name in runtime.INTEGRITY})
    assert main(export) == 0
    assert {path.name for path in (tmp_path / "page" / "runtime").iterdir()} == set(runtime.INTEGRITY)
    assert "connect-src 'self';" in (tmp_path / "page" / "index.html").read_text().replace("&#x27;", "'")
    assert runtime.SOURCE not in (tmp_path / "page" / "index.html").read_text()


def test_an_export_that_fails_leaves_nothing(tmp_path, monkeypatch, capsys):
    """Planted error: the graph's features are another model's."""
    from speechgru.export import stream

    model = keyword_model()
    model.save(tmp_path / "mine")
    right = stream._features
    monkeypatch.setattr(stream, "_features", lambda s, features: _halved(s, right(s, features)))
    assert main(["export", str(tmp_path / "mine"), "-o", str(tmp_path / "page"), "--format", "web"]) == 1
    assert "nothing was written" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def _halved(s, frames):
    return frames._replace(values=s.g.op("Mul", frames.values, 0.5))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--format", "web", "--int8"], "--int8: not with --format web"),
        (["--runtime", "copy"], "--runtime: not with --format onnx"),
    ],
)
def test_options_of_other_formats_are_refused(options, told, tmp_path, capsys):
    assert main(["export", "commands", "-o", str(tmp_path / "page"), *options]) == 2
    assert told in capsys.readouterr().err


def test_models_that_do_not_go_step_by_step_say_how_they_are_heard(tmp_path):
    """A classifier of clips by windows, CTC in both directions the whole recording at once."""
    torch.manual_seed(0)
    for name, head, labels in (
        ("clips", ClassificationConfig(), ["yes", "no"]),
        ("texts", CTCConfig(), ["<blank>", "|", "a"]),
    ):
        config = RecognizerConfig(LogMelConfig(RATE, mels=12), GRUEncoderConfig(6, 2), head)
        if name == "texts":
            config.units = CharactersConfig(normalization=[])
        Recognizer(config, Tokens(labels)).save(tmp_path / name)
        assert main(["export", str(tmp_path / name), "-o", str(tmp_path / f"{name}_page"), "--format", "web"]) == 0
    clips, texts = (json.loads((tmp_path / f"{name}_page" / "model.json").read_text()) for name in ("clips", "texts"))
    assert (clips["mode"], clips["window"]) == ("windows", {"length": 8000, "hop": 800})
    assert clips["keywords"]["smoothing_ms"] == 300
    assert (texts["mode"], texts["most_s"], texts["ctc"]["pause"]) == ("whole", 120, None)
    assert [layer["shows"] for layer in texts["layers"]] == ["update", "update"]
