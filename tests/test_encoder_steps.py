"""Encoders step by step: the whole utterance at once is the oracle, for every chunking."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import speechgru.encoders.stepping
from speechgru.cells import GRUConfig, LiGRUConfig, LSTMConfig, QRNNConfig
from speechgru.encoders import (
    ConvolutionConfig,
    GRUEncoderConfig,
    LatencyControlledConfig,
    LookAheadConfig,
    Merge,
)
from speechgru.encoders.stepping import Windows, split, stack
from speechgru.errors import ConfigError
from speechgru.registry import build, entry, names

INPUT = 6
SMALL = {"hidden_size": 4, "dropout": 0.3}
FRONT = ConvolutionConfig(channels=[2, 3, 3], kernel_time=5, stride_time=[2, 1, 3], stride_feature=[1, 2, 1])
WIDE_STRIDE = ConvolutionConfig(channels=[2, 2], kernel_time=1, stride_time=[4, 1], stride_feature=[1, 1])
CONFIGS = [
    GRUEncoderConfig(**SMALL, bidirectional=False),
    GRUEncoderConfig(**SMALL, bidirectional=False, pyramid=[1, 2], residual=True, layer_norm=True, front_end=FRONT),
    GRUEncoderConfig(**SMALL, bidirectional=False, pyramid=[3, 1], zoneout=0.2, front_end=WIDE_STRIDE),
    LookAheadConfig(**SMALL, context=0),
    LookAheadConfig(**SMALL, context=4, pyramid=[2, 1], projection_size=3, cell=LiGRUConfig(), front_end=FRONT),
    LatencyControlledConfig(**SMALL, num_layers=1, chunk=1, right=0),
    LatencyControlledConfig(**SMALL, num_layers=3, chunk=4, right=3, layer_norm=True, residual=True),
    LatencyControlledConfig(**SMALL, chunk=3, right=7, projection_size=5, cell=LSTMConfig(), front_end=FRONT),
    LatencyControlledConfig(**SMALL, chunk=2, right=1, pyramid=[2, 3], merge=Merge.sum, cell=QRNNConfig(window=2)),
]


def make(config, seed=0):
    """An encoder in eval mode whose batch statistics are no longer those it began with."""
    torch.manual_seed(seed)
    encoder = build("encoder", config, INPUT).train()
    with torch.no_grad():
        for _ in range(2):
            encoder(3 * torch.randn(2, 30, INPUT) + 1)
    if isinstance(config, LookAheadConfig):
        torch.nn.init.uniform_(encoder.row_weight, 0.5, 1.5)
    return encoder.eval()


def stepped(encoder, features, sizes):
    """The hidden frames of one utterance (time, feature) that comes in chunks of these sizes, again and again."""
    state, parts, at, turn = encoder.start(), [], 0, 0
    while at < len(features):
        size = sizes[turn % len(sizes)]
        hidden, counts, state = encoder.step(features[None, at : at + size], state)
        assert hidden.shape[1] == counts[0]
        parts.append(hidden[0])
        at, turn = at + size, turn + 1
    hidden, _, _ = encoder.step(features[None, :0], state, ended=[True])
    return torch.cat([*parts, hidden[0]])


CHUNKINGS = st.lists(st.integers(0, 25), min_size=1, max_size=5).filter(any)


@pytest.mark.parametrize("config", CONFIGS)
@settings(max_examples=6, deadline=None)
@given(time=st.integers(0, 70), sizes=CHUNKINGS)
def test_any_chunks_are_the_whole(config, time, sizes):
    """Oracle: the utterance at once, to 1e-5."""
    encoder = make(config)
    features = torch.randn(time, INPUT, generator=torch.Generator().manual_seed(time))
    whole, _ = encoder(features[None])
    torch.testing.assert_close(stepped(encoder, features, sizes), whole[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cell", names("cell"))
@pytest.mark.parametrize("kind", [GRUEncoderConfig, LookAheadConfig, LatencyControlledConfig])
def test_every_cell(cell, kind):
    """Oracle: the utterance at once, frame by frame and in uneven chunks."""
    more = {"chunk": 5, "right": 2} if kind is LatencyControlledConfig else {"bidirectional": False}
    encoder = make(kind(hidden_size=4, dropout=0.0, cell=entry("cell", cell).config(), **more))
    features = torch.randn(23, INPUT)
    whole, _ = encoder(features[None])
    for sizes in ([1], [7, 2]):
        torch.testing.assert_close(stepped(encoder, features, sizes), whole[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cell", names("cell"))
@pytest.mark.parametrize("seed", [0, 8])
def test_chunks_are_the_whole_to_the_last_bit(cell, seed):
    """With a layer norm of few values a difference of one bit becomes one of 4e-5, so there must be none."""
    settings = {"hidden_size": 4, "dropout": 0.0, "chunk": 5, "right": 2, "cell": entry("cell", cell).config()}
    encoder = make(LatencyControlledConfig(**settings), seed)
    features = torch.randn(23, INPUT)
    whole, _ = encoder(features[None])
    for sizes in ([1], [7, 2]):
        torch.testing.assert_close(stepped(encoder, features, sizes), whole[0], rtol=0, atol=0)


def test_a_stream_alone_is_one_of_several():
    """Oracle: the same stream twice in a batch, whose frames are found by a search; for every kind of window."""
    generator = np.random.default_rng(0)
    kinds = [
        Windows(width, stride, before) for width in (1, 2, 5) for stride in (1, 2, 4) for before in {0, width // 2}
    ]
    for windows in kinds:
        alone, together = (windows.start(torch.zeros(1), (2,), rows) for rows in (1, 2))
        for turn in range(8):
            length = int(generator.integers(0, 7))
            frames = torch.randn(1, length + 1, 2)
            found, counts, alone = windows.slide(alone, frames, [length], [turn == 7])
            both = frames.expand(2, -1, -1)
            wanted, same, together = windows.slide(together, both, [length] * 2, [turn == 7] * 2)
            assert counts == same[:1]
            assert alone.held[0] == together.held[0]
            torch.testing.assert_close(found, wanted[:1], rtol=0, atol=0)


def changed_by_training(encoder):
    optimizer = torch.optim.SGD(encoder.parameters(), 0.5)
    encoder(torch.randn(1, 5, INPUT))[0].square().sum().backward()
    optimizer.step()


def moved_and_back(encoder):
    encoder.half().float()  # rounded, in other memory


def loaded(encoder):
    encoder.load_state_dict({name: values + 0.1 for name, values in encoder.state_dict().items()})


def loaded_in_place_of(encoder):
    encoder.load_state_dict({name: values + 0.1 for name, values in encoder.state_dict().items()}, assign=True)


def written_past_autograd(encoder):
    for parameter in encoder.parameters():
        parameter.data += 0.1


def turned(encoder):
    cell = encoder.layers[0].forward_cell
    cell.weight_hh.data = cell.weight_hh.data.t().contiguous().t()  # no longer in order


CHANGES = [changed_by_training, moved_and_back, loaded, loaded_in_place_of, written_past_autograd, turned]


@pytest.mark.parametrize("change", CHANGES)
def test_a_step_reads_the_weights_as_they_are(change):
    """Oracle: the utterance at once, to the last bit, before and after the weights have changed."""
    encoder = make(GRUEncoderConfig(hidden_size=4, bidirectional=False))
    features = torch.randn(9, INPUT)
    before = stepped(encoder, features, [1])
    torch.testing.assert_close(before, encoder(features[None])[0][0], rtol=0, atol=0)
    change(encoder)
    after = stepped(encoder, features, [1])
    torch.testing.assert_close(after, encoder(features[None])[0][0], rtol=0, atol=0)
    assert (after - before).abs().max() > (1e-4 if change is not turned else -1)


@pytest.mark.parametrize("config", CONFIGS)
def test_a_frame_comes_as_soon_as_its_look_ahead_is_in(config):
    """Oracle: frame t after ``t * subsampling + look_ahead`` and one more; of a chunk all come with its first."""
    encoder = make(config)
    state, given = encoder.start(), 0
    for frame in range(80):
        hidden, _, state = encoder.step(torch.randn(1, 1, INPUT), state)
        given += hidden.shape[1]
        due = (frame - encoder.look_ahead) // encoder.subsampling + 1
        chunk = getattr(config, "chunk", 1)
        assert given == -(-max(0, due) // chunk) * chunk
    assert given > 0


def drawn_rows(encoder, rows, turns, seed):
    """Streams of a batch that get no, few or many frames at each turn, and end at their own turn."""
    generator = torch.Generator().manual_seed(seed)
    last = torch.randint(0, turns, (rows,), generator=generator).tolist()
    fed, found = [[] for _ in range(rows)], [[] for _ in range(rows)]
    state = encoder.start(rows)
    for turn in range(turns):
        lengths = [
            int(torch.randint(0, 12, (), generator=generator)) if turn <= last[row] else 0 for row in range(rows)
        ]
        features = torch.randn(rows, 12, INPUT, generator=generator)
        features[1:, max(lengths) :] = torch.nan  # what lies beyond the lengths is never looked at
        features = features[:, : max(lengths)]
        hidden, counts, state = encoder.step(features, state, lengths, [turn == last[row] for row in range(rows)])
        for row in range(rows):
            if turn <= last[row]:
                fed[row].append(features[row, : lengths[row]])
                found[row].append(hidden[row, : counts[row]])
            assert (hidden[row, counts[row] :] == 0).all()
    return [(torch.cat(frames), torch.cat(parts)) for frames, parts in zip(fed, found, strict=True)]


@pytest.mark.parametrize("config", CONFIGS)
@settings(max_examples=4, deadline=None)
@given(rows=st.integers(1, 4), seed=st.integers(0, 1000))
def test_streams_of_a_batch_do_not_know_each_other(config, rows, seed):
    """Oracle: each stream's utterance alone and at once."""
    encoder = make(config)
    for features, found in drawn_rows(encoder, rows, 6, seed):
        whole, _ = encoder(features[None])
        torch.testing.assert_close(found, whole[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("config", CONFIGS)
def test_states_are_stacked_and_split(config):
    """Oracle: each stream alone; a state that was stacked or stepped from is as it was."""
    encoder = make(config)
    features = torch.randn(3, 40, INPUT)
    begun = [encoder.step(features[row : row + 1, : 5 * row], encoder.start())[2] for row in range(3)]
    alone = [encoder.step(features[row : row + 1, 20:], begun[row])[0][0] for row in range(3)]
    hidden, counts, state = encoder.step(features[:, 20:], stack([split(one)[0] for one in begun], begun[0]))
    for row in range(3):
        torch.testing.assert_close(hidden[row, : counts[row]], alone[row], rtol=1e-5, atol=1e-5)
    for row, one in enumerate(split(state)):
        (end,), _, _ = encoder.step(features[:1, :0], stack([one], state), ended=[True])
        wanted = encoder.step(features[:1, :0], encoder.step(features[row : row + 1, 20:], begun[row])[2], ended=[True])
        torch.testing.assert_close(end, wanted[0][0], rtol=1e-5, atol=1e-5)


def test_what_waits_for_the_end_is_refused_in_one_line():
    """The line names the setting and what to train instead."""
    for config in (GRUEncoderConfig(**SMALL), GRUEncoderConfig(**SMALL, bidirectional=True, front_end=FRONT)):
        encoder = make(config)
        assert not encoder.streams
        with pytest.raises(ConfigError, match=r"bidirectional=True.*encoder=look_ahead"):
            encoder.start()
    assert all(make(config).streams for config in CONFIGS)


# Planted errors: each must make a test above fail.


def test_a_planted_frame_too_early_is_seen(monkeypatch):
    def early(windows, waiting, frames, lengths, ended):
        shorter = dataclasses.replace(windows, width=max(1, windows.width - 1))
        return slide(shorter, waiting, frames, lengths, ended)

    slide = speechgru.encoders.stepping.Windows.slide
    monkeypatch.setattr(Windows, "slide", early)
    with pytest.raises((AssertionError, RuntimeError, IndexError)):
        test_a_frame_comes_as_soon_as_its_look_ahead_is_in(CONFIGS[1])


def test_a_planted_forgotten_state_is_seen(monkeypatch):
    encoder = build("encoder", GRUEncoderConfig(hidden_size=4, bidirectional=False, cell=GRUConfig()), INPUT)
    kind, step = type(encoder), type(encoder).step
    monkeypatch.setattr(kind, "step", lambda self, frames, state, **more: step(self, frames, self.start(), **more))
    with pytest.raises(AssertionError):
        test_every_cell("gru", GRUEncoderConfig)


def test_a_step_in_training_mode_is_refused():
    encoder = build("encoder", GRUEncoderConfig(hidden_size=4, bidirectional=False), INPUT).train()
    with pytest.raises(ConfigError, match=r"call encoder.eval\(\) first"):
        encoder.step(torch.zeros(1, 2, INPUT), encoder.start())
