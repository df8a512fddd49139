"""Background in training: which stretches, which windows, what is laid where. Oracles are recordings made of ramps."""

import numpy as np
import pytest
import soundfile
import torch
from small_run import cut, run, same, tensors

from speechgru.data.background import SILENCE, UNKNOWN, BackgroundConfig, WithBackground
from speechgru.data.batching import BatchLoader
from speechgru.data.corpora.folder import Folder, FolderConfig
from speechgru.data.surroundings import Surroundings, through_opus
from speechgru.data.target import label_target
from speechgru.data.utterance import Utterance
from speechgru.errors import ConfigError, DataError
from speechgru.tokens import Tokens
from speechgru.training.hard_negatives import HardNegatives

RATE = 8000


def write(path, seconds, value=0.1):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(str(path))).standard_normal(round(seconds * RATE))
    soundfile.write(path, (value * noise).clip(-0.9, 0.9), RATE)
    return str(path)


@pytest.fixture
def words(tmp_path):
    for word in ("yes", "no"):
        for split in ("train", "valid", "test"):
            write(tmp_path / "words" / split / word / "a.wav", 0.4)
    return Folder(FolderConfig(root=str(tmp_path / "words"), sample_rate=RATE))


def spans(rows):
    return [(one.start_s, one.start_s + one.duration_s) for one in rows]


def test_stretches_cover_a_listed_recording_whole(words, tmp_path):
    """Oracle: stretches begin every window, are up to two windows long, and the last one ends with the recording."""
    for name, seconds in (("long.wav", 7.3), ("short.wav", 0.7)):
        write(tmp_path / "talk" / name, seconds)
    (tmp_path / "talk" / "train.csv").write_text("audio\nlong.wav\nshort.wav\n")
    corpus = WithBackground(words, BackgroundConfig([str(tmp_path / "talk")], window_s=2.0))
    rows = corpus.windows("train")
    assert spans(rows[:3]) == [(0, 4), (2, 6), (4, pytest.approx(7.3))]
    assert spans(rows[3:]) == [(0, pytest.approx(0.7))]
    assert {one.label for one in rows} == {UNKNOWN}
    assert corpus.windows("valid") == []
    assert corpus.utterances("train") == [*words.utterances("train"), *rows]
    assert corpus.utterances("test") == words.utterances("test")
    assert corpus.labels() == ["no", "yes", UNKNOWN]


def test_minutes_of_what_no_list_divides_are_held_out(words, tmp_path):
    """Every stretch lies in one split, no sound in both; the longest recording is never more than two windows."""
    write(tmp_path / "talk" / "hour.wav", 1500)
    corpus = WithBackground(words, BackgroundConfig([str(tmp_path / "talk")], window_s=2.0))
    train, valid = spans(corpus.windows("train")), spans(corpus.windows("valid"))
    assert valid
    assert max(end - start for start, end in train + valid) <= 4
    assert not {int(start // 60) for start, _ in train} & {int(start // 60) for start, _ in valid}
    assert all(start // 60 == (end - 1e-6) // 60 for start, end in train + valid)
    assert sum(end - start for start, end in train) > 10 * 60
    little = write(tmp_path / "little" / "a.wav", 5)
    corpus = WithBackground(words, BackgroundConfig([little], window_s=2.0))
    assert len(corpus.windows("train")) == 2
    assert corpus.windows("valid") == []


def test_a_file_that_is_no_audio_is_left_out_and_told(words, tmp_path):
    """Oracle: the row of the sound file alone can be read; the loader names the other one."""
    write(tmp_path / "talk" / "a.wav", 3)
    (tmp_path / "talk" / "b.wav").write_text("no sound")
    (tmp_path / "talk" / "train.csv").write_text("audio\na.wav\nb.wav\n")
    rows = WithBackground(words, BackgroundConfig([str(tmp_path / "talk")])).windows("train")
    assert [(one.audio[-5:], one.duration_s) for one in rows] == [("a.wav", 3.0), ("b.wav", None)]
    (line,) = BatchLoader(rows, None, RATE).unreadable()
    assert "b.wav" in line


def test_noises_are_silence_where_there_is_such_a_label(words, tmp_path):
    """Oracle: the label list; without _silence_ they are unknown."""
    write(tmp_path / "wind" / "a.wav", 100)
    config = BackgroundConfig(noises=[str(tmp_path / "wind")])
    assert {one.label for one in WithBackground(words, config).windows("train")} == {UNKNOWN}
    words.config.labels = ["yes", "no", SILENCE]
    assert {one.label for one in WithBackground(words, config).windows("train")} == {SILENCE}


def surroundings(**settings):
    """Two words and four rows of background, two of them silent, all of them 3 s; windows are 1 s."""
    config = BackgroundConfig(["x"], window_s=1.0, **settings)
    words = [Utterance("yes.wav", label="yes"), Utterance("quiet.wav", label=SILENCE)]
    rows = [Utterance(f"{i}.wav", label=(UNKNOWN, SILENCE)[i % 2], duration_s=3.0) for i in range(4)]
    return Surroundings(config, words + rows, rows)


def ramp(index):
    """Samples that tell which row they are of, and where in it."""
    return torch.arange(3 * RATE) + 1e6 * index


def test_a_window_of_background_is_a_drawn_second_of_its_row():
    """Oracle: consecutive samples of the ramp; places differ, and the same generator gives the same."""
    heard = surroundings()
    cuts = [heard.around(3, ramp(3), RATE, np.random.default_rng(seed), ramp) for seed in range(20)]
    for one in cuts:
        assert len(one) == RATE
        torch.testing.assert_close(one - one[0], torch.arange(RATE).to(one))
    assert len({float(one[0]) for one in cuts}) == 20
    assert torch.equal(cuts[0], heard.around(3, ramp(3), RATE, np.random.default_rng(0), ramp))


@pytest.mark.parametrize("snr_db", [0, 20])
def test_a_word_is_whole_inside_of_the_background_at_the_drawn_level(snr_db):
    """Oracle: subtracting the background, whose scale the ratio of powers gives, leaves the word; its ends fade."""
    heard = surroundings(laid=1.0, min_snr_db=snr_db, max_snr_db=snr_db)
    torch.manual_seed(0)
    word, noise = torch.randn(RATE // 2), torch.randn(3 * RATE)
    places = set()
    for seed in range(10):
        mixed = heard.around(0, word, RATE, np.random.default_rng(seed), lambda index: noise)
        assert len(mixed) == RATE
        found = np.correlate(mixed.numpy(), word.numpy(), "valid")
        start = int(found.argmax())
        inner = slice(start + 80, start + len(word) - 80)
        rest = mixed[inner] - word[80 : len(word) - 80]
        ratio = 10 * torch.log10(word.square().mean() / rest.square().mean())
        assert float(ratio) == pytest.approx(snr_db, abs=0.5)
        places.add(start)
    assert len(places) > 5


def test_pieces_of_speech_are_laid_as_words_are():
    """Oracle: with every window a piece, 0.2 to 0.8 s of it sound in silence; noises have none."""
    heard = surroundings(pieces=1.0, min_snr_db=60, max_snr_db=60)
    torch.manual_seed(0)
    speech = torch.randn(3 * RATE)
    lengths = set()
    for seed in range(20):
        window = heard.around(2, speech, RATE, np.random.default_rng(seed), lambda index: speech)
        loud = (window.abs() > 0.05).nonzero().flatten()
        lengths.add(int(loud[-1] - loud[0]) // 200)
        assert len(window) == RATE
        assert 0.15 * RATE < loud[-1] - loud[0] < 0.8 * RATE
    assert len(lengths) > 10
    window = heard.around(3, speech, RATE, np.random.default_rng(0), lambda index: speech)
    assert all(bool((end.abs() > 0.05).any()) for end in (window[:80], window[-80:]))


def test_silence_is_never_laid_into_speech_and_words_are_laid_at_their_share():
    """Oracle: identity of the tensors given."""
    heard = surroundings(laid=0.5)
    word = torch.randn(RATE // 2)
    assert all(heard.around(1, word, RATE, np.random.default_rng(seed), ramp) is word for seed in range(20))
    left = [heard.around(0, word, RATE, np.random.default_rng(seed), ramp) is word for seed in range(200)]
    assert 70 < sum(left) < 130


def test_words_are_coded_once_and_the_background_is_not():
    """Oracle: Opus changes samples a little; the same recording is always the same, and the share is as set."""
    heard = surroundings(coded=0.5)
    word = 0.1 * torch.sin(torch.arange(RATE) * 0.2)
    again = [heard.recorded(0, word, RATE, seed) for seed in (0, 0)]
    assert torch.equal(*again)
    coded = [heard.recorded(0, word, RATE, seed) is not word for seed in range(40)]
    assert 8 < sum(coded) < 32
    assert heard.recorded(2, word, RATE, 0) is word
    lossy = torch.from_numpy(through_opus(word.numpy(), RATE, 0.9))
    assert len(lossy) == len(word)
    difference = (lossy - word).square().mean() / word.square().mean()
    assert 1e-9 < float(difference) < 0.1


def negatives(**settings):
    words = [Utterance(f"{i}.wav", label="yes") for i in range(3)]
    rows = [Utterance("talk.wav", label=UNKNOWN, start_s=float(i), duration_s=2.0) for i in range(10)]
    config = BackgroundConfig(["x"], **settings)
    return HardNegatives(config, words + rows, range(3, 13), seed=0), words + rows


def test_the_hardest_windows_come_back():
    """Oracle: sorted by hand; the words are always there, and the count is the same in each epoch."""
    hard, utterances = negatives(windows=5, hard=0.4)
    assert len(hard) == 8
    hard.draw(0)
    first = hard.indices()
    assert first[:3] == [0, 1, 2]
    assert len(first) == 8
    hard.note(utterances[3:], torch.tensor([0.0, 9, 1, 2, 8, 0, 0, 0, 0, 0]))
    draws = []
    for epoch in range(1, 30):
        hard.draw(epoch)
        draws.append(hard.indices())
    assert all({4, 7} <= set(indices) and len(indices) == 8 for indices in draws)
    assert {index for indices in draws for index in indices} == set(range(13))
    assert len({tuple(indices) for indices in draws}) > 10


def test_draws_are_those_of_the_state_and_the_epoch():
    """A restored one draws what the other draws."""
    one, utterances = negatives(windows=5, hard=0.4)
    one.note(utterances, torch.rand(13))
    one.draw(3)
    other, _ = negatives(windows=5, hard=0.4)
    other.restore(one.state())
    assert other.indices() == one.indices()
    one.draw(4), other.draw(4)
    assert other.indices() == one.indices()


def test_a_loader_hears_what_is_chosen(tmp_path):
    """Oracle: the utterances of an epoch's batches; background rows come as windows; workers make no difference."""
    rows = []
    for index, seconds in enumerate((0.4, 0.5, 2.0, 2.5)):
        path = write(tmp_path / f"{index}.wav", seconds)
        rows.append(Utterance(path, label=UNKNOWN if seconds >= 2 else "yes", duration_s=seconds))
    heard = Surroundings(BackgroundConfig(["x"], window_s=1.0, laid=1.0), rows, rows[2:])
    labels = Tokens(["yes", UNKNOWN])
    found = []
    for workers in (0, 1):
        loader = BatchLoader(
            rows,
            lambda one: label_target(one, labels),
            RATE,
            batch_size=2,
            shuffle=True,
            surroundings=heard,
            workers=workers,
        )
        loader.choose([0, 3])
        assert len(loader) == 1
        (batch,) = loader.epoch(2)
        found.append(batch)
    assert sorted(one.audio for one in batch.utterances) == sorted([rows[0].audio, rows[3].audio])
    assert batch.lengths.tolist() == [RATE, RATE]
    assert torch.equal(found[0].waveforms, found[1].waveforms)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window_s": 0.1}, "background.window_s=0.1"),
        ({"hard": 0.5}, "background.hard=0.5: needs background.windows"),
        ({"laid": 1.5}, "background.laid=1.5: from 0 to 1"),
        ({"min_snr_db": 10, "max_snr_db": 0}, "background.min_snr_db=10"),
        ({"windows": -1}, "background.windows=-1"),
    ],
)
def test_impossible_settings(settings, message):
    """A user's error names the key and the value."""
    with pytest.raises(ConfigError, match=message):
        BackgroundConfig(**settings)


def test_background_that_is_not_there(words, tmp_path):
    """One line that names the entry."""
    write(tmp_path / "talk" / "a.wav", 1)
    (tmp_path / "talk" / "valid.csv").write_text("audio\na.wav\n")
    with pytest.raises(DataError, match=r"talk: has no background for training"):
        WithBackground(words, BackgroundConfig([str(tmp_path / "talk")])).windows("train")


def test_a_run_with_background_resumes_to_the_bit(three_tones, tmp_path, monkeypatch):
    """Stopped inside of the second epoch, whose windows the losses of the first have chosen; oracle: never stopped."""
    write(tmp_path / "talk" / "a.wav", 40)
    overrides = [f"background.recordings=[{tmp_path / 'talk'}]", "background.windows=12", "background.hard=0.5"]
    overrides += ["background.window_s=0.5", "background.coded=0.2", "trainer.epochs=2"]
    run(three_tones, tmp_path / "whole", *overrides)
    cut(monkeypatch, three_tones, tmp_path / "cut", 9, *overrides)
    run(three_tones, tmp_path / "cut", *overrides, "resume=true")
    same(tmp_path / "whole", tmp_path / "cut")
    state = tensors(tmp_path / "whole")
    assert state["negatives/drawn"].sum() == 12
    assert torch.isfinite(state["negatives/losses"]).any()
    assert (tmp_path / "whole" / "model" / "tokens.txt").read_text().split()[-1] == UNKNOWN
