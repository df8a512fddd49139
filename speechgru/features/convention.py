"""What librosa, torchaudio and Kaldi each mean by "log-mel" and "MFCC": one table of their differences."""

from __future__ import annotations

import dataclasses
import enum


class Convention(enum.Enum):
    """The toolkit whose values the features equal."""

    librosa = "librosa"
    torchaudio = "torchaudio"
    kaldi = "kaldi"


class Window(enum.Enum):
    """Shape of the analysis window; povey is Kaldi's hann ** 0.85."""

    hann = "hann"
    hamming = "hamming"
    povey = "povey"
    blackman = "blackman"
    rectangular = "rectangular"


class Padding(enum.Enum):
    """What frames at the ends of an utterance see; always the utterance's own end, never the end of its batch.

    ``none``: frames lie inside the utterance (Kaldi's snip_edges=true; center=False elsewhere).
    ``zeros``: frame t is centred on sample t * hop, zeros outside (librosa).
    ``reflect``: the same with the samples reflected about the first and last one (torchaudio).
    ``mirror``: frame t is centred on (t + 1/2) * hop and the end samples are repeated (Kaldi's snip_edges=false).
    """

    none = "none"
    zeros = "zeros"
    reflect = "reflect"
    mirror = "mirror"


class LogScale(enum.Enum):
    """How mel power becomes a feature: ln(max(power, floor)), 10 * log10(max(power, floor)), or power itself."""

    natural = "natural"
    db = "db"
    none = "none"


@dataclasses.dataclass(frozen=True)
class Rules:
    """The values that one convention gives to settings left at None."""

    window: Window
    periodic_window: bool
    power_of_two_fft: bool
    padding: Padding
    low_hz: float
    preemphasis: float
    remove_dc: bool
    log: LogScale
    log_floor: float
    top_db: float
    lifter: float


# librosa.feature.melspectrogram, power_to_db, mfcc (0.11).
_LIBROSA = Rules(
    window=Window.hann,
    periodic_window=True,
    power_of_two_fft=False,
    padding=Padding.zeros,
    low_hz=0.0,
    preemphasis=0.0,
    remove_dc=False,
    log=LogScale.db,
    log_floor=1e-10,
    top_db=80.0,
    lifter=0.0,
)
RULES = {
    Convention.librosa: _LIBROSA,
    # torchaudio.transforms.MelSpectrogram, AmplitudeToDB("power", 80), MFCC (2.11).
    Convention.torchaudio: dataclasses.replace(_LIBROSA, padding=Padding.reflect),
    # torchaudio.compliance.kaldi.fbank, mfcc = Kaldi's compute-fbank-feats, compute-mfcc-feats without energy.
    Convention.kaldi: Rules(
        window=Window.povey,
        periodic_window=False,
        power_of_two_fft=True,
        padding=Padding.none,
        low_hz=20.0,
        preemphasis=0.97,
        remove_dc=True,
        log=LogScale.natural,
        log_floor=2.0**-23,
        top_db=float("inf"),
        lifter=22.0,
    ),
}
