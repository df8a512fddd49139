"""How fast the features are beside torchaudio's and librosa's, measured alternately in one process on one thread."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from speechgru.errors import ConfigError, SpeechGRUError
from speechgru.features import MFCC, Convention, MFCCConfig, Normalization
from speechgru.lab.bench.timing import interleaved_ms, row, threads
from speechgru.plain import Record

SAMPLE_RATE = 16000


def bench_features(repeats: int = 30) -> list[Record]:
    """MFCC of one 1 s clip, of 32 and of 8 x 30 s; 40 mel bands, 13 coefficients, 25/10 ms, FFT 400 where settable.

    Each peer is compared with the same features: torchaudio.transforms.MFCC and librosa.feature.mfcc with our
    convention of that name, which must give the same numbers; torchaudio.transforms.MFCC also with our default
    convention, Kaldi's, which gives other numbers.

    Returns:
        One dict per comparison: name, ours_ms, peer, peer_ms (medians), ratio (peer_ms / ours_ms).

    Raises:
        SpeechGRUError: the two do not compute the same.
    """
    with threads(1), torch.no_grad():
        return [one for count, seconds in ((1, 1), (32, 1), (8, 30)) for one in _compare(count, seconds, repeats)]


def _compare(count: int, seconds: int, repeats: int) -> list[Record]:
    import librosa

    try:
        import torchaudio
    except ImportError:
        raise ConfigError("bench features needs torchaudio beside it: pip install 'speechgru[torchaudio]'") from None

    waveforms = 0.1 * torch.randn(count, SAMPLE_RATE * seconds, generator=torch.Generator().manual_seed(0))
    lengths = torch.full((count,), waveforms.shape[1])
    arrays = waveforms.numpy()
    settings: Record = {"n_fft": 400, "hop_length": 160, "n_mels": 40}
    torchaudio_mfcc = torchaudio.transforms.MFCC(SAMPLE_RATE, 13, melkwargs=settings)

    def ours(convention: Convention) -> Callable[[], tuple[torch.Tensor, torch.Tensor]]:
        features = MFCC(MFCCConfig(convention=convention, normalization=Normalization.none)).eval()
        return lambda: features(waveforms, lengths)

    def peer_librosa() -> np.ndarray:
        return librosa.feature.mfcc(y=arrays, sr=SAMPLE_RATE, n_mfcc=13, **settings)

    candidates = {
        "torchaudio": ours(Convention.torchaudio),
        "librosa": ours(Convention.librosa),
        "kaldi": ours(Convention.kaldi),
        "torchaudio.transforms.MFCC": lambda: torchaudio_mfcc(waveforms),
        "librosa.feature.mfcc": peer_librosa,
    }
    for name, theirs in (("torchaudio", torchaudio_mfcc(waveforms)), ("librosa", torch.from_numpy(peer_librosa()))):
        furthest = float((candidates[name]()[0].transpose(1, 2) - theirs).abs().max())
        if not furthest < 0.01:  # of values in decibels, in the hundreds
            raise SpeechGRUError(f"bench features: differs from {name} by {furthest:.2g}, so the times mean nothing")
    taken_ms = interleaved_ms(candidates, repeats if count * seconds < 60 else max(3, repeats // 5))
    pairs = [("torchaudio", "torchaudio.transforms.MFCC"), ("librosa", "librosa.feature.mfcc")]
    return [
        row(f"mfcc {convention} {count} x {seconds} s", taken_ms[convention], peer, taken_ms[peer])
        for convention, peer in [*pairs, ("kaldi", "torchaudio.transforms.MFCC")]
    ]
