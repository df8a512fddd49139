"""The corpora of transcripts: AN4 in its layouts and yesno; on small trees and on the real recordings."""

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechgru.audio import read_audio
from speechgru.cli import main
from speechgru.data.corpora.an4 import AN4, AN4Config
from speechgru.data.corpora.read_english import ReadEnglish, ReadEnglishConfig
from speechgru.data.corpora.yesno import Yesno, YesnoConfig
from speechgru.data.splits import held_out_speakers
from speechgru.errors import ConfigError, DataError

SPLITS = ("train", "valid", "test")
SPEAKERS = [*(f"f{name}" for name in ("aaa", "bbb", "ccc")), *(f"m{letter * 3}" for letter in "abcdefg"), "maaa2"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """AN4 in the layout of its archive: 11 training speakers, 2 of the test, two utterances each; one is not there."""
    root = tmp_path / "an4"
    (root / "etc").mkdir(parents=True)
    for split, part, speakers in (("train", "an4_clstk", SPEAKERS), ("test", "an4test_clstk", ["fzzz", "mzzz"])):
        names, texts = [], []
        for speaker in speakers:
            (root / "wav" / part / speaker).mkdir(parents=True)
            for number in (1, 2):
                stem = f"an{number}-{speaker}-b"
                names.append(f"{part}/{speaker}/{stem}")
                # The test transcripts of the corpus lack the sentence marks.
                texts.append(f"<s> YES {number} </s> ({stem})" if split == "train" else f"NO {number} ({stem})")
                soundfile.write(root / "wav" / f"{names[-1]}.wav", np.zeros(1600), 16000)
        (root / f"etc/an4_{split}.fileids").write_text("\n".join(names) + "\n")
        (root / f"etc/an4_{split}.transcription").write_text("\n".join(texts) + "\n")
    return root


def an4(root: Path, **more) -> AN4:
    return AN4(AN4Config(root=str(root), **more))


def test_an4_as_its_archive_has_it(tree: Path) -> None:
    """Oracle: the tree made here. No speaker is in two splits, nor are two of one name; women and men are in valid."""
    corpus = an4(tree, valid_speakers=4)
    found = {split: corpus.utterances(split) for split in SPLITS}
    assert {split: len(found[split]) for split in SPLITS}["test"] == 4
    assert len(found["train"]) + len(found["valid"]) == 22
    assert [one.text for one in found["test"]] == ["NO 1", "NO 2"] * 2
    assert {one.text for one in found["train"] + found["valid"]} == {"YES 1", "YES 2"}
    held = {one.speaker for one in found["valid"]}
    assert not held & {one.speaker for one in found["train"]}
    assert {"maaa", "maaa2"} <= held
    assert {speaker[0] for speaker in held} == {"f", "m"}
    assert found["valid"] == an4(tree, valid_speakers=4).utterances("valid")
    assert corpus.labels() is None
    assert all(Path(one.audio).is_file() for split in SPLITS for one in found[split])


def test_an4_of_headless_recordings(tree: Path) -> None:
    """Oracle: the samples written, in both byte orders; until they are converted a line says how."""
    rng = np.random.default_rng(0)
    wave = (3000 * np.sin(np.arange(4000) / 9) + rng.normal(0, 30, 4000)).astype(np.int16)
    for stem, order in (("an1-faaa-b", "<i2"), ("an2-faaa-b", ">i2")):
        path = tree / "wav/an4_clstk/faaa" / stem
        path.with_suffix(".wav").unlink()
        path.with_suffix(".raw").write_bytes(wave.astype(order).tobytes())
    with pytest.raises(DataError, match=r"an1-faaa-b\.raw: has no header; run `speechgru prepare an4"):
        an4(tree).utterances("train")
    with pytest.raises(DataError, match="instead of"):  # a small tree is not the corpus, but is converted first
        an4(tree).prepare(progress=False)
    found = an4(tree).utterances("train") + an4(tree).utterances("valid")
    for one in found:
        if one.speaker == "faaa":
            np.testing.assert_allclose(read_audio(one.audio)[0].numpy() * 32768, wave, atol=0.5)


def test_an4_that_is_not_there_or_damaged(tree: Path, tmp_path: Path) -> None:
    """Oracle: what the message must name."""
    with pytest.raises(DataError, match="prepare an4"):
        an4(tmp_path / "none").utterances("train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"an4_train\.transcription"):
        an4(tmp_path / "empty").utterances("train")
    with pytest.raises(ConfigError, match="valid_speakers=0"):
        AN4Config(valid_speakers=0)
    lines = (tree / "etc/an4_train.transcription").read_text()
    (tree / "etc/an4_train.transcription").write_text(lines.replace(" (an1-faaa-b)", ""))
    with pytest.raises(DataError, match=r"an4_train\.transcription:1: "):
        an4(tree).utterances("train")
    (tree / "etc/an4_train.transcription").write_text(lines.partition("\n")[2])
    with pytest.raises(DataError, match="has no line for 'an1-faaa-b'"):
        an4(tree).utterances("train")


def test_held_out_speakers() -> None:
    """Oracle: counted by hand: shares of the groups, never all of one, the same whatever the order."""
    names = [f"f{number}" for number in range(20)] + [f"m{number}" for number in range(60)]
    for count in (1, 2, 8, 40):
        held = held_out_speakers(names, count, group=lambda name: name[0])
        assert len(held) == count
        assert held == held_out_speakers(reversed(names * 2), count, group=lambda name: name[0])
        assert Counter(name[0] for name in held)["f"] == max(1, count // 4)
    assert len(held_out_speakers(["a", "b"], 5)) == 1
    assert held_out_speakers(names, 3) < held_out_speakers(names, 4)


def test_yesno(tmp_path: Path) -> None:
    """Oracle: the words in the file names."""
    for number in range(16):
        name = "_".join(f"{number:04b}")
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(800), 8000)
    corpus = Yesno(YesnoConfig(root=str(tmp_path), valid_recordings=2))
    found = {split: corpus.utterances(split) for split in SPLITS}
    assert {split: len(found[split]) for split in SPLITS} == {"train": 6, "valid": 2, "test": 8}
    assert {one.text for one in found["test"]} >= {"YES NO NO NO", "YES YES NO YES"}
    assert len({one.audio for split in SPLITS for one in found[split]}) == 16
    with pytest.raises(DataError, match="prepare yesno"):
        Yesno(YesnoConfig(root=str(tmp_path / "none"))).utterances("train")
    with pytest.raises(ConfigError, match="valid_recordings=0"):
        YesnoConfig(valid_recordings=0)


DATA = os.environ.get("SPEECHGRU_DATA", "")
needs_data = pytest.mark.skipif(not DATA, reason="SPEECHGRU_DATA names no folder of recordings")


@needs_data
def test_real_an4() -> None:
    """Oracle: the counts of the corpus (948 and 130 utterances, 74 and 10 speakers, 773 words in the test)."""
    corpus = an4(Path(DATA) / "an4")
    found = {split: corpus.utterances(split) for split in SPLITS}
    speakers = {split: {one.speaker for one in found[split]} for split in SPLITS}
    assert len(found["train"]) + len(found["valid"]) == 948
    assert len(found["test"]) == 130
    assert sum(len(one.text.split()) for one in found["test"]) == 773
    assert len(speakers["train"]) + len(speakers["valid"]) == 74
    assert 7 <= len(speakers["valid"]) <= 9
    assert len(set.union(*speakers.values())) == 84


@needs_data
def test_real_yesno() -> None:
    """Oracle: the README of the recordings: 31 begin with a no, 29 with a yes, eight words each."""
    corpus = Yesno(YesnoConfig(root=str(Path(DATA) / "yesno")))
    found = {split: corpus.utterances(split) for split in SPLITS}
    assert {split: len(found[split]) for split in SPLITS} == {"train": 26, "valid": 5, "test": 29}
    assert {len(one.text.split()) for split in SPLITS for one in found[split]} == {8}


@pytest.fixture
def books(tmp_path: Path) -> Path:
    """LibriSpeech and LJ Speech as published, with some recordings that the corpus has no use for."""
    root = tmp_path / "read_english"
    for speaker, chapter in (("19", "198"), ("26", "495"), ("27", "123349"), ("27", "124992"), ("103", "1240")):
        folder = root / "librispeech/LibriSpeech/train-clean-100" / speaker / chapter
        folder.mkdir(parents=True)
        names = [f"{speaker}-{chapter}-{number:04d}" for number in range(3)]
        (folder / f"{speaker}-{chapter}.trans.txt").write_text("".join(f"{name} OF {speaker}\n" for name in names))
        for name in names:
            (folder / f"{name}.flac").touch()
    (root / "lj_speech/wavs").mkdir(parents=True)
    names = [
        "LJ001-0001",
        "LJ002-0099",
        "LJ002-0100",
        "LJ002-0149",
        "LJ002-0150",
        "LJ002-0199",
        "LJ002-0200",
        "LJ050-0001",
    ]
    (root / "lj_speech/metadata.csv").write_text("".join(f"{name}|No. 2|Number two.\n" for name in names))
    for name in names:
        (root / f"lj_speech/wavs/{name}.wav").touch()
    return root


def read_english(root: Path, **more) -> ReadEnglish:
    return ReadEnglish(ReadEnglishConfig(root=str(root), **more))


def test_read_english_as_published(books: Path) -> None:
    """Oracle: the names in the docstring of the corpus; the texts written here."""
    found = {split: read_english(books).utterances(split) for split in SPLITS}
    stems = {split: [Path(one.audio).stem for one in rows] for split, rows in found.items()}
    assert stems["train"] == [f"{one}-000{number}" for one in ("19-198", "26-495") for number in range(3)] + [
        "LJ001-0001",
        "LJ002-0099",
    ]
    assert stems["valid"] == [*(f"27-123349-000{number}" for number in range(3)), "LJ002-0100", "LJ002-0149"]
    assert stems["test"] == [*(f"27-124992-000{number}" for number in range(3)), "LJ002-0150", "LJ002-0199"]
    assert {(one.speaker, one.text) for one in found["test"]} == {("27", "OF 27"), ("LJ", "Number two.")}
    assert read_english(books).labels() is None
    alone = read_english(books, test=["lj_speech"])
    assert [Path(one.audio).stem for one in alone.utterances("test")] == ["LJ002-0150", "LJ002-0199"]
    assert alone.test_of == ["lj_speech"]
    some = {Path(one.audio).stem for one in read_english(books, train_percent=50).utterances("train")}
    assert some < set(stems["train"])
    assert some > {Path(one.audio).stem for one in read_english(books, train_percent=20).utterances("train")}
    assert len(read_english(books, train_percent=20).utterances("valid")) == 5


def test_read_english_from_tables(books: Path) -> None:
    """Oracle: the trees above, of which tables are written; another corpus is tested on the rows of its test split."""
    expected = {split: read_english(books).utterances(split) for split in SPLITS}
    for corpus in ("librispeech", "lj_speech"):
        rows = [one for split in SPLITS for one in expected[split] if (one.speaker == "LJ") == (corpus == "lj_speech")]
        lines = [f"{one.audio}\t{one.text}\t{one.speaker}\n" for one in reversed(rows)]
        (books / corpus / "manifest.tsv").write_text("audio\ttext\tspeaker\n" + "".join(lines))
    assert {split: read_english(books).utterances(split) for split in SPLITS} == expected
    (books / "more").mkdir()
    (books / "more/manifest.tsv").write_text("audio\ttext\tsplit\na.wav\tA\ttrain\nb.wav\tB\ttest\n")
    more = read_english(books, test=["more", "lj_speech"])
    assert [one.text for one in more.utterances("test")] == ["B", "Number two.", "Number two."]
    assert more.utterances("train") == expected["train"]


def test_read_english_errors(books: Path, tmp_path: Path) -> None:
    """Oracle: the messages name the setting, the file and the mend."""
    with pytest.raises(ConfigError, match="train_percent=0: above 0 and up to 100"):
        ReadEnglishConfig(train_percent=0)
    with pytest.raises(ConfigError, match=r"test=\[a,a\]: at least one corpus, each once"):
        ReadEnglishConfig(test=["a", "a"])
    with pytest.raises(DataError, match=r"run `speechgru prepare read_english` or say where it is with data.root"):
        read_english(tmp_path / "none").utterances("train")
    with pytest.raises(DataError, match=r"more/manifest.tsv: is not there; test=\[more\] names a folder"):
        read_english(books, test=["more"]).utterances("test")
    (books / "lj_speech/wavs/LJ002-0099.wav").unlink()
    with pytest.raises(DataError, match=r"metadata.csv:2: is not NAME\|TEXT\|TEXT of a recording in wavs"):
        read_english(books).utterances("train")
    shutil.rmtree(books / "lj_speech")
    with pytest.raises(DataError, match=r"lj_speech: is not there; run `speechgru prepare read_english` or put"):
        read_english(books).utterances("train")


def test_real_read_english(recordings: Path, tmp_path: Path) -> None:
    """Oracle: the counts in the README of the recipe's data; the corpora's own splits, none of whose readers mix."""
    for name in ("librispeech", "lj_speech"):
        (tmp_path / name).symlink_to(recordings / f"{name}_part")
    corpus = read_english(tmp_path)
    corpus.prepare(progress=False)  # is there, nothing to do
    found = {split: corpus.utterances(split) for split in SPLITS}
    assert {split: len(rows) for split, rows in found.items()} == {"train": 514, "valid": 108, "test": 129}
    assert Counter(one.speaker for one in found["train"]) == {"19": 111, "26": 118, "LJ": 285}
    assert {one.speaker for one in found["valid"]} == {one.speaker for one in found["test"]} == {"27", "LJ"}
    assert not {one.text for one in found["train"]} & {one.text for one in found["test"]}


@pytest.mark.slow
def test_recipe_of_read_english_trains_and_is_measured_by_corpus(recordings: Path, tmp_path: Path, monkeypatch) -> None:
    """A step of a small model on real recordings. Oracle: the words of the tables, counted here."""
    monkeypatch.chdir(tmp_path)
    chosen = {
        "librispeech": ["19-198-0001", "27-123349-0001", "27-124992-0005"],
        "lj_speech": ["LJ001-0002", "LJ002-0116", "LJ002-0150"],
    }
    words = {}
    for name, stems in chosen.items():
        part = recordings / f"{name}_part"
        header, *lines = (part / "manifest.tsv").read_text().splitlines()
        kept = [line for line in lines if Path(line.partition("\t")[0]).stem in stems]
        assert len(kept) == 3
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.tsv").write_text("\n".join([header, *(f"{part}/{line}" for line in kept)]) + "\n")
        (words[name],) = (len(line.split("\t")[1].split()) for line in kept if stems[2] in line)
    small = ["encoder.hidden_size=8", "encoder.num_layers=1", "front_end.channels=[4,4,4]"]
    train = ["train", "recipe=read_english", "data.root=.", "run_dir=run", "trainer.epochs=1", "trainer.device=cpu"]
    assert main([*train, *small]) == 0
    test = ["evaluate", "model=run/model", "data=read_english", "data.root=.", "device=cpu", "recipe_dir=."]
    for name in chosen:
        assert main([*test, f"data.test=[{name}]"]) == 0
    runs = json.loads((tmp_path / "results.json").read_text())["runs"]
    found = [(run["model"], run["dataset"], run["n"], run["words"]) for run in runs]
    assert found == [("read_english", f"read_english {name}", 1, words[name]) for name in chosen]
