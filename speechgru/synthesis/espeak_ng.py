"""Text into speech with known word times: espeak-ng, driven through ctypes.

The extra ``synth`` installs espeakng-loader, a wheel with the compiled library and its voices (English in eight
accents, each in some hundred variants), so no compiler and no system package is needed. The library (GPL-3.0) is a
separate dependency and not part of this package.

espeak-ng keeps the phase of its flutter and its breath noise from one utterance to the next, even across its own
Terminate and Initialize. The library is therefore loaded anew for every utterance (half a millisecond) and its random
numbers are seeded: the same call gives the same samples, in whatever order, thread or process.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from speechgru.errors import ConfigError, SpeechGRUError
from speechgru.synthesis.speech import Speech, Word

# The accents of English in espeak-ng 1.52, by its names for them; "en" is used for en-gb.
ACCENTS = (
    "en-gb",
    "en-gb-x-rp",
    "en-gb-scotland",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
    "en-029",
    "en-us",
    "en-us-nyc",
)
RATE_WPM = (80, 450)
PITCH = (0, 99)

_RATE, _PITCH, _RANGE = 1, 3, 4  # espeak_PARAMETER
_WORD, _PHONEME, _SENTENCE_END = 1, 7, 5  # espeak_EVENT_TYPE
_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT: the callback runs in this thread, within espeak_Synth
_OPTIONS = 0x8000 | 0x0002 | 0x0001  # do not exit the process on failure; phoneme events, in IPA
_UTF8, _CHARACTERS = 1, 1
_IPA = 0x02 | ord("_") << 8  # phoneme mode of espeak_TextToPhonemes: IPA, "_" between phonemes
_LONGEST_PATH = 150  # espeak-ng cuts the path of its data at 160 bytes and then finds nothing

_one_at_a_time = threading.Lock()


def speak(
    text: str,
    voice: str = "en-us",
    *,
    rate_wpm: int = 175,
    pitch: int = 50,
    pitch_range: int = 50,
    seed: int = 0,
) -> Speech:
    """Speaks a text. The same arguments give the same samples, on one version of espeakng-loader and one platform.

    espeak-ng is not thread safe and there is one per process: calls of other threads wait. Use processes to go faster.
    A call also sets the seed of the C library's ``rand``.

    Args:
        text: what to say, at least one character; digits and abbreviations are spelled out as English does.
        voice: an accent (:data:`ACCENTS`, or any other voice of espeak-ng), with a variant after ``+`` if wanted
            ("en-us+f3", see :func:`variants`).
        rate_wpm: speaking rate in words per minute, 80 to 450.
        pitch: 0 to 99; 50 is the voice's own.
        pitch_range: how much the melody moves, 0 (monotone) to 99; 50 is the voice's own.
        seed: of the breath noise; only some variants have any.

    Raises:
        ConfigError: an empty text, a value out of its range, or an unknown voice or variant.
        SpeechGRUError: the extra is not installed, or espeak-ng fails.
    """
    if not text.strip() or "\0" in text:
        raise ConfigError(f"text={text!r}: at least one character, and no NUL")
    for key, value, (low, high) in (
        ("rate_wpm", rate_wpm, RATE_WPM),
        ("pitch", pitch, PITCH),
        ("pitch_range", pitch_range, PITCH),
    ):
        if not low <= value <= high:
            raise ConfigError(f"{key}={value}: from {low} to {high}")
    accent, _, variant = voice.partition("+")
    if variant and variant not in variants():
        # espeak-ng itself would report nothing and speak without the variant.
        raise ConfigError(f"voice={voice}: {variant!r} is not a variant (known: {', '.join(variants())})")
    name = _name(accent) + (f"+{variant}" if variant else "")
    with _one_at_a_time, _engine() as engine:
        if engine.espeak_SetVoiceByName(name.encode()) != 0:
            raise ConfigError(f"voice={voice}: espeak-ng has no voice {accent!r} (English: {', '.join(ACCENTS)})")
        for parameter, value in ((_RATE, rate_wpm), (_PITCH, pitch), (_RANGE, pitch_range)):
            _check(engine.espeak_SetParameter(parameter, int(value), 0), "espeak_SetParameter")
        engine.espeak_ng_SetRandSeed(ctypes.c_long(seed & 0x7FFFFFFF))
        # Some of Klatt's variants draw random numbers from the C library, where 0 and 1 are the same seed.
        _c_library().srand(ctypes.c_uint((seed & 0x7FFFFFFF) + 1))
        recording = _Recording()
        engine.espeak_SetSynthCallback(recording.callback)
        data = text.encode("utf-8", "replace")
        status = engine.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, _CHARACTERS, 0, _UTF8, None, None)
        if recording.error is not None:
            raise recording.error
        _check(status, "espeak_Synth")
        _check(engine.espeak_Synchronize(), "espeak_Synchronize")
    return recording.speech(text)


def pronounce(texts: Sequence[str], voice: str = "en-us") -> list[tuple[str, ...]]:
    """The phones of each text as espeak-ng would say it, in IPA, without stress; empty where it says nothing.

    Args:
        texts: words or phrases.
        voice: an accent, as for :func:`speak`.

    Raises:
        ConfigError: an unknown voice.
        SpeechGRUError: the extra is not installed, or espeak-ng fails.
    """
    found = []
    with _one_at_a_time, _engine() as engine:
        if engine.espeak_SetVoiceByName(_name(voice).encode()) != 0:
            raise ConfigError(f"voice={voice}: espeak-ng has no voice {voice!r} (English: {', '.join(ACCENTS)})")
        engine.espeak_TextToPhonemes.restype = ctypes.c_char_p
        for text in texts:
            rest = ctypes.c_char_p(text.encode("utf-8", "replace"))
            said = ""
            while rest.value:  # a clause at a time; it leaves NULL at the end
                said += (engine.espeak_TextToPhonemes(ctypes.byref(rest), _UTF8, _IPA) or b"").decode() + " "
            found.append(tuple(phone for phone in re.split(r"[_\s]+", re.sub("[ˈˌ]|\\(\\w+\\)", "", said)) if phone))
    return found


def _name(accent: str) -> str:
    return "en" if accent == "en-gb" else accent


@functools.cache
def variants() -> tuple[str, ...]:
    """The names of the voice variants in the installed wheel, sorted. SpeechGRUError without the extra."""
    return tuple(sorted(path.name for path in (_data_folder() / "voices" / "!v").iterdir()))


class _Event(ctypes.Structure):
    """espeak_EVENT of espeak-ng's speak_lib.h."""

    class _Id(ctypes.Union):
        _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class _Recording:
    """Collects what the library hands to its callback: blocks of samples and the events in them."""

    def __init__(self) -> None:
        self.blocks: list[bytes] = []
        self.events: list[tuple[int, int, int, int, bytes]] = []  # type, character from 1, length, sample, phoneme
        self.error: BaseException | None = None
        self.callback = _Callback(self._receive)

    def _receive(self, samples: ctypes._Pointer[ctypes.c_short], count: int, events: ctypes._Pointer[_Event]) -> int:
        """The answer 1 ends the synthesis. An exception must not cross C: it is kept and raised afterwards."""
        try:
            if samples and count > 0:
                self.blocks.append(ctypes.string_at(samples, 2 * count))
            index = 0
            while events[index].type != 0:
                event = events[index]
                phoneme = event.id.string if event.type == _PHONEME else b""
                self.events.append((event.type, event.text_position, event.length, event.sample, phoneme))
                index += 1
        except BaseException as error:
            self.error = error
            return 1
        return 0

    def speech(self, text: str) -> Speech:
        waveform = np.frombuffer(b"".join(self.blocks), np.int16).astype(np.float32) / 32768
        return Speech(waveform, _SAMPLE_RATE, self._words(text, len(waveform)))

    def _words(self, text: str, samples: int) -> list[Word]:
        """Word events show where words begin; a word ends with the pause after its phonemes or with the next word."""
        starts: list[tuple[int, int, int]] = []  # index of the event, first character, sample
        covered = 0
        for index, (kind, position, length, sample, _) in enumerate(self.events):
            # Numbers make further events inside the word ("42" at "2"): it is still one word of the text.
            if kind == _WORD and position - 1 >= covered:
                starts.append((index, position - 1, sample))
                covered = position - 1 + length
        words = []
        for (index, first, sample), following in zip(
            starts, [*starts[1:], (len(self.events), len(text), samples)], strict=True
        ):
            pause = None
            for kind, _, _, at, phoneme in self.events[index + 1 : following[0]]:
                if kind == _PHONEME and phoneme:
                    pause = None
                elif pause is None and kind in (_PHONEME, _SENTENCE_END):
                    pause = at
            end = following[2] if pause is None else pause
            name = text[first : following[1]].strip(' \t\r\n,;:!?.…"()')
            words.append(Word(sample / _SAMPLE_RATE, end / _SAMPLE_RATE, name))
        return words


_SAMPLE_RATE = 22050


def _data_folder() -> Path:
    return Path(_loader().get_data_path())


def _loader() -> ModuleType:
    try:
        import espeakng_loader
    except ImportError as error:
        raise SpeechGRUError(f"speech synthesis needs espeak-ng ({error}): pip install 'speechgru[synth]'") from error
    return espeakng_loader


@functools.cache
def _c_library() -> ctypes.CDLL:
    return ctypes.CDLL("ucrtbase" if sys.platform == "win32" else None)


@contextlib.contextmanager
def _engine() -> Iterator[ctypes.CDLL]:
    """A freshly loaded and initialised library; it is unloaded afterwards."""
    library, data = Path(_loader().get_library_path()), str(_data_folder())
    with tempfile.TemporaryDirectory() if len(os.fsencode(data)) > _LONGEST_PATH else contextlib.nullcontext() as short:
        if short:
            link = os.path.join(short, "espeak-ng-data")
            os.symlink(data, link, target_is_directory=True)
            data = link
        engine = _load(library)
        try:
            rate = engine.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(data), _OPTIONS)
            if rate != _SAMPLE_RATE:
                raise SpeechGRUError(
                    f"espeak-ng cannot read its data in {data} (it answered {rate}); "
                    "reinstall it: pip install --force-reinstall espeakng-loader"
                )
            yield engine
        finally:
            engine.espeak_Terminate()
            _unload(engine)


def _load(library: Path) -> ctypes.CDLL:
    try:
        if not _is_loaded(library):
            return ctypes.CDLL(str(library))
        # Another package in this process uses it: a copy has a state of its own.
        with tempfile.TemporaryDirectory() as folder:
            return ctypes.CDLL(shutil.copy(library, folder))
    except OSError as error:
        raise SpeechGRUError(
            f"{library} cannot be loaded ({error}); reinstall it: pip install --force-reinstall espeakng-loader"
        ) from error


def _is_loaded(library: Path) -> bool:
    if sys.platform == "win32":
        return False
    try:
        _unload(ctypes.CDLL(str(library), mode=os.RTLD_NOLOAD | os.RTLD_NOW))
    except OSError:
        return False
    return True


def _unload(engine: ctypes.CDLL) -> None:
    import _ctypes

    if sys.platform == "win32":
        _ctypes.FreeLibrary(engine._handle)
    else:
        _ctypes.dlclose(engine._handle)


def _check(status: int, function: str) -> None:
    if status != 0:
        raise SpeechGRUError(f"espeak-ng: {function} answered {status}; please report the text and the voice")
