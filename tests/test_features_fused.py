"""The compiled path of the features against NumPy's Fourier transform and against the differentiable path."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from speechgru import compiled
from speechgru.features import MFCC, Convention, LogMel, LogMelConfig, LogScale, MFCCConfig, Normalization, Padding
from speechgru.features.convention import RULES
from speechgru.features.fourier import LANES
from speechgru.features.frames import Framing
from speechgru.features.fused_spectrum import FusedSpectrum

NONE = Normalization.none

CONFIGS = st.builds(
    MFCCConfig,
    sample_rate=st.sampled_from([8000, 16000]),
    convention=st.sampled_from(Convention),
    padding=st.sampled_from([None, *Padding]),
    fft_size=st.sampled_from([None, 512]),
    window_ms=st.sampled_from([25.0, 6.25]),
    hop_ms=st.sampled_from([0.5, 3.3, 10.0, 30.0]),
    mels=st.just(13),
    log=st.sampled_from([None, LogScale.natural]),
    # Of a constant or a tone the upper bands hold but what rounding leaves, in each path another 1e-10.
    log_floor=st.sampled_from([1e-6, 1e-3]),
    top_db=st.sampled_from([None, math.inf]),
    normalization=st.just(NONE),
)


def noise(batch: int, samples: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(batch, samples, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=80, deadline=None)
@given(config=CONFIGS, lengths=st.lists(st.integers(0, 6000), min_size=1, max_size=4), extra=st.integers(0, 900))
def test_compiled_equals_differentiable(config: MFCCConfig, lengths: list[int], extra: int) -> None:
    """Oracle: the path of plain torch, which a waveform that wants a gradient takes, to 1e-3."""
    features, samples = MFCC(config), torch.tensor(lengths)
    waveforms = noise(len(lengths), max(lengths) + extra)
    wanting = waveforms.clone().requires_grad_()
    assert features.spectrum.fuses(waveforms)
    assert not features.spectrum.fuses(wanting)
    found, frames = features(waveforms, samples)
    expected, expected_frames = features(wanting, samples)
    assert torch.equal(frames, expected_frames)
    torch.testing.assert_close(found, expected.detach(), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("fft_size", [16, 24, 40, 50, 200, 400, 480, 512, 1000, 1024, 1200, 2048])
@pytest.mark.parametrize("hop", [3, 8, 21, 400])
def test_powers_equal_numpy(fft_size: int, hop: int) -> None:
    """Oracle: numpy.fft.rfft in double precision, every bin by itself, window and ends by hand; 1e-6 of the largest."""
    window = fft_size - fft_size // 5
    framing = Framing.of(window, hop, fft_size, Padding.none, window_is_centred_in_fft=False)
    weights = torch.hann_window(window, dtype=torch.float64) + 0.1
    rules = dataclasses.replace(RULES[Convention.kaldi], preemphasis=0.0, remove_dc=False, log=LogScale.none)
    padded = torch.nn.functional.pad(weights, (0, fft_size - window))
    spectrum = FusedSpectrum(framing, rules, padded, torch.eye(fft_size // 2 + 1))
    signals = noise(2, window + hop * (LANES + 2))
    found = spectrum.of_signals(signals).numpy()
    rows = np.lib.stride_tricks.sliding_window_view(signals.numpy().astype(np.float64), window, axis=1)[:, ::hop]
    expected = np.abs(np.fft.rfft(rows * weights.numpy(), fft_size)) ** 2
    assert found.shape == expected.shape == (2, LANES + 3, fft_size // 2 + 1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * expected.max())


@pytest.mark.parametrize("padding", Padding)
@pytest.mark.parametrize("convention", Convention)
def test_gradients_flow_in_single_precision(convention: Convention, padding: Padding) -> None:
    """Oracle: the gradient in double precision, to 1e-3 of its largest value; the compiled path must step aside."""
    config = MFCCConfig(convention=convention, padding=padding, top_db=math.inf, normalization=NONE)
    waveforms, lengths = noise(2, 3000), torch.tensor([3000, 1700])
    gradients = []
    for features in (MFCC(config), MFCC(config).double()):
        signal = waveforms.clone().to(features.spectrum.weights.dtype).requires_grad_()
        features(signal, lengths)[0].square().sum().backward()
        assert signal.grad is not None
        gradients.append(signal.grad.double())
    assert float((gradients[0] - gradients[1]).abs().max()) < 1e-3 * float(gradients[1].abs().max())


def test_the_logarithm_is_one() -> None:
    """Oracle: torch.log in double precision of the same features without it, from silence to 1e12; to 2e-6."""
    waveforms = noise(19, 4000) * 10.0 ** torch.arange(-12, 7)[:, None]
    config = LogMelConfig(normalization=NONE, log_floor=1e-30)
    powers = LogMel(dataclasses.replace(config, log=LogScale.none))(waveforms)[0].double()
    found = LogMel(dataclasses.replace(config, log=LogScale.natural))(waveforms)[0].double()
    torch.testing.assert_close(found, powers.clamp(min=1e-30).log(), rtol=1e-7, atol=2e-6)


@pytest.mark.parametrize(("fft_size", "smooth"), [(400, True), (480, True), (401, False), (448, False), (675, False)])
def test_sizes_without_a_compiled_transform_take_the_other_path(fft_size: int, smooth: bool) -> None:
    """Oracle: by hand: 448 = 2^6 * 7, 675 = 3^3 * 5^2; values: the module in double precision, to 1e-3."""
    features, waveforms = LogMel(LogMelConfig(fft_size=fft_size, normalization=NONE)), noise(2, 4000)
    assert features.spectrum.fuses(waveforms) == smooth
    found = features(waveforms)[0]
    torch.testing.assert_close(found.double(), features.double()(waveforms.double())[0], rtol=1e-4, atol=1e-3)


def test_what_is_not_a_number_is_not_hidden() -> None:
    """Oracle: by hand: sample 1000 lies in frames 4 to 6 of 25/10 ms; every other frame is the same to the bit."""
    features, waveforms = MFCC(MFCCConfig(normalization=NONE)), noise(1, 16000)
    expected = features(waveforms)[0][0]
    for value in (math.nan, math.inf):
        broken = waveforms.clone()
        broken[0, 1000] = value
        found = features(broken)[0][0]
        spoiled = ~found.isfinite().all(1)
        assert spoiled.nonzero()[:, 0].tolist() == [4, 5, 6]
        assert torch.equal(found[~spoiled], expected[~spoiled])


def test_a_frame_does_not_depend_on_its_place_in_a_block() -> None:
    """Oracle: the same frames cut out at every offset, to the bit."""
    features, waveform = LogMel(LogMelConfig(normalization=NONE)), noise(1, 16000)
    whole = features(waveform)[0][0]
    for skipped in range(1, 20):
        assert torch.equal(features(waveform[:, 160 * skipped :])[0][0], whole[skipped:])


def test_any_memory_layout_will_do_and_none_is_written() -> None:
    """Oracle: the contiguous tensor; rows cut from longer ones, columns, strided lengths, inference tensors."""
    features, waveforms = MFCC(MFCCConfig()), noise(3, 4000)
    lengths = torch.tensor([4000, 2500, 399])
    before, expected = waveforms.clone(), features(waveforms, lengths)[0]
    padded = torch.nn.functional.pad(waveforms, (7, 9), value=5.0)[:, 7:4007]
    strided = torch.stack([lengths, lengths], dim=1)[:, 0]
    for layout in (padded, waveforms.T.contiguous().T):
        assert not layout.is_contiguous()
        assert torch.equal(features(layout, strided)[0], expected)
    with torch.inference_mode():
        assert torch.equal(features(waveforms, lengths)[0], expected)
    assert torch.equal(features(waveforms, lengths.int())[0], expected)
    assert torch.equal(waveforms, before)


def test_a_module_that_has_run_can_be_copied_pickled_and_switched() -> None:
    """Oracle: the module itself, to the bit; without the compiler to 1e-3."""
    features, waveforms = MFCC(MFCCConfig()), noise(1, 4000)
    expected = features(waveforms)[0]
    for twin in (copy.deepcopy(features), pickle.loads(pickle.dumps(features))):
        assert torch.equal(twin(waveforms)[0], expected)
    with compiled.disabled():
        assert not features.spectrum.fuses(waveforms)
        torch.testing.assert_close(features(waveforms)[0], expected, rtol=1e-4, atol=1e-3)
    assert features.double()(waveforms)[0].dtype == torch.float64
    assert torch.equal(features.float()(waveforms)[0], expected)


def test_the_compiler_is_not_imported_with_the_features() -> None:
    """Oracle: sys.modules of a fresh process, before and after the first frames."""
    code = """
import sys, torch
from speechgru.features import LogMel
features = LogMel()
print("numba" in sys.modules)
features(torch.zeros(1, 16000))
print("numba" in sys.modules)
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.split() == ["False", "True"]
