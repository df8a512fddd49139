"""The recording inside a page that is a single file, small enough for a browser to open it at once."""

from __future__ import annotations

import base64
import io

import numpy as np

MOST_RATE_HZ = 16000
MOST_SOUND_S = 120.0  # of 16 bits at 16 kHz, at most 3.8 MB, or 5.1 MB as text


def sound_address(waveform: np.ndarray, rate_hz: int) -> tuple[str, str]:
    """A recording as an address that holds it (``data:``), and what was changed for it, if anything.

    It is 16-bit WAV, because Chromium cannot seek in a short FLAC file.

    Args:
        waveform: float32 (samples,); values beyond -1 and 1 are clipped.
        rate_hz: samples per second; above 16,000 the sound is resampled to that.

    Returns:
        the address, empty for a recording above 120 s; and a sentence for the reader, or an empty text.
    """
    import soundfile
    import soxr

    duration_s = len(waveform) / rate_hz
    if duration_s > MOST_SOUND_S:
        return "", f"The sound is left out: {duration_s:.0f} s, at most {MOST_SOUND_S:g} are kept in a page."
    note = ""
    if rate_hz > MOST_RATE_HZ:
        waveform, note = soxr.resample(waveform, rate_hz, MOST_RATE_HZ), "The sound is played at 16 kHz."
        rate_hz = MOST_RATE_HZ
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(waveform, -1, 1), rate_hz, format="WAV", subtype="PCM_16")
    return f"data:audio/wav;base64,{base64.b64encode(buffer.getvalue()).decode()}", note
