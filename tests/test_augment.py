"""Augmentation as physics: ratios, delays, decibels and pitches measured in what comes out; seeds, padding, ranges."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speechgru.audio import read_audio
from speechgru.augment import (
    Augment,
    AugmentConfig,
    Bandwidth,
    BandwidthConfig,
    Equalizer,
    EqualizerConfig,
    Gain,
    GainConfig,
    MaskFill,
    Noise,
    NoiseConfig,
    Pause,
    PauseConfig,
    Room,
    RoomConfig,
    Shift,
    ShiftConfig,
    SpecAugment,
    SpecAugmentConfig,
    Speed,
    SpeedConfig,
    VocalTract,
    VocalTractConfig,
    add_noise,
    background,
    change_speed,
    coloured_noise,
    cut_above,
    equalize,
    reverberate,
    shifted,
    synthetic_response,
)
from speechgru.augment.recordings import Recordings
from speechgru.augment.vocal_tract import source_hz
from speechgru.errors import AudioError, ConfigError
from speechgru.registry import build, from_plain, to_plain

RATE = 16_000
recordings = pytest.mark.skipif(
    "SPEECHGRU_DATA" not in os.environ, reason="SPEECHGRU_DATA is unset: no real recordings"
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def tone(hz: float, samples: int = RATE) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(samples) / RATE).astype(np.float32)


def speech(samples: int = RATE) -> np.ndarray:
    """Noise that rises and falls four times a second."""
    loudness = np.abs(np.sin(4 * np.pi * np.arange(samples) / RATE))
    return (0.1 * rng(7).standard_normal(samples) * loudness).astype(np.float32)


def power_db(samples: np.ndarray) -> float:
    return 10 * np.log10(np.mean(samples.astype(np.float64) ** 2))


def peak_hz(samples: np.ndarray) -> float:
    """The strongest frequency, by parabolic interpolation of a windowed spectrum."""
    size = 8 * len(samples)
    spectrum = np.log(np.abs(np.fft.rfft(samples * np.hanning(len(samples)), size)) + 1e-12)
    k = int(spectrum.argmax())
    left, middle, right = spectrum[k - 1 : k + 2]
    return (k + (left - right) / (2 * (left - 2 * middle + right))) * RATE / size


# Shift, gain, speed.


@pytest.mark.parametrize("by", [-16_001, -16_000, -700, -1, 0, 1, 700, 16_000, 20_000])
def test_shifted(by):
    """Oracle: numpy's roll with the wrapped part put to zero."""
    x = speech()
    expected = np.roll(x, by)
    if by >= 0:
        expected[:by] = 0
    else:
        expected[by:] = 0
    assert np.array_equal(shifted(x, by), expected)


def test_shift_moves_an_impulse_by_the_drawn_number_of_samples():
    """Oracle: the same draw from a second generator; over many draws all of +-max_ms is used and no more."""
    x = np.zeros(RATE, np.float32)
    x[8000] = 1
    moves = []
    for seed in range(300):
        out = Shift(ShiftConfig(probability=1.0, max_ms=100))(x, RATE, rng(seed))
        twin = rng(seed)
        twin.random()
        moves.append(int(out.argmax()) - 8000)
        assert moves[-1] == twin.integers(-1600, 1601)
        assert out.sum() == 1
    assert min(moves) < -1500
    assert max(moves) > 1500
    short = np.ones(11, np.float32)
    assert all(Shift(ShiftConfig(1.0, 1000))(short, RATE, rng(seed)).sum() >= 6 for seed in range(50))


@pytest.mark.parametrize("gain_db", [-20.0, 0.0, 6.0])
def test_gain_in_db(gain_db):
    """Oracle: power measured before and after."""
    out = Gain(GainConfig(1.0, gain_db, gain_db))(speech(), RATE, rng())
    assert power_db(out) - power_db(speech()) == pytest.approx(gain_db, abs=1e-4)
    assert out.dtype == np.float32


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.1, 1.25])
def test_speed_moves_a_tone_and_the_length(factor):
    """Oracle: a 1000 Hz tone played 1.1 times as fast is one of 1100 Hz and 1 / 1.1 as long, equally loud."""
    out = Speed(SpeedConfig(1.0, factor, factor))(tone(1000), RATE, rng())
    assert len(out) == round(RATE / factor)
    assert peak_hz(out) == pytest.approx(1000 * factor, abs=0.1)
    assert np.abs(out - tone(1000 * factor, len(out)))[300:-300].max() < 1e-3
    assert out.dtype == np.float32


@pytest.mark.parametrize("silence", [0.0, 1.0])
def test_pauses_stand_around_the_clip(silence):
    """Oracle: the clip is in the middle to the bit; pauses are zeros, or as loud as its quietest stretch; all lengths
    up to the longest are drawn, short ones more often: their median is a quarter of it.
    """
    x = speech()
    x[4000:6000] = 0.001 * rng(5).standard_normal(2000)
    before, after = [], []
    for seed in range(300):
        out = Pause(PauseConfig(1.0, 0.5, silence))(x, RATE, rng(seed))
        place = next(at for at in np.flatnonzero(out == x[1]) - 1 if np.array_equal(out[at : at + len(x)], x))
        before.append(place)
        after.append(len(out) - len(x) - place)
        added = np.concatenate([out[:place], out[place + len(x) :]])
        assert silence == 0 or not added.any()
        assert out.dtype == np.float32
    for lengths in (before, after):
        assert 7600 < max(lengths) <= 8000  # 300 draws below it: 0.95 ** 150
        assert np.median(lengths) == pytest.approx(2000, rel=0.25)
    if not silence:
        assert power_db(background(x, RATE, 160_000, rng())) == pytest.approx(-60, abs=1)
    assert not background(np.zeros(100, np.float32), RATE, 50, rng()).any()
    assert len(background(np.ones(1, np.float32), RATE, 5, rng())) == 5


def test_background_has_the_colour_of_the_quietest_stretch():
    """Oracle: the power of a tone of 1 kHz in it, which loud noise stands beside."""
    x = np.concatenate([speech(), 0.001 * tone(1000)])
    spectrum = np.abs(np.fft.rfft(background(x, RATE, RATE, rng()))) ** 2
    assert spectrum[950:1051].sum() > 0.95 * spectrum.sum()  # 100 ms see 10 Hz; the edges spread 4 % further


@pytest.mark.parametrize("hz", [2000.0, 3400.0, 7000.0])
def test_high_frequencies_are_cut(hz):
    """Oracle: tones: what lies below nine tenths stays, what lies above is gone."""
    kept, gone = np.round(0.85 * hz), np.round(1.02 * hz)
    assert np.abs(cut_above(tone(kept), RATE, hz) - tone(kept)).max() < 1e-5
    assert power_db(cut_above(tone(gone), RATE, hz)) < -90
    out = Bandwidth(BandwidthConfig(1.0, hz, hz))(speech(), RATE, rng())
    assert np.array_equal(out, cut_above(speech(), RATE, hz))
    assert out.dtype == np.float32
    assert np.array_equal(Bandwidth(BandwidthConfig(1.0, 8000, 9000))(speech(), RATE, rng()), speech())


@pytest.mark.parametrize("hz", [31.25, 62.5, 125, 250, 500, 2000, 8000 / 2**0.5])
def test_the_equalizer_gives_each_frequency_its_gain(hz):
    """Oracle: a tone between two points comes out with the gain of the straight line in dB over octaves."""
    hz = round(hz)  # a whole number of periods
    gains_db = np.array([-9.0, -3.0, 8.0, 0.0, 5.0, 1.0, -6.0, 10.0])  # one for each octave from 62.5 to 8000 Hz
    expected = np.interp(np.log2(max(hz, 62.5) / 62.5), np.arange(8), gains_db)
    out = equalize(tone(hz), RATE, gains_db)
    assert power_db(out) - power_db(tone(hz)) == pytest.approx(expected, abs=1e-4)
    assert np.abs(out - 10 ** (expected / 20) * tone(hz)).max() < 1e-4  # no delay


def test_the_equalizer_draws_within_its_range():
    """Oracle: with one octave a point, the power of a tone on it tells the gain that was drawn."""
    draw = Equalizer(EqualizerConfig(1.0, max_db=6.0, points=8))
    random = rng(1)
    gains = [power_db(draw(tone(500), RATE, random)) - power_db(tone(500)) for _ in range(200)]
    assert -6 <= min(gains) < -5
    assert 5 < max(gains) <= 6
    assert abs(np.mean(gains)) < 4 * 6 / 3**0.5 / 200**0.5  # even: four deviations of the mean
    assert draw(speech(1), RATE, random).dtype == np.float32
    assert not len(draw(speech(0), RATE, random))


def test_speed_does_not_alias():
    """Oracle: 7 kHz at 1.25 times the speed is above the Nyquist frequency and must vanish."""
    assert power_db(change_speed(tone(7000), 1.25)[300:-300]) < -70
    assert len(change_speed(np.ones(1, np.float32), 2.0)) == 1


# Noise.


@pytest.mark.parametrize("snr_db", [-10.0, 0.0, 20.0])
def test_added_noise_has_the_ratio(snr_db):
    """Oracle: torchaudio.functional.add_noise, and the ratio measured."""
    torchaudio = pytest.importorskip("torchaudio", reason="needs the extra torchaudio")

    x, noise = speech(), 3 * rng(1).standard_normal(RATE).astype(np.float32)
    out = add_noise(x, noise, snr_db)
    assert power_db(x) - power_db(out - x) == pytest.approx(snr_db, abs=0.02)
    parts = [torch.from_numpy(part)[None] for part in (x, noise)]
    expected = torchaudio.functional.add_noise(*parts, torch.tensor([snr_db]))[0].numpy()
    assert np.abs(out - expected).max() < 1e-5


@pytest.mark.parametrize("folder", [False, True])
def test_noise_has_the_drawn_ratio(tmp_path, folder):
    """Oracle: the second draw of a generator of the same seed is the ratio."""
    if folder:
        soundfile.write(tmp_path / "short.wav", 0.5 * rng(3).uniform(-1, 1, 5000), RATE)
        soundfile.write(tmp_path / "long.flac", 0.5 * rng(4).uniform(-1, 1, 70_000), 22_050)
    noise = Noise(NoiseConfig(1.0, str(tmp_path) if folder else "", -5, 25))
    for seed in range(20):
        twin = rng(seed)
        twin.random()
        out = noise(speech(), RATE, rng(seed))
        assert power_db(speech()) - power_db(out - speech()) == pytest.approx(twin.uniform(-5, 25), abs=0.1)


def test_noise_of_a_folder_is_an_excerpt_of_it(tmp_path):
    """Oracle: correlation of what was added with the recording is 1 at one place."""
    recorded = (0.5 * rng(3).uniform(-1, 1, 3 * RATE)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", recorded, RATE, subtype="FLOAT")
    x = speech()
    places = set()
    for seed in range(5):
        added = Noise(NoiseConfig(1.0, str(tmp_path)))(x, RATE, rng(seed)) - x
        correlation = np.correlate(recorded, added, "valid")
        place = int(correlation.argmax())
        part = recorded[place : place + RATE]
        assert correlation[place] / np.sqrt((part @ part) * (added @ added)) > 0.999
        places.add(place)
    assert len(places) == 5


def test_short_noise_is_repeated_from_a_drawn_place(tmp_path):
    """Oracle: what is added has the period of the recording, and begins elsewhere with every seed."""
    soundfile.write(tmp_path / "a.wav", 0.5 * rng(3).uniform(-1, 1, 5000), RATE, subtype="FLOAT")
    held = Recordings(str(tmp_path), 64)
    whole, starts = held.whole(0, RATE), set()
    for seed in range(5):
        excerpt = held.excerpt(0, RATE, RATE, rng(seed))
        assert np.array_equal(excerpt[5000:], excerpt[:-5000])
        starts.add(int(np.abs(whole - excerpt[0]).argmin()))
        assert np.array_equal(np.roll(whole, -int(np.abs(whole - excerpt[0]).argmin())), excerpt[:5000])
    assert len(starts) == 5


def test_no_ratio_no_noise(tmp_path):
    """Silence has no ratio to anything: nothing is added and nothing becomes NaN."""
    zeros = np.zeros(RATE, np.float32)
    assert np.array_equal(add_noise(zeros, speech(), 10), zeros)
    assert np.array_equal(add_noise(speech(), zeros, 10), speech())
    soundfile.write(tmp_path / "silent.wav", zeros, RATE)
    assert np.array_equal(Noise(NoiseConfig(1.0, str(tmp_path)))(speech(), RATE, rng()), speech())
    assert not Noise(NoiseConfig(1.0))(zeros, RATE, rng()).any()


@pytest.mark.parametrize("slope", [0.0, 1.0, 2.0])
def test_colour_of_noise(slope):
    """Oracle: scipy's Welch estimate; the density falls by 3.01 dB times the slope per octave."""
    import scipy.signal

    hz, density = scipy.signal.welch(coloured_noise(20 * RATE, RATE, slope, rng()), RATE, nperseg=4096)
    band = (hz > 100) & (hz < 7000)
    fitted = np.polyfit(np.log2(hz[band]), 10 * np.log10(density[band]), 1)[0]
    assert fitted == pytest.approx(-10 * np.log10(2) * slope, abs=0.1)
    below = np.abs(np.fft.rfft(coloured_noise(RATE, RATE, slope, rng())))
    assert below[:20].max() < 1e-4 * below[20:].max()
    for samples in (1, 2, 9, 16_001):
        noise = coloured_noise(samples, RATE, slope, rng())
        assert noise.shape == (samples,)
        assert noise.dtype == np.float32


def test_recordings_are_the_same_whatever_the_cache_holds(tmp_path):
    """Oracle: a cache of nothing. The cache is bounded, and the least recently used recording leaves it."""
    for number in range(5):
        soundfile.write(tmp_path / f"{number}.flac", 0.5 * rng(number).uniform(-1, 1, 40_000), 20_000)
    one_mb, nothing = Recordings(str(tmp_path), 0.3), Recordings(str(tmp_path), 0.0)
    for seed in range(30):
        excerpts = [held.excerpt(seed % 5, RATE, 10_000 + seed, rng(seed)) for held in (one_mb, nothing)]
        assert np.array_equal(*excerpts)
        held_bytes = sum(samples.nbytes for samples in one_mb._whole.values())
        assert held_bytes == one_mb._held_bytes <= 0.3 * 2**20
    assert [key[0] for key in one_mb._whole] == [3, 4]
    for index in (3, 0):  # 3 was used again, so 4 leaves
        one_mb.whole(index, RATE)
    assert [key[0] for key in one_mb._whole] == [3, 0]
    assert not nothing._whole


def test_long_recordings_are_read_by_excerpt(tmp_path, monkeypatch):
    """Oracle: the whole recording, in which the excerpt is found; the decoder is asked for no more than needed."""
    monkeypatch.setattr("speechgru.augment.recordings._LONGEST_WHOLE_S", 2.0)
    recorded = (0.5 * rng(3).uniform(-1, 1, 4 * RATE)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", recorded, RATE, subtype="FLOAT")
    held = Recordings(str(tmp_path), 64)
    for seed in range(10):
        excerpt = held.excerpt(0, RATE, RATE, rng(seed))
        place = int(np.correlate(recorded, excerpt, "valid").argmax())
        assert np.array_equal(excerpt, recorded[place : place + RATE])
    assert not held._whole
    assert len(held.excerpt(0, RATE, 5 * RATE, rng())) == 5 * RATE


def test_folders_that_are_not_there(tmp_path):
    for kind in ("noise", "room"):
        for folder, words in [(tmp_path / "gone", "no such file"), (tmp_path, "no audio file")]:
            config = AugmentConfig()
            getattr(config, kind).folder = str(folder)
            Augment(config)  # off: not looked at
            getattr(config, kind).probability = 0.5
            with pytest.raises(AudioError, match=words):
                Augment(config)


# Rooms.


def test_a_single_tap_is_no_room():
    """Oracle: identity, wherever the tap stands, however large and of whichever sign it is."""
    for place, height in [(0, 1.0), (0, 0.1), (300, 1.0), (20_000, -2.0)]:
        response = np.zeros(place + 50, np.float32)
        response[place] = height
        assert np.abs(reverberate(speech(), response) - speech()).max() < 1e-6


@pytest.mark.parametrize(("taps", "direct"), [(10, 3), (4000, 120), (40_000, 900), (20_000, 19_000), (40_000, 39_000)])
def test_room_is_a_convolution_aligned_to_the_direct_path(taps, direct):
    """Oracle: scipy.signal.fftconvolve in float64, from the largest tap on, scaled to the energy of the input."""
    import scipy.signal

    x = speech()
    response = rng(5).uniform(-0.5, 0.5, taps).astype(np.float32)
    response[direct] = 0.9
    expected = scipy.signal.fftconvolve(x.astype(np.float64), response.astype(np.float64))[direct : direct + len(x)]
    expected *= np.sqrt((x @ x) / (expected @ expected))
    out = reverberate(x, response)
    assert out.shape == x.shape
    assert out.dtype == np.float32
    assert np.abs(out - expected).max() < 1e-5
    assert power_db(out) == pytest.approx(power_db(x), abs=1e-3)


@pytest.mark.parametrize(("rt60_s", "direct_db"), [(0.2, 10.0), (0.5, 0.0)])
def test_synthetic_response_decays_as_it_says(rt60_s, direct_db):
    """Oracle: slope of Schroeder's backward-integrated energy between -5 and -25 dB, and the two energies."""
    response = synthetic_response(RATE, rt60_s, direct_db, rng()).astype(np.float64)
    energy = response[1:] ** 2
    assert 10 * np.log10(response[0] ** 2 / energy.sum()) == pytest.approx(direct_db, abs=1e-3)
    decay_db = 10 * np.log10(energy[::-1].cumsum()[::-1] / energy.sum())
    part = (decay_db < -5) & (decay_db > -25)
    slope = np.polyfit(np.arange(len(energy))[part] / RATE, decay_db[part], 1)[0]
    assert -60 / slope == pytest.approx(rt60_s, rel=0.1)


def test_rooms_of_silence():
    zeros = np.zeros(RATE, np.float32)
    assert not Room(RoomConfig(1.0))(zeros, RATE, rng()).any()
    assert np.array_equal(reverberate(speech(), np.zeros(100, np.float32)), speech())
    assert np.isfinite(Room(RoomConfig(1.0))(np.ones(1, np.float32), RATE, rng())).all()


# SpecAugment and vocal tract length.


def frames(batch: int = 8, length: int = 120, bands: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    features = torch.randn(batch, length, bands, generator=torch.Generator().manual_seed(3)) + 5
    return features, torch.linspace(1, length, batch).long()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("fill", list(MaskFill))
@pytest.mark.parametrize("groups", [1, 2])
def test_masks_are_rectangles_of_legal_width_and_fill(fill, groups):
    """Oracle: what changed is reconstructed as whole frames and whole bands, and what stands there is compared."""
    features, lengths = frames()
    config = SpecAugmentConfig(1.0, 1, 20, 0.3, 1, 6, fill, groups)
    widths: set[int] = set()
    for seed in range(60):
        out = SpecAugment(config)(features, lengths, generator(seed))
        for row, (before, after) in enumerate(zip(features, out, strict=True)):
            length = int(lengths[row])
            changed = before != after
            assert not changed[length:].any()
            in_time = changed[:length].all(1)
            in_bands = changed[:length].all(0)
            assert torch.equal(changed[:length], in_time[:, None] | in_bands)
            for mask, widest in [(in_time, min(20, int(0.3 * length))), (in_bands[: 40 // groups], 6)]:
                places = mask.nonzero()[:, 0]
                if 0 < len(places) < len(mask):
                    assert len(places) <= widest
                    assert int(places[-1] - places[0]) + 1 == len(places)
            if length == 120 and not in_bands.all():
                widths.add(int(in_time.sum()))
            assert groups == 1 or torch.equal(in_bands[:20], in_bands[20:])
            for group in range(groups):
                part = slice(group * 40 // groups, (group + 1) * 40 // groups)
                expected = before[:length, part].mean() if fill is MaskFill.mean else torch.tensor(0.0)
                under = after[:length, part][changed[:length, part]]
                assert torch.allclose(under, expected.expand_as(under), atol=1e-5)
    assert min(widths) <= 1
    assert max(widths) >= 19


def test_masks_reach_every_frame_and_band():
    """Oracle: counts over many draws: no frame or band is out of reach, and the mean width is half the largest."""
    features, lengths = torch.ones(4000, 50, 20), torch.full((4000,), 50)
    config = SpecAugmentConfig(1.0, 1, 10, 1.0, 0, 0, MaskFill.zero)
    hidden = (SpecAugment(config)(features, lengths, generator()) == 0)[:, :, 0].float()
    assert hidden.sum(1).mean() == pytest.approx(5, abs=0.2)
    assert (hidden.mean(0) > 0.005).all()
    config = SpecAugmentConfig(0.5, 0, 0, 1.0, 1, 7, MaskFill.zero)
    hidden = (SpecAugment(config)(features, lengths, generator()) == 0)[:, 0, :].float()
    assert hidden.sum(1).mean() == pytest.approx(1.75, abs=0.1)
    assert (hidden.mean(0) > 0.005).all()


@pytest.mark.parametrize("augment", [SpecAugment(SpecAugmentConfig(0.7)), VocalTract(VocalTractConfig(0.7))])
def test_padding_is_inert(augment):
    """Oracle: the same batch with more, and other, padding: valid frames equal to the bit, padding untouched."""
    features, lengths = frames()
    padded = torch.cat([features, torch.full((8, 33, 40), float("nan"))], 1)
    for row, length in enumerate(lengths):
        padded[row, length:] = float("nan")
    short, long = augment(features, lengths, generator()), augment(padded, lengths, generator())
    assert not torch.equal(short, features)
    for row, length in enumerate(lengths):
        assert torch.equal(short[row, :length], long[row, :length])
        assert torch.equal(short[row, length:], features[row, length:])
        assert long[row, length:].isnan().all()


def test_warp_equals_the_formula_of_the_paper():
    """Oracle: Jaitly and Hinton's equation written down anew, forward; the inverse must undo it."""
    high, boundary = 8000.0, 4800.0
    f = np.linspace(0, high, 1001)
    for a in (0.8, 0.9, 1.0, 1.1, 1.2):
        knee = boundary * min(a, 1) / a
        slope = (high - boundary * min(a, 1)) / (high - knee)
        warped = np.where(f <= knee, f * a, high - slope * (high - f))
        back = source_hz(torch.from_numpy(warped), torch.tensor(a, dtype=torch.float64), boundary, high)
        assert np.abs(back.numpy() - f).max() < 1e-6


@pytest.mark.parametrize("factor", [0.9, 1.1])
@pytest.mark.parametrize("hz", [700.0, 1500.0, 3000.0])
def test_warp_moves_a_tone(factor, hz):
    """Oracle: log-mel frames (torchaudio) of a tone of factor * hz peak where the warped frames of a tone of hz do."""
    torchaudio = pytest.importorskip("torchaudio", reason="needs the extra torchaudio")

    mel = torchaudio.transforms.MelSpectrogram(RATE, 1024, 1024, 512, 20.0, 8000.0, n_mels=80)
    before, moved = ((mel(torch.from_numpy(tone(f))).T + 1e-6).log()[None] for f in (hz, hz * factor))
    warp = VocalTract(VocalTractConfig(1.0, factor, factor))
    after = warp(before, torch.tensor([before.shape[1]]), generator())

    def centre(frames: torch.Tensor) -> float:
        weight = frames[0, 5:-5].mean(0).exp()
        return float((weight * torch.arange(80)).sum() / weight.sum())

    assert abs(centre(after) - centre(moved)) < 0.75  # the values are interpolated, so a line of one band is not exact
    assert abs(centre(after) - centre(before)) > 1


def test_warp_interpolates_linearly_and_alike_in_deltas():
    """Oracle: numpy.interp at the positions; a factor of 1 changes nothing; groups are warped each by itself."""
    features, lengths = frames(4, 30, 40)
    lengths[:] = 30
    warp = VocalTract(VocalTractConfig(1.0, 0.8, 1.25, groups=2))
    out = warp(features, lengths, generator(2))
    factor = 0.8 + 0.45 * torch.rand(2, 4, generator=generator(2))[1]
    positions = warp.positions(20, factor).numpy()
    for row in range(4):
        for part in (slice(0, 20), slice(20, 40)):
            for t in (0, 29):
                expected = np.interp(positions[row], np.arange(20), features[row, t, part].numpy())
                assert np.abs(out[row, t, part].numpy() - expected).max() < 1e-5
    same = VocalTract(VocalTractConfig(1.0, 1.0, 1.0))(features, lengths, generator())
    assert torch.equal(same, features)


def test_gradients_and_half_precision_pass():
    features, lengths = frames()
    for augment in (SpecAugment(SpecAugmentConfig(1.0)), VocalTract(VocalTractConfig(1.0))):
        leaf = features.clone().requires_grad_()
        augment(leaf, lengths, generator()).sum().backward()
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()
        assert augment(features.bfloat16(), lengths, generator()).dtype == torch.bfloat16


# The chain.


def everything(folder: str = "") -> AugmentConfig:
    return AugmentConfig(
        speed=SpeedConfig(0.5),
        shift=ShiftConfig(0.5),
        pause=PauseConfig(0.5),
        equalizer=EqualizerConfig(0.5),
        bandwidth=BandwidthConfig(0.5),
        room=RoomConfig(0.5, folder, synthetic=0.5),
        noise=NoiseConfig(0.8, folder, synthetic=0.5),
        gain=GainConfig(0.5),
        vocal_tract=VocalTractConfig(0.5),
        spectrogram=SpecAugmentConfig(0.5),
    )


def test_the_default_does_nothing():
    augment = Augment(AugmentConfig())
    waveform, (features, lengths) = torch.from_numpy(speech()), frames()
    random = rng()
    state = random.bit_generator.state
    assert augment.waveform(waveform, RATE, random) is waveform
    assert augment.spectrogram(features, lengths, generator())[0] is features
    assert random.bit_generator.state == state


@pytest.mark.parametrize(
    ("key", "alone"),
    [
        ("speed", Speed(SpeedConfig(1.0))),
        ("shift", Shift(ShiftConfig(1.0))),
        ("pause", Pause(PauseConfig(1.0))),
        ("room", Room(RoomConfig(1.0))),
        ("bandwidth", Bandwidth(BandwidthConfig(1.0))),
        ("noise", Noise(NoiseConfig(1.0))),
        ("equalizer", Equalizer(EqualizerConfig(1.0))),
        ("gain", Gain(GainConfig(1.0))),
        ("vocal_tract", VocalTract(VocalTractConfig(1.0))),
        ("spectrogram", SpecAugment(SpecAugmentConfig(1.0))),
    ],
)
def test_each_augmentation_is_in_the_chain(key, alone):
    """Oracle: the augmentation by itself, on the same draws."""
    augment = Augment(AugmentConfig(**{key: alone.config}))
    if key in ("vocal_tract", "spectrogram"):
        features, lengths = frames()
        out = augment.spectrogram(features, lengths, generator())[0]
        assert torch.equal(out, alone(features, lengths, generator()))
        assert not torch.equal(out, features)
    else:
        out = augment.waveform(speech(), RATE, rng())
        assert np.array_equal(out, alone(speech(), RATE, rng()))
        assert not np.array_equal(out, speech())


def test_same_seed_same_output_and_nothing_else_is_touched(tmp_path):
    """Oracle: a second chain built anew; the inputs and torch's and numpy's global states stand as before."""
    soundfile.write(tmp_path / "a.flac", 0.5 * rng(3).uniform(-1, 1, 50_000), 8000)
    waveform, (features, lengths) = torch.from_numpy(speech()), frames()
    first, second = Augment(everything(str(tmp_path))), Augment(everything(str(tmp_path)))
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    outs = []
    for seed in range(40):
        out = first.waveform(waveform, RATE, rng(seed))
        assert torch.equal(out, second.waveform(waveform, RATE, rng(seed)))
        assert torch.equal(out, torch.from_numpy(second.waveform(speech(), RATE, rng(seed))))
        assert out.dtype == torch.float32
        assert out.isfinite().all()
        outs.append(out)
        masked, same_lengths = first.spectrogram(features, lengths, generator(seed))
        assert torch.equal(masked, second.spectrogram(features, lengths, generator(seed))[0])
        assert same_lengths is lengths
    assert len({tuple(out[:50].tolist()) for out in outs}) > 20
    assert torch.equal(waveform, torch.from_numpy(speech()))
    assert torch.equal(features, frames()[0])
    assert torch.equal(torch_state, torch.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])


def test_probability_is_a_probability():
    """Oracle: counts, within four standard deviations."""
    shift = Augment(AugmentConfig(gain=GainConfig(0.3, -6, -6)))
    random, x = rng(), np.ones(1, np.float32)
    changed = sum(float(shift.waveform(x, RATE, random)[0]) != 1 for _ in range(2000))
    assert abs(changed - 600) < 4 * np.sqrt(2000 * 0.3 * 0.7)


def test_settings_go_through_a_model_folder():
    config = everything()
    plain = to_plain(config, "augment")
    assert plain["name"] == "standard"
    assert from_plain(plain, "augment") == config
    assert isinstance(build("augment", config), Augment)


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        (ShiftConfig, {"probability": 1.5}, "shift.probability=1.5: from 0"),
        (ShiftConfig, {"max_ms": -1.0}, "shift.max_ms=-1.0: from 0"),
        (GainConfig, {"min_db": 3.0, "max_db": 1.0}, "gain.min_db=3.0: at most gain.max_db=1.0"),
        (GainConfig, {"max_db": float("nan")}, "gain.max_db=nan"),
        (PauseConfig, {"max_s": 61.0}, "pause.max_s=61.0: from 0 to 60"),
        (PauseConfig, {"silence": 1.5}, "pause.silence=1.5: from 0 to 1"),
        (BandwidthConfig, {"min_hz": 10.0}, "bandwidth.min_hz=10.0: from 1000 to 384000"),
        (EqualizerConfig, {"max_db": 41.0}, "equalizer.max_db=41.0: from 0 to 40"),
        (EqualizerConfig, {"points": 1}, "equalizer.points=1: from 2 to 32"),
        (SpeedConfig, {"min_factor": 0.1}, "speed.min_factor=0.1: from 0.5 to 2"),
        (NoiseConfig, {"max_snr_db": 200.0}, "noise.max_snr_db=200.0: from -30 to 100"),
        (NoiseConfig, {"max_slope": 9.0}, "noise.max_slope=9.0"),
        (NoiseConfig, {"synthetic": -0.1}, "noise.synthetic=-0.1"),
        (NoiseConfig, {"cache_mb": -1.0}, "noise.cache_mb=-1.0"),
        (RoomConfig, {"min_rt60_s": 0.0}, "room.min_rt60_s=0.0: from 0.01 to 5"),
        (RoomConfig, {"max_direct_db": 99.0}, "room.max_direct_db=99.0"),
        (RoomConfig, {"synthetic": 2.0}, "room.synthetic=2.0"),
        (RoomConfig, {"cache_mb": -1.0}, "room.cache_mb=-1.0"),
        (SpecAugmentConfig, {"time_masks": -1}, "spectrogram.time_masks=-1: at least 0"),
        (SpecAugmentConfig, {"max_time_fraction": 1.1}, "spectrogram.max_time_fraction=1.1"),
        (SpecAugmentConfig, {"groups": 4}, "spectrogram.groups=4"),
        (VocalTractConfig, {"low_hz": 9000.0}, "vocal_tract.low_hz=9000.0"),
        (VocalTractConfig, {"boundary": 1.0}, "vocal_tract.boundary=1.0"),
        (VocalTractConfig, {"groups": 0}, "vocal_tract.groups=0"),
        (VocalTractConfig, {"max_factor": 3.0}, "vocal_tract.max_factor=3.0"),
    ],
)
def test_impossible_settings(kind, values, words):
    with pytest.raises(ConfigError) as caught:
        kind(**values)
    assert words in str(caught.value)
    assert dataclasses.is_dataclass(kind)


def test_features_that_are_not_so_many_groups():
    features, lengths = frames(bands=41)
    for augment in (SpecAugment(SpecAugmentConfig(1.0, groups=2)), VocalTract(VocalTractConfig(1.0, groups=2))):
        with pytest.raises(ConfigError, match="groups=2: 41 features"):
            augment(features, lengths, generator())


@recordings
def test_real_speech_in_real_rooms_and_noises():
    """Oracle: the measured ratio and energy on real recordings; the words stay in place (envelopes correlate)."""
    data = Path(os.environ["SPEECHGRU_DATA"])
    noise = Noise(NoiseConfig(1.0, str(data / "rirs_noises/noises"), 10, 10))
    room = Room(RoomConfig(1.0, str(data / "rirs_noises/rirs")))
    for seed, path in enumerate(sorted((data / "speech_commands/stop").iterdir())[:20]):
        x = read_audio(path)[0].numpy()
        assert power_db(x) - power_db(noise(x, RATE, rng(seed)) - x) == pytest.approx(10, abs=0.1)
        out = room(x, RATE, rng(seed))
        assert power_db(out) == pytest.approx(power_db(x), abs=1e-3)
        loud, heard = (np.sqrt(np.convolve(y * y, np.ones(400), "same").clip(0)) for y in (x, out))
        lag = np.correlate(heard - heard.mean(), loud - loud.mean(), "same").argmax() - len(x) // 2
        assert -160 <= lag <= 1600
        assert np.corrcoef(loud, heard)[0, 1] > 0.5
