"""LibriSpeech in its official layout: read, fetched, and learned from by its recipes on the four samples."""

from __future__ import annotations

import csv
import hashlib
import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechgru.cli import main
from speechgru.data.corpora import librispeech
from speechgru.data.corpora.librispeech import PARTS, LibriSpeech, LibriSpeechConfig
from speechgru.errors import ConfigError, DataError
from speechgru.recognizer import load

SPEAKERS = {"train-clean-100": ["103", "84"], "dev-clean": ["174"], "test-clean": ["61"]}


def write_part(folder: Path, speakers: list[str]) -> None:
    """A part with two chapters of two recordings by each speaker."""
    for speaker in speakers:
        for chapter in ("7", "12"):
            place = folder / speaker / chapter
            place.mkdir(parents=True)
            names = [f"{speaker}-{chapter}-{number:04d}" for number in range(2)]
            for name in names:
                soundfile.write(place / f"{name}.flac", np.zeros(1600), 16000)
            lines = [f"{name} IT'S {name[-1]} OF {speaker}" for name in names]
            (place / f"{speaker}-{chapter}.trans.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The three parts of the 100 hours, in the folder LibriSpeech of their archives."""
    for part, speakers in SPEAKERS.items():
        write_part(tmp_path / "LibriSpeech" / part, speakers)
    return tmp_path


def corpus(root: Path, **more: list[str]) -> LibriSpeech:
    return LibriSpeech(LibriSpeechConfig(root=str(root), **more))


def test_the_parts_make_the_splits(tree: Path) -> None:
    """Oracle: the tree made here; speaker 84 before 103, chapter 7 before 12, whether in LibriSpeech/ or not."""
    found = corpus(tree).utterances("train")
    assert [Path(one.audio).stem for one in found] == [
        f"{speaker}-{chapter}-{number:04d}" for speaker in (84, 103) for chapter in (7, 12) for number in (0, 1)
    ]
    assert found[1].text == "IT'S 1 OF 84"
    assert {one.speaker for one in found} == {"84", "103"}
    assert corpus(tree / "LibriSpeech").utterances("train") == found
    assert [one.speaker for one in corpus(tree).utterances("valid")] == ["174"] * 4
    both = corpus(tree, train=["train-clean-100", "dev-clean"], valid=["test-clean"], test=["test-other"])
    assert len(both.utterances("train")) == 12
    with pytest.raises(DataError, match=r"test-other: is not there; run `speechgru prepare librispeech`"):
        both.utterances("test")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train": []}, r"train=\[\]: at least one of dev-clean"),
        ({"train": ["train-clean"]}, r"train=\[train-clean\]"),
        ({"test": ["test-clean", "test-clean"]}, "each once"),
        ({"train": ["train-clean-100", "dev-clean"]}, "dev-clean is in two of them"),
        ({"valid": ["test-clean"]}, "test-clean is in two of them"),
    ],
)
def test_parts_that_cannot_be(settings: dict[str, list[str]], message: str) -> None:
    """No part may be learned from and reported."""
    with pytest.raises(ConfigError, match=message):
        LibriSpeechConfig(**settings)


def test_what_is_damaged_is_named(tree: Path, tmp_path: Path) -> None:
    """Oracle: the file and the line that were broken here."""
    chapter = tree / "LibriSpeech/train-clean-100/84/12"
    (chapter / "84-12-0001.flac").unlink()
    with pytest.raises(DataError, match=r"84-12\.trans\.txt:2: there is no recording 84-12-0001"):
        corpus(tree).utterances("train")
    (chapter / "84-12.trans.txt").write_text("84-12-0000\n")
    with pytest.raises(DataError, match=r"84-12\.trans\.txt:1: is not"):
        corpus(tree).utterances("train")
    (tmp_path / "empty" / "dev-clean").mkdir(parents=True)
    with pytest.raises(DataError, match="no SPEAKER/CHAPTER"):
        corpus(tmp_path / "empty").utterances("valid")
    with pytest.raises(DataError, match="prepare librispeech"):
        corpus(tmp_path / "none").utterances("valid")


def test_prepare_fetches_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: archives made here like OpenSLR's, with a README beside the part; their own MD5 sums and counts."""
    served: dict[str, bytes] = {}
    for part, speakers in SPEAKERS.items():
        source = tmp_path / "source" / part
        write_part(source / "LibriSpeech" / part, speakers)
        (source / "LibriSpeech/README.TXT").write_text("the same in each archive")
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            archive.add(source / "LibriSpeech", "LibriSpeech")
        served[part] = packed.getvalue()
    wrong = dict.fromkeys(PARTS, ("0" * 32, 1))
    known = {part: (hashlib.md5(data).hexdigest(), 4 * len(SPEAKERS[part])) for part, data in served.items()}
    monkeypatch.setattr(librispeech, "PARTS", wrong | known)
    asked = []

    def fetch(url: str, part: Path, *_: object) -> None:
        asked.append(url)
        part.write_bytes(served[url.removeprefix("https://www.openslr.org/resources/12/").removesuffix(".tar.gz")])

    monkeypatch.setattr("speechgru.data.download._fetch", fetch)
    root = tmp_path / "corpus"
    corpus(root).prepare(progress=False)
    assert len(asked) == 3
    assert [len(corpus(root).utterances(split)) for split in ("train", "valid", "test")] == [8, 4, 4]
    assert sorted(path.name for path in root.iterdir()) == sorted(SPEAKERS)
    corpus(root).prepare(progress=False)
    assert len(asked) == 3
    monkeypatch.setattr(librispeech, "PARTS", wrong | known | {"dev-clean": (known["dev-clean"][0], 5)})
    with pytest.raises(DataError, match="dev-clean: 4 recordings instead of 5"):
        corpus(root).prepare(progress=False)
    shutil.rmtree(root / "dev-clean")
    monkeypatch.setattr(librispeech, "PARTS", wrong | known | {"dev-clean": wrong["dev-clean"]})
    with pytest.raises(DataError, match="its md5 is"):
        corpus(root).prepare(progress=False)
    assert not (root / "dev-clean").exists()


def test_the_sums_and_counts_are_those_published() -> None:
    """Oracle: the 281,241 training recordings of the corpus's paper; MD5 sums have 32 digits and none comes twice."""
    assert sum(count for part, (_, count) in PARTS.items() if part.startswith("train")) == 281241
    sums = [md5 for md5, _ in PARTS.values()]
    assert all(len(md5) == 32 and set(md5) <= set("0123456789abcdef") for md5 in sums)
    assert len(set(sums)) == 7


@pytest.fixture
def samples(recordings: Path, tmp_path: Path) -> Path:
    """The four recordings at hand in the official layout: two to learn from, one to choose on, one to report."""
    places = {"2412-153948-0001": "dev-clean", "1995-1837-0001": "test-clean"}
    with open(recordings / "librispeech_samples" / "manifest.tsv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert len(rows) == 4
    for row in rows:
        name = Path(row["audio"]).stem
        speaker, chapter, _ = name.split("-")
        folder = tmp_path / "LibriSpeech" / places.get(name, "train-clean-100") / speaker / chapter
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(recordings / "librispeech_samples" / row["audio"], folder)
        with open(folder / f"{speaker}-{chapter}.trans.txt", "a", encoding="utf-8") as file:
            file.write(f"{name} {row['text']}\n")
    return tmp_path


@pytest.mark.parametrize("recipe", ["librispeech_100", "librispeech_960"])
def test_recipe_learns_its_sub_words_and_trains(
    recipe: str, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two steps of a smaller net in bf16 on the real recordings, then the test: the whole chain, to the transcript.

    Oracle: sentencepiece, which reads the model that the model folder keeps and writes the transcript by it.
    """
    sentencepiece = pytest.importorskip("sentencepiece", reason="needs the extra subwords")
    monkeypatch.chdir(tmp_path)
    small = ["units.size=40", "encoder.hidden_size=16", "encoder.num_layers=1", "front_end.channels=[4,4,4]"]
    small += ["trainer.epochs=2", "trainer.workers=0", "trainer.device=cpu", "trainer.threads=1"]
    root = f"data.root={samples}"
    arguments = ["train", f"recipe={recipe}", root, "data.train=[train-clean-100]", "run_dir=run", *small]
    assert main(arguments) == 0
    model = load(tmp_path / "run/model")
    assert model.frame_s == pytest.approx(0.04)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "run/model/subwords.model"))
    text = corpus(samples).utterances("train")[0].text
    pieces = [model.tokens.names[index] for index in model.units.encode(text, model.tokens)]
    assert pieces == processor.encode(text, out_type=str)
    assert len(pieces) < 0.8 * len(text)
    assert main(["evaluate", "model=run/model", f"root={samples}", "device=cpu"]) == 0
    assert main(["transcribe", str(next(samples.rglob("1995-*.flac"))), "-m", "run/model"]) == 0
