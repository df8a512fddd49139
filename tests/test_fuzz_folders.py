"""Damaged and hostile model folders, lists of recordings and archives, thousands of them from a seed.

Oracle of all: what was there before the damage, or one line of SpeechGRUError. Never another exception, a hang, memory
without bound, code that runs or a file outside. A case that fails is found again by its seed and number.
"""

import contextlib
import io
import json
import math
import resource
import shutil
import signal
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from speechgru.data.archive import extract
from speechgru.data.recordings import read_recordings
from speechgru.data.sphinx import read_transcriptions
from speechgru.decoding import BeamConfig
from speechgru.decoding.arpa import write_arpa
from speechgru.decoding.kneser_ney import train
from speechgru.encoders import GRUEncoderConfig
from speechgru.errors import ConfigError, DataError, SpeechGRUError
from speechgru.features import LogMelConfig
from speechgru.heads import CTCConfig
from speechgru.model_folder import RecognizerConfig
from speechgru.recognizer import Recognizer, load
from speechgru.text import CharactersConfig
from speechgru.tokens import Tokens

SECONDS = 60  # of a case, on a machine that does much else
MOST_KB = 400_000  # of memory, more than before

VALUES: list[Any] = [
    *(10**30, -(10**30), 2**63 - 1, 2**31, 10**6, 1000, 7, 1, 0, -1),
    *(math.nan, math.inf, -math.inf, 1e308, 5e-324, 0.5, True, False, None),
    *("", " ", "x", "1", "a" * 100_000, "\n", "\x00", "../../tokens.txt", "/etc/passwd", "~nosuchuser/x", "/dev/zero"),
    *("${oc.env:HOME}", "os.system", "null", [], {}, [[]], [1] * 1000, [None], ["x", 3], {"name": "gru"}, {"name": []}),
    {"_target_": "os.system", "command": "touch PWNED"},
]
TEXTS = [
    b"!!python/object/apply:os.system ['touch PWNED']",
    b"!!python/name:os.system",
    b"!!int abc",
    b"!!float x",
    b"!!binary x",
    b"!!set {a, b}",
    b"2001-99-99",
    b"2001-01-01",
    b"1" * 5000,
    b"1:" * 5000 + b"1",
    b"[" * 3000,
    b"{a: " * 3000,
    b"&a [*a]",
    b"&a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]",
    b"<<: {a: 1}",
    b"? [a]\n: b",
    b"\t",
    b"\xff\xfe",
    b"\x00",
    b"- " * 1000,
]


@contextlib.contextmanager
def bounded(case: str, most_kb: int = MOST_KB) -> Iterator[None]:
    """Less memory than ``most_kb`` more, less time than SECONDS; an exception of another kind names the case."""

    def late(*_: object) -> None:
        raise AssertionError(f"{case} takes more than {SECONDS} s")

    before, previous = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    except SpeechGRUError as error:
        message = str(error)
        assert "\n" not in message, f"{case}: {message!r}"
        assert 0 < len(message) < 2000, f"{case}: {message[:200]!r}"
    except (AssertionError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise AssertionError(f"{case}: {type(error).__name__}: {str(error)[:300]}") from error
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < most_kb, f"{case}: {grown} kB of memory"


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Bits flipped, bytes cut, repeated, exchanged or put in."""
    kind, place = rng.integers(6), int(rng.integers(len(content) + 1))
    if kind == 0 and content:
        damaged = bytearray(content)
        for place in rng.integers(len(content), size=int(rng.integers(1, 9))):
            damaged[place] ^= 1 << int(rng.integers(8))
        return bytes(damaged)
    if kind == 1:
        return content[:place]
    if kind == 2:
        return content[:place] + content[place + int(rng.integers(1, 100)) :]
    if kind == 3:
        return content[:place] + TEXTS[int(rng.integers(len(TEXTS)))] + content[place:]
    if kind == 4:
        stop = place + int(rng.integers(1, 200))
        return content[:stop] + content[place:stop] * int(rng.choice([1, 2, 1000])) + content[stop:]
    return rng.bytes(int(rng.integers(200)))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of 10 kB with everything in it: weights, labels, a language model, a lexicon."""
    folder = tmp_path_factory.mktemp("whole")
    write_arpa(folder / "some.arpa", train([["AB", "CD", "A", "B"], ["B", "A", "CD"]] * 3, 2))
    (folder / "some.words").write_text("AB\nCD\nA\nB\n")
    torch.manual_seed(0)
    config = RecognizerConfig(
        LogMelConfig(sample_rate=8000, mels=8, hop_ms=20.0),
        GRUEncoderConfig(hidden_size=4, num_layers=1, dropout=0),
        CTCConfig(dropout=0),
        units=CharactersConfig(),
        decoder=BeamConfig(
            beam_size=4,
            language_model=str(folder / "some.arpa"),
            lexicon=str(folder / "some.words"),
            priors=[0.2, 0.1, 0.2, 0.2, 0.2, 0.1],
            prior_weight=0.1,
        ),
    )
    Recognizer(config, Tokens(["<blank>", "|", "A", "B", "C", "D"])).save(folder / "model")
    return folder / "model"


def answer(folder: Path) -> tuple[str, float]:
    """What the model makes of half a second: the text, and a sum over all scores."""
    recognizer = load(folder)
    waveform = torch.sin(torch.arange(4000) * torch.linspace(0.1, 0.5, 4000))
    scores = recognizer.log_probabilities([waveform])[0]
    return recognizer.transcribe_waveforms([waveform])[0].text, float(np.abs(scores).sum())


def inside(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def paths_of(plain: dict[str, Any]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for key, value in plain.items():
        found.append((key,))
        found += [(key, *below) for below in paths_of(value)] if isinstance(value, dict) else []
    return found


@pytest.mark.parametrize("cases", [120, pytest.param(2000, marks=pytest.mark.slow)])
def test_settings_of_any_value(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cases: int) -> None:
    """Each setting with each hostile value; what loads also answers, in numbers."""
    monkeypatch.chdir(tmp_path)
    whole = yaml.safe_load((model / "config.yaml").read_text())
    every = [(path, value) for path in paths_of(whole) for value in VALUES]
    rng = np.random.default_rng(1)
    folder = shutil.copytree(model, tmp_path / "model")
    for place in rng.permutation(len(every))[:cases]:
        path, value = every[place]
        plain = yaml.safe_load((model / "config.yaml").read_text())
        inner = plain
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        (folder / "config.yaml").write_text(yaml.safe_dump(plain, sort_keys=False))
        with bounded(f"{'.'.join(path)}={str(value)[:50]}"):
            assert math.isfinite(answer(folder)[1]), path
    assert set(inside(tmp_path)) == {f"model/{name}" for name in inside(model)}


@pytest.mark.parametrize("sums", [True, False], ids=["checksums", "none"])
@pytest.mark.parametrize("cases", [120, pytest.param(2500, marks=pytest.mark.slow)])
def test_folders_of_any_bytes(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cases: int, sums: bool
) -> None:
    """Every file, with its checksum and, as older versions wrote it, without; with it only the settings may differ."""
    monkeypatch.chdir(tmp_path)
    expected = answer(model)
    files = inside(model)
    rng = np.random.default_rng(2 + sums)
    for case in range(cases):
        name = sorted(files)[int(rng.integers(len(files)))]
        folder = shutil.copytree(model, tmp_path / "model", dirs_exist_ok=True)
        if not sums:
            (folder / "SHA256SUMS").unlink()
        (folder / name).write_bytes(mutated(files[name], rng))
        with bounded(f"case {case}, {name}"):
            found = answer(folder)
            assert math.isfinite(found[1]), f"case {case}, {name}"
            if sums and name not in ("config.yaml", "SHA256SUMS"):
                assert found == expected, f"case {case}, {name}"
    assert {Path(name).name for name in inside(tmp_path)} <= set(files)


@pytest.mark.parametrize("cases", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_headers_of_weights(model: Path, tmp_path: Path, cases: int) -> None:
    """The header alone: shapes, places and types that are not so; a folder without checksums."""
    content = (model / "model.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header, body = json.loads(content[8 : 8 + length]), content[8 + length :]
    rng = np.random.default_rng(4)
    folder = shutil.copytree(model, tmp_path / "model")
    (folder / "SHA256SUMS").unlink()
    for case in range(cases):
        changed = json.loads(json.dumps(header))
        name = sorted(changed)[int(rng.integers(len(changed)))]
        key = str(rng.choice(["dtype", "shape", "data_offsets", "more", "name", "length"]))
        value = VALUES[int(rng.integers(len(VALUES)))]
        if key == "name":
            changed["x" * int(rng.integers(5000))] = changed.pop(name)
        elif key != "length":
            types = ["F8_E8M0", "F8_E4M3", "F64", "I8", "U64", "BOOL", "F4", "C64", value]
            changed[name][key] = types[int(rng.integers(len(types)))] if key == "dtype" else value
        text = json.dumps(changed, allow_nan=True).encode()
        size = int(rng.choice([0, 2**63, 2**40, 10**8])) if key == "length" else len(text)
        (folder / "model.safetensors").write_bytes(size.to_bytes(8, "little") + text + body)
        with bounded(f"case {case}, {name}.{key}={str(value)[:50]}"):
            assert math.isfinite(answer(folder)[1])


LISTS = {
    "m.jsonl": b'{"audio_filepath": "a.wav", "duration": 1.5, "offset": 0, "text": "yes", "label": "yes"}\n' * 3,
    "t.csv": b'audio,text,label,split,duration\n"a.wav",yes,yes,train,1.5\nb.wav,"no, no",no,test,2\n',
    "t.tsv": b"path\tsentence\tclient_id\na.wav\tyes\tann\nb.wav\tno\tbo\n",
    "kaldi/wav.scp": b"a a.wav\nb b.wav\n",
    "kaldi/segments": b"u a 0.5 1.5\nv b 0 -1\n",
    "kaldi/text": b"u YES\nv NO\n",
    "kaldi/utt2spk": b"u ann\nv bo\n",
    "a.transcription": b"<s> GO ON </s> (an4-1)\n<s> STOP </s> (an4-2)\n",
}


@pytest.mark.parametrize("cases", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_lists_of_any_bytes(tmp_path: Path, cases: int) -> None:
    """Manifests, tables, Kaldi folders, transcriptions; what is read is texts and finite times."""
    rng = np.random.default_rng(5)
    (tmp_path / "kaldi").mkdir()
    for name, content in LISTS.items():
        (tmp_path / name).write_bytes(content)
    for case in range(cases):
        name = sorted(LISTS)[int(rng.integers(len(LISTS)))]
        content = mutated(LISTS[name], rng)
        if name == "m.jsonl" and rng.random() < 0.5:
            row = json.loads(LISTS[name].split(b"\n")[0])
            key = sorted(row)[int(rng.integers(len(row)))]
            row[key] = VALUES[int(rng.integers(len(VALUES)))]
            content = json.dumps(row).encode()
        (tmp_path / name).write_bytes(content)
        place = tmp_path / "kaldi" if name.startswith("kaldi") else tmp_path / name
        with bounded(f"case {case}, {name}"):
            if name.endswith(".transcription"):
                assert all(isinstance(text, str) for text in read_transcriptions(place).values())
            else:
                for one in (one for rows in read_recordings(place).values() for one in rows):
                    assert isinstance(one.audio, str)
                    assert 0 <= one.start_s < 1e9
                    assert one.duration_s is None or 0 < one.duration_s < 1e9
                    assert "".join((one.audio, one.text, one.label or "", one.speaker)).encode()
        (tmp_path / name).write_bytes(LISTS[name])


NAMES = ["a.wav", "b/c.wav", "b/c.wav", "B/C.wav", "../out", "/out", "b/../../out", "c:/out", "b\\..\\out", "-x", "b"]
NAMES += ["x" * 300, "d/" * 2000 + "e", "d/" * 100 + "e", "\n", "\x1b[2J", "./a", "a//b", "ü\u2028", ".", "..", ""]


def made_tar(rng: np.random.Generator) -> bytes:
    kinds = [tarfile.REGTYPE] * 6 + [tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE]
    kinds += [tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, b"9"]
    form = [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT][int(rng.integers(2))]
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:" + str(rng.choice(["", "gz", "bz2", "xz"])), format=form) as tar:
        for name in rng.choice(NAMES, size=int(rng.integers(1, 5))):
            member = tarfile.TarInfo(str(name))
            member.type, member.linkname = kinds[int(rng.integers(len(kinds)))], "../out"
            member.size = int(rng.choice([0, 3, 1000])) if member.type == tarfile.REGTYPE else 0
            tar.addfile(member, io.BytesIO(b"a" * member.size))
    return written.getvalue()


def made_zip(rng: np.random.Generator) -> bytes:
    modes = [stat.S_IFREG] * 5 + [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFDIR]
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED][int(rng.integers(2))]) as file:
        for name in dict.fromkeys(rng.choice(NAMES, size=int(rng.integers(1, 5)))):
            member = zipfile.ZipInfo(str(name) or "x")
            member.external_attr = (modes[int(rng.integers(len(modes)))] | 0o644) << 16
            file.writestr(member, b"a" * int(rng.choice([0, 3, 1000])))
    return written.getvalue()


@pytest.mark.parametrize("cases", [200, pytest.param(3000, marks=pytest.mark.slow)])
def test_archives_of_any_content(tmp_path: Path, cases: int) -> None:
    """Names that lead outside, links, devices, sizes that are none, then bytes changed: all inside, or nothing."""
    rng = np.random.default_rng(6)
    place = tmp_path / "place"
    place.mkdir()
    for case in range(cases):
        content = made_tar(rng) if rng.random() < 0.6 else made_zip(rng)
        if rng.random() < 0.5:
            content = mutated(content, rng)
        (tmp_path / "archive").write_bytes(content)
        with bounded(f"case {case}"):
            extract(tmp_path / "archive", place / "folder", progress=False)
            assert {path.name for path in place.iterdir()} == {"folder"}
            for path in (place / "folder").rglob("*"):
                assert path.is_dir() or (path.is_file() and not path.is_symlink()), f"case {case}: {path}"
            shutil.rmtree(place / "folder")
        assert not list(place.iterdir()), f"case {case}"
        assert {path.name for path in tmp_path.iterdir()} == {"place", "archive"}, f"case {case}"


def test_the_bounds_hold() -> None:
    """Oracle: what each of them is to see."""
    with pytest.raises(AssertionError, match="case 1: ValueError: a"), bounded("case 1"):
        raise ValueError("a")
    with pytest.raises(AssertionError, match=r"case 2: 'a\\nb'"), bounded("case 2"):
        raise DataError("a\nb")
    with bounded("case 3"):
        raise ConfigError("a")
    with pytest.raises(AssertionError, match="kB of memory"), bounded("case 4", most_kb=0):
        pass
