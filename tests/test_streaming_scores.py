"""Scores of chunks against scores of the whole, for models that go step by step and for windows."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from speechgru.decoding.operating_point import KeywordConfig
from speechgru.encoders import (
    ConvolutionConfig,
    GRUEncoderConfig,
    LatencyControlledConfig,
    LookAheadConfig,
)
from speechgru.errors import ConfigError, ModelError
from speechgru.features import LogMelConfig, Normalization
from speechgru.heads import ClassificationConfig, CTCConfig, KeywordHeadConfig
from speechgru.model_folder import RecognizerConfig
from speechgru.recognizer import Recognizer
from speechgru.streaming.scores import (
    FrameScores,
    ScoreTrack,
    WindowConfig,
    WindowScores,
    advance,
    keywords_of,
    score_stream,
    score_track,
)
from speechgru.text import CharactersConfig
from speechgru.tokens import Tokens

RATE = 8000
LABELS = Tokens(["yes", "no", "_silence_"])
FRONT = ConvolutionConfig(channels=[2, 3], stride_time=[1, 2], stride_feature=[2, 2])
SLIDING = LogMelConfig(
    sample_rate=RATE, mels=12, normalization=Normalization.sliding, sliding_lookahead_ms=30.0, sliding_window_ms=400.0
)
SMALL = {"hidden_size": 4, "dropout": 0.0}


def stepping(encoder):
    torch.manual_seed(0)
    model = Recognizer(RecognizerConfig(SLIDING, encoder, KeywordHeadConfig()), LABELS)
    if isinstance(encoder, LookAheadConfig):
        nn.init.uniform_(model.encoder.row_weight, 0.5, 1.5)  # begins without looking ahead
    return model.eval()


def transcribing(encoder=None, features=SLIDING):
    torch.manual_seed(0)
    config = RecognizerConfig(features, encoder or LookAheadConfig(**SMALL, context=3), CTCConfig())
    config.units = CharactersConfig()
    return Recognizer(config, Tokens(["<blank>", "|", "A", "B"])).eval()


def windowed():
    torch.manual_seed(0)
    features = LogMelConfig(sample_rate=RATE, mels=12)
    encoder = GRUEncoderConfig(**SMALL, front_end=FRONT)
    return Recognizer(RecognizerConfig(features, encoder, ClassificationConfig(attention_heads=2)), LABELS).eval()


MODELS = {
    "gru": stepping(GRUEncoderConfig(**SMALL, bidirectional=False)),
    "look_ahead": stepping(LookAheadConfig(**SMALL, context=3, pyramid=[1, 2], front_end=FRONT)),
    "latency_controlled": stepping(LatencyControlledConfig(**SMALL, chunk=4, right=2, front_end=FRONT)),
    "ctc": transcribing(),
    "windows": windowed(),
}
CONFIG = WindowConfig(length_s=0.3, hop_s=0.1)


def sound(samples, seed=0):
    rng = np.random.default_rng(seed)
    return (0.1 * np.abs(np.sin(np.linspace(0, 9, samples))) * rng.standard_normal(samples)).astype(np.float32)


def in_chunks(model, waveform, sizes):
    """The track of a stream fed with chunks of these sizes, again and again."""
    stream, tracks, at, turn = score_stream(model, CONFIG), [], 0, 0
    while at < len(waveform):
        size = sizes[turn % len(sizes)]
        tracks += advance(model, [stream], [torch.from_numpy(waveform[at : at + size])], [False])
        at, turn = at + size, turn + 1
    tracks += advance(model, [stream], [torch.zeros(0)], [True])
    return ScoreTrack(*(np.concatenate(parts) for parts in zip(*tracks, strict=True)))


def assert_same(found, wanted):
    np.testing.assert_array_equal(found.end_s, wanted.end_s)
    np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-5, atol=1e-5)
    assert found.end_s.dtype == np.float64
    assert found.scores.dtype == np.float32


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=8, deadline=None)
@given(samples=st.integers(0, 12000), sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=4).filter(any))
def test_chunks_give_the_track_of_the_whole(name, samples, sizes):
    """Oracle: score_track, which takes the recording in one block; times to the bit, scores to 1e-5."""
    waveform = sound(samples)
    wanted = score_track(MODELS[name], waveform, config=CONFIG)
    assert_same(in_chunks(MODELS[name], waveform, sizes), wanted)


@pytest.mark.parametrize("name", MODELS)
def test_sample_by_sample(name):
    waveform = sound(500)
    assert_same(in_chunks(MODELS[name], waveform, [1]), score_track(MODELS[name], waveform, config=CONFIG))


@pytest.mark.parametrize("name", ["gru", "look_ahead", "latency_controlled", "ctc"])
def test_the_track_is_that_of_the_whole_model(name):
    """Oracle: features, encoder and head over the recording at once."""
    model, waveform = MODELS[name], torch.from_numpy(sound(9000))
    with torch.no_grad():
        hidden, lengths = model.encoder(*model.features(waveform[None]))
        wanted = model.head(hidden, lengths) if name == "ctc" else model.head.frame_scores(hidden)
    np.testing.assert_allclose(score_track(model, waveform).scores, wanted[0].numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["gru", "look_ahead", "latency_controlled"])
def test_end_s_is_what_a_score_has_heard(name):
    """Oracle: a sample changed at that time moves no score but later ones; the times are regular until the end."""
    model, waveform = MODELS[name], sound(9000)
    track = score_track(model, waveform)
    assert track.end_s[-1] <= 9000 / RATE
    inside = track.end_s[track.end_s < track.end_s[-1]]
    steps = np.diff(inside[np.searchsorted(inside, 0.6) :])  # the sliding minimum is over
    np.testing.assert_allclose(steps, model.frame_s, atol=1e-9)
    chunk = getattr(model.config.encoder, "chunk", 1)
    moved = 0.0
    for frame in (20, 21, 22, 23):
        changed = waveform.copy()
        # The others of a chunk have heard as much as its last one's look-ahead and the chunk after them.
        last = frame // chunk * chunk + chunk - 1
        changed[round(track.end_s[last] * RATE) + (chunk - 1) * round(model.frame_s * RATE) :] = 0.3
        np.testing.assert_allclose(score_track(model, changed).scores[frame], track.scores[frame], atol=1e-6)
        changed = waveform.copy()
        changed[round(track.end_s[frame] * RATE) - 80 :] = 0.3
        moved = max(moved, np.abs(score_track(model, changed).scores[frame] - track.scores[frame]).max())
    assert moved > 1e-6  # a rectifier may hide it from some


def test_windows_are_heard_as_recordings():
    """Oracle: classify of each window cut by hand: from 0, 0.1, ... s, the last one with the end of the recording."""
    model, waveform = MODELS["windows"], sound(5000)
    track = score_track(model, waveform, config=CONFIG)
    ends = [2400, 3200, 4000, 4800, 5000]
    np.testing.assert_allclose(track.end_s, np.array(ends) / RATE)
    heard = model.classify([waveform[end - 2400 : end] for end in ends], top_k=3, source_rate=RATE)
    wanted = [[one.scores[name] for name in LABELS] for one in heard]
    np.testing.assert_allclose(track.scores, wanted, rtol=1e-5, atol=1e-6)
    short = score_track(model, waveform[:700], config=CONFIG)
    (whole,) = model.classify([waveform[:700]], top_k=3, source_rate=RATE)
    np.testing.assert_allclose(short.end_s, [700 / RATE])
    np.testing.assert_allclose(short.scores[0], [whole.scores[name] for name in LABELS], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_streams_of_a_batch_do_not_know_each_other(name):
    """Oracle: each recording alone; the streams begin, go on and end at their own times."""
    model = MODELS[name]
    waveforms = [sound(6000, 1), sound(2100, 2), sound(7777, 3)]
    rng = np.random.default_rng(0)
    streams = [score_stream(model, CONFIG) for _ in waveforms]
    tracks, places = [[] for _ in waveforms], [0, 0, 0]
    running = [0, 1, 2]
    while running:
        sizes = rng.integers(0, 1500, len(running)).tolist()
        stops = {k: places[k] + size for k, size in zip(running, sizes, strict=True)}
        chunks = [torch.from_numpy(waveforms[k][places[k] : stops[k]]) for k in running]
        places = [stops.get(k, place) for k, place in enumerate(places)]
        ended = [places[k] >= len(waveforms[k]) for k in running]
        found = advance(model, [streams[k] for k in running], chunks, ended)
        for k, track in zip(running, found, strict=True):
            tracks[k].append(track)
        running = [k for k, end in zip(running, ended, strict=True) if not end]
    for parts, waveform in zip(tracks, waveforms, strict=True):
        found = ScoreTrack(*(np.concatenate(values) for values in zip(*parts, strict=True)))
        assert_same(found, score_track(model, waveform, config=CONFIG))


def test_an_operating_point_where_none_was_chosen():
    """By hand: 100 ms for scores of frames, 300 for those of windows; what was chosen goes before both."""
    by_frames, by_windows = MODELS["gru"], windowed()
    assert (keywords_of(by_frames).smoothing_ms, keywords_of(by_windows).smoothing_ms) == (100, 300)
    by_windows.config.keywords = KeywordConfig(smoothing_ms=50.0)
    assert keywords_of(by_windows) == KeywordConfig(smoothing_ms=50.0)


def test_blocks_are_as_good_as_an_array():
    waveform = sound(8000)
    for name, kind in (("look_ahead", FrameScores), ("windows", WindowScores)):
        assert isinstance(score_stream(MODELS[name]), kind)
        blocks = iter([waveform[:100], waveform[100:5000], waveform[5000:]])
        wanted = score_track(MODELS[name], waveform, block_s=0.21, config=CONFIG)
        assert_same(score_track(MODELS[name], blocks, config=CONFIG), wanted)


def test_wrong_use_is_one_line():
    with pytest.raises(ModelError, match="needs whole recordings"):
        score_stream(transcribing(GRUEncoderConfig(**SMALL)))
    with pytest.raises(ModelError, match="needs whole recordings"):
        score_stream(transcribing(features=LogMelConfig(sample_rate=RATE, normalization=Normalization.utterance)))
    for wrong in ({"length_s": 0.0}, {"hop_s": 2.0}, {"hop_s": float("nan")}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            WindowConfig(**wrong)
    with pytest.raises(ConfigError, match="block_s=0"):
        score_track(MODELS["windows"], sound(100), block_s=0)
    broken = windowed()
    with torch.no_grad():
        broken.head.output.bias[0] = torch.nan
    with pytest.raises(ModelError, match="no numbers"):
        score_track(broken, sound(100))
