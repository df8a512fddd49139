"""Reading of recordings: values against what was written, slices against the whole, one clear error per bad file."""

import hashlib
import io
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speechgru.audio import AudioInfo, audio_info, find_audio, list_audio, read_audio, read_blocks, resample
from speechgru.errors import AudioError

RATE = 16_000
FORMATS = {  # suffix: (libsndfile's format, subtype, largest deviation of what is read from what was written)
    "wav": ("WAV", "PCM_16", 2**-15),
    "flac": ("FLAC", "PCM_16", 2**-15),
    "aiff": ("AIFF", "PCM_16", 2**-15),
    "sph": ("NIST", "PCM_16", 2**-15),
    "w64": ("W64", "PCM_16", 2**-15),
    "au": ("AU", "PCM_16", 2**-15),
    "rf64": ("RF64", "PCM_16", 2**-15),
    "ogg": ("OGG", "VORBIS", 0.08),
    "opus": ("OGG", "OPUS", 0.08),
    "mp3": ("MP3", "MPEG_LAYER_III", 0.08),
}


def tone(hz: float, seconds: float = 2.0, rate: int = RATE) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def chirp() -> np.ndarray:
    t = np.arange(2 * RATE) / RATE
    return (0.5 * np.sin(2 * np.pi * (200 * t + 400 * t**2))).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int = RATE, suffix: str | None = None) -> Path:
    kind, subtype, _ = FORMATS[suffix or path.suffix[1:]]
    soundfile.write(path, samples, rate, format=kind, subtype=subtype)
    return path


def refused(source, *words: str, **options) -> str:
    """The one-line message with which the source is refused; it holds all the words."""
    with pytest.raises(AudioError) as caught:
        read_audio(source, **options)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    return message


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_gives_back_what_was_written(tmp_path, suffix):
    """Oracle: the written samples, within the step of 16 bits or the loss of the codec."""
    path = write(tmp_path / f"a.{suffix}", chirp())
    waveform, rate = read_audio(path)
    assert rate == RATE
    assert waveform.dtype == torch.float32
    assert waveform.shape == (2 * RATE,)
    assert np.abs(waveform.numpy() - chirp())[100:-100].max() <= FORMATS[suffix][2]
    assert audio_info(path) == AudioInfo(RATE, 2 * RATE, 1, 2.0)
    for source in (str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), path.open("rb")):
        assert torch.equal(read_audio(source)[0], waveform)
        if hasattr(source, "close"):
            source.close()


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(("start_s", "duration_s"), [(0.0, 0.25), (0.77, 0.5), (1.5, None), (0.001, 1.9)])
def test_slice_equals_slice_of_the_whole(tmp_path, suffix, start_s, duration_s):
    """Oracle: the whole file decoded, then cut. Noise, so that no misplaced sample goes unseen."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 2 * RATE).astype(np.float32)
    path = write(tmp_path / f"a.{suffix}", noise)
    whole, _ = read_audio(path)
    part, _ = read_audio(path, start_s=start_s, duration_s=duration_s)
    end = None if duration_s is None else round((start_s + duration_s) * RATE)
    expected = whole[round(start_s * RATE) : end]
    assert part.shape == expected.shape
    assert (part - expected).abs().max() <= (1e-3 if suffix == "opus" else 0)


@pytest.mark.parametrize("subtype", ["GSM610", "G721_32", "NMS_ADPCM_16", "IMA_ADPCM", "MS_ADPCM", "ALAW"])
def test_formats_of_telephones_and_answering_machines(subtype):
    """Oracle: the chirp, and the whole read in blocks. libsndfile cannot be asked where it stands in some of them."""
    file = io.BytesIO()
    soundfile.write(file, chirp()[: RATE // 2], RATE, format="WAV", subtype=subtype)
    waveform, rate = read_audio(file.getvalue())
    assert rate == RATE
    assert len(waveform) >= RATE // 2
    assert np.corrcoef(waveform[: RATE // 2].numpy(), chirp()[: RATE // 2])[0, 1] > 0.95
    assert np.array_equal(np.concatenate([block for block, _ in read_blocks(file.getvalue(), block_s=0.1)]), waveform)


def test_slice_does_not_decode_the_rest(tmp_path, monkeypatch):
    """Oracle: the frames asked of the decoder, counted."""
    path = write(tmp_path / "a.flac", np.tile(chirp(), 20))
    asked = []
    decode = soundfile.SoundFile.read
    monkeypatch.setattr(
        soundfile.SoundFile, "read", lambda self, frames, **rest: asked.append(frames) or decode(self, frames, **rest)
    )
    read_audio(path, start_s=30, duration_s=0.5)
    assert asked == [RATE // 2]


def test_a_slice_may_end_in_rounding_but_not_outside(tmp_path):
    path = write(tmp_path / "a.wav", chirp())
    assert len(read_audio(path, start_s=1.5, duration_s=0.54)[0]) == RATE // 2
    refused(path, "a.wav", "1.5 s to 2.1 s", "its 2 s", start_s=1.5, duration_s=0.6)
    refused(path, "2 s to the end", start_s=2.0)
    refused(path, "start_s=-1", start_s=-1.0)
    refused(path, "start_s=nan", start_s=float("nan"))
    refused(path, "duration_s=0", duration_s=0.0)
    refused(path, "less than one sample", duration_s=1e-5)
    refused(chirp(), "(32000,)", "outside its 2 s", source_rate=RATE, start_s=3.0)


def test_channels_are_averaged(tmp_path):
    """Oracle: the mean by numpy, for a file, for (channels, samples) and for one channel alone."""
    left, right = tone(300), tone(500)
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([left, right], 1), RATE, subtype="FLOAT")
    expected = torch.from_numpy((left + right) / 2)
    assert torch.allclose(read_audio(path)[0], expected, atol=1e-7)
    assert torch.allclose(read_audio(np.stack([left, right]), source_rate=RATE)[0], expected, atol=1e-7)
    assert torch.equal(read_audio(torch.from_numpy(left[None]), source_rate=RATE)[0], torch.from_numpy(left))
    assert audio_info(path).channels == 2


@pytest.mark.parametrize("dtype", ["int8", "int16", ">i2", "int32", "uint8", "float16", "float64"])
def test_arrays_of_every_type_have_full_scale_one(dtype):
    """Oracle: the float samples which were quantised."""
    x = tone(440)
    if dtype == "uint8":
        values, step = (np.round(x * 128) + 128).astype(dtype), 2**-8
    elif "i" in dtype:
        bits = 8 * np.dtype(dtype).itemsize - 1
        values, step = np.round(x.astype(np.float64) * 2**bits).astype(dtype), max(2.0 ** -(bits + 1), 1e-7)
    else:
        values, step = x.astype(dtype), 1e-3 if dtype == "float16" else 0
    assert np.abs(read_audio(values, source_rate=RATE)[0].numpy() - x).max() <= step


def test_arrays_are_copied():
    x = chirp()
    x.flags.writeable = False
    waveform, _ = read_audio(x, source_rate=RATE)
    waveform.zero_()
    assert x.any()
    y = torch.ones(100)
    read_audio(y, source_rate=RATE)[0].zero_()
    assert y.all()


def test_bad_arrays():
    refused(chirp(), "source_rate")
    refused(np.zeros((RATE, 2), np.float32), "transpose", source_rate=RATE)
    refused(np.zeros((1, 1, 5), np.float32), "3 dimensions", source_rate=RATE)
    refused(np.zeros(0, np.float32), "no samples", source_rate=RATE)
    refused(np.zeros((2, 0), np.float32), "no samples", source_rate=RATE)
    refused(np.zeros(9, np.int64), "int64", source_rate=RATE)
    refused(np.zeros(9, complex), "complex", source_rate=RATE)
    refused(np.full(9, 1e300), "infinite", source_rate=RATE)
    refused(chirp() * 32768, "up to 16384", "divide them by 32768", source_rate=RATE)
    assert read_audio(chirp() * 30, source_rate=RATE)[0].abs().max() > 14  # a loud mix is one
    refused(torch.tensor([0.0, float("nan")]), "NaN", "after 0.000 s", source_rate=RATE)
    refused(chirp(), "source_rate=0", source_rate=0)
    refused([0.0, 1.0], "list")
    refused(io.StringIO("a"), '"rb"')


@pytest.mark.parametrize(("from_hz", "to_hz"), [(44_100, 16_000), (8_000, 16_000), (48_000, 8_000), (22_050, 16_000)])
def test_resampling_keeps_a_tone(from_hz, to_hz):
    """Oracle: the same tone written down at the other rate."""
    out = resample(torch.from_numpy(tone(1000, 1.0, from_hz)), from_hz, to_hz).numpy()
    expected = tone(1000, 1.0, to_hz)
    assert len(out) == len(expected)
    assert np.abs(out - expected)[400:-400].max() < 1e-4


def test_resampling_kills_what_is_above_the_new_nyquist(tmp_path):
    """Oracle: a 9 kHz tone has nothing to say at 16 kHz: at least 80 dB down, and no alias at 7 kHz."""
    path = write(tmp_path / "a.wav", tone(9000, 1.0, 44_100), 44_100)
    out, rate = read_audio(path, RATE)
    assert rate == RATE
    assert 20 * np.log10(out[500:-500].std().item() / tone(9000).std()) < -80
    x = torch.randn(100)
    assert resample(x, 8000, 8000) is x
    with pytest.raises(AudioError, match="to_hz=10"):
        resample(x, 8000, 10)


def test_silence_is_audio(tmp_path):
    path = write(tmp_path / "a.wav", np.zeros(RATE, np.float32))
    assert not read_audio(path)[0].any()


def test_the_content_decides_and_not_the_suffix(tmp_path):
    """Oracle: the same bytes under their right name."""
    for pair in ("wav flac", "wav mp3", "wav raw", "flac wav", "ogg mp3", "mp3 wav"):
        suffix, lie = pair.split()
        path = write(tmp_path / f"true.{suffix}", chirp())
        assert torch.equal(read_audio(shutil.copy(path, tmp_path / f"lie.{lie}"))[0], read_audio(path)[0])


@pytest.mark.parametrize("name", ["a.flac", "a.mp3", "a.wav", "a.raw", "a"])
def test_text_is_not_audio(tmp_path, name, capfd):
    path = tmp_path / name
    path.write_text("Dear reader, this is no recording.\n" * 500)
    refused(path, name, "text, not audio")
    assert capfd.readouterr() == ("", "")  # the decoder of mp3 must not chatter either


def test_files_that_are_no_recordings(tmp_path):
    refused(tmp_path / "none.wav", "none.wav", "no such file")
    refused(tmp_path, str(tmp_path), "a folder")
    (tmp_path / "empty.wav").touch()
    refused(tmp_path / "empty.wav", "empty.wav", "is empty")
    refused(b"", "is empty")
    refused("/dev/null", "not a regular file")
    refused("a\0b", "cannot be opened")
    noise = tmp_path / "noise.mp3"
    noise.write_bytes(b"\0" + np.random.default_rng(0).bytes(5000))
    refused(noise, "noise.mp3", "not audio in a known format")
    film = tmp_path / "song.m4a"
    film.write_bytes(b"\0\0\0\x20ftypM4A " + bytes(500))
    refused(film, "song.m4a", "ffmpeg")
    refused(film.read_bytes(), "ffmpeg")
    closed = io.BytesIO(b"RIFF")
    closed.close()
    refused(closed, "cannot be read")


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_truncated_files(tmp_path, suffix, fraction):
    """Oracle: all samples are claimed and some are lost; half a recording never passes for a whole one."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 2 * RATE).astype(np.float32)
    data = write(tmp_path / f"a.{suffix}", noise).read_bytes()
    if suffix == "sph" and len(data) * fraction < 1024:
        pytest.skip("nothing but header")
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(data[: int(len(data) * fraction)])
    refused(path, f"cut.{suffix}", "truncated")
    refused(path.read_bytes(), "truncated")


def test_a_slice_before_the_cut_of_a_truncated_mp3_or_flac_is_fine(tmp_path):
    """Compressed files reveal the loss only where it is reached: what is whole can be used."""
    path = write(tmp_path / "a.flac", chirp())
    whole, _ = read_audio(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    assert torch.equal(read_audio(path, duration_s=0.5)[0], whole[: RATE // 2])


def patched(path: Path, offset: int, value: bytes) -> bytes:
    data = bytearray(path.read_bytes())
    data[offset : offset + len(value)] = value
    return bytes(data)


def test_headers_that_lie(tmp_path):
    wav, flac = write(tmp_path / "a.wav", chirp()), write(tmp_path / "a.flac", chirp())
    refused(wav.read_bytes()[:44], "no samples")
    for rate in (0, 1, 4_000_000_000):
        refused(patched(wav, 24, struct.pack("<I", rate)))
    refused(patched(wav, 24, struct.pack("<I", 1)), "sample rate=1:", "1000 to 768000")
    refused(patched(flac, 22, struct.pack(">I", 64_000)), "truncated")
    refused(patched(flac, 21, bytes([flac.read_bytes()[21] & 0xF0, 0, 0, 0, 0])), "no length")
    # A writer into a pipe cannot go back to put the size in: ffmpeg and sox leave the largest number there.
    for unknown in (0xFFFFFFFF, 0x7FFFFFFF):
        assert len(read_audio(patched(wav, 40, struct.pack("<I", unknown)))[0]) == 2 * RATE


def test_nan_channels_and_rates(tmp_path):
    samples = chirp()
    samples[RATE] = np.nan
    soundfile.write(tmp_path / "nan.wav", samples, RATE, subtype="FLOAT")
    refused(tmp_path / "nan.wav", "nan.wav", "NaN", "after 1.000 s")
    samples[RATE] = 1e20  # its power is infinite in float32
    soundfile.write(tmp_path / "loud.wav", samples, RATE, subtype="FLOAT")
    refused(tmp_path / "loud.wav", "loud.wav", "up to 1e+20", "full scale is 1")
    samples[RATE] = -np.inf
    soundfile.write(tmp_path / "inf.wav", np.stack([samples, -samples], 1), RATE, subtype="FLOAT")
    refused(tmp_path / "inf.wav", "inf.wav", "infinite")
    soundfile.write(tmp_path / "many.wav", np.zeros((100, 200), np.float32), RATE)
    refused(tmp_path / "many.wav", "many.wav", "200 channels", "at most 32")
    path = write(tmp_path / "a.wav", chirp())
    refused(path, "sample_rate=0", sample_rate=0)
    refused(path, "sample_rate=-16000", sample_rate=-16_000)
    refused(path, "source_rate=8000", source_rate=8000)
    refused(np.zeros(2, np.float32), "none at", source_rate=48_000, sample_rate=1000)


def test_a_pipe_and_an_open_file(tmp_path):
    """Oracle: the file itself. What cannot seek is read whole; an open file is read from where it stands."""
    path = write(tmp_path / "a.flac", chirp())
    whole, _ = read_audio(path)
    script = "import sys; from speechgru.audio import read_audio; print(len(read_audio('-', 8000)[0]))"
    done = subprocess.run([sys.executable, "-c", script], input=path.read_bytes(), capture_output=True, check=True)
    assert int(done.stdout) == RATE
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen(["sh", "-c", 'cat "$1" > "$2"', "sh", path, fifo]) as process:
        assert torch.equal(read_audio(fifo)[0], whole)
    assert process.returncode == 0
    stream = io.BytesIO(b"front" + path.read_bytes())
    stream.seek(5)
    assert torch.equal(read_audio(stream)[0], whole)


def test_a_read_that_fails_is_one_error(tmp_path):
    """A real one: the first page of a process cannot be read, as a bad sector of a disk."""
    (tmp_path / "bad.wav").symlink_to("/proc/self/mem")
    refused(tmp_path / "bad.wav", "bad.wav: cannot be read (Input/output error)")


FFMPEG = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def encoded(path: Path, samples: np.ndarray, *options: str) -> Path:
    """The samples as ffmpeg writes them, by the suffix of the path."""
    source = write(path.with_suffix(".source.wav"), samples)
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", source, *options, path], check=True)
    return path


@FFMPEG
def test_ffmpeg_decodes_little_more_than_is_asked_about(tmp_path):
    """Oracle: the length that was asked about and the second after it; without a limit, or within it, the whole."""
    path = encoded(tmp_path / "a.m4a", np.zeros(30 * RATE, np.float32))
    for longest_s, seconds in ((2.5, 3.5), (40.0, 30.0), (np.inf, 30.0)):
        assert abs(audio_info(path, longest_s).duration_s - seconds) < 0.2


@FFMPEG
@pytest.mark.parametrize("suffix", ["m4a", "aac", "webm", "mp4", "mkv", "mov"])
def test_ffmpeg_reads_what_libsndfile_does_not(tmp_path, suffix):
    """Oracle: the chirp that was written, within the loss and the delay of the codec; half a file is refused."""
    path = encoded(tmp_path / f"a.{suffix}", chirp())
    expected = chirp()
    for source in (path, path.read_bytes()):
        waveform, rate = read_audio(source, RATE)
        assert rate == RATE
        assert abs(len(waveform) - len(expected)) < 0.2 * RATE
        heard = waveform.numpy()
        # A codec may begin with a frame of silence of its own: the cross-correlation says where the chirp lies.
        score = np.fft.irfft(np.fft.rfft(heard, 1 << 17) * np.fft.rfft(expected, 1 << 17).conj())
        delay = int(np.argmax(score))
        assert delay < 0.15 * RATE
        both = min(len(heard) - delay, len(expected))
        assert np.abs(heard[delay : delay + both] - expected[:both])[1600:-1600].max() < 0.1
    refused(path.read_bytes()[: path.stat().st_size // 2], "truncated")
    assert [str(path)] == [name for name in find_audio([tmp_path]) if name.endswith(suffix)]


@FFMPEG
def test_a_film_gives_its_sound(tmp_path):
    """Oracle: ffmpeg itself, asked for the sound alone; one without sound says so."""
    picture = ("-f", "lavfi", "-i", "testsrc=d=1:s=64x64")
    film = encoded(tmp_path / "film.mp4", chirp(), *picture)
    sound = encoded(tmp_path / "sound.m4a", chirp())
    assert torch.equal(read_audio(film)[0], read_audio(sound)[0])
    subprocess.run(["ffmpeg", "-v", "error", *picture, tmp_path / "mute.mp4"], check=True)
    refused(tmp_path / "mute.mp4", "holds no sound")
    # A playlist names other files; ffmpeg is never asked to follow one.
    (tmp_path / "list.mp4").write_text(f"#EXTM3U\n#EXTINF:2,\n{sound}\n")
    refused(tmp_path / "list.mp4", "text, not audio")


def test_without_ffmpeg_one_line_names_it(tmp_path, monkeypatch):
    path = tmp_path / "a.webm"
    path.write_bytes(b"\x1aE\xdf\xa3" + bytes(500))
    monkeypatch.setenv("PATH", str(tmp_path))
    refused(path, "a.webm: needs ffmpeg, which is not installed", "ffmpeg -i IN OUT.flac")


@FFMPEG
@pytest.mark.skipif("SPEECHGRU_DATA" not in os.environ, reason="SPEECHGRU_DATA is unset: no real recordings")
def test_flac_with_samples_beyond_its_bits(tmp_path, monkeypatch):
    """Oracle: the MD5 sum that the encoder wrote into the header; a flipped bit and a cut are refused by it."""
    paths = sorted((Path(os.environ["SPEECHGRU_DATA"]) / "odd_files").glob("*.flac"))
    if not paths:
        pytest.skip("SPEECHGRU_DATA has no odd_files/")
    for path in paths:
        data = path.read_bytes()
        with pytest.raises(soundfile.SoundFileError):
            soundfile.read(path)
        waveform, rate = read_audio(path)
        assert hashlib.md5((waveform.numpy() * 2**15).astype("<i2").tobytes()).digest() == data[26:42]
        part, _ = read_audio(path, start_s=0.4, duration_s=1.0)
        assert torch.equal(part, waveform[round(0.4 * rate) : round(1.4 * rate)])
        assert np.array_equal(np.concatenate([block for block, _ in read_blocks(path, block_s=0.3)]), waveform.numpy())
        flipped = bytearray(data)
        flipped[len(data) // 2] ^= 1
        refused(bytes(flipped), "damaged")
        refused(data[: len(data) * 3 // 4], "damaged")
    monkeypatch.setenv("PATH", str(tmp_path))
    refused(paths[0], "samples beyond its bits, which ffmpeg reads")


def test_importing_is_light():
    """Oracle: the modules loaded by the import."""
    script = "import sys, speechgru.audio; print({'torch', 'soundfile', 'soxr'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "set()"


def test_find_audio(tmp_path):
    """Oracle: the tree as it was made."""
    tree = "b.wav a.FLAC notes.txt .hidden.wav ._b.wav deep/er/c.mp3 deep/d.m4a odd.snd x[1].wav"
    for name in tree.split():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare/readme.txt").touch()
    root = str(tmp_path)

    def names(*arguments: str) -> list[str]:
        return [path if path == "-" else os.path.relpath(path, root) for path in find_audio(list(arguments))]

    assert names(root) == ["a.FLAC", "b.wav", "deep/d.m4a", "deep/er/c.mp3", "x[1].wav"]
    assert names(f"{root}/notes.txt", "-", f"{root}/gone.wav") == ["notes.txt", "-", "gone.wav"]
    assert names(f"{root}/*.wav") == ["b.wav", "x[1].wav"]
    assert names(f"{root}/x[1].wav") == ["x[1].wav"]
    assert names(f"{root}/*.snd") == ["odd.snd"]
    assert names(f"{root}/**/*.mp3") == ["deep/er/c.mp3"]
    assert names(f"{root}/**") == ["a.FLAC", "b.wav", "deep/d.m4a", "deep/er/c.mp3", "x[1].wav"]
    assert names(f"{root}/deep", f"{root}/b.wav") == ["deep/d.m4a", "deep/er/c.mp3", "b.wav"]
    assert names() == []
    with pytest.raises(AudioError, match="bare: no audio file"):
        find_audio([f"{root}/bare"])
    with pytest.raises(AudioError, match=r"\*\.opus: no audio file matches"):
        find_audio([f"{root}/*.opus"])


def test_above_a_link_is_elsewhere(tmp_path):
    """Oracle: the system: what is above a linked folder is above where the link leads to."""
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "real" / "sibling").mkdir()
    write(tmp_path / "real" / "sibling" / "z.wav", chirp())
    (tmp_path / "link").symlink_to(tmp_path / "real" / "deep")
    ((path, error),) = list_audio(f"{tmp_path}/link/../sibling")
    assert (os.path.isfile(path), error) == (True, "")


def test_what_cannot_be_read_in_a_folder_is_told(tmp_path):
    """A pipe would wait for ever. A folder whose path is longer than the system takes cannot be opened, not by root."""
    write(tmp_path / "a.wav", chirp())
    os.mkfifo(tmp_path / "b.wav")
    (tmp_path / "c.wav").symlink_to("/dev/zero")
    (tmp_path / "d.wav").symlink_to("nowhere")
    (tmp_path / "e").mkdir()
    handle = os.open(tmp_path / "e", os.O_RDONLY)
    for _ in range(20):
        os.mkdir("e" * 250, dir_fd=handle)
        deeper = os.open("e" * 250, os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = deeper
    os.close(handle)
    found = {os.path.relpath(path, tmp_path): error for path, error in list_audio(tmp_path)}
    assert [name for name in found if name[0] != "e"] == ["a.wav", "b.wav", "c.wav", "d.wav"]
    assert (found["a.wav"], found["d.wav"]) == ("", "")  # a link that leads nowhere is told when it is read
    for name in ("b.wav", "c.wav"):
        assert found[name] == f"{tmp_path / name}: a pipe, socket or device; left out"
    (long,) = (name for name in found if name[0] == "e")
    assert "cannot be opened (File name too long)" in found[long]
    assert [name for name, error in list_audio(f"{tmp_path}/*.wav") if error] == [
        str(tmp_path / "b.wav"),
        str(tmp_path / "c.wav"),
    ]
    with pytest.raises(AudioError, match=r"b\.wav: a pipe, socket or device"):
        find_audio([tmp_path])


@pytest.mark.skipif("SPEECHGRU_DATA" not in os.environ, reason="SPEECHGRU_DATA is unset: no real recordings")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # librosa imports audioread, which imports aifc
def test_real_recordings_equal_librosa():
    """Oracle: librosa.load of the same file (soundfile and soxr underneath, channel handling and slicing its own)."""
    import librosa

    folder = Path(os.environ["SPEECHGRU_DATA"]) / "speech_commands"
    for path in find_audio([str(folder / "yes")])[:20]:
        for rate in (16_000, 8_000, 22_050):
            expected, _ = librosa.load(path, sr=rate, res_type="soxr_hq")
            ours, _ = read_audio(path, rate)
            assert 0 <= len(expected) - len(ours) <= 1  # librosa rounds up and fills with a zero
            expected = expected[: len(ours)]
            assert np.abs(ours.numpy() - expected).max() < 1e-5
    noise = str(folder / "_background_noise_" / "running_tap.flac")
    expected, _ = librosa.load(noise, sr=None, offset=20.5, duration=1.25)
    assert np.array_equal(read_audio(noise, start_s=20.5, duration_s=1.25)[0].numpy(), expected)
