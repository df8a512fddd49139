"""Shards: the recordings of a list in tar files, bit for bit, in an order that (seed, epoch) fixes.

Oracles: the recordings as files, a run that nothing cut, and Python's own tarfile.
"""

from __future__ import annotations

import dataclasses
import functools
import http.server
import io
import json
import multiprocessing
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from small_run import cut, run, same

from speechgru.audio import read_audio
from speechgru.cli import main
from speechgru.data.batching import BatchLoader
from speechgru.data.corpora.shards import Shards, ShardsConfig
from speechgru.data.manifest import read_manifest, write_manifest
from speechgru.data.order import epoch_batches, shard_batches
from speechgru.data.reading import read_utterance
from speechgru.data.shards import read_shards, write_shards
from speechgru.data.shards.reading import shard_of
from speechgru.data.utterance import Utterance
from speechgru.errors import AudioError, ConfigError, DataError
from speechgru.evaluation.detection import Alarm, Background
from speechgru.evaluation.detection_record import cut_alarms

COUNT = 24


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Utterance]:
    """Recordings of several formats; of one the last fifth is meant, of another the middle, louder."""
    folder, rng = tmp_path_factory.mktemp("clips"), np.random.default_rng(0)
    found = []
    for number in range(COUNT):
        suffix, subtype = [("wav", "PCM_16"), ("flac", "PCM_16"), ("wav", "FLOAT")][number % 3]
        path = folder / f"{number}.{suffix}"
        soundfile.write(path, 0.1 * rng.standard_normal(2000 + 100 * number), 8000, subtype=subtype)
        found.append(Utterance(str(path), text=f"text {number}", label="ab"[number % 2], speaker=f"s{number % 5}"))
    found[3] = dataclasses.replace(found[3], start_s=0.2)
    found[5] = dataclasses.replace(found[5], start_s=0.1, duration_s=0.05, gain_db=6.0)
    return found


@pytest.fixture(scope="module")
def shards(clips: list[Utterance], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as shards of about four recordings each."""
    folder = tmp_path_factory.mktemp("shards") / "train"
    assert write_shards(clips, folder, shard_mb=0.03) is not None
    return folder


def told(utterance: Utterance) -> tuple[str, str | None, str]:
    return utterance.text, utterance.label, utterance.speaker


def same_recordings(found: list[Utterance], clips: list[Utterance]) -> None:
    """Each once, with all that is known of it and every sample as it was."""
    by_text = {one.text: one for one in found}
    assert len(found) == len(by_text) == len(clips)
    for clip in clips:
        one = by_text[clip.text]
        assert told(one) == told(clip)
        assert torch.equal(read_utterance(one, 16000), read_utterance(clip, 16000))


def test_shards_hold_what_the_list_names(clips: list[Utterance], shards: Path) -> None:
    """Sizes are bounded; the index is a manifest like any other; without it the tar files tell the same."""
    same_recordings(read_shards(shards), clips)
    same_recordings(read_manifest(shards / "index.jsonl"), clips)
    sizes = [path.stat().st_size for path in shards.glob("*.tar")]
    assert len(sizes) >= 5
    assert max(sizes) <= 30_000 + 10_240  # tarfile ends a file at a multiple of 10 KiB
    found = read_shards(shards)
    assert [one.text for one in found] != [one.text for one in clips]  # a drawn order


def test_others_read_them(clips: list[Utterance], shards: Path, tmp_path: Path) -> None:
    """WebDataset's convention, read by tarfile: KEY.json behind KEY.<audio>; and without our index by ourselves."""
    for path in sorted(shards.glob("*.tar")):
        with tarfile.open(path) as archive:
            names = archive.getnames()
            for audio, facts in zip(names[::2], names[1::2], strict=True):
                assert facts == audio.partition(".")[0] + ".json"
                row = json.load(archive.extractfile(facts))  # type: ignore[arg-type]
                assert row["text"] == f"text {int(facts[:9])}"
        (tmp_path / path.name).write_bytes(path.read_bytes())
    same_recordings(read_shards(tmp_path), clips)


def test_twice_does_nothing_and_another_list_is_refused(
    clips: list[Utterance], shards: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The same list again leaves every file as it is; the command says so."""
    before = {path.name: path.stat().st_mtime_ns for path in shards.iterdir()}
    assert write_shards(clips, shards, shard_mb=0.03) is None
    assert {path.name: path.stat().st_mtime_ns for path in shards.iterdir()} == before
    for other in (clips[1:], [*clips[1:], clips[0]]):
        with pytest.raises(ConfigError, match="holds shards of another list"):
            write_shards(other, shards, shard_mb=0.03)
    write_manifest(tmp_path / "list.jsonl", [*clips[:4], Utterance(str(tmp_path / "nowhere.wav"))])
    command = ["shard", str(tmp_path / "list.jsonl"), "-o", str(tmp_path / "out")]
    assert main(command) == 1
    said = capsys.readouterr()
    assert said.out == f"{tmp_path / 'out'}\n"
    assert "left out:" in said.err
    assert "nowhere.wav: no such file" in said.err
    assert "4 recordings in 1 shards" in said.err
    assert main(command) == 0
    assert "nothing to do" in capsys.readouterr().err
    (tmp_path / "empty.jsonl").write_text("")
    assert main(["shard", str(tmp_path / "empty.jsonl"), "-o", str(tmp_path / "none")]) == 2
    assert "holds no utterance" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_stopped_in_the_middle(clips: list[Utterance], shards: Path, tmp_path: Path) -> None:
    """What was stopped is not read, and started again it is what it would have been, byte for byte."""

    def stop(places: list[int]) -> Iterator[int]:
        yield from places[:15]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shards(clips, tmp_path, shard_mb=0.03, progress=stop)  # type: ignore[arg-type]
    assert list(tmp_path.glob("*.tar"))
    with pytest.raises(DataError, match="are not finished"):
        read_shards(tmp_path)
    (tmp_path / "shard-000099.tar").write_bytes(b"")  # of recordings that have gone away since
    write_shards(clips, tmp_path, shard_mb=0.03)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        path.name: path.read_bytes() for path in shards.iterdir()
    }


def tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name.partition("|")[0])  # a|2: the name a for the second time
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def sound() -> bytes:
    content = io.BytesIO()
    soundfile.write(content, np.zeros(800), 8000, format="FLAC")
    return content.getvalue()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"../a.flac": b""}, "which leaves it"),
        ({"/etc/a.flac": b""}, "which leaves it"),
        ({"b/../../a.flac": b""}, "which leaves it"),
        ({"a.flac": b"", "a.flac|2": b""}, "has 'a.flac' twice"),
        ({"a.json": b"{}", "b.flac": b""}, "the sample 'a' has no recording"),
        ({"a.flac": b"", "a.wav": b""}, "the sample 'a' has several recordings"),
        ({"a.flac": b"", "a.json": b"{"}, "its JSON is broken"),
        ({"a.flac": b"", "a.json": b"[]"}, "its JSON is list"),
        ({"a.flac": b"", "a.json": b'{"duration": -1}'}, "duration=-1 is not a number of seconds"),
        ({"a.flac": b"", "a.txt": b"\xff"}, "is not UTF-8"),
        ({"a.flac": b"", "a.json": b" " * (1 << 20) + b"{}"}, "is less than 1 MB"),
    ],
)
def test_a_wrong_tar_file_is_told_in_a_line(members: dict[str, bytes], message: str, tmp_path: Path) -> None:
    tar(tmp_path / "x.tar", members)
    with pytest.raises(DataError) as error:
        read_shards(tmp_path)
    assert message in str(error.value)
    assert str(tmp_path / "x.tar") in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("damage", [lambda content: content[:700], lambda content: b"x" * 2048, lambda content: b""])
def test_a_broken_tar_file(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """Truncated in the recording, not a tar file, empty."""
    path = tar(tmp_path / "x.tar", {"a.flac": sound() * 20})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"x\.tar: .*trunc"):
        read_shards(tmp_path)


def test_what_is_missing_later_is_told(shards: Path, tmp_path: Path) -> None:
    """With an index a shard of another size is found at once; one that changes later fails where it is read."""
    for path in shards.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    found = read_shards(tmp_path)
    first = tmp_path / "shard-000000.tar"
    content = first.read_bytes()
    first.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"shard-000000\.tar: has .* bytes, not"):
        read_shards(tmp_path)
    with pytest.raises(AudioError, match=r"shard-000000\.tar"):
        read_all(found)
    first.unlink()
    with pytest.raises(DataError, match=r"shard-000000\.tar: is not there"):
        read_shards(tmp_path)
    first.write_bytes(content)
    line = (tmp_path / "index.jsonl").read_text().splitlines()[0].replace("shard-000000.tar/", "../x.tar/")
    (tmp_path / "index.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match="in none of the shards"):
        read_shards(tmp_path)


def test_few_recordings_in_shards_for_several_processes() -> None:
    """No process has an empty epoch, however small the buffer."""
    ranks = [shard_batches(None, ["a.tar"] * 4, buffer=1, batch_size=1, rank=rank, world_size=3) for rank in range(3)]
    assert sorted(index for rank in ranks for batch in rank for index in batch) == [0, 1, 2, 3]


@pytest.mark.parametrize("world", [1, 3])
@pytest.mark.parametrize("buffer", [1, 20, 10_000])
def test_an_epoch_reads_the_shards_in_order(buffer: int, world: int) -> None:
    """Every utterance once in one process; as many batches in each; at once only the shards of one buffer."""
    sizes = [30, 7, 50, 1, 40, 22]
    names = [f"{number}.tar" for number, size in enumerate(sizes) for _ in range(size)]
    durations = np.random.default_rng(0).uniform(0.5, 9, len(names)).tolist()
    order = functools.partial(shard_batches, durations, names, buffer=buffer, batch_size=4, world_size=world)
    ranks = [order(epoch=1, rank=rank) for rank in range(world)]
    assert sorted(index for rank in ranks for batch in rank for index in batch) == list(range(len(names)))
    assert len({len(rank) for rank in ranks}) == 1
    assert all(1 <= len(batch) <= 4 for rank in ranks for batch in rank)
    assert order(epoch=1, rank=0) == ranks[0] != order(epoch=2, rank=0)
    steps = [[index for rank in ranks for index in rank[step]] for step in range(len(ranks[0]))]
    opened = [{names[index] for index in step} for step in steps]
    if buffer < 10_000:
        for name in set(names):  # between its first and its last step a shard shares its buffers with neighbours only
            at = [place for place, names_here in enumerate(opened) if name in names_here]
            assert at[-1] - at[0] < (names.count(name) + 2 * max(buffer, 4 * world)) / (2 * world)
    else:  # one buffer: as well mixed as files are
        whole = epoch_batches(durations, len(names), batch_size=4, world_size=world)
        assert len(whole) == len(ranks[0])


@pytest.mark.parametrize("start", [0, 1, 4, 7])
@pytest.mark.parametrize("workers", [0, 2])
def test_from_any_place_on_it_is_the_same(shards: Path, start: int, workers: int) -> None:
    """Resumed in the middle of an epoch, and so of a shard: exactly the batches that a whole pass gives from there."""
    load = functools.partial(
        BatchLoader, read_shards(shards), None, 8000, batch_size=3, shuffle=True, shard_buffer=6, seed=5
    )
    whole = list(load().epoch(3))
    assert len(whole) == len(load())
    rest = list(load(workers=workers, cache_mb=0).epoch(3, start_batch=start))
    assert len(rest) == len(whole) - start
    for one, other in zip(rest, whole[start:], strict=True):
        assert torch.equal(one.waveforms, other.waveforms)
        assert [row.text for row in one.utterances] == [row.text for row in other.utterances]


@pytest.mark.slow
def test_resumed_training_equals_uninterrupted(
    three_tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut in the middle of an epoch and gone on. Oracle: the run that nothing cut; bit for bit."""
    clips = [Utterance(str(path), label=path.parent.name) for path in sorted(three_tones.rglob("*.wav"))]
    write_shards(clips[::5], tmp_path / "shards/valid", shard_mb=0.02)
    write_shards([one for place, one in enumerate(clips) if place % 5], tmp_path / "shards/train", shard_mb=0.02)
    assert len(list((tmp_path / "shards/train").glob("*.tar"))) >= 5
    words = ["data=shards", "trainer.epochs=2"]
    run(tmp_path / "shards", tmp_path / "whole", *words)
    cut(monkeypatch, tmp_path / "shards", tmp_path / "cut", 8, *words)
    run(tmp_path / "shards", tmp_path / "cut", *words, "resume=true")
    same(tmp_path / "whole", tmp_path / "cut")


@pytest.fixture
def address(shards: Path) -> Iterator[tuple[str, list[str]]]:
    """The folder above the shards at an address, and the paths that were asked for."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *given: object) -> None:
            super().__init__(*given, directory=str(shards.parent))  # type: ignore[arg-type]

        def log_request(self, *given: object) -> None:
            asked.append(self.path)

        def log_message(self, *given: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def read_all(utterances: list[Utterance]) -> int:
    return sum(len(read_utterance(one)) for one in utterances)


def test_shards_at_an_address(
    address: tuple[str, list[str]], clips: list[Utterance], shards: Path, tmp_path: Path
) -> None:
    """Each is fetched once, when it is read; nothing but the index before."""
    root, asked = address
    found = Shards(ShardsConfig(root, cache=str(tmp_path))).utterances("train")
    assert sorted(asked) == ["/train/index.jsonl", "/train/shards.json"]
    same_recordings(found, clips)
    tars = [path for path in asked if path.endswith(".tar")]
    assert sorted(tars) == sorted(f"/train/{path.name}" for path in shards.glob("*.tar"))
    assert shard_of(found[0].audio).startswith(str(tmp_path))


def test_few_shards_are_kept(address: tuple[str, list[str]], clips: list[Utterance], tmp_path: Path) -> None:
    """No more than fit are kept, and every recording is read all the same."""
    root, _ = address
    found = Shards(ShardsConfig(root, cache=str(tmp_path), cache_gb=8e-5)).utterances("train")
    samples = read_all(clips)
    assert read_all(found) == samples
    assert 20_000 < sum(path.stat().st_size for path in tmp_path.rglob("*.tar")) <= 80_000


def test_the_sound_around_an_alarm_is_fetched(
    address: tuple[str, list[str]], clips: list[Utterance], tmp_path: Path
) -> None:
    """A false alarm is written although its shard was removed after it was heard, to make room for others."""
    found = Shards(ShardsConfig(address[0], cache=str(tmp_path / "cache"))).utterances("train")[0]
    whole = read_utterance(found, 8000)
    for tar in (tmp_path / "cache").rglob("*.tar"):
        tar.unlink()
    background = Background(found.audio, "train", len(whole) / 8000, 0.0, {}, found.start_s, found.gain_db)
    (row,) = cut_alarms([Alarm("yes", background, 0.1, 0.9)], tmp_path / "alarms", 8000)
    samples, _ = soundfile.read(tmp_path / str(row["clip"]), dtype="float32")
    np.testing.assert_allclose(samples, whole[: len(samples)], atol=1e-4)


def test_shards_that_change_at_an_address(address: tuple[str, list[str]], shards: Path, tmp_path: Path) -> None:
    """Those being written are found once they are finished, and those written anew replace what was kept of the old."""
    root, config = f"{address[0]}/changing", shards.parent / "changing/train/shards.json"
    for name, text in (("a", "first"), ("b", "second")):
        soundfile.write(tmp_path / f"{name}.wav", np.full(4000 if name == "a" else 3000, 0.1), 8000)
        clip = Utterance(str(tmp_path / f"{name}.wav"), text=text)
        shutil.rmtree(config.parent, ignore_errors=True)
        write_shards([clip], config.parent)
        finished = config.read_text()
        config.write_text(finished.replace('"finished": true', '"finished": false'))
        with pytest.raises(DataError, match="are not finished"):
            Shards(ShardsConfig(root, cache=str(tmp_path / "cache"))).utterances("train")
        config.write_text(finished)
        (found,) = Shards(ShardsConfig(root, cache=str(tmp_path / "cache"))).utterances("train")
        assert (found.text, len(read_utterance(found))) == (text, 4000 if name == "a" else 3000)
    next((tmp_path / "cache").rglob("shards.json")).write_text("{")  # damaged here: it is fetched anew
    assert len(Shards(ShardsConfig(root, cache=str(tmp_path / "cache"))).utterances("train")) == 1
    shutil.rmtree(config.parent)  # nothing there any more: what is kept goes on
    assert len(Shards(ShardsConfig(root, cache=str(tmp_path / "cache"))).utterances("train")) == 1


def test_splits_of_a_long_address_are_kept_apart(
    address: tuple[str, list[str]], clips: list[Utterance], shards: Path, tmp_path: Path
) -> None:
    """Their folders' names would begin alike for longer than a name may be."""
    long = "/".join(["some-corpus-of-many-speakers"] * 6)
    for split, clip in (("train", clips[0]), ("valid", clips[1])):
        write_shards([clip], shards.parent / long / split)
    corpus = Shards(ShardsConfig(f"{address[0]}/{long}", cache=str(tmp_path)))
    assert [corpus.utterances(split)[0].text for split in ("train", "valid")] == [clips[0].text, clips[1].text]


@pytest.mark.skipif(shutil.which("tar") is None, reason="needs the program tar")
def test_a_sparse_recording_is_refused(tmp_path: Path) -> None:
    """Oracle: GNU tar, which leaves the zeros of a file out; what is left is not the recording."""
    soundfile.write(tmp_path / "a.wav", np.zeros(100_000), 8000)
    with open(tmp_path / "a.wav", "r+b") as file:
        file.truncate(1_000_000)  # a hole
    made = subprocess.run(["tar", "--sparse", "-cf", "x.tar", "a.wav"], cwd=tmp_path, capture_output=True)
    if made.returncode:
        pytest.skip("this tar knows no sparse files")
    with pytest.raises(DataError, match="as a sparse file"):
        read_shards(tmp_path)


def test_what_is_no_text_or_no_folder_is_told_before_it_is_written(clips: list[Utterance], tmp_path: Path) -> None:
    """A label that is not UTF-8 leaves one recording out; a folder that would pass for a shard is refused."""
    failed: list[str] = []
    wrong = dataclasses.replace(clips[0], label="caf\udce9")
    write_shards([wrong, clips[1]], tmp_path / "shards", failed=failed.append)
    assert len(failed) == 1
    assert "is not UTF-8" in failed[0]
    assert [one.text for one in read_shards(tmp_path / "shards")] == [clips[1].text]
    with pytest.raises(ConfigError, match=r"a folder called \.tar"):
        write_shards(clips, tmp_path / "x.tar" / "train")


def test_a_stretch_at_a_rate_beyond_flac(tmp_path: Path) -> None:
    """Oracle: the stretch itself."""
    samples = np.round(np.random.default_rng(0).uniform(-1, 1, 100_000) * 3000).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", samples, 768_000)
    write_shards([Utterance(str(tmp_path / "a.wav"), start_s=0.01, duration_s=0.02)], tmp_path / "shards")
    (found,) = read_shards(tmp_path / "shards")
    waveform, rate = read_audio(found.audio)
    assert rate == 768_000
    np.testing.assert_array_equal(waveform.numpy(), samples[7680:23_040] / np.float32(32768))


@pytest.mark.slow
def test_two_processes_keep_few_shards(address: tuple[str, list[str]], clips: list[Utterance], tmp_path: Path) -> None:
    """Each has every recording, though they remove each other's shards."""
    found = Shards(ShardsConfig(address[0], cache=str(tmp_path), cache_gb=8e-5)).utterances("train")
    samples = read_all(clips)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(read_all, [found, found[::-1]]) == [samples, samples]


def test_what_is_wrong_at_an_address(address: tuple[str, list[str]], shards: Path, tmp_path: Path) -> None:
    """No such split; a shard that is not what its checksum says."""
    root, _ = address
    with pytest.raises(DataError, match="404"):
        Shards(ShardsConfig(root, cache=str(tmp_path))).utterances("valid")
    found = Shards(ShardsConfig(root, cache=str(tmp_path))).utterances("train")
    path = Path(shard_of(found[0].audio))
    listing = json.loads((path.parent / "shards.json").read_text())
    listing["shards"][0]["sha256"] = "0" * 64
    (path.parent / "shards.json").write_text(json.dumps(listing))
    with pytest.raises(AudioError, match="its sha256 is"):
        read_utterance(found[0])
    assert not path.exists()


def test_shards_of_real_recordings(recordings: Path, tmp_path: Path) -> None:
    """Ten of each kind, from the command. Oracle: the files."""
    rows = ["audio\tlabel"]
    for path in [
        *sorted((recordings / "fsdd/recordings").glob("*.flac"))[:10],
        *sorted((recordings / "esc10").rglob("*.opus"))[:3],
    ]:
        rows.append(f"{path}\t{path.stem}")
    (tmp_path / "list.tsv").write_text("\n".join(rows) + "\n")
    assert main(["shard", str(tmp_path / "list.tsv"), "-o", str(tmp_path / "out"), "--shard_mb", "0.1"]) == 0
    found = {one.label: one for one in read_shards(tmp_path / "out")}
    assert len(found) == len(rows) - 1
    for row in rows[1:]:
        path, label = row.split("\t")
        assert torch.equal(read_utterance(found[label]), read_utterance(Utterance(path)))
