"""Writing a list of recordings into shards: tar files of <key>.<suffix> and <key>.json, as WebDataset reads them."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from speechgru.audio import SUFFIXES, audio_info, read_audio
from speechgru.audio.tar_member import open_member
from speechgru.data.manifest import write_manifest
from speechgru.data.shards.listing import INDEX, NAME, Shard, Shards, read_listing
from speechgru.data.utterance import Utterance
from speechgru.errors import AudioError, ConfigError, DataError, SpeechGRUError
from speechgru.files import remove_leftovers, replacing

_MOST_FLAC_HZ = 655_350
_MOST_RECORDINGS = 50_000  # of a shard: a reader keeps its table of contents in memory


def write_shards(
    utterances: Sequence[Utterance],
    folder: Path,
    *,
    shard_mb: float = 256,
    seed: int | None = 0,
    failed: Callable[[str], None] = lambda message: None,
    progress: Callable[[Iterable[int]], Iterable[int]] = lambda places: places,
) -> Shards | None:
    """Writes recordings into ``shard-000000.tar``, ... of a folder, with ``index.jsonl`` and ``shards.json``.

    Files are copied byte for byte; a stretch of less than half of its file is cut out, without loss. Each shard appears
    whole or not at all; ``shards.json`` says at the end that all are there.

    Args:
        utterances: what to write.
        folder: where; it is made.
        shard_mb: a shard ends at this size, in MB (10^6 bytes), above 0; a larger recording is a shard of its own.
        seed: seed of the order in the shards, since a reader shuffles neighbouring shards only. None keeps the order
            given.
        failed: called with a line for each recording that cannot be read; it is left out.
        progress: passes on the indices of the recordings, as they are written.

    Returns:
        What was written; None where the same shards are there already.

    Raises:
        ConfigError: the folder holds shards of another list, or other tar files.
        DataError: ``shards.json`` is damaged.
    """
    listed = _checksum(utterances, shard_mb, seed)
    if any(part.endswith(".tar") for part in folder.absolute().parts):
        raise ConfigError(f"-o {folder}: a folder called .tar would be taken for a shard; choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"-o {folder}: cannot be made ({error.strerror}); choose another folder") from None
    if (folder / NAME).exists():
        before = read_listing(folder)
        if before.listed != listed:
            raise ConfigError(f"-o {folder}: holds shards of another list, size or seed; choose another folder")
        if before.finished:
            return None
    elif any(folder.glob("*.tar")):
        raise ConfigError(f"-o {folder}: holds other tar files; choose another folder")
    remove_leftovers(folder)
    for path in folder.glob("shard-*.tar"):  # of a run that was stopped; there may be fewer recordings now
        path.unlink()
    found = Shards(listed)
    found.write(folder)
    order = (
        range(len(utterances)) if seed is None else np.random.default_rng(seed).permutation(len(utterances)).tolist()
    )
    writer = _Writer(folder, round(shard_mb * 1e6), found)
    for place in progress(order):
        try:
            content, kept = _content(utterances[place])
        except SpeechGRUError as error:
            failed(str(error))
            continue
        writer.add(f"{place:09d}", content, kept)
    writer.close()
    write_manifest(folder / INDEX, writer.index)
    found.finished = True
    found.write(folder)
    return found


def _checksum(utterances: Sequence[Utterance], shard_mb: float, seed: int | None) -> str:
    digest = hashlib.sha256(json.dumps([shard_mb, seed]).encode())
    for one in utterances:
        told = repr(dataclasses.replace(one, audio=os.path.abspath(one.audio)))
        digest.update(told.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


class _Writer:
    """Collects the recordings of a shard, and writes them once the shard is full."""

    def __init__(self, folder: Path, most_bytes: int, found: Shards) -> None:
        self.folder, self.most_bytes, self.found = folder, most_bytes, found
        self.index: list[Utterance] = []
        self._waiting: list[tuple[str, bytes, Utterance]] = []
        self._bytes = 0

    def add(self, key: str, content: bytes, utterance: Utterance) -> None:
        """Takes the next recording."""
        size = len(content) + 3072  # two headers, the JSON, and padding
        if self._waiting and (self._bytes + size > self.most_bytes or len(self._waiting) == _MOST_RECORDINGS):
            self.close()
        self._waiting.append((key, content, utterance))
        self._bytes += size

    def close(self) -> None:
        """Writes the shard that was begun, if any."""
        if not self._waiting:
            return
        path = self.folder / f"shard-{len(self.found.shards):06d}.tar"
        with replacing(path) as temporary:
            with tarfile.open(temporary, "w", format=tarfile.GNU_FORMAT) as archive:
                for key, content, utterance in self._waiting:
                    name = key + _suffix(utterance)
                    _add(archive, name, content)
                    _add(archive, f"{key}.json", json.dumps(_facts(utterance)).encode())
                    self.index.append(dataclasses.replace(utterance, audio=f"{path}/{name}"))
            with temporary.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            size = temporary.stat().st_size
        self.found.shards.append(Shard(path.name, size, len(self._waiting), sha256))
        self._waiting, self._bytes = [], 0


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # no owner and no time: the same recordings give the same file
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _facts(utterance: Utterance) -> dict[str, object]:
    """What the JSON beside a recording says: a row of a manifest; the recording has its original name there."""
    return {
        "audio_filepath": utterance.audio.encode("utf-8", "backslashreplace").decode(),
        "text": utterance.text,
        "label": utterance.label,
        "speaker": utterance.speaker,
        "offset": utterance.start_s,
        "duration": utterance.duration_s,
        "gain_db": utterance.gain_db,
    }


def _suffix(utterance: Utterance) -> str:
    suffix = Path(utterance.audio).suffix.lower()
    return suffix if suffix in SUFFIXES else ".flac"


def _content(utterance: Utterance) -> tuple[bytes, Utterance]:
    """The bytes of a recording, and the utterance as it is in them, with its duration."""
    for told in (utterance.text, utterance.label or "", utterance.speaker):
        if any("\ud800" <= letter <= "\udfff" for letter in told):
            raise DataError(f"{utterance.audio}: its label, text or speaker {told!r} is not UTF-8; rename it")
    length_s = audio_info(utterance.audio).duration_s
    duration_s = utterance.duration_s if utterance.duration_s is not None else length_s - utterance.start_s
    whole = dataclasses.replace(utterance, duration_s=duration_s)
    waveform, rate = read_audio(utterance.audio, start_s=utterance.start_s, duration_s=utterance.duration_s)
    if duration_s >= length_s / 2:
        try:
            member = open_member(utterance.audio)
            return member.getvalue() if member else Path(utterance.audio).read_bytes(), whole
        except OSError as error:
            raise AudioError(f"{utterance.audio}: cannot be read ({error.strerror})") from None
    import soundfile

    samples, content = waveform.numpy(), io.BytesIO()
    exact = rate <= _MOST_FLAC_HZ and np.array_equal(
        np.clip(np.rint(samples * 32768), -32768, 32767) / np.float32(32768), samples
    )
    # libsndfile writes the time of day into a wav of floats, so that two runs would differ; into au it does not.
    kind, subtype, suffix = ("FLAC", "PCM_16", ".flac") if exact else ("AU", "FLOAT", ".au")
    soundfile.write(content, samples, rate, format=kind, subtype=subtype)
    cut = dataclasses.replace(whole, audio=utterance.audio + suffix, start_s=0.0, duration_s=len(samples) / rate)
    return content.getvalue(), cut
