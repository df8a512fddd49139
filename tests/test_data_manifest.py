"""Lists of recordings: JSON-lines manifests, tables, Kaldi directories, label folders."""

import json
import re
import tracemalloc
from pathlib import Path

import pytest

from speechgru.data.corpora.folder import Folder, FolderConfig
from speechgru.data.kaldi import read_kaldi
from speechgru.data.label_folders import read_label_folders
from speechgru.data.manifest import read_manifest, write_manifest
from speechgru.data.recordings import read_recordings
from speechgru.data.sphinx import read_transcriptions
from speechgru.data.splits import divide, hash_percent
from speechgru.data.table import read_table
from speechgru.data.utterance import Utterance
from speechgru.errors import DataError


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def test_manifest_reads_nemo_keys(tmp_path):
    """Oracle: a line as NeMo writes it, with a key of its own that is passed over."""
    line = {"audio_filepath": "a/b.wav", "duration": 1.5, "offset": 0.25, "text": "ja né", "lang": "x", "speaker": None}
    (tmp_path / "m.jsonl").write_text(json.dumps(line) + "\n\n" + '{"audio_filepath": "/x/c.wav", "label": "yes"}')
    first, second = read_manifest(tmp_path / "m.jsonl")
    assert first == Utterance(str(tmp_path / "a/b.wav"), text="ja né", start_s=0.25, duration_s=1.5)
    assert second == Utterance("/x/c.wav", label="yes")


def test_manifest_written_is_read_back_and_moves_with_its_folder(tmp_path):
    """Oracle: the utterances themselves; paths below the manifest are relative, others absolute."""
    folder = tmp_path / "here"
    folder.mkdir()
    given = [
        Utterance(str(folder / "a.wav"), text="x", label="l", speaker="s", start_s=0.1, duration_s=1 / 3, gain_db=-6.5),
        Utterance(str(tmp_path / "other.wav")),
    ]
    assert write_manifest(folder / "m.jsonl", given) == 2
    assert read_manifest(folder / "m.jsonl") == given
    folder.rename(tmp_path / "there")
    assert read_manifest(tmp_path / "there/m.jsonl")[0].audio == str(tmp_path / "there/a.wav")
    assert sorted(one.name for one in (tmp_path / "there").iterdir()) == ["m.jsonl"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "is not JSON"),
        ("[1]", "is list, not an object"),
        ('{"audio": "x"}', "'audio_filepath' is missing or empty (it has audio)"),
        ('{"audio_filepath": 3}', "audio_filepath=3 is not a text"),
        ('{"audio_filepath": "x", "duration": 0}', "duration=0 is not"),
        ('{"audio_filepath": "x", "duration": "NaN"}', "duration='NaN' is not"),
        ('{"audio_filepath": "x", "offset": -1}', "offset=-1 is not"),
        ('{"audio_filepath": "x", "offset": true}', "offset=True is not"),
        ('{"audio_filepath": "x", "gain_db": "loud"}', "gain_db='loud' is not"),
    ],
)
def test_manifest_error_names_file_and_line(tmp_path, line, told):
    """Oracle: the message, with file:line."""
    path = tmp_path / "m.jsonl"
    path.write_text('{"audio_filepath": "x"}\n' + line)
    with pytest.raises(DataError) as error:
        read_manifest(path)
    assert str(error.value).startswith(f"{path}:2: ")
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_manifest_that_is_none(tmp_path):
    """Oracle: the message names the file."""
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"RIFF\xff\xfe")
    for name, told in (
        ("empty", "no utterance"),
        ("binary", "not UTF-8"),
        ("missing", "cannot be read"),
        (".", "cannot"),
    ):
        with pytest.raises(DataError, match=told):
            read_manifest(tmp_path / name)


def test_table_columns_and_splits(tmp_path):
    """Oracle: the rows by hand; semicolons, quotes, any case and order of columns."""
    (tmp_path / "t.csv").write_text(
        'Sentence;PATH;set;speaker_id;start;duration\n"a;b";x.wav;dev;ann;0.5;2\nc;/y.wav;train;-;;\nd;z.wav;;;;\n'
    )
    found = read_table(tmp_path / "t.csv")
    assert found["valid"] == [
        Utterance(str(tmp_path / "x.wav"), text="a;b", speaker="ann", start_s=0.5, duration_s=2.0)
    ]
    assert found["train"] == [Utterance("/y.wav", text="c")]
    assert found[""] == [Utterance(str(tmp_path / "z.wav"), text="d")]


def test_tsv_knows_no_quotes(tmp_path):
    """Oracle: Common Voice's habit of quotes inside sentences."""
    (tmp_path / "t.tsv").write_text('client_id\tpath\tsentence\nann\tx.mp3\t"Halt, sagte er\nbo\ty.mp3\tja\n')
    first, second = read_table(tmp_path / "t.tsv")[""]
    assert (first.text, first.speaker, second.text) == ('"Halt, sagte er', "ann", "ja")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("audio,text\n", "has no rows"),
        ("sound,text\nx,y\n", ":1: none of the columns sound, text"),
        ("audio,text\nx.wav,a\ny.wav\n", ":3: has 1 cells, the header 2"),
        ("audio,split\nx.wav,holdout\n", ":2: split 'holdout' is not known"),
        ("audio,duration\nx.wav,long\n", ":2: duration='long'"),
        ("audio,text\n,y\n", ":2: the recording's path is empty"),
        ('audio,text\nx.wav,"y\n', "check the quotes"),
    ],
)
def test_table_errors_name_file_and_line(tmp_path, text, told):
    """Oracle: the message."""
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(DataError) as error:
        read_table(path)
    assert str(path) in str(error.value)
    assert told in str(error.value)


def kaldi(folder, **files):
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("wav", "wav.scp")).write_text(text)
    return folder


def test_kaldi_directory(tmp_path):
    """Oracle: the rows by hand: segments cut recordings, an end of -1 is the recording's."""
    touch(tmp_path / "d/r.wav")
    folder = kaldi(
        tmp_path / "d",
        wav="r r.wav\nq /q.flac\n",
        segments="u1 r 0.5 2.0\nu2 r 2 -1\nu3 q 0 1\n",
        text="u1 ja ja\nu2\nu3 nein\n",
        utt2spk="u1 ann\nu2 ann\nu3 bo\n",
    )
    assert read_kaldi(folder) == [
        Utterance(str(folder / "r.wav"), text="ja ja", speaker="ann", start_s=0.5, duration_s=1.5),
        Utterance(str(folder / "r.wav"), speaker="ann", start_s=2.0),
        Utterance("/q.flac", text="nein", speaker="bo", duration_s=1.0),
    ]
    (folder / "segments").unlink()
    for name in ("text", "utt2spk"):
        (folder / name).unlink()
    assert [one.audio for one in read_kaldi(folder)] == [str(folder / "r.wav"), "/q.flac"]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"wav": "a sph2pipe -f wav x.sph |\n"}, "wav.scp:1: 'a' is a command"),
        ({"wav": "a x.ark:1234\n"}, "wav.scp:1: 'a' lies inside an archive"),
        ({"wav": "a x.wav\na y.wav\n"}, "wav.scp:2: the id 'a' is there already, on line 1"),
        ({"wav": "a\n"}, "wav.scp:1: nothing follows"),
        ({"wav": ""}, "is empty"),
        ({}, "wav.scp: cannot be read"),
        ({"wav": "a x.wav\n", "segments": "u b 0 1\n"}, "segments:1: recording 'b' is not in wav.scp"),
        ({"wav": "a x.wav\n", "segments": "u a 2 1\n"}, "segments:1: 'u' ends at 1 s"),
        ({"wav": "a x.wav\n", "segments": "u a 2\n"}, "segments:1: 'u' is followed by 2 fields"),
        ({"wav": "a x.wav\n", "text": "b hello\n"}, "the first is 'a'"),
    ],
)
def test_kaldi_errors(tmp_path, files, told):
    """Oracle: the message; no command is ever run."""
    with pytest.raises(DataError) as error:
        read_kaldi(kaldi(tmp_path / "d", **files))
    assert told in str(error.value)


def test_label_folders_without_splits(tmp_path):
    """Oracle: the tree by hand; a twin .flac is the same recording, hidden and foreign files are none."""
    for name in (
        "yes/b.wav",
        "yes/b.flac",
        "yes/a.FLAC",
        "yes/.x.wav",
        "yes/notes.txt",
        "no/ann/c.wav",
        "no/7f_nohash_0.wav",
    ):
        touch(tmp_path / name)
    touch(tmp_path / "_background_noise_/n.wav")
    found = read_label_folders(tmp_path)
    assert list(found) == [""]
    assert [(one.audio.removeprefix(f"{tmp_path}/"), one.label, one.speaker) for one in found[""]] == [
        ("no/7f_nohash_0.wav", "no", "7f"),
        ("no/ann/c.wav", "no", "ann"),
        ("yes/a.FLAC", "yes", ""),
        ("yes/b.wav", "yes", ""),
    ]


def test_label_folders_with_splits(tmp_path):
    """Oracle: the tree by hand."""
    for name in ("training/yes/a.wav", "dev/yes/b.wav", "test/no/c.wav"):
        touch(tmp_path / name)
    found = read_label_folders(tmp_path)
    assert {split: [one.label for one in rows] for split, rows in found.items()} == {
        "train": ["yes"],
        "valid": ["yes"],
        "test": ["no"],
    }
    touch(tmp_path / "extra/yes/d.wav")
    with pytest.raises(DataError, match=r"extra.*neither train, valid nor test"):
        read_label_folders(tmp_path)


def test_label_folder_errors(tmp_path):
    """Oracle: the message names the folder."""
    with pytest.raises(DataError, match="no such folder"):
        read_label_folders(tmp_path / "missing")
    with pytest.raises(DataError, match="has no folders"):
        read_label_folders(tmp_path)
    (tmp_path / "yes").mkdir()
    with pytest.raises(DataError, match=r"yes: no recordings"):
        read_label_folders(tmp_path)


def test_hash_split_is_stable_and_keeps_speakers_together():
    """Oracle: membership before and after recordings are added; shares within 4 sigma of the percentages."""
    few = [Utterance(f"{take}.wav", speaker=f"s{speaker}") for speaker in range(200) for take in range(3)]
    more = few + [Utterance("x.wav", speaker=f"t{speaker}") for speaker in range(200)]
    before, after = (divide({"": rows}, 10, 20).splits for rows in (few, more))
    assert sum(map(len, before.values())) == len(few)
    for split, rows in before.items():
        assert set(rows) == set(after[split]) & set(few)
    speakers = {split: {one.speaker for one in rows} for split, rows in before.items()}
    assert not speakers["train"] & (speakers["valid"] | speakers["test"])
    assert not speakers["valid"] & speakers["test"]
    percents = [hash_percent(str(number)) for number in range(10000)]
    assert abs(sum(percent < 10 for percent in percents) - 1000) < 4 * 30


def test_named_splits_are_kept_and_few_speakers_are_no_reason_to_lose_them():
    """Oracle: the rule: what is named stays; with one speaker the file name decides."""
    rows = [Utterance(f"{number}.wav", speaker="me") for number in range(300)]
    test = [Utterance("t.wav", speaker="me")]
    splits = divide({"train": rows, "test": test}, 10, 10).splits
    assert splits["test"] == test
    assert 15 < len(splits["valid"]) < 50
    assert len(splits["train"]) + len(splits["valid"]) == 300


def test_recordings_in_any_format(tmp_path):
    """Oracle: each format by itself."""
    touch(tmp_path / "labels/yes/a.wav")
    assert read_recordings(tmp_path / "labels")[""][0].label == "yes"
    for name in ("train", "dev"):
        kaldi((tmp_path / "kaldi" / name).parent)
        kaldi(tmp_path / "kaldi" / name, wav="a x.wav\n")
    assert list(read_recordings(tmp_path / "kaldi")) == ["valid", "train"]
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "manifest.tsv").write_text("audio\tsplit\nx.wav\ttest\n")
    (lists / "sources.tsv").write_text("audio\nx.wav\n")
    assert list(read_recordings(lists)) == ["test"]
    (lists / "train.jsonl").write_text('{"audio_filepath": "a.wav"}')
    (lists / "test.csv").write_text("audio,text\nb.wav,x\n")
    assert {split: len(rows) for split, rows in read_recordings(lists).items()} == {"test": 1, "train": 1}
    (lists / "eval.csv").write_text("audio,text\nb.wav,x\n")
    with pytest.raises(DataError, match="several lists of the test split"):
        read_recordings(lists)
    kaldi(tmp_path / "kaldi" / "eval", wav="a x.wav\n")
    kaldi(tmp_path / "kaldi" / "test", wav="a x.wav\n")
    with pytest.raises(DataError, match=re.escape("several lists of the test split (dev, eval, test, train)")):
        read_recordings(tmp_path / "kaldi")
    for name in ("dev", "valid"):
        (tmp_path / "described" / name).mkdir(parents=True)
        (tmp_path / "described" / name / "metadata.csv").write_text("audio\nx.wav\n")
    with pytest.raises(DataError, match=re.escape("several lists of the valid split (dev, valid)")):
        read_recordings(tmp_path / "described")
    with pytest.raises(DataError, match=re.escape(".txt is no list")):
        read_recordings(touch(tmp_path / "a.txt"))
    with pytest.raises(DataError, match="is not there"):
        read_recordings(tmp_path / "missing")


@pytest.mark.parametrize("name", ["{0}/s{2:02}_nohash_{1}.wav", "{0}/s{2:02}/{1}.wav", "{0}/{1}-{2}.wav"])
def test_the_same_recordings_are_divided_alike_whatever_lists_them(tmp_path, name: str):
    """Oracle: the folder's own division, by hand: of 240 clips by 60 speakers none is in two splits where names tell
    them, by both ways of naming; where none does, the file name decides. Table and manifest say the same."""
    audio = [name.format(label, take, speaker) for label in ("no", "yes") for take in range(2) for speaker in range(60)]
    for path in audio:
        touch(tmp_path / "folder" / path)
    rows = [(f"folder/{path}", path.split("/")[0]) for path in reversed(audio)]
    (tmp_path / "table.csv").write_text("file_name,label\n" + "".join(f"{path},{label}\n" for path, label in rows))
    lines = [json.dumps({"audio_filepath": path, "label": label}) for path, label in rows]
    (tmp_path / "list.jsonl").write_text("\n".join(lines))
    found = []
    for source in ("folder", "table.csv", "list.jsonl"):
        corpus = Folder(FolderConfig(root=str(tmp_path / source)))
        found.append({split: set(corpus.utterances(split)) for split in ("train", "valid", "test")})
    assert sum(map(len, found[0].values())) == 240
    assert found[0] == found[1] == found[2]
    speakers = {split: {one.speaker for one in rows} for split, rows in found[0].items()}
    if name.endswith("-{2}.wav"):
        assert corpus.split_rule == "valid and test drawn by file name, no speakers found: each may be in all of them"
        assert set().union(*speakers.values()) == {""}
    else:
        assert corpus.split_rule == "valid and test drawn by speaker, 60 found, none in two of them"
        assert len(set().union(*speakers.values())) == sum(map(len, speakers.values())) == 60


def test_lists_of_hugging_face(tmp_path):
    """Oracle: its documentation of AudioFolder: metadata.csv or .jsonl beside the files, also by split."""
    (tmp_path / "metadata.csv").write_text("file_name,transcription\na.wav,hello\n")
    expected = Utterance(str(tmp_path / "a.wav"), text="hello")
    assert read_recordings(tmp_path) == {"": [expected]}
    for name, suffix, text in (
        ("train", "csv", "file_name,label\nb.wav,yes\n"),
        ("test", "jsonl", '{"file_name": "b.wav", "label": "yes"}\n'),
    ):
        (tmp_path / "splits" / name).mkdir(parents=True)
        (tmp_path / "splits" / name / f"metadata.{suffix}").write_text(text)
    assert read_recordings(tmp_path / "splits") == {
        name: [Utterance(str(tmp_path / "splits" / name / "b.wav"), label="yes")] for name in ("train", "test")
    }


def test_numbers_and_texts_beyond_all_bounds_are_one_line(tmp_path: Path) -> None:
    """Oracle: the number of the line and the key; what the message quotes is short."""
    path = tmp_path / "m.jsonl"
    for row, message in (
        ('"duration": 1' + "0" * 400, "m.jsonl:2: duration=1000.*0000 is not a number of seconds above 0"),
        ('"duration": 1e300', r"m.jsonl:2: duration=1e\+300 is not a number of seconds"),
        ('"offset": 1' + "0" * 400, "m.jsonl:2: offset=1000.*0000 is not a number of seconds of at least 0"),
        ('"gain_db": 1' + "0" * 400, "m.jsonl:2: gain_db=1000.*0000 is not a number of decibels"),
        ('"gain_db": 1e6', r"m.jsonl:2: gain_db=1000000\.0 is not a number of decibels"),
        ('"duration": ' + "1" * 5000, "m.jsonl:2: is not JSON .*digits"),
        ('"x": ' + "[" * 100_000, "m.jsonl:2: is not JSON .*recursion"),
        ('"label": "' + "a" * 5000 + '\\ud800"', "m.jsonl:2: label='aaa.* has half a character"),
        ('"text": ["' + "a" * 5000 + '"]', "m.jsonl:2: text=.* is not a text"),
    ):
        path.write_text('{"audio_filepath": "a.wav"}\n{"audio_filepath": "b.wav", ' + row + "}\n")
        with pytest.raises(DataError, match=message) as caught:
            read_manifest(path)
        assert len(str(caught.value)) < 500
        assert "\n" not in str(caught.value)


def test_a_home_that_nobody_has_is_a_name_like_any_other(tmp_path: Path) -> None:
    """Python's own expansion of ~nosuchuser raises RuntimeError."""
    (tmp_path / "m.jsonl").write_text('{"audio_filepath": "~nosuchuser/x.wav"}\n')
    (tmp_path / "t.csv").write_text("audio\n~nosuchuser/x.wav\n")
    (tmp_path / "wav.scp").write_text("a ~nosuchuser/x.wav\n")
    expected = str(tmp_path / "~nosuchuser" / "x.wav")
    assert read_manifest(tmp_path / "m.jsonl")[0].audio == expected
    assert read_table(tmp_path / "t.csv")[""][0].audio == expected
    assert read_kaldi(tmp_path)[0].audio == expected
    with pytest.raises(DataError, match="is not there"):
        read_recordings("~nosuchuser")


@pytest.mark.parametrize("name", ["m.jsonl", "t.csv", "t.tsv", "wav.scp", "a.transcription"])
def test_a_line_without_end_is_refused_and_not_held(tmp_path: Path, name: str) -> None:
    """Oracle: 50 MB in one line, and less than 20 MB of memory of Python's for it."""
    path = tmp_path / name
    path.write_bytes(b"a" * 50_000_000)
    reader = {"m.jsonl": read_manifest, "wav.scp": lambda path: read_kaldi(path.parent)}.get(
        name, read_transcriptions if name.startswith("a") else read_table
    )
    tracemalloc.start()
    with pytest.raises(DataError, match=rf"{name}:1: is a line of more than 1,048,576 bytes"):
        reader(path)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_a_manifest_is_read_in_the_memory_of_its_utterances(tmp_path: Path) -> None:
    """Oracle: what is kept afterwards; the text of the file would be as much again."""
    path = tmp_path / "m.jsonl"
    row = '{{"audio_filepath": "{}.wav", "label": "yes", "speaker": "ann", "note": "{}"}}\n'
    path.write_text("".join(row.format(number, "n" * 1000) for number in range(5000)))
    tracemalloc.start()
    rows = read_manifest(path)
    kept, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(rows) == 5000
    assert most < 1.2 * kept + 1e6
    assert rows[0].label is rows[-1].label


def test_transcriptions_of_spaces_take_no_time(tmp_path: Path) -> None:
    """By hand; a pattern that goes back over the spaces would take hours for half a million of them."""
    path = tmp_path / "a.transcription"
    path.write_text("<s> GO ON </s> (an4-1)\nSTOP (x)\n<s>  </s> (y) \n" + " " * 500_000 + "( \n")
    with pytest.raises(DataError, match=r"transcription:4: is not"):
        read_transcriptions(path)
    path.write_text("<s> GO ON </s> (an4-1)\nSTOP (x)\n<s>  </s> (y) \n\n")
    assert read_transcriptions(path) == {"an4-1": "GO ON", "x": "STOP", "y": ""}
