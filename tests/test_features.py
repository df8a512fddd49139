"""Features against librosa, torchaudio and Kaldi's values on real speech, and the invariants of a batch."""

from __future__ import annotations

import importlib
import math
import os
import pathlib
import warnings
from types import ModuleType

import librosa
import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from torch import Tensor

from speechgru import registry
from speechgru.errors import ConfigError, ModelError
from speechgru.features import (
    MFCC,
    Convention,
    LogMel,
    LogMelConfig,
    LogScale,
    MFCCConfig,
    Normalization,
    Padding,
    Window,
    deltas,
    fingerprint,
    fingerprint_difference,
)
from speechgru.features.frames import Framing
from speechgru.features.mel import mel_filters
from speechgru.features.normalization import normalize_sliding

RATE = 16000
NONE = Normalization.none
GLOBAL = Normalization["global"]


@pytest.fixture(scope="module")
def speech() -> Tensor:
    """Four seconds of a real recording, float32 ``(samples,)``."""
    folder = os.environ.get("SPEECHGRU_DATA")
    if not folder:
        pytest.skip("SPEECHGRU_DATA is not set: no real recordings")
    path = sorted(pathlib.Path(folder, "librispeech_samples").rglob("*.flac"))[0]
    samples, rate = soundfile.read(path, dtype="float32", frames=4 * RATE)
    assert rate == RATE
    return torch.from_numpy(samples)


@pytest.fixture(scope="module")
def torchaudio() -> ModuleType:
    """torchaudio, which has Kaldi's features too; it is an extra."""
    pytest.importorskip("torchaudio.compliance.kaldi", reason="needs the extra torchaudio")
    return importlib.import_module("torchaudio")


def noise(batch: int, samples: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(batch, samples, generator=torch.Generator().manual_seed(seed))


def one(features: LogMel, waveform: Tensor) -> Tensor:
    return features(waveform[None])[0][0]


def difference(first: Tensor, second: Tensor) -> float:
    assert first.shape == second.shape
    return float((first - second).abs().max()) if first.numel() else 0.0


# Equality with the three libraries.


@pytest.mark.parametrize("rate", [8000, 16000, 22050])
@pytest.mark.parametrize("fft_size", [None, 1024])
def test_log_mel_equals_librosa(speech: Tensor, rate: int, fft_size: int | None) -> None:
    """Oracle: librosa.feature.melspectrogram + power_to_db, to 1e-3 dB."""
    config = LogMelConfig(rate, Convention.librosa, mels=32, fft_size=fft_size, high_hz=3800.0, normalization=NONE)
    window, hop = int(rate * 0.025), int(rate * 0.010)
    power = librosa.feature.melspectrogram(
        y=speech.numpy(), sr=rate, n_fft=fft_size or window, win_length=window, hop_length=hop, n_mels=32, fmax=3800.0
    )
    expected = torch.from_numpy(librosa.power_to_db(power)).T
    assert difference(one(LogMel(config), speech), expected) < 1e-3


@pytest.mark.parametrize("lifter", [None, 22.0])
def test_mfcc_equals_librosa(speech: Tensor, lifter: float | None) -> None:
    """Oracle: librosa.feature.mfcc, to 5e-3."""
    config = MFCCConfig(convention=Convention.librosa, coefficients=20, lifter=lifter, normalization=NONE)
    expected = librosa.feature.mfcc(
        y=speech.numpy(), sr=RATE, n_mfcc=20, n_fft=400, hop_length=160, n_mels=40, lifter=lifter or 0
    )
    assert difference(one(MFCC(config), speech), torch.from_numpy(expected).T) < 5e-3


def test_uncentred_frames_equal_librosa(speech: Tensor) -> None:
    """Oracle: librosa.feature.melspectrogram(center=False) with a window shorter than the FFT, relative 1e-4."""
    config = LogMelConfig(
        convention=Convention.librosa, fft_size=512, padding=Padding.none, log=LogScale.none, normalization=NONE
    )
    expected = librosa.feature.melspectrogram(
        y=speech.numpy(), sr=RATE, n_fft=512, win_length=400, hop_length=160, n_mels=40, center=False
    )
    torch.testing.assert_close(one(LogMel(config), speech), torch.from_numpy(expected).T, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("fft_size", [400, 512, 401])
def test_log_mel_equals_torchaudio(speech: Tensor, fft_size: int, torchaudio: ModuleType) -> None:
    """Oracle: torchaudio.transforms.MelSpectrogram and AmplitudeToDB(top_db=80), to 2e-3 dB."""
    config = LogMelConfig(convention=Convention.torchaudio, fft_size=fft_size, normalization=NONE)
    mel = torchaudio.transforms.MelSpectrogram(RATE, fft_size, 400, 160, n_mels=40)(speech)
    expected = torchaudio.transforms.AmplitudeToDB("power", 80.0)(mel).T
    assert difference(one(LogMel(config), speech), expected) < 2e-3


def test_mfcc_equals_torchaudio_at_its_defaults(speech: Tensor, torchaudio: ModuleType) -> None:
    """Oracle: torchaudio.transforms.MFCC() as it comes (128 mels, FFT 400, hop 200), to 5e-3; both warn."""
    config = MFCCConfig(convention=Convention.torchaudio, mels=128, hop_ms=12.5, coefficients=40, normalization=NONE)
    with pytest.warns(UserWarning, match=r"mels=128: \d+ mel bands .* use mels=\d+ or fewer"):
        features = MFCC(config)
    with pytest.warns(UserWarning, match="all zero values"):
        peer = torchaudio.transforms.MFCC()
    assert difference(one(features, speech), peer(speech).T) < 5e-3


@pytest.mark.parametrize("padding", [Padding.none, Padding.mirror])
@pytest.mark.parametrize("window", ["povey", "hamming", "hanning", "blackman", "rectangular"])
def test_log_mel_equals_kaldi(speech: Tensor, padding: Padding, window: str, torchaudio: ModuleType) -> None:
    """Oracle: torchaudio.compliance.kaldi.fbank with dither=0, both values of snip_edges, to 2e-3."""
    config = LogMelConfig(padding=padding, window=Window["hann" if window == "hanning" else window], normalization=NONE)
    expected = torchaudio.compliance.kaldi.fbank(
        speech[None], num_mel_bins=40, dither=0.0, snip_edges=padding is Padding.none, window_type=window
    )
    assert difference(one(LogMel(config), speech), expected) < 2e-3


@pytest.mark.parametrize("rate", [8000, 11025, 16000])
def test_mfcc_equals_kaldi(speech: Tensor, rate: int, torchaudio: ModuleType) -> None:
    """Oracle: torchaudio.compliance.kaldi.mfcc with dither=0, on 16-bit values, to 5e-3."""
    config = MFCCConfig(rate, mels=23, scale=32768.0, preemphasis=0.9, high_hz=3700.0, lifter=20.0, normalization=NONE)
    expected = torchaudio.compliance.kaldi.mfcc(
        speech[None] * 32768,
        sample_frequency=rate,
        dither=0.0,
        preemphasis_coefficient=0.9,
        high_freq=3700.0,
        cepstral_lifter=20.0,
    )
    assert difference(one(MFCC(config), speech), expected) < 5e-3


@pytest.mark.parametrize("window", [3, 5, 9])
def test_deltas_equal_torchaudio(window: int, torchaudio: ModuleType) -> None:
    """Oracle: torchaudio.functional.compute_deltas of each utterance alone, to 1e-5."""
    features, lengths = torch.randn(3, 30, 4, generator=torch.Generator().manual_seed(1)), torch.tensor([30, 17, 1])
    found = deltas(features, lengths, window)
    for row, rows, length in zip(features, found, lengths, strict=True):
        expected = torchaudio.functional.compute_deltas(row[:length].T[None], window)[0].T
        assert difference(rows[:length], expected) < 1e-5


def test_second_deltas_stand_beside_the_first(speech: Tensor, torchaudio: ModuleType) -> None:
    """Oracle: torchaudio.functional.compute_deltas, applied twice."""
    found = one(MFCC(MFCCConfig(deltas=2, normalization=NONE)), speech)
    static = one(MFCC(MFCCConfig(normalization=NONE)), speech)
    first = torchaudio.functional.compute_deltas(static.T[None])
    second = torchaudio.functional.compute_deltas(first)
    torch.testing.assert_close(found, torch.cat([static, first[0].T, second[0].T], dim=1), rtol=1e-5, atol=1e-5)


# Normalisation.


def test_utterance_normalization_gives_zero_mean_and_unit_variance() -> None:
    """Oracle: NumPy's mean and standard deviation over the valid frames."""
    lengths = torch.tensor([16000, 7000])
    features, frames = LogMel(LogMelConfig())(noise(2, 16000), lengths)
    for row, count in zip(features.numpy(), frames.tolist(), strict=True):
        np.testing.assert_allclose(row[:count].mean(0), 0, atol=1e-4)
        np.testing.assert_allclose(row[:count].std(0), 1, atol=1e-3)
    centred = LogMel(LogMelConfig(normalize_variance=False))(noise(2, 16000), lengths)[0][0]
    raw = LogMel(LogMelConfig(normalization=NONE))(noise(2, 16000), lengths)[0][0]
    assert difference(centred, raw - raw.mean(0)) < 1e-4


@pytest.mark.parametrize("convention", list(Convention))
def test_digital_silence_is_exactly_0_when_normalized(convention: Convention) -> None:
    """Oracle: a feature that is constant does not deviate from its mean, whatever rounding makes of that mean."""
    config = LogMelConfig(convention=convention, normalization=Normalization.utterance)
    features, frames = LogMel(config)(torch.zeros(3, 16000), torch.tensor([16000, 7001, 400]))
    assert frames.min() >= 1
    assert (features == 0).all()


@pytest.mark.parametrize("variance", [False, True])
def test_sliding_normalization_equals_torchaudio(variance: bool, torchaudio: ModuleType) -> None:
    """Oracle: torchaudio.functional.sliding_window_cmn of each utterance alone, to 1e-4."""
    features = 3 + torch.randn(2, 150, 5, generator=torch.Generator().manual_seed(2))
    lengths = torch.tensor([150, 61])
    found = normalize_sliding(features, lengths, past=40, lookahead=0, minimum=20, variance=variance)
    for row, rows, length in zip(features, found, lengths, strict=True):
        expected = torchaudio.functional.sliding_window_cmn(row[:length].double(), 40, 20, norm_vars=variance)
        assert difference(rows[:length], expected.float()) < 1e-4


def test_sliding_normalization_looks_ahead() -> None:
    """Oracle: the definition, frame by frame, in NumPy."""
    config = LogMelConfig(
        normalization=Normalization.sliding,
        sliding_window_ms=200.0,
        sliding_lookahead_ms=70.0,
        sliding_minimum_ms=120.0,
    )
    waveform = noise(1, 16000)[0]
    found = one(LogMel(config), waveform).numpy()
    raw = one(LogMel(LogMelConfig(normalization=NONE)), waveform).double().numpy()
    for t in range(len(raw)):
        part = raw[max(0, t - 20) : min(len(raw), max(t + 8, 12))]
        np.testing.assert_allclose(found[t], (raw[t] - part.mean(0)) / part.std(0), atol=1e-4)


def test_global_normalization_is_fitted_kept_and_required() -> None:
    """Oracle: mean and standard deviation of all valid frames, computed in one piece."""
    config = LogMelConfig(normalization=GLOBAL)
    features = LogMel(config)
    with pytest.raises(ModelError, match=r"normalization=global has no statistics: call features.fit"):
        features(noise(1, 8000))
    batches = [(noise(2, 9000, seed), torch.tensor([9000, 4000])) for seed in range(3)]
    features.fit(batches)
    raw = LogMel(LogMelConfig(normalization=NONE))
    rows = torch.cat([row[:count] for batch in batches for row, count in zip(*raw(*batch), strict=True)])
    expected = (one(raw, batches[0][0][0]) - rows.mean(0)) / rows.std(0, correction=0)
    assert difference(one(features, batches[0][0][0]), expected) < 1e-3
    loaded = LogMel(config)
    loaded.load_state_dict(features.state_dict())
    assert sorted(features.state_dict()) == ["fitted", "mean", "std"]
    assert torch.equal(loaded(noise(1, 8000))[0], features(noise(1, 8000))[0])
    assert not LogMel(LogMelConfig()).state_dict()
    with pytest.raises(ConfigError, match="only normalization=global"):
        raw.fit(batches)


# Batches.

CONFIGS = st.builds(
    MFCCConfig,
    convention=st.sampled_from(Convention),
    padding=st.sampled_from([None, *Padding]),
    fft_size=st.sampled_from([None, 512]),
    hop_ms=st.sampled_from([10.0, 30.0]),
    mels=st.just(20),
    deltas=st.integers(0, 2),
    normalization=st.sampled_from([item for item in Normalization if item is not GLOBAL]),
)


@settings(max_examples=40, deadline=None)
@given(config=CONFIGS, lengths=st.lists(st.integers(0, 9000), min_size=1, max_size=4), extra=st.integers(0, 900))
def test_padding_is_inert(config: MFCCConfig, lengths: list[int], extra: int) -> None:
    """Oracle: each utterance alone. Garbage in the padding changes nothing; padded frames are 0."""
    features = MFCC(config)
    waveforms = noise(len(lengths), max(lengths) + extra)
    found, frames = features(waveforms, torch.tensor(lengths))
    assert found.shape == (
        len(lengths),
        features.output_lengths(torch.tensor([waveforms.shape[1]]))[0],
        13 * (1 + config.deltas),
    )
    assert torch.equal(frames, features.output_lengths(torch.tensor(lengths)))
    for waveform, length, row, count in zip(waveforms, lengths, found, frames, strict=True):
        alone = one(features, waveform[:length])
        assert difference(row[:count], alone) < 1e-5
        assert not row[count:].any()


def test_clipping_looks_at_the_utterance_alone() -> None:
    """Oracle: the utterance alone, and librosa: a tone so faint that 0 dB, as the padding has it, is far above it."""
    tone = 1e-2 * torch.sin(2 * math.pi * 1000 * torch.arange(8000) / RATE)
    features = LogMel(LogMelConfig(convention=Convention.librosa, normalization=NONE))
    waveforms = torch.stack([torch.nn.functional.pad(tone, (0, 8000)), noise(1, 16000)[0]])
    found = features(waveforms, torch.tensor([8000, 16000]))[0][0, :51]
    power = librosa.feature.melspectrogram(y=tone.numpy(), sr=RATE, n_fft=400, hop_length=160, n_mels=40)
    expected = torch.from_numpy(librosa.power_to_db(power, top_db=80.0)).T
    assert expected.max() < 0
    assert expected.min() == expected.max() - 80
    assert difference(found, expected) < 1e-2
    assert difference(found, one(features, tone)) < 1e-4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("convention", Convention)
def test_gpu_equals_cpu(convention: Convention) -> None:
    """Oracle: the same module on the CPU, to 1e-2 dB or 1e-3."""
    for normalization in (NONE, Normalization.utterance, Normalization.sliding):
        features = MFCC(MFCCConfig(convention=convention, deltas=1, normalization=normalization))
        waveforms, lengths = noise(4, 20000), torch.tensor([20000, 13001, 399, 0])
        expected, frames = features(waveforms, lengths)
        found, found_frames = features.cuda()(waveforms.cuda(), lengths.cuda())
        assert torch.equal(found_frames.cpu(), frames)
        assert difference(found.cpu(), expected) < 1e-2


@pytest.mark.parametrize("padding", Padding)
@pytest.mark.parametrize("samples", [1, 2, 7, 150, 201, 399])
def test_shorter_than_a_window_is_one_frame(padding: Padding, samples: int) -> None:
    """Oracle: numpy.pad of the same kind, then one frame by hand."""
    config = LogMelConfig(
        convention=Convention.librosa, padding=padding, hop_ms=25.0, log=LogScale.none, mels=20, normalization=NONE
    )
    features, waveform = LogMel(config), noise(1, samples)[0]
    mode = {"zeros": "constant", "none": "constant", "reflect": "reflect", "mirror": "symmetric"}[padding.name]
    left = 0 if padding is Padding.none else features.framing.window // 2 - (200 if padding is Padding.mirror else 0)
    kind = {} if samples > 1 or mode != "reflect" else {"mode": "edge"}
    padded = np.pad(waveform.numpy().astype(np.float64), (left, 800), **{"mode": mode, **kind})[:400]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    filters = librosa.filters.mel(sr=RATE, n_fft=400, n_mels=20)
    expected = filters @ np.abs(np.fft.rfft(padded * window)) ** 2
    found = one(features, waveform)
    assert found.shape == ((2 if padding in (Padding.zeros, Padding.reflect) and samples >= 400 else 1), 20)
    np.testing.assert_allclose(found[0].numpy(), expected, rtol=1e-3, atol=1e-9)


def test_frames_are_counted_by_hand() -> None:
    """Oracle: numbers worked out by hand."""
    kaldi_like = LogMel(LogMelConfig())
    assert kaldi_like.output_lengths(torch.tensor([0, 1, 400, 559, 560, 16000])).tolist() == [0, 1, 1, 1, 2, 98]
    centred = LogMel(LogMelConfig(padding=Padding.zeros))
    assert centred.output_lengths(torch.tensor([0, 1, 159, 160, 16000])).tolist() == [0, 1, 1, 2, 101]
    assert kaldi_like.hop_s == 0.01
    assert MFCC(MFCCConfig(deltas=2)).output_size == 39


def test_empty_batches_have_shapes() -> None:
    """Nothing in, nothing out, with the right sizes."""
    features = MFCC(MFCCConfig(deltas=1))
    assert features(torch.zeros(0, 16000))[0].shape == (0, 98, 26)
    assert features(torch.zeros(2, 0))[0].shape == (2, 0, 26)
    silence, _ = features(torch.zeros(1, 16000))
    assert difference(silence, torch.zeros(1, 98, 26)) < 1e-2


# Gradients, precision, dither.


@pytest.mark.parametrize("convention", Convention)
@pytest.mark.parametrize("window", [None, Window.hamming])
def test_gradient_equals_finite_differences(convention: Convention, window: Window | None) -> None:
    """Oracle: central differences in float64 (torch.autograd.gradcheck)."""
    config = MFCCConfig(
        convention=convention,
        window=window,
        mels=8,
        coefficients=5,
        window_ms=4.0,
        hop_ms=2.0,
        deltas=1,
        high_hz=7000.0,
    )
    features = MFCC(config).double()
    waveforms = noise(2, 150).double().requires_grad_()
    lengths = torch.tensor([150, 97])
    assert torch.autograd.gradcheck(lambda samples: features(samples, lengths)[0], waveforms, atol=1e-4)


def test_autocast_does_not_touch_the_features() -> None:
    """Oracle: the same without autocast."""
    features, waveforms = LogMel(LogMelConfig()), noise(1, 8000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = features(waveforms)[0]
    assert torch.equal(found, features(waveforms)[0])


def test_dither_is_noise_of_training_only() -> None:
    """Oracle: the expected power of white noise, standard deviation^2 * sum of squared weights, per FFT bin."""
    config = LogMelConfig(
        convention=Convention.torchaudio, dither=0.01, log=LogScale.none, mels=20, normalization=NONE, scale=2.0
    )
    features, silence = LogMel(config), torch.zeros(1, 160000)
    torch.manual_seed(0)
    found = one(features.train(), silence[0])[2:-2].mean(0)
    expected = (2 * 0.01) ** 2 * 150 * mel_filters(Convention.torchaudio, RATE, 400, 20, 0.0, 8000.0).sum(0)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=0.15)
    assert not features.eval()(silence)[0].any()


# Settings.


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sample_rate", 7999),
        ("mels", 0),
        ("window_ms", 0.0),
        ("window_ms", 0.5),
        ("hop_ms", 0.0),
        ("hop_ms", 0.01),
        ("fft_size", 399),
        ("low_hz", -1.0),
        ("low_hz", 8000.0),
        ("high_hz", 8001.0),
        ("high_hz", 10.0),
        ("preemphasis", 1.1),
        ("dither", -1.0),
        ("scale", 0.0),
        ("log_floor", 0.0),
        ("top_db", 0.0),
        ("deltas", 3),
        ("delta_window", 4),
        ("sliding_window_ms", 0.0),
        ("sliding_lookahead_ms", -1.0),
        ("sliding_minimum_ms", math.nan),
        ("coefficients", 41),
        ("coefficients", 0),
        ("lifter", -1.0),
    ],
)
def test_impossible_settings_name_the_key(key: str, value: float) -> None:
    """One line with key=value and the legal range."""
    with pytest.raises(ConfigError, match=rf"^{key}={value}: must be .+") as caught:
        MFCCConfig(**{key: value})
    assert "\n" not in str(caught.value)


def test_empty_bands_are_reported_with_a_mend_that_works() -> None:
    """The number of bands named by the warning raises none; one more does."""
    with pytest.warns(UserWarning, match="larger fft_size than 256") as caught:
        LogMel(LogMelConfig(8000, Convention.librosa, mels=200, fft_size=256))
    named = int(str(caught[0].message).split("use mels=")[1].split()[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LogMel(LogMelConfig(8000, Convention.librosa, mels=named, fft_size=256))
    with pytest.warns(UserWarning, match="stay empty"):
        LogMel(LogMelConfig(8000, Convention.librosa, mels=named + 1, fft_size=256))


@pytest.mark.parametrize("name", ["log_mel", "mfcc"])
def test_settings_pass_through_the_registry_and_omegaconf(name: str) -> None:
    """Oracle: the dataclass itself, after each way out and back."""
    config_class, feature_class = registry.entry("features", name)
    config = config_class(normalization=GLOBAL, convention=Convention.librosa, top_db=math.inf, padding=Padding.mirror)
    plain = registry.to_plain(config, "features")
    assert plain["normalization"] == "global"
    assert registry.from_plain(plain, "features") == config
    assert isinstance(registry.build("features", config), feature_class)
    typed = OmegaConf.merge(OmegaConf.structured(config_class), {"normalization": "global", "high_hz": 4000})
    assert OmegaConf.to_object(typed) == config_class(normalization=GLOBAL, high_hz=4000.0)


def test_framing_counts_ints_and_tensors_alike() -> None:
    """Oracle: each other, over every small length, and no frame is ready that the end could still change."""
    for padding in Padding:
        for centred in (False, True):
            framing = Framing.of(10, 4, 16, padding, centred)
            counts = framing.count(torch.arange(100)).tolist()
            assert counts == [framing.count(samples) for samples in range(100)]
            assert all(framing.ready(samples) <= min(counts[samples:]) for samples in range(100))


# Fingerprints.


def test_fingerprint_tells_settings_apart() -> None:
    """Equal settings, equal numbers; any other filterbank, other numbers; training mode and dither change nothing."""
    found = fingerprint(MFCC(MFCCConfig(dither=0.1)).train())
    assert fingerprint_difference(found, fingerprint(MFCC(MFCCConfig()))) == 0
    assert fingerprint_difference(found, fingerprint(MFCC(MFCCConfig(low_hz=0.0)))) > 0.01
    assert fingerprint_difference(found, fingerprint(MFCC(MFCCConfig(hop_ms=12.0)))) == math.inf
    assert all(math.isfinite(value) for row in found["values"] for value in row)
