"""Programs in C: compiled with all warnings and sanitizers, and compared with the model's own stream."""

import json
import subprocess

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

import speechgru
from speechgru.cells import (
    MGU,
    FastGRNNConfig,
    GRU1Config,
    GRU2Config,
    GRU3Config,
    GRUBeforeConfig,
    GRUConfig,
    IndRNNConfig,
    LiGRUConfig,
    LSTMConfig,
    MGUConfig,
    MinGRUCandidate,
    MinGRUConfig,
    QRNNConfig,
    RNNConfig,
    SLiGRUConfig,
    SRUConfig,
)
from speechgru.cli import main
from speechgru.decoding.operating_point import KeywordConfig
from speechgru.encoders import ConvolutionConfig, GRUEncoderConfig, LookAheadConfig
from speechgru.errors import ModelError
from speechgru.export.c import parity
from speechgru.export.c.writer import program_name, write_c
from speechgru.features import Convention, LogMelConfig, MFCCConfig, Normalization
from speechgru.features.convention import Padding
from speechgru.heads import ClassificationConfig, CTCConfig, KeywordHeadConfig
from speechgru.model_folder import RecognizerConfig
from speechgru.recognizer import Recognizer
from speechgru.text import CharactersConfig
from speechgru.tokens import Tokens

RATE = 8000
GLOBAL = LogMelConfig(sample_rate=RATE, mels=12, normalization=Normalization["global"])
SLIDING = LogMelConfig(
    sample_rate=RATE, mels=12, normalization=Normalization.sliding, sliding_lookahead_ms=30.0, sliding_window_ms=400.0
)
ONE_WAY = {"hidden_size": 6, "bidirectional": False}
FRONT = ConvolutionConfig(channels=[2, 3, 3], stride_time=[1, 2, 1], stride_feature=[2, 1, 1])
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]
SANITIZED = [*STRICT, "-O0", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
needs_compiler = pytest.mark.skipif(parity.compiler() is None, reason="there is no C compiler here")


def model_of(features=GLOBAL, encoder=None, ctc=False, keywords=None):
    """One with drawn weights whose scores move."""
    torch.manual_seed(0)
    encoder = encoder or GRUEncoderConfig(**ONE_WAY)
    config = RecognizerConfig(features, encoder, CTCConfig() if ctc else KeywordHeadConfig(), keywords=keywords)
    if ctc:
        config.units = CharactersConfig()
    tokens = ["<blank>", "|", "A", "É"] if ctc else ["yes", "no", "_unknown_", "_silence_"]
    model = Recognizer(config, Tokens(tokens)).eval()
    if features.normalization is Normalization["global"]:
        model.features.mean.fill_(-9.0)
        model.features.std.uniform_(2.0, 4.0)
        model.features.fitted.fill_(True)
    for name, parameter in model.named_parameters():
        if "row_weight" in name or "gain" in name:
            nn.init.uniform_(parameter, 0.5, 1.5)
    for name, buffer in model.named_buffers():
        if "running_" in name:
            buffer.uniform_(0.5, 1.5)
    nn.init.normal_(model.head.output.weight, 0, 1 if ctc else 3)
    return model


def built(folder, model, flags=SANITIZED, int8=False):
    for name, content in write_c(model, "toy", int8).files.items():
        (folder / name).write_text(content, encoding="utf-8")
    return parity.build(folder, "toy", flags)


def sounds(rate=RATE):
    """Shorter than a window, about one, and a second in which much happens."""
    drawn = parity.drawn_sounds(rate)
    return [drawn[place] for place in (0, 1, 2, 6, 12, 16, 19, -1)]


@needs_compiler
@pytest.mark.parametrize(
    ("features", "encoder"),
    [
        pytest.param(GLOBAL, GRUEncoderConfig(**ONE_WAY), id="plain"),
        pytest.param(SLIDING, LookAheadConfig(hidden_size=5, context=3, front_end=FRONT), id="look-ahead"),
        pytest.param(
            LogMelConfig(RATE, Convention.librosa, 12, top_db=float("inf"), deltas=2, normalization=Normalization.none),
            GRUEncoderConfig(**ONE_WAY, layer_norm=True, residual=True, projection_size=6, pyramid=[1, 3]),
            id="deltas",
        ),
        pytest.param(
            MFCCConfig(
                RATE, Convention.torchaudio, 14, top_db=float("inf"), normalization=Normalization["global"], hop_ms=30.0
            ),
            LookAheadConfig(hidden_size=5, zoneout=0.2, context=0),
            id="mfcc-reflect",
        ),
        pytest.param(
            LogMelConfig(RATE, mels=8, fft_size=231, padding=Padding.mirror, normalization=Normalization.none),
            GRUEncoderConfig(**ONE_WAY, residual=True),
            id="odd-mirror",
        ),
    ],
)
def test_a_program_scores_as_the_model_does(tmp_path, features, encoder):
    """Oracle: score_track of the model, and the detections that Python makes of the program's own scores."""
    model = model_of(features, encoder)
    program = built(tmp_path, model)
    for samples in sounds():
        assert parity.difference(model, program, samples, 77) < 1e-4
    heard = parity.hear(program, sounds()[-1], 4)
    assert np.ptp(heard.scores) > 0.01
    assert f"RAM: {heard.state_bytes:,} bytes" in (tmp_path / "model.h").read_text()


@needs_compiler
@pytest.mark.parametrize(
    "cell",
    [
        GRUConfig(layer_norm=True),
        GRUBeforeConfig(),
        MGUConfig(),
        MinGRUConfig(),
        MinGRUConfig(candidate=MinGRUCandidate.positive),
        FastGRNNConfig(),
        FastGRNNConfig(input_rank=3, hidden_rank=2),
        LSTMConfig(),
        LSTMConfig(layer_norm=True),
        RNNConfig(),
        RNNConfig(layer_norm=True, orthogonal=False),
        LiGRUConfig(),
        SLiGRUConfig(),
        GRU1Config(),
        GRU2Config(),
        GRU3Config(),
        IndRNNConfig(),
        SRUConfig(),
        QRNNConfig(window=1),
        QRNNConfig(window=3),
    ],
    ids=lambda cell: "-".join([type(cell).__name__, *(f"{value}" for value in vars(cell).values())]),
)
def test_every_cell(tmp_path, cell):
    """Oracle: score_track of the model; the head of CTC in half of the cases."""
    model = model_of(GLOBAL, GRUEncoderConfig(**ONE_WAY, cell=cell), ctc=isinstance(cell, (RNNConfig, LSTMConfig)))
    program = built(tmp_path, model)
    for samples in sounds()[4:]:
        assert parity.difference(model, program, samples) < 1e-4


@needs_compiler
def test_chunks_make_no_difference(tmp_path):
    """Oracle: all samples at once, bit for bit."""
    model = model_of(SLIDING, LookAheadConfig(hidden_size=5, context=3, front_end=FRONT), ctc=True)
    program = built(tmp_path, model)
    for samples in sounds()[3:]:
        whole = parity.hear(program, samples, 4, 65536)
        for chunk in (1, 79, 1000):
            heard = parity.hear(program, samples, 4, chunk)
            assert heard.events == whole.events
            assert np.array_equal(heard.scores, whole.scores)


@needs_compiler
@pytest.mark.parametrize("smoothing_ms", [0.0, 50.0, 300.0])
def test_detections_are_those_of_a_stream(tmp_path, smoothing_ms):
    """Oracle: recognizer.stream() on the same samples; 'no' has no threshold and is never told."""
    keywords = KeywordConfig(smoothing_ms, 0.1, {"yes": 0.45})
    model = model_of(SLIDING, LookAheadConfig(hidden_size=5, context=3), keywords=keywords)
    program = built(tmp_path, model)
    count = 0
    for samples in [*sounds()[3:], np.concatenate(sounds())]:
        stream = model.stream()
        expected = stream.feed(samples, RATE) + stream.flush()
        events = parity.hear(program, samples, 4).events
        assert [model.tokens.names[event[0]] for event in events] == [event.text for event in expected]
        for (_, start, end, confidence), event in zip(events, expected, strict=True):
            assert (start / RATE, end / RATE) == pytest.approx((event.start_s, event.end_s), abs=1e-9)
            assert confidence == pytest.approx(event.confidence, abs=1e-4)
        count += len(events)
    assert count > 3


@needs_compiler
def test_a_recording_through_the_example(tmp_path, recordings):
    """Oracle: the detections of recognizer.stream(); the program is built by make, as its README says."""
    path = sorted((recordings / "speech_commands" / "yes").glob("*.flac"))[0]
    samples, rate = soundfile.read(path, dtype="int16")
    features = LogMelConfig(rate, mels=20, normalization=Normalization["global"])
    model = model_of(features, LookAheadConfig(hidden_size=8, context=2), keywords=KeywordConfig(50.0, 0.2))
    files = write_c(model, "toy").files
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    subprocess.run(
        ["make", "CFLAGS=-O1 -Wall -Wextra -Werror -pedantic"], cwd=tmp_path, check=True, capture_output=True
    )
    done = subprocess.run([tmp_path / "example"], input=samples.tobytes(), capture_output=True, check=True)
    stream = model.stream()
    expected = stream.feed(samples, rate) + stream.flush()
    printed = [f"{one.end_s:8.2f} s  {one.text:<12} {one.confidence:.2f}" for one in expected]
    assert done.stdout.decode().splitlines() == printed
    assert printed
    assert parity.prove(model, files, "toy", [samples])["largest_difference"] < 1e-4


@needs_compiler
@pytest.mark.parametrize("cell", [GRUConfig(), MGUConfig(), FastGRNNConfig(input_rank=3), LSTMConfig(), SLiGRUConfig()])
def test_weights_in_8_bits(tmp_path, cell):
    """Oracle: a model whose weights are rounded in the same way, which is another than the model itself."""
    model = model_of(SLIDING, LookAheadConfig(hidden_size=5, context=2, front_end=FRONT, cell=cell, projection_size=4))
    program = built(tmp_path, model, int8=True)
    exact = parity.rounded_model(model)
    for samples in sounds()[4:]:
        near = parity.difference(exact, program, samples)
        assert near < 1e-3
    assert 2 * near < parity.difference(model, program, samples) < 0.2


@needs_compiler
def test_rounding_that_the_model_has_too_is_let_through(monkeypatch):
    """Oracle: the model in float64, whose scores of one drawn sound are 1e-4 from the model's own and more.

    On most sounds, where little is rounded, the limit is what it is.
    """
    model = speechgru.load("english_phones").eval()
    sounds = parity.drawn_sounds(model.sample_rate)
    limits = [parity._allowed(parity.LIMIT, model, sound) for sound in sounds]
    assert sorted(limits)[len(limits) // 2] < 1.2 * parity.LIMIT
    limit, sound = max(limits), sounds[int(np.argmax(limits))]
    monkeypatch.setattr(parity, "drawn_sounds", lambda rate: [sound])
    files = write_c(model, "phones").files
    assert parity.LIMIT < parity.prove(model, files, "phones")["largest_difference"] < limit < 1e-3
    with torch.no_grad():
        model.head.output.bias[3] += 1e-3
    with pytest.raises(ModelError, match="differs from the model"):
        parity.prove(model, files, "phones")


@needs_compiler
def test_a_wrong_program_is_refused():
    """Oracle: one planted error in the weights."""
    model = model_of()
    files = write_c(model, "toy").files
    with torch.no_grad():
        model.encoder.layers[0].forward_cell.weight_hh[3, 2] += 0.1
    with pytest.raises(ModelError, match=r"differs from the model by .* nothing was written"):
        parity.prove(model, files, "toy")


def test_without_a_compiler_nothing_is_checked(monkeypatch):
    """Oracle: the count of sounds."""
    monkeypatch.setenv("PATH", "")
    assert parity.prove(model_of(), {}, "toy")["sounds"] == 0


@needs_compiler
def test_the_command(tmp_path, capsys):
    """Oracle: the files, twice over; a broken gate and a folder of something else leave everything as it was."""
    model = model_of()
    model.save(tmp_path / "hey-zoe")
    soundfile.write(tmp_path / "a.wav", sounds()[6], RATE)
    out = tmp_path / "out"
    for options in ([], ["--int8"]):
        command = ["export", str(tmp_path / "hey-zoe"), "-o", str(out), "--format", "c", *options]
        assert main([*command, "--recordings", str(tmp_path / "a.wav")]) == 0
        assert sorted(path.name for path in out.iterdir()) == sorted(
            ["Makefile", "README.md", "example.c", "model.c", "model.h", "parity.json", "weights.h"]
        )
        told = json.loads((out / "parity.json").read_text())
        assert told["recordings"] == 1
        assert told["largest_difference"] < told["limit"]
    assert "void hey_zoe_init(hey_zoe_state *state);" in (out / "model.h").read_text()
    assert "bytes of tables" in capsys.readouterr().err
    (out / "mine.txt").write_text("x")
    assert main(command) == 2
    assert "holds mine.txt" in capsys.readouterr().err
    assert (out / "model.c").is_file()


@pytest.mark.parametrize(
    ("features", "encoder", "head", "reason"),
    [
        (
            GLOBAL,
            GRUEncoderConfig(**ONE_WAY),
            ClassificationConfig(attention_heads=2),
            "classification head.*head=keyword",
        ),
        (GLOBAL, GRUEncoderConfig(hidden_size=4), KeywordHeadConfig(), "both directions.*encoder=look_ahead"),
        (LogMelConfig(), GRUEncoderConfig(**ONE_WAY), KeywordHeadConfig(), "normalization=utterance.*choose sliding"),
        (
            LogMelConfig(convention=Convention.librosa, normalization=Normalization.none),
            GRUEncoderConfig(**ONE_WAY),
            KeywordHeadConfig(),
            "top_db=80.*set top_db=.inf",
        ),
    ],
)
def test_what_cannot_stream_is_refused(features, encoder, head, reason):
    """Oracle: one line that names the mend."""
    model = Recognizer(RecognizerConfig(features, encoder, head), Tokens(["yes", "no", "_silence_"]))
    with pytest.raises(ModelError, match=reason) as error:
        write_c(model.eval(), "toy")
    assert "\n" not in str(error.value)


def test_a_cell_of_somebody_else_is_refused():
    """Oracle: one line that names the cells there are."""

    class Mine(MGU):
        pass

    model = model_of(GLOBAL, GRUEncoderConfig(**ONE_WAY, cell=MGUConfig()))
    model.encoder.layers[0].forward_cell.__class__ = Mine
    with pytest.raises(ModelError, match=r"^cell Mine has no C form; known: GRU, .*QRNN$"):
        write_c(model, "toy")


@needs_compiler
def test_frames_that_wait_in_a_state_are_not_zoned_out(tmp_path):
    """Oracle: score_track of the model; the memory of a QRNN is zoned out, its window is not, and SRU skips."""
    for place, cell in enumerate((QRNNConfig(window=3), SRUConfig())):
        encoder = GRUEncoderConfig(12 if place else 6, 2, bidirectional=False, cell=cell, zoneout=0.3)
        (tmp_path / str(place)).mkdir()
        model = model_of(GLOBAL, encoder)
        program = built(tmp_path / str(place), model)
        assert parity.difference(model, program, sounds()[-1]) < 1e-4


def test_a_damaged_model_is_refused():
    """Oracle: the name of what is no number."""
    model = model_of()
    with torch.no_grad():
        model.head.output.bias[0] = float("nan")
    with pytest.raises(ModelError, match="output_bias: not all weights are numbers"):
        write_c(model, "toy")


def test_names_are_those_of_c():
    """Oracle: examples."""
    assert [program_name(one) for one in ("hey-zoe", "8words", "größe", "_", "model")] == [
        "hey_zoe",
        "model_8words",
        "gr__e",
        "model",
        "model",
    ]
