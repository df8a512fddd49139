"""Features of chunks against features of the whole."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechgru.errors import ConfigError, ModelError
from speechgru.features import MFCC, Convention, LogMel, LogMelConfig, MFCCConfig, Normalization, Padding

STREAMED = [Normalization.none, Normalization.sliding, Normalization["global"]]

CONFIGS = st.builds(
    MFCCConfig,
    convention=st.sampled_from(Convention),
    padding=st.sampled_from([None, *Padding]),
    fft_size=st.sampled_from([None, 512]),
    window_ms=st.sampled_from([25.0, 8.0]),
    hop_ms=st.sampled_from([10.0, 30.0]),
    mels=st.just(13),
    top_db=st.just(math.inf),
    deltas=st.integers(0, 2),
    normalization=st.sampled_from(STREAMED),
    sliding_window_ms=st.sampled_from([50.0, 3000.0]),
    sliding_lookahead_ms=st.sampled_from([0.0, 70.0]),
    sliding_minimum_ms=st.sampled_from([0.0, 100.0]),
)


def fitted(config: MFCCConfig) -> MFCC:
    features = MFCC(config)
    if config.normalization is Normalization["global"]:
        features.fit([(torch.randn(1, 9000, generator=torch.Generator().manual_seed(1)), torch.tensor([9000]))])
    return features


@settings(max_examples=60, deadline=None)
@given(
    config=CONFIGS,
    samples=st.integers(0, 12000),
    sizes=st.lists(st.integers(0, 1500), min_size=1, max_size=5).filter(any),
)
def test_chunks_equal_the_whole(config: MFCCConfig, samples: int, sizes: list[int]) -> None:
    """Oracle: the module on the whole waveform: as many frames, and the same to 1e-5 (to the bit with MKL)."""
    features = fitted(config)
    waveform = 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(samples))
    whole = features(waveform[None])[0][0]
    stream, parts, start, turn = features.stream(), [], 0, 0
    while start < samples:
        size = sizes[turn % len(sizes)]
        parts.append(stream.feed(waveform[start : start + size]))
        start, turn = start + size, turn + 1
    parts.append(stream.flush())
    found = torch.cat(parts)
    assert found.shape == whole.shape
    if torch.backends.mkl.is_available():
        assert torch.equal(found, whole)
    torch.testing.assert_close(found, whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("padding", Padding)
@pytest.mark.parametrize("convention", Convention)
def test_sample_by_sample_equals_the_whole(convention: Convention, padding: Padding) -> None:
    """Oracle: the module on the whole waveform; every moment at which a frame could be given too early occurs."""
    config = MFCCConfig(
        16000, convention, mels=8, coefficients=8, window_ms=4.0, hop_ms=2.0, padding=padding, top_db=math.inf
    )
    config.normalization = Normalization.none
    features, waveform = MFCC(config), 0.1 * torch.randn(300, generator=torch.Generator().manual_seed(3))
    stream = features.stream()
    found = torch.cat([*(stream.feed(sample[None]) for sample in waveform), stream.flush()])
    torch.testing.assert_close(found, features(waveform[None])[0][0], rtol=1e-5, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(config=CONFIGS)
def test_the_samples_that_complete_a_frame(config: MFCCConfig) -> None:
    """Oracle: what a stream gives for so many samples, and for one less."""
    stream = fitted(config).stream()
    needed = stream.samples_for(np.arange(1, 12))
    assert (np.diff(needed) >= 0).all()
    for frames in (1, 2, 11):
        samples = int(needed[frames - 1])
        given = [
            len(fitted(config).stream().feed(0.1 * torch.ones(count))) if count else 0
            for count in (samples, max(0, samples - 1))
        ]
        assert given[0] >= frames > given[1]


def test_frames_come_as_soon_as_they_can() -> None:
    """Oracle: by hand: 400 samples complete the first frame; deltas of order 2 wait for four more frames."""
    stream = LogMel(LogMelConfig(normalization=Normalization.none)).stream()
    assert len(stream.feed(torch.ones(399))) == 0
    assert len(stream.feed(torch.ones(1))) == 1
    assert len(stream.feed(torch.ones(1600))) == 10
    slow = LogMel(LogMelConfig(normalization=Normalization.none, deltas=2)).stream()
    assert [len(slow.feed(torch.ones(size))) for size in (400 + 3 * 160, 160, 160)] == [0, 1, 1]
    assert len(slow.flush()) == 4


def test_memory_does_not_grow() -> None:
    """The stream keeps a fixed number of samples, frames and sums, however long it runs."""
    config = MFCCConfig(normalization=Normalization.sliding, deltas=2, sliding_window_ms=500.0, padding=Padding.mirror)
    stream = fitted(config).stream()
    kept = []
    for _ in range(40):
        stream.feed(torch.zeros(1600))
        kept.append((len(stream._samples._kept), len(stream._deltas._kept), len(stream._sliding._sums)))
    assert kept[-1] == kept[-20]
    assert max(kept[-1]) < 2000


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"normalization": Normalization.utterance}, "normalization=utterance needs the whole utterance"),
        ({"normalization": Normalization.none, "convention": Convention.librosa}, "top_db=80 needs the whole"),
        ({"normalization": Normalization.none, "dither": 0.1}, r"dither=0.1 .* call features.eval\(\)"),
    ],
)
def test_what_needs_the_whole_is_refused(settings_: dict, message: str) -> None:
    """One clear line that names the setting and the mend."""
    with pytest.raises(ConfigError, match=message):
        LogMel(LogMelConfig(**settings_)).stream()


def test_unfitted_statistics_are_refused_in_a_stream_too() -> None:
    """As in the module."""
    with pytest.raises(ModelError, match="has no statistics"):
        LogMel(LogMelConfig(normalization=Normalization["global"])).stream().feed(torch.zeros(1000))
