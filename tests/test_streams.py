"""Streams of events: the same for any chunks; what the model's other answers say of the same sound is the oracle."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from speechgru.audio import read_audio
from speechgru.decoding import BeamConfig, GreedyConfig
from speechgru.decoding.familiarity import FamiliarityConfig
from speechgru.encoders import GRUEncoderConfig, LookAheadConfig
from speechgru.errors import AudioError, ConfigError, ModelError
from speechgru.evaluation.error_rate import edit_distance
from speechgru.features import LogMelConfig, Normalization
from speechgru.heads import ClassificationConfig, CTCConfig, KeywordHeadConfig
from speechgru.recognizer import Recognizer, RecognizerConfig
from speechgru.streaming.keywords import KeywordConfig, KeywordSpotter
from speechgru.streaming.phrases import Phrases
from speechgru.streaming.samples import Samples
from speechgru.streaming.scores import WindowConfig, score_track
from speechgru.streaming.segments import Segments
from speechgru.streaming.stream import StreamConfig, feed_together, flush_together
from speechgru.text import CharactersConfig
from speechgru.tokens import Tokens

RATE = 8000
LABELS = Tokens(["yes", "no", "_silence_"])
FEATURES = LogMelConfig(sample_rate=RATE, mels=12, normalization=Normalization.sliding, sliding_window_ms=500.0)


def classifier(frames):
    torch.manual_seed(7 if frames else 1)
    encoder = LookAheadConfig(hidden_size=8, context=2) if frames else GRUEncoderConfig(hidden_size=8)
    head = KeywordHeadConfig() if frames else ClassificationConfig()
    model = Recognizer(RecognizerConfig(FEATURES, encoder, head), LABELS)
    model.head.output.weight.data *= 8
    return model.eval()


def transcriber():
    """Of random weights, but sure of itself: it says words of a few letters."""
    torch.manual_seed(3)
    config = RecognizerConfig(FEATURES, LookAheadConfig(hidden_size=8, context=2), CTCConfig())
    config.units, config.decoder = CharactersConfig(normalization=[]), BeamConfig(beam_size=8)
    model = Recognizer(config, Tokens(["<blank>", "|", "a", "b", "c"]))
    model.head.output.weight.data *= 25
    model.head.output.bias.data = torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0])
    return model.eval()


MODELS = {"frames": classifier(True), "windows": classifier(False), "words": transcriber()}
CONFIG = StreamConfig(
    windows=WindowConfig(length_s=0.4, hop_s=0.1),
    pause_s=0.1,
    longest_s=1.0,
    keywords=KeywordConfig(smoothing_ms=60.0, refractory_s=0.2),
)


def sound(samples, seed=0, rate=RATE):
    """Noise that swells and changes its colour."""
    rng = np.random.default_rng(seed)
    time = np.arange(samples) / rate
    tone = np.sin(2 * np.pi * (400 + 900 * (np.sin(9 * time) > 0)) * time)
    swell = np.abs(np.sin((5 + seed) * time)) ** 2
    noise = rng.standard_normal((2, samples))
    return (0.3 * swell * (tone + 0.3 * noise[0]) + 1e-3 * noise[1]).astype(np.float32)


def events_of(model, waveform, rate, sizes, config=CONFIG):
    stream, events, at, turn = model.stream(config), [], 0, 0
    while at < waveform.shape[-1]:
        size = sizes[turn % len(sizes)]
        events += stream.feed(waveform[..., at : at + size], rate)
        at, turn = at + size, turn + 1
    return events + stream.flush()


def assert_same(found, wanted):
    assert [(one.kind, one.text, one.final) for one in found] == [(one.kind, one.text, one.final) for one in wanted]
    numbers = [[(one.start_s, one.end_s, one.confidence) for one in events] for events in (found, wanted)]
    np.testing.assert_allclose(*(np.array(rows).reshape(-1, 3) for rows in numbers), rtol=1e-5, atol=1e-5)


CHUNKS = st.lists(st.integers(0, 2500), min_size=1, max_size=4).filter(any)


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=4, deadline=None)
@given(rate=st.sampled_from([8000, 11025]), sizes=CHUNKS, seed=st.integers(0, 50))
def test_any_chunks_at_any_rate_give_the_same_events(name, rate, sizes, seed):
    """Oracle: the recording as one chunk, in floats; here in integers of 16 bits, each in a stereo of the same."""
    whole = (32767 * np.clip(sound(2 * rate, seed, rate), -1, 1)).astype(np.int16)
    wanted = events_of(MODELS[name], whole.astype(np.float32) / 32768, rate, [len(whole)])
    assert_same(events_of(MODELS[name], np.stack([whole, whole]), rate, sizes), wanted)


@pytest.mark.parametrize("name", MODELS)
def test_sample_by_sample(name):
    waveform = sound(6000)
    found = events_of(MODELS[name], waveform[:1000], RATE, [1])
    assert_same(found, events_of(MODELS[name], waveform[:1000], RATE, [1000]))
    assert len(events_of(MODELS[name], waveform, RATE, [6000])) > 0  # there is something to tell


def test_words_by_segments(tones):
    """Oracle: what was said; and transcribe of each segment, to the bit."""
    rng = np.random.default_rng(5)
    model, said, parts = tones.recognizer, [], []
    for _ in range(4):
        words = tones.words(3, rng)
        waveform, times = tones.say(words, rng)
        at = sum(map(len, parts)) / tones.sample_rate
        said += [(word, at + start, at + end) for word, (start, end) in zip(words, times, strict=True)]
        parts += [waveform, (1e-3 * rng.standard_normal(round(0.9 * tones.sample_rate))).astype(np.float32)]
    waveform = np.concatenate(parts)
    config = StreamConfig(pause_s=0.3)
    events = events_of(model, waveform, tones.sample_rate, [800], config)
    assert events == events_of(model, waveform, tones.sample_rate, [len(waveform)], config)
    assert [one.text for one in events] == [word for word, _, _ in said]
    assert all(one.final and one.kind == "word" for one in events)
    for one, (_, start, end) in zip(events, said, strict=True):
        assert abs(one.start_s - start) < 0.06
        assert abs(one.end_s - end) < 0.06
    cut = Segments(tones.sample_rate, 0.3, 20.0)
    segments = cut.feed(torch.from_numpy(waveform)) + cut.flush()
    assert len(segments) == 4
    words = [word for one in segments for word in model.transcribe(one.waveform, source_rate=tones.sample_rate).words]
    assert [(one.text, one.confidence) for one in events] == [(word.word, word.confidence) for word in words]


@pytest.mark.parametrize("most_entropy", [1e-9, 2.0])
def test_words_of_a_segment_carry_its_mark(tones, monkeypatch, most_entropy):
    """Oracle: the mark that transcribe gives the same sound; without a limit there is none."""
    waveform, _ = tones.say(["AB"], np.random.default_rng(6))
    assert {one.familiar for one in events_of(tones.recognizer, waveform, tones.sample_rate, [800])} == {None}
    monkeypatch.setattr(tones.recognizer.config, "familiarity", FamiliarityConfig(most_entropy))
    events = events_of(tones.recognizer, waveform, tones.sample_rate, [800])
    wanted = tones.recognizer.transcribe(waveform, source_rate=tones.sample_rate).familiar
    assert {one.familiar for one in events} == {wanted} == {most_entropy > 1}


def test_words_of_a_phrase_carry_its_mark(monkeypatch):
    """Oracle: a limit below and one above any entropy of scores; partial words have no mark."""
    scores = scores_of(0, 90)
    monkeypatch.setattr(MODELS["words"].config, "familiarity", FamiliarityConfig(1e-9))
    decoder = MODELS["words"].decoder(GreedyConfig())
    events = [event for _, event in phrases_of(decoder, scores, [7], longest_s=100.0)]
    assert {one.familiar for one in events if one.final} == {False}
    assert {one.familiar for one in events if not one.final} == {None}
    monkeypatch.setattr(MODELS["words"].config, "familiarity", FamiliarityConfig(5.0))
    events = [event for _, event in phrases_of(decoder, scores, [7], longest_s=100.0)]
    assert {one.familiar for one in events if one.final} == {True}


def test_a_word_is_told_when_its_pause_has_lasted(tones):
    """Oracle: the end of the sound, the pause, and a tenth of a second."""
    rng = np.random.default_rng(6)
    waveform, times = tones.say(["AB"], rng)
    waveform = np.concatenate([waveform, 1e-3 * rng.standard_normal(16000)]).astype(np.float32)
    stream = tones.recognizer.stream(StreamConfig(pause_s=0.4))
    for at in range(0, len(waveform), 80):
        if stream.feed(waveform[at : at + 80], tones.sample_rate):
            break
    assert times[0][1] + 0.4 <= stream.seconds <= times[0][1] + 0.53


# Phrases: words from scores.


def scores_of(seed, frames, size=5):
    """Log-probabilities of a model that is mostly sure, with pauses."""
    rng = np.random.default_rng(seed)
    logits = 3 * rng.standard_normal((frames, size))
    logits[:, 0] += 6 * (np.sin(np.arange(frames) / 6 + seed) > 0.3)
    return (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)


def phrases_of(decoder, scores, sizes, longest_s=1.0):
    """The events of each final, with the frame after which it came."""
    phrases, at, turn, found = Phrases(MODELS["words"], decoder, 0.08, longest_s), 0, 0, []
    while at < len(scores):
        size = sizes[turn % len(sizes)]
        for event in phrases.feed(scores[at : at + size]):
            found.append((min(at + size, len(scores)), event))
        at, turn = at + size, turn + 1
    return found + [(len(scores), event) for event in phrases.flush()]


@pytest.mark.parametrize("config", [GreedyConfig(), BeamConfig(beam_size=6), BeamConfig(hotwords=["ab:1"])])
def test_a_phrase_is_what_the_decoder_says_of_its_scores(config):
    """Oracle: phrases cut by hand where eight frames in a row are quiet, each decoded at once, to the bit."""
    model = MODELS["words"]
    decoder = model.decoder(config)
    partials = 0
    for seed in range(6):
        scores = scores_of(seed, 230)
        wanted, first, silent = [], 0, 0
        for frame in range(1, len(scores) + 1):
            silent = silent + 1 if scores[frame - 1].argmax() < 2 else 0
            if (silent == 8 and frame - first > 8) or frame - first == 100 or frame == len(scores):
                part = scores[first:frame]
                heard = model.transcription(decoder.decode(part)[0], part, (frame - first) * model.frame_s)
                start_s = first * model.frame_s
                wanted += [(w.word, start_s + w.start_s, start_s + w.end_s, w.confidence) for w in heard.words]
                first, silent = frame, 0
        events = [event for _, event in phrases_of(decoder, scores, [1])]
        finals = [(one.text, one.start_s, one.end_s, one.confidence) for one in events if one.final]
        assert finals == wanted
        assert events == [event for _, event in phrases_of(decoder, scores, [7, 1, 50])]
        told = []
        for one in events:  # the partial words of a phrase are the first of its final ones
            if not one.final:
                told.append(one.text)
                partials += 1
            elif told:
                assert told.pop(0) == one.text
        assert not told
    assert partials > 10 or isinstance(config, BeamConfig)


@pytest.mark.slow
def test_a_model_that_goes_step_by_step_tells_words_while_they_are_said():
    """Oracle: what was said and when, by a model that has learned it; finals are those of transcribe on each phrase."""
    from conftest import Tones

    tones = Tones(streams=True)
    rng, model = np.random.default_rng(9), tones.recognizer
    decoder = model.decoder(GreedyConfig())
    said, parts = [], []
    for _ in range(6):
        words = tones.words(5, rng)
        waveform, times = tones.say(words, rng)
        at = sum(map(len, parts)) / tones.sample_rate
        said += [(word, at + start, at + end) for word, (start, end) in zip(words, times, strict=True)]
        parts += [waveform, (1e-3 * rng.standard_normal(round(1.2 * tones.sample_rate))).astype(np.float32)]
    waveform = np.concatenate(parts)
    stream, told = model.stream(StreamConfig(pause_s=0.6), decoder), []
    for at in range(0, len(waveform), 160):
        told += [(stream.seconds, one) for one in stream.feed(waveform[at : at + 160], tones.sample_rate)]
    told += [(stream.seconds, one) for one in stream.flush()]
    finals = [one for _, one in told if one.final]
    assert edit_distance([word for word, _, _ in said], [one.text for one in finals]) <= 2  # the model's own errors
    near = [
        any(one.text == word and abs(one.start_s - start) < 0.1 and abs(one.end_s - end) < 0.15 for one in finals)
        for word, start, end in said
    ]
    assert sum(near) >= 27
    partials = [(heard_s, one) for heard_s, one in told if not one.final]
    lags = [heard_s - one.end_s for heard_s, one in partials]
    assert len(partials) >= 24  # of 30: the last of a phrase may wait for the pause
    assert max(lags) < 0.4


def test_a_decoder_that_needs_the_whole_is_refused():
    class Whole:
        gives_words = False

        def decode(self, log_probs):
            return []

    with pytest.raises(ModelError, match="needs whole recordings; choose decoder=beam"):
        MODELS["words"].stream(decoder=Whole())


# Segments


def noise(seconds, level, seed=0):
    return (level * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


@settings(max_examples=10, deadline=None)
@given(sizes=CHUNKS, seed=st.integers(0, 99))
def test_segments_hold_all_that_is_loud(sizes, seed):
    """Oracle: the sounds as they were put between silences; half a pause is around each, chunks make no difference."""
    rng = np.random.default_rng(seed)
    parts, spans, at = [], [], 0.0
    for number in range(4):
        silence_s, sound_s = rng.uniform(0.5, 1.5), rng.uniform(0.2, 1.0)
        parts += [noise(silence_s, 1e-3, number), noise(sound_s, 0.1, number)]
        spans.append((at + silence_s, at + silence_s + sound_s))
        at += silence_s + sound_s
    waveform = torch.from_numpy(np.concatenate([*parts, noise(0.6, 1e-3)]))
    cut, found, at, turn = Segments(RATE, 0.4, 20.0), [], 0, 0
    while at < len(waveform):
        found += cut.feed(waveform[at : at + sizes[turn % len(sizes)]])
        at, turn = at + sizes[turn % len(sizes)], turn + 1
    found += cut.flush()
    assert len(found) == 4
    for one, (start, end) in zip(found, spans, strict=True):
        first = round(one.start_s * RATE)
        assert torch.equal(one.waveform, waveform[first : first + len(one.waveform)])
        assert abs(one.start_s - (start - 0.2)) < 0.03
        assert abs(one.start_s + len(one.waveform) / RATE - (end + 0.2)) < 0.03


def test_silence_is_no_segment_once_speech_is_known():
    """Oracle: by hand. A short word after half a minute of noise is found; without it, and after it, is nothing."""
    waveform = torch.from_numpy(np.concatenate([noise(12, 1e-3), noise(0.3, 0.1), noise(45, 1e-3), noise(0.05, 0.1)]))
    cut = Segments(RATE, 0.4, 20.0)
    (one,) = cut.feed(waveform) + cut.flush()
    assert abs(one.start_s - 11.8) < 0.03
    assert len(cut._levels) <= 4000


def test_a_long_segment_is_cut_in_its_longest_silence():
    """Oracle: by hand: 1.5 s of sound, 0.3 s of silence, sound without end; then sound without any silence."""
    cut = Segments(RATE, 0.5, 2.0)
    waveform = np.concatenate([noise(0.6, 1e-3), noise(1.2, 0.1), noise(0.3, 1e-3), noise(5, 0.1)])
    found = cut.feed(torch.from_numpy(waveform))
    assert abs(found[0].start_s + len(found[0].waveform) / RATE - 1.95) < 0.03
    assert [len(one.waveform) / RATE for one in found[1:]] == [2.0, 2.0]


# Batches and threads


@pytest.mark.parametrize("name", MODELS)
def test_streams_of_a_batch_do_not_know_each_other(name):
    """Oracle: each stream alone."""
    model = MODELS[name]
    waveforms = [sound(9000 + 500 * seed, seed) for seed in range(3)]
    streams, events = [model.stream(CONFIG) for _ in waveforms], [[], [], []]
    for at in range(0, 10000, 700):
        new = feed_together(streams, [waveform[at : at + 700] for waveform in waveforms], RATE)
        events = [[*told, *more] for told, more in zip(events, new, strict=True)]
    for told, more, waveform in zip(events, flush_together(streams), waveforms, strict=True):
        assert_same([*told, *more], events_of(model, waveform, RATE, [700]))


def test_streams_in_threads_share_a_model():
    """Oracle: one after the other."""
    model = MODELS["words"]
    waveforms = [sound(12000, seed) for seed in range(6)]
    wanted = [events_of(model, waveform, RATE, [500]) for waveform in waveforms]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda waveform: events_of(model, waveform, RATE, [500]), waveforms))
    for events, expected in zip(found, wanted, strict=True):
        assert_same(events, expected)


# Samples


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=CHUNKS)
def test_chunks_are_resampled_as_the_whole(rate, sizes):
    """Oracle: read_audio, to the bit; the caller's buffer is used anew for every chunk."""
    waveform = sound(9000, rate=rate)
    whole, _ = read_audio(waveform, 16000, source_rate=rate)
    samples, parts, at, turn = Samples(16000), [], 0, 0
    while at < len(waveform):
        buffer = waveform[at : at + sizes[turn % len(sizes)]].copy()
        parts.append(samples.take(samples.check(buffer, rate), rate))
        buffer[:] = np.nan
        at, turn = at + len(buffer), turn + 1
    assert torch.equal(torch.cat([*parts, samples.flush()]), whole)


def test_bad_chunks_are_one_line_and_the_stream_goes_on():
    model, waveform = MODELS["frames"], sound(8000)
    stream, events = model.stream(CONFIG), []
    bad = waveform[:10].copy()
    bad[4] = np.nan
    for at in range(0, 8000, 500):
        events += stream.feed(waveform[at : at + 500], RATE)
        for chunk, rate, message in (
            (waveform[:10], 16000, "rate=16000 after 8000 Hz"),
            (bad, RATE, f"NaN or infinite samples, the first {(at + 504) / RATE:.3f} s into"),
            (waveform[:320].reshape(160, 2), RATE, r"160 channels.*transpose it to \(channels, samples\)"),
            (waveform[:20].reshape(2, 10), RATE, "2 channels after 1"),
            (waveform.reshape(2, 2, -1), RATE, r"give \(samples,\)"),
            (1000 * waveform, RATE, "full scale is 1"),
            ([0.1, 0.2], RATE, "chunk of type list"),
        ):
            with pytest.raises(AudioError, match=message):
                stream.feed(chunk, rate)
        assert stream.feed(np.zeros(0), RATE) == []
    assert_same(events + stream.flush(), events_of(model, waveform, RATE, [500]))
    with pytest.raises(AudioError, match="rate=10"):
        model.stream().feed(waveform, 10)


def test_chunks_may_be_empty_or_of_half_precision():
    """Oracle: the same samples in float32. A chunk without samples says nothing of the channels, first or later."""
    model, waveform = MODELS["frames"], torch.from_numpy(sound(8000))
    both = torch.stack((waveform, waveform)).bfloat16()
    stream = model.stream(CONFIG)
    events = stream.feed(np.zeros(0), RATE)
    for at in range(0, 8000, 1000):
        events += stream.feed(both[:, at : at + 1000], RATE) + stream.feed(torch.zeros(0), RATE)
    assert_same(events + stream.flush(), events_of(model, waveform.bfloat16().float().numpy(), RATE, [1000]))


def test_settings_out_of_range_name_themselves():
    for wrong in ({"pause_s": 0.0}, {"longest_s": float("nan")}, {"pause_s": 11.0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            StreamConfig(**wrong)


def test_labels_are_what_the_spotter_says_of_the_track():
    """Oracle: the spotter over score_track; a threshold that no score reaches gives nothing."""
    for name in ("frames", "windows"):
        model, waveform = MODELS[name], sound(16000)
        track = score_track(model, waveform, config=CONFIG.windows)
        wanted = KeywordSpotter(LABELS.names, CONFIG.keywords).feed(track.end_s, track.scores)
        found = events_of(model, waveform, RATE, [333])
        assert [(one.text, one.end_s) for one in found] == [(one.label, one.end_s) for one in wanted]
        assert wanted
        never = StreamConfig(windows=CONFIG.windows, keywords=KeywordConfig(thresholds={"yes": 1.0, "no": 1.0}))
        assert events_of(model, waveform, RATE, [333], never) == []


def test_a_planted_pause_that_chunks_decide_is_seen(monkeypatch):
    """The test of phrases must fail where a chunk's end ends the phrase."""
    feed = Phrases.feed
    monkeypatch.setattr(Phrases, "feed", lambda self, scores: feed(self, scores) + self._end())
    with pytest.raises(AssertionError):
        test_a_phrase_is_what_the_decoder_says_of_its_scores(GreedyConfig())


def test_a_stream_that_was_flushed_takes_no_more():
    stream = transcriber().stream()
    stream.feed(np.zeros(RATE, np.float32), RATE)
    stream.flush()
    for go_on in (lambda: stream.feed(np.zeros(1, np.float32), RATE), stream.flush):
        with pytest.raises(ConfigError, match="was flushed and takes no more; make a new one"):
            go_on()
