"""The classification head: each row's own frames in a Python loop, and torch's cross entropy, are the oracles."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import speechgru.heads.pooling
from speechgru.cells import valid_frames
from speechgru.encoders import GRUEncoder
from speechgru.errors import ConfigError
from speechgru.heads import (
    AttentionPooling,
    BestFramePooling,
    ClassificationConfig,
    ClassificationHead,
    EndsPooling,
    MaxPooling,
    MeanPooling,
    Pooling,
)
from speechgru.tokens import Tokens

HIDDEN = 8
LABELS = Tokens(["yes", "no", "stop"])
ROWS = (6, 3, 0, 1)


def draw(rows=ROWS, seed=0, dtype=torch.float64, garbage=1e4):
    """Hidden frames with garbage of a finite size in the padding, which no pooling may look at."""
    torch.manual_seed(seed)
    lengths = torch.tensor(rows)
    hidden = torch.randn(len(rows), max(rows) + 2, HIDDEN, dtype=dtype)
    return hidden.masked_fill(~valid_frames(lengths, hidden.shape[1])[..., None], garbage), lengths


def mean_of_row(pooling, row):
    return sum(row) / len(row)


def max_of_row(pooling, row):
    return torch.stack([max(row[:, feature]) for feature in range(HIDDEN)])


def ends_of_row(pooling, row):
    half = HIDDEN // 2
    return torch.cat((row[-1, :half], row[0, half:])) if pooling.bidirectional else row[-1]


def attention_of_row(pooling, row):
    size = HIDDEN // pooling.heads
    pieces = []
    for head in range(pooling.heads):
        exponentials = []
        for frame in row:
            key = torch.tanh(pooling.key.weight @ frame + pooling.key.bias)
            exponentials.append(torch.exp(pooling.score.weight[head] @ key + pooling.score.bias[head]))
        weights = [value / sum(exponentials) for value in exponentials]
        part = slice(head * size, (head + 1) * size)
        pieces.append(sum(weight * frame[part] for weight, frame in zip(weights, row, strict=True)))
    return torch.cat(pieces)


POOLINGS = {
    "mean": (MeanPooling, mean_of_row),
    "max": (MaxPooling, max_of_row),
    "ends, two directions": (lambda: EndsPooling(HIDDEN, 2), ends_of_row),
    "ends, one direction": (lambda: EndsPooling(HIDDEN, 1), ends_of_row),
    "attention, one head": (lambda: AttentionPooling(HIDDEN, 1), attention_of_row),
    "attention, four heads": (lambda: AttentionPooling(HIDDEN, 4), attention_of_row),
}


def make(name):
    torch.manual_seed(1)
    return POOLINGS[name][0]().double()


@pytest.mark.parametrize("name", POOLINGS)
def test_pooling_is_the_loop_over_each_rows_frames(name):
    """Oracle: the loops above on the unpadded row; a row without frames gives zeros."""
    pooling = make(name)
    hidden, lengths = draw()
    pooled = pooling(hidden, lengths)
    assert pooled.shape == (len(ROWS), HIDDEN)
    for row, length in enumerate(ROWS):
        wanted = POOLINGS[name][1](pooling, hidden[row, :length]) if length else torch.zeros(HIDDEN).double()
        torch.testing.assert_close(pooled[row], wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", POOLINGS)
def test_gradients_of_pooling(name):
    """Oracle: a batch of the unpadded row alone; the padding gets no gradient, an empty row none and no NaN."""
    pooling = make(name)
    hidden, lengths = draw()
    hidden.requires_grad_()
    pooling(hidden, lengths).square().sum().backward()
    assert torch.isfinite(hidden.grad).all()
    assert (hidden.grad[~valid_frames(lengths, hidden.shape[1])] == 0).all()
    for row, length in enumerate(ROWS):
        if length:
            alone = hidden.detach()[row : row + 1, :length].clone().requires_grad_()
            pooling(alone, torch.tensor([length])).square().sum().backward()
            torch.testing.assert_close(hidden.grad[row, :length], alone.grad[0], atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", POOLINGS)
def test_pooling_of_no_frames_at_all(name):
    """A batch in which no row has a frame, padded or not: zeros."""
    for time in (0, 2):
        pooled = make(name)(torch.randn(2, time, HIDDEN).double(), torch.tensor([0, 0]))
        assert torch.equal(pooled, torch.zeros(2, HIDDEN).double())


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=5), st.sampled_from([1, 2, 4, 8]))
def test_attention_weights_are_shares_of_the_valid_frames(rows, heads):
    """Weights are 0 in the padding, and sum to 1 in every row with a frame."""
    torch.manual_seed(0)
    pooling = AttentionPooling(HIDDEN, heads)
    hidden, lengths = draw(rows, dtype=torch.float32)
    weights = pooling.weights(hidden, lengths)
    assert weights.shape == (len(rows), hidden.shape[1], heads)
    assert (weights[~valid_frames(lengths, hidden.shape[1])] == 0).all()
    torch.testing.assert_close(weights.sum(1), (lengths > 0).float()[:, None].expand(-1, heads))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_ends_are_the_last_states_of_a_real_gru(bidirectional):
    """Oracle: h_n of torch.nn.GRU on packed sequences, forward beside backward."""
    torch.manual_seed(0)
    module = nn.GRU(5, HIDDEN // (1 + bidirectional), 2, batch_first=True, bidirectional=bidirectional).double()
    encoder = GRUEncoder.from_torch(module)
    features, lengths = torch.randn(3, 7, 5).double(), torch.tensor([7, 2, 4])
    packed = nn.utils.rnn.pack_padded_sequence(features, lengths, batch_first=True, enforce_sorted=False)
    last = module(packed)[1]
    wanted = torch.cat((last[-2], last[-1]), 1) if bidirectional else last[-1]
    pooled = EndsPooling(HIDDEN, encoder.directions)(*encoder(features, lengths))
    torch.testing.assert_close(pooled, wanted, atol=1e-12, rtol=0)


def make_head(pooling=Pooling.attention, **settings):
    torch.manual_seed(2)
    return ClassificationHead(HIDDEN, LABELS, ClassificationConfig(pooling=pooling, **settings)).double()


@pytest.mark.parametrize("pooling", Pooling)
def test_a_row_alone_and_in_a_batch(pooling):
    """Oracle: the row alone without padding: scores and embedding, evaluation mode."""
    head = make_head(pooling, embedding_size=5).eval()
    hidden, lengths = draw()
    scores, embedding = head(hidden, lengths), head.embed(hidden, lengths)
    assert embedding.shape == (len(ROWS), head.embedding_size) == (len(ROWS), 5)
    for row, length in enumerate(ROWS):
        alone = hidden[row : row + 1, :length], lengths[row : row + 1]
        torch.testing.assert_close(scores[row], head(*alone)[0], atol=1e-6, rtol=0)
        torch.testing.assert_close(embedding[row], head.embed(*alone)[0], atol=1e-6, rtol=0)


@pytest.mark.parametrize("pooling", [pooling for pooling in Pooling if pooling is not Pooling.best_frame])
def test_the_pooling_asked_for_is_built(pooling):
    """Oracle: the pooling class of that name, with the head's own weights; output is a linear layer behind it."""
    head = make_head(pooling, attention_heads=2).eval()
    kinds = {"attention": AttentionPooling, "mean": MeanPooling, "max": MaxPooling, "ends": EndsPooling}
    assert type(head.pooling) is kinds[pooling.name]
    hidden, lengths = draw()
    wanted = head.pooling(hidden, lengths) @ head.output.weight.T + head.output.bias
    torch.testing.assert_close(head(hidden, lengths), wanted)
    assert head.embedding_size == HIDDEN


def test_the_embedding_is_a_rectified_linear_layer():
    """Oracle: by hand; and dropout acts on it while training only."""
    head = make_head(Pooling.mean, embedding_size=50, dropout=0.5).eval()
    hidden, lengths = draw((4, 2))
    wanted = (head.pooling(hidden, lengths) @ head.embedding.weight.T + head.embedding.bias).clamp(min=0)
    torch.testing.assert_close(head.embed(hidden, lengths), wanted)
    torch.testing.assert_close(head(hidden, lengths), head.output(wanted))
    assert not torch.allclose(head.train()(hidden, lengths), head.output(wanted))


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("class_weights", [[], [0.5, 2.0, 0.0], [1.0, 1.0, 3.0]])
def test_mean_loss_is_torchs_cross_entropy(label_smoothing, class_weights):
    """Oracle: torch's cross entropy with its own mean, times the mean weight it divides by; values and gradients."""
    head = make_head(label_smoothing=label_smoothing, class_weights=class_weights)
    targets = torch.tensor([0, 1, 2, 2, 0])
    scores = torch.randn(5, 3, requires_grad=True)
    losses = head.float().loss(scores, torch.full((5,), 4), targets)
    assert losses.shape == (5,)
    (gradient,) = torch.autograd.grad(losses.mean(), scores)
    weight = torch.tensor(class_weights) if class_weights else None
    wanted = nn.functional.cross_entropy(scores, targets, weight, label_smoothing=label_smoothing)
    if weight is not None:
        wanted = wanted * weight[targets].mean()
    torch.testing.assert_close(losses.mean(), wanted)
    torch.testing.assert_close(gradient, torch.autograd.grad(wanted, scores)[0])


def frame_scores(head, hidden, length):
    """What the frames of one row say, log-posteriors if there is a background: a list of lists (time, labels)."""
    frames = []
    for frame in hidden[:length]:
        vector = frame if head.embedding is None else (head.embedding.weight @ frame + head.embedding.bias).clamp(min=0)
        scores = (head.output.weight @ vector + head.output.bias).tolist()
        total = sum(math.exp(score) for score in scores) if head.config.background else 1.0
        frames.append([score - math.log(total) for score in scores])
    return frames


@pytest.mark.parametrize("embedding_size", [0, 5])
@pytest.mark.parametrize("class_weights", [[], [0.5, 2.0, 3.0]])
def test_max_pooling_loss(embedding_size, class_weights):
    """Oracle: 1705.02411 in Python floats: a keyword's best frame, all frames of the background (their mean)."""
    settings = {"embedding_size": embedding_size, "class_weights": class_weights, "background": ["stop"]}
    head = make_head(Pooling.best_frame, **settings).eval()
    hidden, lengths = draw((6, 3, 4, 1, 5))
    targets = torch.tensor([0, 1, 2, 2, 0])
    scores = head(hidden, lengths)
    losses = head.float().loss(scores, lengths, targets)
    head.double()
    for row, target in enumerate(targets.tolist()):
        said = [frame[target] for frame in frame_scores(head, hidden[row], int(lengths[row]))]
        wanted = -sum(said) / len(said) if target == 2 else -max(said)
        weight = class_weights[target] if class_weights else 1.0
        assert losses[row].item() == pytest.approx(weight * wanted, abs=1e-5)


def test_only_the_best_frame_of_a_keyword_learns():
    """Oracle: the frame with the largest posterior; of a background label every valid frame learns."""
    head = make_head(Pooling.best_frame, background=["stop"]).eval()
    hidden, lengths = draw((6, 3, 5))
    hidden.requires_grad_()
    (-head(hidden, lengths)[torch.arange(3), torch.arange(3)]).sum().backward()
    learning = hidden.grad.abs().amax(2) > 0
    for row, target in ((0, 0), (1, 1)):
        said = [frame[target] for frame in frame_scores(head, hidden[row], int(lengths[row]))]
        assert learning[row].nonzero().flatten().tolist() == [said.index(max(said))]
    assert torch.equal(learning[2], valid_frames(lengths, hidden.shape[1])[2])


def test_best_frames_compete_where_there_is_no_background():
    """Oracle: cross entropy over the largest scores of each label, in Python floats."""
    head = make_head(Pooling.best_frame).eval()
    hidden, lengths = draw((6, 3))
    losses = make_head().float().loss(head(hidden, lengths), lengths, torch.tensor([1, 2]))
    for row, target in ((0, 1), (1, 2)):
        best = [max(said) for said in zip(*frame_scores(head, hidden[row], int(lengths[row])), strict=True)]
        wanted = math.log(sum(math.exp(score) for score in best)) - best[target]
        assert losses[row].item() == pytest.approx(wanted, abs=1e-5)


def test_the_embedding_of_best_frame_is_that_of_the_frame_with_the_highest_score():
    """Oracle: the frame in which a label has the highest score of all, found in a Python loop."""
    head = make_head(Pooling.best_frame, embedding_size=5).eval()
    hidden, lengths = draw((6, 3, 0))
    embedding = head.embed(hidden, lengths)
    for row in (0, 1):
        highest = [max(frame) for frame in frame_scores(head, hidden[row], int(lengths[row]))]
        frame = hidden[row, highest.index(max(highest))]
        wanted = (head.embedding.weight @ frame + head.embedding.bias).clamp(min=0)
        torch.testing.assert_close(embedding[row], wanted, atol=1e-12, rtol=0)
    assert (embedding[2] == 0).all()


@pytest.mark.parametrize("background", [[], ["stop"]])
def test_best_frame_learns_words_wherever_they_are(background):
    """Oracle: the task itself: a word is one frame among noise, at a drawn place; the background is noise alone."""
    head = make_head(Pooling.best_frame, dropout=0.0, embedding_size=8, background=background).float()
    optimizer = torch.optim.Adam(head.parameters(), 0.1)
    torch.manual_seed(0)
    targets = torch.arange(60) % (3 if background else 2)
    hidden, lengths = 0.3 * torch.randn(60, 12, HIDDEN), torch.randint(4, 13, (60,))
    for row, target in enumerate(targets.tolist()):
        if target < 2:
            hidden[row, torch.randint(int(lengths[row]), ()), target] += 3
    for _ in range(80):
        optimizer.zero_grad()
        head.loss(head(hidden, lengths), lengths, targets).mean().backward()
        optimizer.step()
    assert (head(hidden, lengths).argmax(1) == targets).float().mean() > 0.95


def test_best_frame_without_frames_and_with_fewer_labels():
    """No frames give zeros and gradients; narrowing forgets the labels' backgrounds too."""
    head = make_head(Pooling.best_frame, background=["stop", "no"])
    assert isinstance(head.pooling, BestFramePooling)
    for time in (0, 2):
        scores = head(torch.randn(2, time, HIDDEN).double(), torch.tensor([0, 0]))
        assert torch.equal(scores, torch.zeros(2, 3))
        scores.sum().backward()
    assert "pooling.background" not in head.state_dict()
    hidden, lengths = draw((6, 3))
    head.eval().narrow(Tokens(["yes", "no"]))
    assert head.config.background == ["no"]
    assert head.pooling.background.tolist() == [False, True]
    frames = torch.tensor(frame_scores(head, hidden[0], 6))
    torch.testing.assert_close(head(hidden, lengths)[0], torch.stack((frames[:, 0].max(), frames[:, 1].mean())))


def test_loss_of_one_utterance_by_hand():
    """Oracle: -log of the softmax, smoothed as in 1512.00567 section 7, in Python floats."""
    scores = [2.0, -1.0, 0.5]
    total = sum(math.exp(score) for score in scores)
    surprise = [-math.log(math.exp(score) / total) for score in scores]
    for smoothing in (0.0, 0.3):
        wanted = (1 - smoothing) * surprise[1] + smoothing * sum(surprise) / 3
        head = make_head(label_smoothing=smoothing).float()
        found = head.loss(torch.tensor([scores]), torch.tensor([1]), torch.tensor([1]))
        assert found.item() == pytest.approx(wanted, abs=1e-6)


def test_loss_without_class_weights_does_not_know_the_batch():
    """Oracle: each utterance's loss alone (with class weights the scale is the batch's, as the docstring says)."""
    head = make_head(label_smoothing=0.1).float()
    scores, targets = torch.randn(4, 3), torch.tensor([0, 2, 1, 1])
    together = head.loss(scores, torch.ones(4), targets)
    alone = [head.loss(scores[i : i + 1], torch.ones(1), targets[i : i + 1])[0] for i in range(4)]
    torch.testing.assert_close(together, torch.stack(alone))


def test_class_weights_are_settings_and_not_state():
    """They come from the config, so they are not stored a second time in the weights' file."""
    assert "class_weights" not in make_head(class_weights=[1.0, 2.0, 3.0]).state_dict()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attention_heads": 3}, "attention_heads=3"),
        ({"attention_heads": 0}, "attention_heads=0"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"label_smoothing": -0.1}, "label_smoothing=-0.1"),
        ({"embedding_size": -1}, "embedding_size=-1"),
        ({"class_weights": [1.0, -2.0, 1.0]}, "class_weights"),
        ({"class_weights": [1.0]}, "1 numbers for 3 labels"),
        ({"background": ["stop"]}, "only pooling=best_frame"),
        ({"background": ["go"], "pooling": Pooling.best_frame}, "there is no label go; known: yes, no, stop"),
        ({"background": ["no"], "pooling": Pooling.best_frame, "label_smoothing": 0.1}, "label_smoothing=0.1: 0 where"),
    ],
)
def test_impossible_settings(settings, message):
    """A user's error names the key, the value and the range."""
    with pytest.raises(ConfigError, match=message):
        make_head(**settings)


def test_ends_of_an_odd_size():
    """Two halves need an even number of values."""
    with pytest.raises(ConfigError, match="7 hidden values cannot be two halves"):
        EndsPooling(7, 2)


# Planted errors: each must make a test above fail; they are kept, so that the tests stay able to see.


@pytest.mark.parametrize("name", [name for name in POOLINGS if "ends" not in name])
def test_planted_missing_mask_is_seen(monkeypatch, name):
    everything = lambda lengths, time: torch.ones(len(lengths), time, dtype=torch.bool)  # noqa: E731
    monkeypatch.setattr(speechgru.heads.pooling, "valid_frames", everything)
    with pytest.raises(AssertionError):
        test_pooling_is_the_loop_over_each_rows_frames(name)


@pytest.mark.parametrize("name", POOLINGS)
def test_planted_shifted_frame_is_seen(monkeypatch, name):
    kind = type(make(name))
    forward = kind.forward
    monkeypatch.setattr(kind, "forward", lambda pooling, hidden, lengths: forward(pooling, hidden, lengths + 1))
    with pytest.raises(AssertionError):
        test_pooling_is_the_loop_over_each_rows_frames(name)


def test_planted_last_frame_as_ends_is_seen(monkeypatch):
    def last_frame(pooling, hidden, lengths):
        return hidden[torch.arange(len(hidden)), lengths - 1]

    monkeypatch.setattr(EndsPooling, "forward", last_frame)
    with pytest.raises(AssertionError):
        test_ends_are_the_last_states_of_a_real_gru(True)
