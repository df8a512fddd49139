"""The corpora: classes, splits, the official protocol; on small trees and on the real recordings."""

import functools
import hashlib
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechgru.data.batching import BatchLoader
from speechgru.data.corpora.arabic_digits import ArabicDigits, ArabicDigitsConfig
from speechgru.data.corpora.esc10 import CLASSES, ESC10, ESC10Config
from speechgru.data.corpora.folder import Folder, FolderConfig
from speechgru.data.corpora.fsdd import FSDD, FSDDConfig
from speechgru.data.corpora.manifest import Manifest, ManifestConfig
from speechgru.data.corpora.speech_commands import (
    ALL,
    COMMANDS,
    DIGITS,
    MINI,
    SILENCE,
    UNKNOWN,
    SpeechCommands,
    SpeechCommandsConfig,
    SplitRule,
    which_set,
)
from speechgru.data.manifest import write_manifest
from speechgru.data.reading import read_utterance
from speechgru.data.target import label_target
from speechgru.errors import ConfigError, DataError
from speechgru.registry import from_plain, names, to_plain
from speechgru.tokens import Tokens

SPLITS = ("train", "valid", "test")


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A tree in the Speech Commands layout: 5 words of 120 speakers (empty files), 10 s of noise, no split lists."""
    root = tmp_path_factory.mktemp("sc")
    for word in ("yes", "no", "bed", "cat", "dog"):
        for speaker in range(120):
            touch(root / word / f"{hashlib.md5(str(speaker).encode()).hexdigest()[:8]}_nohash_{speaker % 2}.wav")
    (root / "_background_noise_").mkdir()
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 160000)
    soundfile.write(root / "_background_noise_/hiss.wav", noise, 16000, subtype="PCM_16")
    soundfile.write(root / "_background_noise_/short.wav", noise[:8000], 16000)
    return root


def commands(root, **more):
    return SpeechCommands(SpeechCommandsConfig(root=str(root), **{"words": ["yes", "no"], **more}))


def test_groups_of_words():
    """Oracle: the counts of the paper (35 words, ten commands, ten digits) and the lists of the tasks."""
    assert len(ALL) == len(set(ALL)) == 35
    assert set(DIGITS) | set(COMMANDS) <= set(ALL)
    assert set(MINI) == set(COMMANDS) - {"on", "off"}
    assert commands("x", words=["commands"], unknown=True, silence=True).labels() == [*COMMANDS, UNKNOWN, SILENCE]
    assert commands("x", words=["digits", "mini", "bed", "yes"]).labels() == [*DIGITS, *MINI, "bed"]
    assert SpeechCommands(SpeechCommandsConfig()).labels() == MINI


def test_which_set_of_known_names():
    """Oracle: the rule worked out by hand (SHA-1 of the speaker, modulo 2^27, in percent of 2^27 - 1)."""
    for name in ("bb05582b_nohash_3.wav", "a/b/0a7c2a8d_nohash_0.flac", "x"):
        speaker = name.rpartition("/")[2].partition("_nohash_")[0]
        percent = int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % 2**27 * (100 / (2**27 - 1))
        assert which_set(name) == ("valid" if percent < 10 else "test" if percent < 20 else "train")
    assert which_set("bb05582b_nohash_3.wav") == "test"  # from the official testing_list.txt
    assert which_set("a69b9b3e_nohash_0.wav") == "valid"  # from the official validation_list.txt


def test_strange_words_are_validated_on_and_never_learned(tree):
    """Oracle: the words of the clips; the test is as it is without."""
    corpus, usual = (commands(tree, unknown=True, unknown_percent=1000, strange=words) for words in (["cat"], []))
    learned = {one.text for one in corpus.utterances("train") if one.label == UNKNOWN}
    assert learned == {"bed", "dog"}
    strange = [one for one in corpus.utterances("valid") if one.text == "cat"]
    cats = [one for split in ("train", "valid") for one in usual.utterances(split) if one.text == "cat"]
    assert {one.audio for one in strange} == {one.audio for one in cats}
    assert {one.label for one in strange} == {UNKNOWN}
    assert corpus.utterances("test") == usual.utterances("test")
    with pytest.raises(ConfigError, match=r"strange=\['cat'\]: .*set unknown=true"):
        commands(tree, strange=["cat"])


def test_protocol_of_unknown_and_silence(tree):
    """Oracle: the counts of input_data.py; unknown only from other words, of the right split, and no clip twice."""
    corpus = commands(tree, unknown=True, silence=True)
    for split in SPLITS:
        found = corpus.utterances(split)
        counts = Counter(one.label for one in found)
        wanted = counts["yes"] + counts["no"]
        assert counts[UNKNOWN] == counts[SILENCE] == math.ceil(wanted * 0.1)
        unknown = [one for one in found if one.label == UNKNOWN]
        assert {one.text for one in unknown} <= {"bed", "cat", "dog"}
        assert len({one.audio for one in unknown}) == len(unknown)
        assert {which_set(one.audio) for one in unknown} == {split}
        assert all(which_set(one.audio) == split for one in found if one.label in ("yes", "no"))
        assert found == commands(tree, unknown=True, silence=True).utterances(split)
    other = commands(tree, unknown=True, silence=True, seed=1).utterances("train")
    assert [one for one in other if one.label in ("yes", "no")] == [
        one for one in corpus.utterances("train") if one.label in ("yes", "no")
    ]
    assert set(other) != set(corpus.utterances("train"))
    many = commands(tree, unknown=True, unknown_percent=1000).utterances("train")
    assert Counter(one.label for one in many)[UNKNOWN] == sum(
        which_set(path.name) == "train" for word in ("bed", "cat", "dog") for path in (tree / word).iterdir()
    )


def test_silence_is_scaled_noise(tree):
    """Oracle: the slice of the file times the volume; volumes spread over (0, 1) as U(0, 1) does."""
    clips = [
        one for one in commands(tree, silence=True, silence_percent=500).utterances("train") if one.label == SILENCE
    ]
    noise, _ = soundfile.read(tree / "_background_noise_/hiss.wav", dtype="float32")
    for one in clips[:5]:
        start = round(one.start_s * 16000)
        expected = noise[start : start + 16000] * 10 ** (one.gain_db / 20)
        np.testing.assert_allclose(read_utterance(one, 16000).numpy(), expected, rtol=1e-6, atol=1e-9)
    volumes = np.array([10 ** (one.gain_db / 20) for one in clips])
    assert {one.audio.rpartition("/")[2] for one in clips} == {"hiss.wav"}  # half a second is too short to cut from
    assert volumes.max() <= 1
    assert abs(volumes.mean() - 0.5) < 4 * math.sqrt(1 / 12 / len(volumes))
    assert len({one.start_s for one in clips}) > 0.9 * len(clips)


def test_noise_that_is_hardly_long_enough_is_cut_at_its_start(tmp_path):
    """Oracle: a sample more than a second at 44.1 kHz, which is less than one at 16 kHz."""
    touch(tmp_path / "yes/bb05582b_nohash_3.wav")  # of the test split
    (tmp_path / "_background_noise_").mkdir()
    soundfile.write(tmp_path / "_background_noise_/hum.wav", np.full(44101, 0.5), 44100)
    clip = commands(tmp_path, words=["yes"], silence=True).utterances("test")[-1]
    assert (clip.label, clip.start_s) == (SILENCE, 0)
    assert len(read_utterance(clip, 16000)) == 16000


def test_canonical_folders_are_the_test_clips(tree, tmp_path):
    """Oracle: the files in them; words that may be inside ``_unknown_`` are not tested with it."""
    root = tmp_path / "sc"
    root.mkdir()
    for part in tree.iterdir():
        (root / part.name).symlink_to(part)
    for name in ("_silence_/1.wav", "_unknown_/x.wav.wav", "_unknown_/y.wav"):
        touch(root / name)
    corpus = commands(root, unknown=True, silence=True)
    special = [one for one in corpus.utterances("test") if one.label in (UNKNOWN, SILENCE)]
    assert [one.audio.removeprefix(f"{root}/") for one in special] == [
        "_unknown_/x.wav.wav",
        "_unknown_/y.wav",
        "_silence_/1.wav",
    ]
    assert not any("/_unknown_/" in one.audio for one in corpus.utterances("train"))
    beds = commands(root, words=["yes", "bed"], unknown=True).utterances("test")
    assert {one.text for one in beds if one.label == UNKNOWN} <= {"no", "cat", "dog"}


def test_lists_and_hash(tree, tmp_path):
    """Oracle: lists written by the hash give its splits; other lists are believed, except with split=hash."""
    root = tmp_path / "sc"
    root.mkdir()
    for part in ("yes", "no"):
        (root / part).symlink_to(tree / part)
    with pytest.raises(DataError, match=r"validation_list.txt: is missing; use data.split=hash"):
        commands(root, split=SplitRule.lists).utterances("train")
    clips = sorted(f"{word}/{path.name}" for word in ("yes", "no") for path in (tree / word).iterdir())
    (root / "validation_list.txt").write_text("\n".join(one for one in clips if which_set(one) == "valid"))
    (root / "testing_list.txt").write_text("\n".join(one for one in clips if which_set(one) == "test") + "\n")
    for split in SPLITS:
        by_hash = commands(root, split=SplitRule.hash).utterances(split)
        assert by_hash == commands(root, split=SplitRule.lists).utterances(split)
        assert by_hash == commands(root).utterances(split)
    (root / "testing_list.txt").write_text(clips[0])
    assert [one.audio for one in commands(root).utterances("test")] == [f"{root}/{clips[0]}"]
    assert len(commands(root, split=SplitRule.hash).utterances("test")) > 1


def test_speech_commands_errors(tree, tmp_path):
    """Oracle: one line with the mend."""
    with pytest.raises(DataError, match=r"run `speechgru prepare speech_commands` or say .* data.root=FOLDER"):
        commands(tmp_path / "missing").utterances("train")
    with pytest.raises(DataError, match=r"no folder 'up' of data.words; it has bed, cat, dog, no, yes"):
        commands(tree, words=["up"]).utterances("train")
    with pytest.raises(DataError, match="split 'dev' is not known"):
        commands(tree).utterances("dev")
    touch(tmp_path / "yes/a_nohash_0.wav")
    with pytest.raises(DataError, match="silence=true needs recordings longer than 1 s"):
        commands(tmp_path, words=["yes"], silence=True).utterances("train")
    with pytest.raises(DataError, match="unknown=true needs folders of other words"):
        commands(tmp_path, words=["yes"], unknown=True).utterances("train")
    for wrong in ({"words": []}, {"words": ["_unknown_"]}, {"words": ["../x"]}, {"unknown_percent": 0.0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            commands(tree, **wrong)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Three speakers, ten digits, 20 takes (empty files)."""
    root = tmp_path_factory.mktemp("fsdd")
    for digit in range(10):
        for speaker in ("ann", "bo", "cy_d"):
            for take in range(20):
                touch(root / "recordings" / f"{digit}_{speaker}_{take}.wav")
    touch(root / "recordings/readme.wav")
    return root


def test_fsdd_official_split(digits):
    """Oracle: the dataset's README: takes 0-4 are the test."""
    corpus = FSDD(FSDDConfig(root=str(digits)))
    assert corpus.speakers() == ["ann", "bo", "cy_d"]
    takes = {s: {int(one.audio.rpartition("_")[2][:-4]) for one in corpus.utterances(s)} for s in SPLITS}
    assert takes == {"test": set(range(5)), "valid": set(range(5, 10)), "train": set(range(10, 20))}
    assert [len(corpus.utterances(split)) for split in SPLITS] == [300, 150, 150]
    assert all(one.label == DIGITS[int(one.audio.rpartition("/")[2][0])] for one in corpus.utterances("train"))


def test_fsdd_held_out_speaker_is_never_seen_before_the_test(digits):
    """Oracle: sets of speakers and files."""
    corpus = FSDD(FSDDConfig(root=str(digits), held_out_speaker="cy_d", valid_takes=3))
    found = {split: corpus.utterances(split) for split in SPLITS}
    assert {one.speaker for one in found["test"]} == {"cy_d"}
    assert {one.speaker for one in found["train"]} == {one.speaker for one in found["valid"]} == {"ann", "bo"}
    assert {split: len(rows) for split, rows in found.items()} == {"train": 340, "valid": 60, "test": 200}
    assert len({one.audio for rows in found.values() for one in rows}) == 600
    with pytest.raises(DataError, match="held_out_speaker=dee is not a speaker of FSDD"):
        FSDD(FSDDConfig(root=str(digits), held_out_speaker="dee")).utterances("train")
    with pytest.raises(ConfigError, match="valid_takes=0"):
        FSDDConfig(valid_takes=0)
    with pytest.raises(DataError, match=r"speechgru prepare fsdd.*data.root=FOLDER"):
        FSDD(FSDDConfig(root=str(digits / "none"))).utterances("train")
    with pytest.raises(DataError, match="no recordings named <digit>"):
        FSDD(FSDDConfig(root=str(digits / "recordings"))).utterances("train")


def test_folder_of_ones_own(tmp_path):
    """Oracle: labels and a partition by hand; recordings of unwanted classes are left out."""
    for label in ("ja", "nein", "äh"):
        for take in range(60):
            touch(tmp_path / label / f"{label}{take}.wav")
    corpus = Folder(FolderConfig(root=str(tmp_path), sample_rate=8000))
    assert (corpus.labels(), corpus.sample_rate) == (["ja", "nein", "äh"], 8000)
    found = {split: {one.audio for one in corpus.utterances(split)} for split in SPLITS}
    assert sum(map(len, found.values())) == 180
    assert len(set.union(*found.values())) == 180
    chosen = Folder(FolderConfig(root=str(tmp_path), labels=["nein", "ja"]))
    assert chosen.labels() == ["nein", "ja"]
    assert {one.label for one in chosen.utterances("train")} == {"ja", "nein"}
    with pytest.raises(DataError, match=r"no recordings in the test split; add some, raise data.test_percent"):
        Folder(FolderConfig(root=str(tmp_path), test_percent=0)).utterances("test")
    with pytest.raises(DataError, match=r"no recordings in the train split; add some, lower data.valid_percent, or"):
        Folder(FolderConfig(root=str(tmp_path), valid_percent=99.9, test_percent=0)).utterances("train")
    with pytest.raises(DataError, match="is not there"):
        Folder(FolderConfig(root=str(tmp_path / "missing"))).labels()
    with pytest.raises(DataError, match="nothing to prepare"):
        corpus.prepare()
    for wrong in ({"valid_percent": 0.0}, {"test_percent": 95.0}, {"sample_rate": 100}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            FolderConfig(**wrong)


def test_manifests_by_split(tmp_path):
    """Oracle: the rows by hand; a table with a split column serves all splits; more_train joins another list."""
    (tmp_path / "t.tsv").write_text("audio\ttext\tsplit\na.wav\tyes\ttrain\nb.wav\tno\ttest\n")
    (tmp_path / "more.jsonl").write_text('{"audio_filepath": "c.wav", "label": "up"}\n')
    config = ManifestConfig(
        train="t.tsv", test="t.tsv", more_train=["more.jsonl"], root=str(tmp_path), label_is_text=True
    )
    corpus = Manifest(config)
    assert [(one.audio, one.label) for one in corpus.utterances("train")] == [
        (f"{tmp_path}/a.wav", "yes"),
        (f"{tmp_path}/c.wav", "up"),
    ]
    assert [one.label for one in corpus.utterances("test")] == ["no"]
    assert corpus.labels() == ["no", "up", "yes"]
    with pytest.raises(DataError, match=r"data.valid is empty; give the list"):
        corpus.utterances("valid")
    with pytest.raises(DataError, match=r"lists no recordings of the valid split"):
        Manifest(ManifestConfig(valid=str(tmp_path / "t.tsv"))).utterances("valid")


def test_configs_survive_the_model_folder():
    """Oracle: the config itself, through the plain values a model folder stores."""
    assert {"folder", "fsdd", "manifest", "speech_commands"} <= set(names("data"))
    for config in (
        SpeechCommandsConfig(words=["all"], split=SplitRule.hash),
        FSDDConfig(held_out_speaker="theo"),
        FolderConfig(labels=["a"]),
        ManifestConfig(train="x", more_train=["y"]),
    ):
        assert from_plain(to_plain(config, "data"), "data") == config


def test_real_speech_commands(recordings):
    """Oracle: the pack's own manifest (which agrees with the official lists) and the canonical test set's size."""
    root = recordings / "speech_commands"
    rows = [line.split("\t") for line in (root / "manifest.tsv").read_text().splitlines()[1:]]
    for split in SPLITS:
        expected = {row[0] for row in rows if row[3] == split and not row[0].startswith("_")}
        for rule in SplitRule:
            found = commands(root, words=["all"], split=rule).utterances(split)
            assert {one.audio.removeprefix(f"{root}/") for one in found} == expected
    lists = {"valid": "validation_list.txt", "test": "testing_list.txt"}
    for split, name in lists.items():
        assert {which_set(line) for line in (root / name).read_text().split()} == {split}
    official = sum(line.partition("/")[0] in COMMANDS for line in (root / lists["test"]).read_text().split())
    assert official + 2 * 408 == 4890


def test_real_twelve_classes_and_shipped_labels(recordings):
    """Oracle: the pack's counts per word; every clip is read."""
    root = recordings / "speech_commands"
    twelve = commands(root, words=["commands"], unknown=True, silence=True)
    test = Counter(one.label for one in twelve.utterances("test"))
    assert test == {**dict.fromkeys(COMMANDS, 100), UNKNOWN: 100, SILENCE: 60}
    shipped = commands(root, words=["digits", "commands"], unknown=True, silence=True)
    found = shipped.utterances("valid")
    assert not {one.text for one in found if one.label == UNKNOWN} & {*DIGITS, *COMMANDS}
    batches = list(
        BatchLoader(found, functools.partial(label_target, tokens=Tokens(shipped.labels())), 16000, batch_size=64)
    )
    assert sum(map(len, batches)) == len(found)
    assert not any(batch.errors for batch in batches)


def test_real_fsdd(recordings, tmp_path):
    """Oracle: the pack's manifest for the test split, 3,000 files, and a round trip of a manifest."""
    root = recordings / "fsdd"
    corpus = FSDD(FSDDConfig(root=str(root)))
    rows = [line.split("\t") for line in (root / "manifest.tsv").read_text().splitlines()[1:]]
    assert {one.audio.removeprefix(f"{root}/") for one in corpus.utterances("test")} == {
        row[0] for row in rows if row[3] == "test"
    }
    assert [len(corpus.utterances(split)) for split in SPLITS] == [2400, 300, 300]
    assert len(corpus.speakers()) == 6
    write_manifest(tmp_path / "test.jsonl", corpus.utterances("test"))
    again = Manifest(ManifestConfig(test=str(tmp_path / "test.jsonl"))).utterances("test")
    assert again == corpus.utterances("test")


def test_real_lists_of_other_corpora(recordings):
    """Oracle: the counts in the pack's README; AN4's Kaldi-free lists through data=folder."""
    an4 = Folder(FolderConfig(root=str(recordings / "an4")))
    assert (len(an4.utterances("test")), an4.labels()) == (130, None)
    assert len(an4.utterances("train")) + len(an4.utterances("valid")) == 948
    speakers = [{one.speaker for one in an4.utterances(split)} for split in SPLITS]
    assert not speakers[0] & speakers[1]
    assert sum(map(len, speakers)) == 84


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """A tree in the layout of ESC-10: its ten classes, 5 folds of 2 clips each (empty files), a README beside them."""
    root = tmp_path_factory.mktemp("esc10")
    for number, label in enumerate(CLASSES, 1):
        folder = f"{number:03d} - {label.replace('_', ' ').capitalize()}"
        for fold in range(1, 6):
            for take in "AB":
                touch(root / folder / f"{fold}-{1000 * number + fold}-{take}.ogg")
    touch(root / "001 - Dog bark" / "LICENSE.txt")
    touch(root / "README.md")
    return root


def test_esc10_folds(sounds):
    """Oracle: the names of the files, whose first letter is the fold; each clip is tested in one of five."""
    tested = []
    for fold in range(1, 6):
        corpus = ESC10(ESC10Config(root=str(sounds), fold=fold))
        found = {split: corpus.utterances(split) for split in SPLITS}
        folds = {split: {int(Path(one.audio).name[0]) for one in rows} for split, rows in found.items()}
        before = 5 if fold == 1 else fold - 1
        assert folds == {"test": {fold}, "valid": {before}, "train": {1, 2, 3, 4, 5} - {fold, before}}
        assert Counter(one.label for one in found["train"]) == dict.fromkeys(CLASSES, 6)
        assert corpus.fold == f"{fold} of 5"
        assert all(one.label == CLASSES[int(Path(one.audio).parent.name[:3]) - 1] for one in found["test"])
        tested += [one.audio for one in found["test"]]
    assert len(tested) == len(set(tested)) == 100


def test_esc10_errors(sounds, tmp_path):
    """Oracle: the messages name the folder, the class and the mend; 100 clips are not the whole of 400."""
    with pytest.raises(ConfigError, match="fold=6: from 1 to 5"):
        ESC10Config(fold=6)
    with pytest.raises(DataError, match=r"speechgru prepare esc10.*data.root=FOLDER"):
        ESC10(ESC10Config(root=str(tmp_path / "none"))).utterances("train")
    touch(tmp_path / "rain" / "1-1-A.ogg")
    with pytest.raises(DataError, match="no folder of the class dog_bark; run `speechgru prepare esc10`"):
        ESC10(ESC10Config(root=str(tmp_path))).utterances("train")
    with pytest.raises(DataError, match=r"is not empty and lacks dog_bark, sea_waves, baby_cry \.\.\.; move it away"):
        ESC10(ESC10Config(root=str(tmp_path))).prepare()
    with pytest.raises(DataError, match="lacks 300 of 400 clips"):
        ESC10(ESC10Config(root=str(sounds))).prepare()


def test_arabic_digits(tmp_path):
    """Oracle: the speakers of the dataset's lists; other words and the folder above are passed over."""
    for word in (*DIGITS, "open"):
        for speaker in range(1, 31):
            touch(tmp_path / "dataset" / word / f"{speaker:08d}_NO_01.wav")
    corpus = ArabicDigits(ArabicDigitsConfig(root=str(tmp_path)))
    found = {split: corpus.utterances(split) for split in SPLITS}
    assert {split: len(rows) for split, rows in found.items()} == {"train": 180, "valid": 60, "test": 60}
    speakers = {split: {int(one.speaker) for one in rows} for split, rows in found.items()}
    assert speakers["test"] == {3, 4, 10, 14, 26, 28}
    assert speakers["valid"] == {2, 7, 8, 12, 21, 25}
    assert not speakers["train"] & (speakers["test"] | speakers["valid"])
    assert all(one.label == Path(one.audio).parent.name for one in found["train"])
    inside = ArabicDigits(ArabicDigitsConfig(root=str(tmp_path / "dataset")))
    assert inside.utterances("test") == found["test"]
    with pytest.raises(DataError, match="lacks 2700 of 3000 recordings"):
        corpus.prepare()
    with pytest.raises(DataError, match="run `speechgru prepare arabic_digits`"):
        ArabicDigits(ArabicDigitsConfig(root=str(tmp_path / "dataset" / "open"))).utterances("test")
    with pytest.raises(DataError, match="is not empty and lacks dataset; move it away"):
        ArabicDigits(ArabicDigitsConfig(root=str(tmp_path / "dataset" / "open"))).prepare()


def test_real_esc10_and_arabic_digits(recordings):
    """Oracle: the pack's own manifests, and that both are whole: prepare has nothing to do."""
    corpora = {
        "esc10": ESC10(ESC10Config(root=str(recordings / "esc10"))),
        "arabic_digits": ArabicDigits(ArabicDigitsConfig(root=str(recordings / "arabic_digits"))),
    }
    for name, corpus in corpora.items():
        root = recordings / name
        rows = [line.split("\t") for line in (root / "manifest.tsv").read_text().splitlines()[1:]]
        for split in SPLITS:
            expected = {(row[0], row[1]) for row in rows if row[3] == split}
            found = {(one.audio.removeprefix(f"{root}/"), one.label) for one in corpus.utterances(split)}
            assert found == expected
        corpus.prepare()
