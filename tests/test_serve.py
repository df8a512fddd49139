"""speechgru serve: recordings over HTTP. Oracles: the models in this process, OpenAI's client, the limits as given."""

from __future__ import annotations

import concurrent.futures
import importlib.util
import io
import json
import socket
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from server import form, server

from speechgru.cli import main
from speechgru.encoders import GRUEncoderConfig
from speechgru.features import LogMelConfig
from speechgru.heads import ClassificationConfig
from speechgru.model_folder import RecognizerConfig
from speechgru.recognizer import Recognizer, load
from speechgru.recordings.classification import classify_recordings
from speechgru.tokens import Tokens
from speechgru.transcripts import formats, transcribe_recordings

needed = ["starlette", "uvicorn", "websockets", "python_multipart", "prometheus_client"]
missing = [name for name in needed if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(missing), reason="needs the extra serve")

RATE = 8000


def wav(samples: np.ndarray, rate: int = RATE, kind: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, kind, format="WAV")
    return file.getvalue()


@pytest.fixture(scope="module")
def spoken(tones, tmp_path_factory) -> Path:
    """Two models, one of each kind, and recordings: four short ones and one of 50 seconds."""
    folder = tmp_path_factory.mktemp("serve")
    tones.recognizer.save(folder / "letters" / "model")
    torch.manual_seed(2)
    features, encoder = LogMelConfig(sample_rate=RATE, mels=12), GRUEncoderConfig(hidden_size=8)
    labels = Recognizer(RecognizerConfig(features, encoder, ClassificationConfig()), Tokens(["yes", "no", "up"]))
    labels.head.output.weight.data *= 8
    labels.save(folder / "labels")
    rng = np.random.default_rng(5)
    for number in range(4):
        sound = tones.say(tones.words(3 + number, rng), rng)[0]
        (folder / f"{number}.wav").write_bytes(wav(sound))
    long = np.concatenate([tones.say(tones.words(6, rng), rng, edge_s=0.3)[0] for _ in range(20)])
    assert len(long) > 2 * 20 * RATE
    (folder / "long.wav").write_bytes(wav(long))
    return folder


@pytest.fixture(scope="module")
def served(spoken, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    how = ["--max_upload_mb", 1, "--max_clip_s", 10, "--max_recording_s", 60]
    with server("-m", spoken / "letters" / "model", "-m", f"whisper-1={spoken / 'labels'}", *how, folder=folder) as up:
        yield up
    assert up.process.returncode == 0
    assert not list((folder / "temporary").glob("speechgru*"))
    assert "Traceback" not in (folder / "said.txt").read_text()


def wanted(spoken: Path, name: str):
    (found,) = transcribe_recordings(load(spoken / "letters" / "model"), [(str(spoken / name), "")])
    assert found.text
    return found


@pytest.mark.parametrize("name", ["0.wav", "long.wav"])
def test_transcripts_are_those_of_transcribe(served, spoken, name):
    """Oracle: transcribe_recordings in this process, and the writers of its formats."""
    transcript, sound = wanted(spoken, name), (spoken / name).read_bytes()
    how = {"model": "letters"}
    seconds = int(np.ceil(transcript.duration_s))
    expected = {"text": transcript.text, "usage": {"type": "duration", "seconds": seconds}}
    assert served.post("/v1/audio/transcriptions", sound, **how) == (200, expected)
    for style, write in (("text", formats.txt), ("srt", formats.srt), ("vtt", formats.vtt)):
        found = served.post("/v1/audio/transcriptions", sound, response_format=style, **how)
        assert found == (200, write(transcript))
    how["timestamp_granularities[]"] = "word"
    status, found = served.post("/v1/audio/transcriptions", sound, response_format="verbose_json", **how)
    assert status == 200
    words = [formats.word_record(word) for segment in transcript.segments for word in segment.words]
    assert found["words"] == words
    assert "segments" not in found
    assert found["duration"] == round(transcript.duration_s, 3)


def test_openais_client_gets_what_it_expects(served, spoken):
    """Oracle: the package openai, which parses each answer into its own types, and transcribe in this process."""
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)
    listed = {one.id: one for one in client.models.list()}
    assert list(listed) == ["letters", "whisper-1"]
    assert client.models.retrieve("letters") == listed["letters"]
    transcript = wanted(spoken, "long.wav")
    with (spoken / "long.wav").open("rb") as file:
        assert client.audio.transcriptions.create(file=file, model="letters").text == transcript.text
    granularities = ["word", "segment"]
    found = client.audio.transcriptions.create(
        file=("a.wav", (spoken / "long.wav").read_bytes()),
        model="letters",
        response_format="verbose_json",
        timestamp_granularities=granularities,
    )
    assert (found.text, found.language) == (transcript.text, "unknown")
    assert [segment.text for segment in found.segments] == [segment.text for segment in transcript.segments]
    assert [segment.start for segment in found.segments] == [round(one.start_s, 3) for one in transcript.segments]
    assert " ".join(word.word for word in found.words) == transcript.text
    assert all(-1 < segment.avg_logprob <= 0 for segment in found.segments)
    sound = ("a.wav", (spoken / "long.wav").read_bytes())
    events = list(client.audio.transcriptions.create(file=sound, model="letters", stream=True))
    deltas = [event.delta for event in events if event.type == "transcript.text.delta"]
    assert len(deltas) > 1
    assert "".join(deltas) == transcript.text
    assert (events[-1].type, events[-1].text) == ("transcript.text.done", transcript.text)
    with pytest.raises(openai.NotFoundError, match="not served here") as error:
        client.audio.transcriptions.create(file=sound, model="gpt-4o-transcribe")
    assert error.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError, match="text, not audio"):
        client.audio.transcriptions.create(file=("a.wav", b"no sound"), model="letters", stream=True)


def test_labels_are_those_of_classify(served, spoken, capsys):
    """Oracle: speechgru classify -f jsonl."""
    path = spoken / "1.wav"
    assert main(["classify", str(path), "-m", str(spoken / "labels"), "-f", "jsonl", "-k", "3"]) == 0
    expected = {**json.loads(capsys.readouterr().out), "audio": "1.wav"}
    sound = path.read_bytes()
    status, found = served.post("/v1/audio/classifications", sound, name="1.wav", model="whisper-1")
    assert status == 200
    assert found.keys() == expected.keys()
    assert found["label"] == expected["label"]
    np.testing.assert_allclose(list(found["scores"].values()), list(expected["scores"].values()), atol=2e-6)
    (exact,) = classify_recordings(load(spoken / "labels"), [(str(path), "")], top_k=3)
    assert list(found["scores"].values()) == [round(score, 6) for score in exact.result.scores.values()]
    status, rejected = served.post("/v1/audio/classifications", sound, threshold="1", top_k="1")
    assert (status, rejected["label"], rejected["rejected"]) == (200, "_unknown_", expected["label"])
    assert len(rejected["scores"]) == 1


def test_those_who_ask_together_get_what_each_would_get_alone(served, spoken):
    """Oracle: the same requests one after the other. A batch changes no word, and numbers by rounding at most."""
    names = [f"{number}.wav" for number in range(4)] * 4

    def ask(name: str):
        how = {"model": "letters", "response_format": "verbose_json", "timestamp_granularities[]": "word"}
        status, found = served.post("/v1/audio/transcriptions", (spoken / name).read_bytes(), **how)
        assert status == 200
        return found["text"], [(word["start"], word["end"], word["confidence"]) for word in found["words"]]

    alone = {name: ask(name) for name in set(names)}
    with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
        for name, (text, numbers) in zip(names, pool.map(ask, names), strict=True):
            assert text == alone[name][0]
            np.testing.assert_allclose(numbers, alone[name][1], atol=1.5e-4)


def test_what_cannot_be_answered_is_told_in_one_line(served, spoken):
    """Oracle: the status code and a word of the reason, as the documentation lists them; the server goes on."""
    sound, path = (spoken / "0.wav").read_bytes(), "/v1/audio/transcriptions"
    nan = wav(np.full(800, np.nan, np.float32), kind="FLOAT")
    for fields, audio, status, reason in (
        ({}, None, 400, "file: is missing"),
        ({}, b"", 400, "file: the file is empty"),
        ({}, b'{"file": "sound"}', 400, "file: text, not audio"),
        ({}, bytes(2000), 400, "file: not audio in a known format"),
        ({}, sound[: len(sound) // 2], 400, "file: truncated"),
        ({}, nan, 400, "NaN"),
        ({"model": "none"}, sound, 404, "model 'none': not served here (those that transcribe: letters)"),
        ({"model": "whisper-1"}, sound, 400, "does not transcribe"),
        ({"temperature": "nan"}, sound, 400, "temperature='nan': a number from 0 to 1"),
        ({"temperature": "warm"}, sound, 400, "temperature='warm'"),
        ({"response_format": "pdf"}, sound, 400, "response_format='pdf': one of json, text, srt"),
        ({"stream": "maybe"}, sound, 400, "stream='maybe'"),
        ({"timestamp_granularities[]": "phone"}, sound, 400, "timestamp_granularities[]"),
        ({"prompt": "a" * 20_000}, sound, 400, "the form cannot be read"),
        ({}, wav(np.zeros(61 * RATE)), 413, "file: more than 60 s of sound; cut it"),
        ({}, bytes(1_100_000), 413, "larger than 1 MB"),
        ({}, bytes(5_000_000), 413, "larger than 1 MB"),
    ):
        found, body = served.post(path, audio, **fields)
        assert found == status, (fields, body)
        error = body["error"]
        assert reason in error["message"]
        assert "\n" not in error["message"]
        assert "/tmp" not in error["message"]
        assert error["type"] == "invalid_request_error"
    whole, kind = form(sound, model="letters")
    for method, where, body, headers, status, reason in (
        ("POST", path, b'{"model": "letters"}', {"content-type": "application/json"}, 415, "send multipart/form-data"),
        ("POST", path, b"", {}, 415, "missing"),
        ("POST", path, whole[:-20], {"content-type": kind}, 400, "broken off"),
        ("POST", path, whole, {"content-type": "multipart/form-data"}, 400, "oundary"),
        ("POST", path, b"--edge\r\nno header\r\n\r\n", {"content-type": kind}, 400, "cannot be read"),
        ("GET", path, None, {}, 405, "method not allowed"),
        ("GET", "/v1/nothing", None, {}, 404, "not found"),
        ("GET", "/v1/models/none", None, {}, 404, "letters, whisper-1"),
        ("POST", "/v1/audio/classifications", wav(np.zeros(11 * RATE)), {}, 413, "more than 10 s"),
    ):
        if where.endswith("classifications"):
            body, headers["content-type"] = form(body)
        found, _, text = served.ask(method, where, body, headers)
        assert (found, reason in json.loads(text)["error"]["message"]) == (status, True), (where, text)
    assert served.ask("GET", "/health")[0] == 200


def test_clients_that_die_leave_nothing_behind(served, spoken):
    """Oracle: the number of requests that the server counts, and what lies in its folder."""
    content, kind = form((spoken / "long.wav").read_bytes())
    lines = ["POST /v1/audio/transcriptions HTTP/1.1", "host: here", f"content-type: {kind}"]
    head = "\r\n".join([*lines, f"content-length: {len(content)}", "", ""]).encode()
    for sent in (0, 100, len(content) // 2, len(content)):
        with socket.create_connection(("127.0.0.1", served.port)) as client:
            client.sendall(head + content[:sent])
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # closed without a farewell
    for _ in range(600):
        if json.loads(served.ask("GET", "/health")[2])["requests"] == 0:
            break
        time.sleep(0.1)
    assert json.loads(served.ask("GET", "/health")[2])["requests"] == 0
    assert served.post("/v1/audio/transcriptions", (spoken / "0.wav").read_bytes())[0] == 200


def test_a_key_is_wanted_and_a_full_queue_refuses(spoken, tmp_path):
    """Oracle: the codes of HTTP. A request that has begun and not ended fills a queue of one."""
    sound = (spoken / "0.wav").read_bytes()
    how = ["-m", spoken / "letters" / "model", "--max_requests", 1]
    with server(*how, folder=tmp_path, SPEECHGRU_API_KEY="a ké y") as up:
        right = {"authorization": "Bearer a ké y".encode().decode("latin-1")}
        assert up.ask("GET", "/health")[0] == 200
        assert up.ask("GET", "/v1/models", headers=right)[0] == 200
        for wrong in ({}, {"authorization": "Bearer a"}, {"authorization": "a ke y"}, {"authorization": "Bearer "}):
            status, told, body = up.ask("GET", "/v1/models", headers=wrong)
            assert (status, told["www-authenticate"]) == (401, "Bearer")
            assert json.loads(body)["error"]["code"] == "invalid_api_key"
            assert up.post("/v1/audio/transcriptions", sound, wrong)[0] == 401
        with socket.create_connection(("127.0.0.1", up.port)) as client:
            lines = ["POST /v1/audio/transcriptions HTTP/1.1", "host: here", f"authorization: {right['authorization']}"]
            lines += ["content-type: multipart/form-data; boundary=edge", "content-length: 1000", "", "--edge"]
            client.sendall("\r\n".join(lines).encode("latin-1"))
            while json.loads(up.ask("GET", "/health")[2])["requests"] == 0:
                time.sleep(0.05)
            status, body = up.post("/v1/audio/transcriptions", sound, right)
            assert (status, body["error"]["code"]) == (503, "busy")
    assert up.process.returncode == 0


def test_what_cannot_begin_is_one_line(spoken, capsys, monkeypatch):
    """Oracle: exit code 2 and one line that names the option."""
    model = ["-m", str(spoken / "labels")]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port), *model]) == 2
    assert f"--port {port}: Address already in use; choose another one\n" in capsys.readouterr().err
    for words, reason in (
        (["--port", 70000, *model], "--port 70000: from 0 to 65535"),
        (["--host", "nowhere.invalid", *model], "--host nowhere.invalid"),
        (["--host", "a..b", *model], "--host a..b"),
        ([*model, *model], "labels is"),
        (["-m", "x="], "give MODEL or NAME=MODEL"),
        (["-m", "no_such_model"], "no_such_model: no such folder"),
        (["--max_requests", 0], "--max_requests 0: from 1"),
        (["--max_upload_mb", "nan"], "--max_upload_mb nan"),
        (["--batch_size", 0], "--batch_size 0: at least 1"),
    ):
        assert main(["serve", *map(str, words)]) == 2, words
        output, errors = capsys.readouterr()
        assert (output, errors.count("\n"), reason in errors) == ("", 1, True), errors
    monkeypatch.setenv("SPEECHGRU_API_KEY", " ")
    assert main(["serve", *model]) == 2
    assert "SPEECHGRU_API_KEY is empty" in capsys.readouterr().err
