"""speechgru listen: what the stream tells, written as it comes; what is wrong is one line."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import types

import numpy as np
import pytest
import soundfile
import torch

import speechgru.commands.listen
from speechgru.audio.live import Block, Microphone, read_pcm
from speechgru.cli import main
from speechgru.commands.listening import Alarms, JsonLines, Lines, Listening
from speechgru.decoding import BeamConfig
from speechgru.encoders import GRUEncoderConfig, LookAheadConfig
from speechgru.errors import AudioError, ConfigError
from speechgru.features import LogMelConfig, Normalization
from speechgru.heads import ClassificationConfig, CTCConfig
from speechgru.recognizer import Recognizer, RecognizerConfig, load
from speechgru.streaming.event import Event
from speechgru.text import CharactersConfig
from speechgru.tokens import Tokens

RATE = 8000


def sound(seconds, seed=0):
    rng = np.random.default_rng(seed)
    at = np.arange(round(seconds * RATE)) / RATE
    tone = np.sin(2 * np.pi * (400 + 900 * (np.sin(9 * at) > 0)) * at)
    return (0.3 * np.abs(np.sin(5 * at)) ** 2 * tone + 1e-3 * rng.standard_normal(len(at))).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A classifier heard through windows, a transcriber that goes step by step, and a recording."""
    root = tmp_path_factory.mktemp("listen")
    features = LogMelConfig(sample_rate=RATE, mels=12, normalization=Normalization.sliding)
    torch.manual_seed(1)
    labels = Recognizer(
        RecognizerConfig(features, GRUEncoderConfig(hidden_size=8), ClassificationConfig()), Tokens(["yes", "no"])
    )
    labels.head.output.weight.data *= 8
    labels.save(root / "labels")
    config = RecognizerConfig(features, LookAheadConfig(hidden_size=8, context=2), CTCConfig())
    config.units, config.decoder = CharactersConfig(normalization=[]), BeamConfig(beam_size=8)
    words = Recognizer(config, Tokens(["<blank>", "|", "a", "b", "c"]))
    words.head.output.weight.data *= 25
    words.save(root / "words")
    soundfile.write(root / "sound.wav", sound(4), RATE, "PCM_16")
    return root


def listen(capsys, *words):
    code = main(["listen", *map(str, words)])
    output, errors = capsys.readouterr()
    return code, output.splitlines(), errors.splitlines()


@pytest.mark.parametrize("model", ["labels", "words"])
def test_a_file_in_a_pipe_is_json_lines(folder, capsys, model):
    """Oracle: the events of recognizer.stream() over the file."""
    code, lines, errors = listen(capsys, folder / "sound.wav", "-m", folder / model)
    samples, rate = soundfile.read(folder / "sound.wav", dtype="float32")
    stream = load(folder / model).stream()
    wanted = [*stream.feed(samples, rate), *stream.flush()]
    found = [json.loads(line) for line in lines]
    assert code == 0
    assert [(one["kind"], one["text"], one["final"]) for one in found] == [(w.kind, w.text, w.final) for w in wanted]
    assert wanted
    np.testing.assert_allclose([one["end_s"] for one in found], [one.end_s for one in wanted], atol=6e-4)
    assert any("heard 4.0 s" in line and "after their end" in line for line in errors)
    assert any("% of one core" in line for line in errors)
    assert any("differ from those of" in line for line in errors)
    if model == "labels":
        assert any("no threshold was chosen for this model" in line for line in errors)
        assert any(line.startswith("speechgru listen: 0 of") for line in errors)


def test_compiled_code_is_there_before_the_sound(folder, capsys, monkeypatch):
    """While the compiler is at work a microphone's samples would be dropped. Oracle: what the model has by then."""
    recognizer, source, found = load(folder / "labels"), speechgru.commands.listen._source, []
    assert recognizer.features.spectrum._fused is None

    @contextlib.contextmanager
    def opened(arguments):
        found.append(recognizer.features.spectrum._fused)
        with source(arguments) as blocks:
            yield blocks

    monkeypatch.setattr(speechgru.commands.listen, "load_recognizer", lambda *_: recognizer)
    monkeypatch.setattr(speechgru.commands.listen, "_source", opened)
    code, _, errors = listen(capsys, folder / "sound.wav", "-m", folder / "labels")
    assert code == 0
    assert found[0] is not None
    assert any("heard 4.0 s" in line for line in errors), "the noise is none of what was heard"


def test_a_pipe_of_raw_samples_is_the_file(folder, capsys, monkeypatch):
    """Oracle: the file; an odd byte at a read's end is half a sample."""
    samples, _ = soundfile.read(folder / "sound.wav", dtype="int16")

    class Odd(io.BytesIO):
        def read1(self, size=-1):
            return self.read(777)

    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=Odd(samples.tobytes() + b"\0")))
    code, piped, errors = listen(capsys, "-", "--rate", RATE, "-m", folder / "words", "-f", "txt")
    assert code == 0
    assert any("heard 4.0 s" in line for line in errors)
    assert piped == listen(capsys, folder / "sound.wav", "-m", folder / "words", "-f", "txt")[1]
    assert not any("differ" in line for line in errors)


def test_alarms_are_kept(folder, capsys, tmp_path):
    """Oracle: the samples of the file around each event."""
    kept = tmp_path / "alarms"
    how = ["-m", folder / "labels", "--threshold", 0.4, "--save_alarms", kept]
    code, lines, errors = listen(capsys, folder / "sound.wav", *how)
    samples, _ = soundfile.read(folder / "sound.wav", dtype="float32")
    events = sorted(map(json.loads, lines), key=lambda event: (event["end_s"], event["text"]))
    assert code == 0
    assert len(os.listdir(kept)) == len(events) > 0
    assert any(f"{len(events)} alarms saved" in line for line in errors)
    for event, name in zip(events, sorted(os.listdir(kept)), strict=True):
        heard, rate = soundfile.read(kept / name, dtype="float32")
        first, last = max(0, round((event["start_s"] - 0.5) * rate)), round((event["end_s"] + 0.5) * rate)
        np.testing.assert_allclose(heard, samples[first:last], atol=1e-4)
        assert event["text"] in name


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_heard_once(folder, capsys, tmp_path):
    """Oracle: the file itself; a pipe cannot be read again to be compared."""
    os.mkfifo(tmp_path / "pipe")
    content = (folder / "sound.wav").read_bytes()
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(content))
    writer.start()
    code, lines, errors = listen(capsys, tmp_path / "pipe", "-m", folder / "labels")
    writer.join()
    assert code == 0
    assert lines == listen(capsys, folder / "sound.wav", "-m", folder / "labels")[1]
    assert not any("differ from" in line for line in errors)


def test_what_is_wrong_is_one_line(folder, capsys, monkeypatch, tmp_path):
    (tmp_path / "empty.wav").touch()
    whole = (folder / "sound.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[:20000])
    model = ["-m", folder / "words"]
    for words, content, code, message in (
        ([tmp_path / "empty.wav"], b"", 1, "the file is empty"),
        ([tmp_path / "none.wav"], b"", 1, "no such file"),
        ([tmp_path / "cut.wav"], b"", 1, "truncated"),
        ([tmp_path], b"", 1, "a folder"),
        (["-"], b"", 1, "no samples; pipe sound into it"),
        (["-"], whole, 1, "a file of audio"),
        (["-", "--rate", 10], b"\0\0", 2, "--rate=10: from 1000"),
        (["-", "--threads", 0], b"", 2, "--threads 0"),
        (["-", "--pause", 0], b"", 2, "pause_s=0"),
        (["-", "--threshold", 2], b"", 2, "--threshold 2: above 0"),
        (["-", "--save_alarms", tmp_path / "x"], b"", 2, "hear labels"),
        (["-", "--save_alarms", tmp_path / "empty.wav", "-m", folder / "labels"], b"", 2, "choose another folder"),
    ):
        monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(content))))
        found, output, errors = listen(capsys, *model, *words)
        assert (found, output, len(errors)) == (code, [], 1), (words, errors)
        assert message in errors[0]


def test_a_file_that_breaks_off_tells_what_was_heard(folder, capsys, tmp_path):
    """Oracle: the words before the break; one line for the break, exit code 1."""
    path = tmp_path / "broken.flac"
    soundfile.write(path, sound(8), RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    code, lines, errors = listen(capsys, path, "-m", folder / "words")
    assert code == 1
    assert lines
    assert "damaged" in errors[-1]
    assert any("heard" in line for line in errors)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_with_what_was_heard(folder, number, code):
    """Oracle: the words of the samples that came before; a real pipe that stays open."""
    command = [sys.executable, "-m", "speechgru.cli", "listen", "-", "--rate", str(RATE), "-m", str(folder / "words")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:
        process.stdin.write((32767 * sound(4)).astype("<i2").tobytes())
        process.stdin.flush()
        first = process.stdout.readline()
        time.sleep(1)
        process.send_signal(number)
        rest, errors = process.communicate(timeout=60)
        assert process.returncode == code
    assert all(json.loads(line)["kind"] == "word" for line in [first, *rest.splitlines()])
    assert b"heard 4.0 s" in errors
    assert b"Traceback" not in errors


# Writers


def word(text, at, final):
    return Event("word", text, at, at + 0.2, 0.9, final)


def test_lines_tell_each_word_once():
    """By hand: settled words at once, the rest and the end of the line when the phrase ends."""
    stream = io.StringIO()
    lines = Lines(stream)
    lines.write([word("A", 1.0, False)])
    assert stream.getvalue() == "    1.00  A"
    lines.write([word("B", 1.5, False)])
    lines.write([word("A", 1.0, True), word("B", 1.5, True), word("C", 2.0, True)])
    assert stream.getvalue() == "    1.00  A B C\n"
    lines.write([word("D", 3.0, True)])
    lines.write([Event("label", "yes", 4.0, 4.5, 0.75)])
    lines.write([word("E", 5.0, False)])
    lines.write([word("F", 5.0, True), word("G", 6.0, True)])
    lines.write([word("H", 7.0, False)])
    lines.write([Event("word", "H", 7.0, 7.5, 0.5, True, False)])
    lines.write([word("I", 8.0, False)])
    lines.close()
    shown = "    1.00  A B C\n    3.00  D\n    4.00  yes  0.75\n    5.00  E\n    5.00  F G\n"
    shown += "    7.00  H  (does not sound like what the model knows)\n    8.00  I\n"
    assert stream.getvalue() == shown


def test_what_was_dropped_moves_the_times():
    """Oracle: by hand: half a second is lost before the second block."""

    class Heard:
        seconds = 0.0

        def feed(self, samples, rate):
            self.seconds += len(samples) / rate
            return [Event("label", "yes", self.seconds - 0.2, self.seconds, 0.9)]

        def flush(self):
            return []

    stream = io.StringIO()
    listening = Listening(Heard(), JsonLines(stream), None, keep=1)
    listening.hear(Block(np.zeros(RATE)), RATE)
    listening.hear(Block(np.zeros(RATE), lost=RATE // 2), RATE)
    listening.end()
    assert [json.loads(line)["end_s"] for line in stream.getvalue().splitlines()] == [1.0, 2.5]
    assert listening.lost == RATE // 2
    assert listening.events is None  # more than are kept


def test_alarms_hold_ten_seconds(tmp_path):
    alarms = Alarms(str(tmp_path))
    for _ in range(300):
        alarms.hear(np.zeros(RATE // 10, np.int16), RATE, [])
    assert alarms._samples <= 10.1 * RATE
    alarms.hear(np.zeros((2, RATE // 10), np.int16), RATE, [Event("label", "a/b", 29.8, 30.0, 0.5)])
    assert os.listdir(tmp_path) == []
    alarms.hear(np.zeros(0, np.int16), RATE, [], ended=True)
    (name,) = os.listdir(tmp_path)
    assert name == "0000030.00_a_b_0.50.wav"


# The microphone: a driver that stands in for the hardware that no test machine has.


class Driver(types.ModuleType):
    """What of sounddevice is used; ``call`` is the driver's thread."""

    class PortAudioError(Exception):
        pass

    def __init__(self):
        super().__init__("sounddevice")
        self.fails = False

    def query_devices(self, device, kind):
        if device == "none":
            raise ValueError(f"No input device matching {device!r}")
        return {"name": "desk", "default_samplerate": 16000.0}

    def InputStream(self, **settings):
        self.settings = settings
        return self

    def start(self):
        if self.fails:
            raise self.PortAudioError("Device unavailable [PaErrorCode -9985]")

    def close(self):
        self.closed = True

    def call(self, value):
        self.settings["callback"](np.full((1600, 1), value, np.float32), 1600, None, None)


def test_a_full_queue_drops_and_counts(monkeypatch):
    """Oracle: by hand: three blocks fit; of five two are lost, and the next one that fits says so."""
    driver = Driver()
    monkeypatch.setitem(sys.modules, "sounddevice", driver)
    with Microphone(waiting_s=0.3) as microphone:
        for value in range(5):
            driver.call(value)
        blocks = microphone.blocks()
        heard = [next(blocks)]
        driver.call(5)
        heard += [next(blocks) for _ in range(3)]
        assert [float(block.samples[0]) for block in heard] == [0.0, 1.0, 2.0, 5.0]
        assert [block.lost for block in heard] == [0, 0, 0, 3200]
        assert microphone.lost == 3200
        assert microphone.rate == 16000
    assert driver.closed


def test_a_microphone_that_is_gone_is_one_line(monkeypatch):
    driver = Driver()
    monkeypatch.setitem(sys.modules, "sounddevice", driver)
    monkeypatch.setattr("speechgru.audio.live._GONE_S", 0.1)
    for vanish in (lambda: None, lambda: driver.settings["finished_callback"]()):
        with Microphone("2") as microphone:
            driver.call(1)
            vanish()
            blocks = microphone.blocks()
            next(blocks)
            with pytest.raises(AudioError, match="microphone desk: gives no sound any more"):
                next(blocks)
    assert driver.settings["device"] == 2
    driver.fails = True
    with pytest.raises(AudioError, match="does another program use it"), Microphone():
        pass
    with pytest.raises(ConfigError, match="--microphone none: No input device"):
        Microphone("none")


def test_a_microphone_without_its_package_is_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(ConfigError, match=r"pip install 'speechgru\[mic\]'"):
        Microphone()


def test_pcm_comes_as_it_is_there():
    """Oracle: by hand; nothing waits for a block to be full."""
    blocks = read_pcm(io.BufferedReader(io.BytesIO(np.arange(5, dtype="<i2").tobytes())), 16000)
    assert [block.samples.tolist() for block in blocks] == [[0, 1, 2, 3, 4]]
