"""Batches: the same for every number of workers, from every place in the epoch, in every split over processes."""

import dataclasses
import functools

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechgru.data.batching import BatchLoader
from speechgru.data.cache import WaveformCache
from speechgru.data.order import count_batches, epoch_batches
from speechgru.data.reading import measure_s, read_utterance
from speechgru.data.target import label_target
from speechgru.data.utterance import Utterance
from speechgru.errors import AudioError, ConfigError, DataError
from speechgru.tokens import Tokens
from speechgru.training.joining import Joining

TOKENS = Tokens(["a", "b", "c"])
RATE = 8000


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """23 recordings of 0.1 to 0.5 s with labels a, b, c, 16-bit."""
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    utterances = []
    for index in range(23):
        samples = rng.integers(-3000, 3000, rng.integers(800, 4000), dtype=np.int16)
        soundfile.write(folder / f"{index}.wav", samples, RATE)
        utterances.append(Utterance(str(folder / f"{index}.wav"), label="abc"[index % 3]))
    return utterances


class Scale:
    """An augmentation one can follow: the samples times a drawn number."""

    def waveform(self, waveform, sample_rate, rng):
        assert sample_rate == RATE
        return waveform * float(rng.uniform(0.5, 2.0))


def load(clips, **more):
    return BatchLoader(
        clips, functools.partial(label_target, tokens=TOKENS), RATE, **{"batch_size": 4, "shuffle": True, **more}
    )


def rows(batches):
    """The waveform of every utterance of some batches, with its file."""
    return [
        (utterance.audio, waveform[:length])
        for batch in batches
        for utterance, waveform, length in zip(batch.utterances, batch.waveforms, batch.lengths, strict=True)
    ]


def same(one, other):
    """Whether two lists of batches are equal to the bit."""
    return len(one) == len(other) and all(
        torch.equal(a.waveforms, b.waveforms)
        and torch.equal(a.lengths, b.lengths)
        and torch.equal(a.targets, b.targets)
        and a.utterances == b.utterances
        and a.errors == b.errors
        for a, b in zip(one, other, strict=True)
    )


ORDERS = st.fixed_dictionaries(
    {
        "count": st.integers(1, 90),
        "batch_size": st.integers(1, 9),
        "world_size": st.integers(1, 4),
        "shuffle": st.booleans(),
        "pool_batches": st.integers(1, 5),
        "seed": st.integers(0, 9),
        "epoch": st.integers(0, 9),
    }
)


@given(ORDERS)
@settings(max_examples=300, deadline=None)
def test_every_utterance_once_and_processes_in_step(drawn):
    """Oracle: brute force over drawn sizes: a partition, equally many batches, none empty, limits kept."""
    count, world = drawn["count"], drawn["world_size"]
    if count < world:
        return
    durations_s = np.random.default_rng(count).uniform(0.2, 3.0, count).tolist()
    ranks = [epoch_batches(durations_s, rank=rank, **drawn) for rank in range(world)]
    assert sorted(index for batches in ranks for batch in batches for index in batch) == list(range(count))
    assert len({len(batches) for batches in ranks}) == 1
    assert len(ranks[0]) == count_batches(count, drawn["batch_size"], world)
    for step in zip(*ranks, strict=True):
        sizes = [len(batch) for batch in step]
        assert min(sizes) >= 1
        assert max(sizes) - min(sizes) <= 1
        if drawn["batch_size"] > 1:
            assert max(sizes) <= drawn["batch_size"]
    if not drawn["shuffle"] and world == 1:
        assert [index for batch in ranks[0] for index in batch] == list(range(count))


def test_batches_are_even_and_pools_save_padding():
    """Oracle: sizes by arithmetic; padding counted by hand, against the same order unsorted."""
    assert [len(batch) for batch in epoch_batches(None, 10, batch_size=8, shuffle=False)] == [5, 5]
    durations_s = np.random.default_rng(0).uniform(0.5, 10.0, 2000)

    def padding(pool_batches):
        batches = epoch_batches(durations_s, 2000, batch_size=16, pool_batches=pool_batches)
        padded = sum(len(batch) * max(durations_s[batch]) for batch in batches)
        return padded / durations_s.sum() - 1

    assert padding(20) < 0.06
    assert padding(1) > 0.5


def test_order_depends_on_seed_and_epoch_alone():
    """Oracle: equality of the lists; another process computes the same (numpy's generator is specified)."""
    plan = {"batch_size": 4, "pool_batches": 2}
    durations_s = [1.0 + (index * 7 % 10) for index in range(40)]
    first = epoch_batches(durations_s, 40, seed=1, epoch=2, **plan)
    assert first == epoch_batches(durations_s, 40, seed=1, epoch=2, **plan)
    assert first != epoch_batches(durations_s, 40, seed=1, epoch=3, **plan)
    assert first != epoch_batches(durations_s, 40, seed=2, epoch=2, **plan)


def test_batches_hold_the_samples(clips):
    """Oracle: soundfile, row by row; zeros behind each; labels by hand."""
    seen = []
    for batch in load(clips).epoch(3):
        assert batch.waveforms.dtype == torch.float32
        assert batch.lengths.dtype == batch.targets.dtype == batch.target_lengths.dtype == torch.int64
        assert batch.waveforms.shape == (len(batch), int(batch.lengths.max()))
        for row, utterance in enumerate(batch.utterances):
            samples, _ = soundfile.read(utterance.audio, dtype="float32")
            assert batch.lengths[row] == len(samples)
            assert np.array_equal(batch.waveforms[row, : len(samples)].numpy(), samples)
            assert not batch.waveforms[row, len(samples) :].any()
            assert TOKENS.names[batch.targets[row]] == utterance.label
            seen.append(utterance)
        assert batch.target_lengths.tolist() == [1] * len(batch)
    assert sorted(seen, key=lambda one: one.audio) == sorted(clips, key=lambda one: one.audio)


def test_workers_cache_and_start_make_no_difference(clips):
    """Oracle: the plain pass (no worker, no cache, from the start), to the bit, over two epochs and an early end."""
    plain = load(clips, augment=Scale(), cache_mb=0)
    expected = [list(plain.epoch(epoch)) for epoch in range(2)]
    assert not same(expected[0], expected[1])
    cached = load(clips, augment=Scale())
    with_workers = load(clips, augment=Scale(), workers=2)
    for loader in (cached, with_workers):
        stopped = loader.epoch(0)
        next(stopped)  # an epoch that is not read to its end, as after an interruption
        stopped.close()
        for epoch in (0, 1):
            assert same(list(loader.epoch(epoch)), expected[epoch])
        assert same(list(loader.epoch(1, start_batch=3)), expected[1][3:])
        assert list(loader.epoch(1, start_batch=len(loader))) == []
    assert cached._loader.dataset.cache.used_bytes > 0
    assert with_workers._loader.dataset.cache.used_bytes > 0  # forked workers fill the one cache


def test_processes_read_what_one_reads(clips):
    """Oracle: the union over two ranks against one process, augmentation included."""
    alone = dict(rows(load(clips, augment=Scale())))
    parts = [list(load(clips, augment=Scale(), batch_size=2, rank=rank, world_size=2)) for rank in range(2)]
    assert len(parts[0]) == len(parts[1]) == len(load(clips))
    together = rows(parts[0] + parts[1])
    assert len(together) == len(alone)
    assert all(torch.equal(alone[audio], waveform) for audio, waveform in together)


def test_augmentation_is_drawn_anew_each_epoch(clips):
    """Oracle: the factor of each utterance, found by division: another one in each epoch and for each seed."""
    plain = dict(rows(load(clips)))

    def factors(seed, epoch):
        batches = load(clips, seed=seed, augment=Scale()).epoch(epoch)
        return {audio: float(waveform.norm() / plain[audio].norm()) for audio, waveform in rows(batches)}

    first = factors(0, 0)
    assert first == factors(0, 0)
    assert len({round(factor, 4) for factor in first.values()}) > len(clips) - 3
    for other in (factors(0, 1), factors(1, 0)):
        assert all(abs(first[audio] - other[audio]) > 1e-6 for audio in first)


def test_another_utterance_of_the_speaker_follows(clips):
    """Oracle: the recordings themselves, end to end with noise between; the target is that of both texts."""
    said = [
        dataclasses.replace(clip, label=None, text=f"T{index}", speaker="ab"[index % 2])
        for index, clip in enumerate(clips)
    ]
    heard = {one.text: read_utterance(one, RATE) for one in said}

    def target(one):
        return [int(word[1:]) for word in one.text.split()]

    alone, joined, pauses = 0, 0, []
    loader, other = (
        BatchLoader(said, target, RATE, batch_size=4, shuffle=True, join=Joining(said, 0.3), workers=workers)
        for workers in (0, 1)
    )
    for epoch in range(20):
        again = list(other.epoch(epoch))
        assert same(list(loader.epoch(epoch)), again)
        for batch in again:
            for one, row, length, found, count in zip(
                batch.utterances, batch.waveforms, batch.lengths, batch.targets, batch.target_lengths, strict=True
            ):
                words = one.text.split()
                assert found[:count].tolist() == [int(word[1:]) for word in words]
                first, last = heard[words[0]], heard[words[-1]]
                assert torch.equal(row[: len(first)], first)
                assert torch.equal(row[length - len(last) : length], last)
                joined, alone = joined + (len(words) == 2), alone + (len(words) == 1)
                if len(words) == 2:
                    assert int(words[0][1:]) % 2 == int(words[1][1:]) % 2
                    pauses.append(int(length) - len(first) - len(last))
    assert abs(joined - 0.3 * 460) < 4 * np.sqrt(460 * 0.3 * 0.7)
    assert min(pauses) >= 0
    assert 2.5 * RATE < max(pauses) <= 3 * RATE


def test_global_random_state_is_left_alone(clips):
    """Oracle: torch's and numpy's next numbers with and without a pass."""
    for workers in (0, 1):
        torch.manual_seed(5)
        np.random.seed(5)
        list(load(clips, augment=Scale(), workers=workers).epoch(0))
        torch_next, numpy_next = torch.rand(1), np.random.rand()
        torch.manual_seed(5)
        np.random.seed(5)
        assert torch.equal(torch_next, torch.rand(1))
        assert numpy_next == np.random.rand()


def test_bad_recordings_are_reported_and_the_rest_goes_on(clips, tmp_path):
    """Oracle: the message names each file; the numbers of batches and good rows are as without them."""
    (tmp_path / "broken.wav").write_bytes(b"RIFF nothing")
    bad = [Utterance(str(tmp_path / name), label="a") for name in ("broken.wav", "missing.wav")]
    loader = load([*clips[:6], *bad], batch_size=2)
    batches = list(loader.epoch(0))
    assert len(batches) == len(loader) == 4
    assert sum(map(len, batches)) == 6
    errors = sorted(error for batch in batches for error in batch.errors)
    assert [name in error for name, error in zip(("broken.wav", "missing.wav"), errors, strict=True)] == [True, True]
    (empty,) = load(bad).epoch(0)
    assert empty.waveforms.shape == (0, 0)
    assert (len(empty), len(empty.errors), empty.targets.shape) == (0, 2, (0,))


def test_too_long_recordings_are_left_out_and_named(clips):
    """Oracle: durations from the files."""
    limit = 0.3
    batches = list(load(clips, max_duration_s=limit))
    long = [one.audio for one in clips if soundfile.info(one.audio).duration > limit]
    errors = [error for batch in batches for error in batch.errors]
    assert sorted(error.partition(": lasts")[0] for error in errors) == sorted(long)
    assert all("max_duration_s=0.3" in error for error in errors)
    assert sum(map(len, batches)) == len(clips) - len(long)


def test_arguments_are_checked(clips):
    """Oracle: the messages."""
    for key, value in (("batch_size", 0), ("workers", -1), ("cache_mb", -1), ("max_duration_s", 0.0)):
        with pytest.raises(ConfigError, match=f"{key}={value}"):
            load(clips, **{key: value})
    with pytest.raises(DataError, match="1 utterances for 2 processes"):
        load(clips[:1], world_size=2)
    with pytest.raises(DataError, match="0 utterances"):
        load([])
    with pytest.raises(DataError, match=r"x.wav: has no label"):
        load([Utterance("x.wav")])
    with pytest.raises(DataError, match=r"x.wav: its label 'aa' is not among"):
        load([Utterance("x.wav", label="aa")])
    assert BatchLoader([Utterance("x.wav")], None, RATE).batches(0) == [[0]]


def test_reading_slices_resamples_and_scales(clips):
    """Oracle: soundfile's slice; 20 log10 of 2; soxr's length rule."""
    samples, _ = soundfile.read(clips[0].audio, dtype="float32")
    cut = dataclasses.replace(clips[0], start_s=0.01, duration_s=0.05, gain_db=20 * np.log10(2))
    waveform = read_utterance(cut, RATE)
    np.testing.assert_allclose(waveform.numpy(), 2 * samples[80:480], rtol=1e-6)
    assert len(read_utterance(cut, 2 * RATE)) == 800
    assert measure_s(cut) == 0.05
    assert measure_s(clips[0]) == len(samples) / RATE
    assert measure_s(dataclasses.replace(clips[0], start_s=0.01)) == pytest.approx(len(samples) / RATE - 0.01)
    with pytest.raises(AudioError):
        measure_s(Utterance("missing.wav"))


@given(st.lists(st.floats(-1.5, 1.5, width=32), max_size=20), st.booleans())
@settings(max_examples=100, deadline=None)
def test_cache_gives_back_the_same_bits(values, sixteen):
    """Oracle: the bits put in (negative zero, denormals and values beyond full scale included)."""
    given_values = np.asarray(values, np.float32)
    if sixteen:
        given_values = np.clip(np.rint(given_values * 32768), -32768, 32767).astype(np.float32) / np.float32(32768)
    cache = WaveformCache(2, 1)
    cache.put(1, torch.from_numpy(given_values))
    got = cache.get(1)
    assert got is not None
    assert got.dtype == torch.float32
    assert np.array_equal(got.numpy().view(np.int32), given_values.view(np.int32))
    assert cache.get(0) is None


def test_cache_keeps_within_its_limit_and_gives_copies():
    """Oracle: sizes by arithmetic: 16-bit sources take two bytes a sample, others four."""
    half = torch.arange(1000, dtype=torch.float32) / 32768
    full = half / 3
    cache = WaveformCache(10, 0.01)  # 10,485 bytes
    for index in range(10):
        cache.put(index, half if index < 2 else full)
    assert cache.used_bytes == 2 * 2000 + 4000
    assert [cache.get(index) is not None for index in range(10)] == [True] * 3 + [False] * 7
    cache.get(0).zero_()
    assert torch.equal(cache.get(0), half)
    nothing = WaveformCache(3, 0)
    nothing.put(0, half)
    assert nothing.get(0) is None


def test_spawned_workers_read_the_same(clips):
    """Oracle: the pass without workers; macOS and Windows spawn, so the dataset must survive pickling."""
    import pickle

    loader = load(clips)
    copy = pickle.loads(pickle.dumps(loader._loader.dataset))
    item, expected = copy[(0, 3)], loader._loader.dataset[(0, 3)]
    assert torch.equal(item.waveform, expected.waveform)
    assert item.target == expected.target
