"""The keyword head: loops over each row's own frames in Python floats are the oracles."""

import math

import pytest
import torch
from torch.nn import functional as F

from speechgru.encoders import LookAheadEncoder
from speechgru.errors import ConfigError
from speechgru.heads import KeywordHead, KeywordHeadConfig
from speechgru.lengths import valid_frames
from speechgru.tokens import Tokens

HIDDEN = 8
LABELS = ["yes", "_unknown_", "no", "_silence_"]
ROWS = (6, 3, 0, 1)


def make(labels=LABELS, **settings):
    torch.manual_seed(2)
    return KeywordHead(HIDDEN, Tokens(labels), KeywordHeadConfig(**settings)).double().eval()


def draw(rows=ROWS):
    """Hidden frames with large values in the padding, which no score may look at."""
    torch.manual_seed(0)
    lengths = torch.tensor(rows)
    hidden = torch.randn(len(rows), max(rows) + 2, HIDDEN, dtype=torch.float64)
    return hidden.masked_fill(~valid_frames(lengths, hidden.shape[1])[..., None], 1e4), lengths


def probabilities(labels, odds):
    """p of each label, from the formula of the docstring: odds of each label, those of others against the last one."""
    total = sum(math.exp(odds[label]) for label in labels if label[0] != "_")
    total += 1
    share = sum(math.exp(odds[label]) for label in labels if label[0] == "_")
    return [math.exp(odds[label]) / (total if label[0] != "_" else total * share) for label in labels]


def odds_of_frame(head, labels, frame):
    raw = dict(zip(labels, (head.output.weight @ frame + head.output.bias).tolist(), strict=True))
    others = [label for label in labels if label[0] == "_"]
    return {label: value - (raw[others[-1]] if label[0] == "_" else 0) for label, value in raw.items()}


@pytest.mark.parametrize("best_frames", [1, 2, 4])
def test_an_utterance_is_what_its_best_frames_speak_for(best_frames):
    """Oracle: the formula in Python floats, with the highest frames of each label sorted in a loop."""
    head = make(best_frames=best_frames)
    hidden, lengths = draw()
    found = head(hidden, lengths).softmax(1)
    for row, length in enumerate(ROWS):
        frames = [odds_of_frame(head, LABELS, frame) for frame in hidden[row, :length]]
        best = {label: sorted((frame[label] for frame in frames), reverse=True)[:best_frames] for label in LABELS}
        pooled = {label: sum(values) / len(values) if values else 0.0 for label, values in best.items()}
        wanted = probabilities(LABELS, pooled)
        torch.testing.assert_close(found[row].double(), torch.tensor(wanted).double(), atol=1e-6, rtol=0)


def test_the_scores_of_a_frame():
    """Oracle: each word's own logistic function; the others share what the likeliest word leaves."""
    head = make()
    hidden, _ = draw((5,))
    found = head.frame_scores(hidden[:, :5])
    for frame, scores in zip(hidden[0, :5], found[0].tolist(), strict=True):
        odds = odds_of_frame(head, LABELS, frame)
        heard = {word: 1 / (1 + math.exp(-odds[word])) for word in ("yes", "no")}
        share = math.exp(odds["_unknown_"]) / (1 + math.exp(odds["_unknown_"]))
        left = 1 - max(heard.values())
        assert scores == pytest.approx([heard["yes"], left * share, heard["no"], left * (1 - share)], abs=1e-6)


def test_clips_and_streams_have_one_scale():
    """With one word alone the probability of a clip is the highest of its frames."""
    head = make(["yes", "_unknown_"])
    hidden, lengths = draw()
    frames = head.frame_scores(hidden)[..., 0]
    clips = head(hidden, lengths).softmax(1)[:, 0]
    for row, length in enumerate(ROWS):
        if length:
            torch.testing.assert_close(clips[row], frames[row, :length].amax())


def test_a_row_alone_and_in_a_batch():
    """Oracle: the row alone without padding: scores and embedding."""
    head = make(best_frames=3)
    hidden, lengths = draw()
    for row, length in enumerate(ROWS):
        alone = hidden[row : row + 1, :length], lengths[row : row + 1]
        torch.testing.assert_close(head(hidden, lengths)[row], head(*alone)[0], atol=1e-6, rtol=0)
        torch.testing.assert_close(head.embed(hidden, lengths)[row], head.embed(*alone)[0], atol=1e-6, rtol=0)


@pytest.mark.parametrize("labels", [LABELS, ["yes", "no", "stop"], ["yes", "_unknown_"]])
def test_loss(labels):
    """Oracle: -log p of the docstring in Python floats; where all labels are words none of them has a share too."""
    head = make(labels)
    hidden, lengths = draw((6, 3, 1))
    scores = head(hidden, lengths)
    for target in range(len(labels)):
        losses = head.loss(scores, lengths, torch.full((3,), target))
        for row, own in enumerate(scores.tolist()):
            none = 0 if any(label[0] == "_" for label in labels) else 1
            wanted = math.log(none + sum(math.exp(score) for score in own)) - own[target]
            assert losses[row].item() == pytest.approx(wanted, abs=1e-5)


def test_which_frames_learn():
    """Of the right word its best frames; of a wrong word the frames where it is likeliest; the padding never."""
    head = make(["yes", "no", "_unknown_"], best_frames=2)
    hidden, lengths = draw((6, 3))
    odds = head.log_odds(hidden).detach()
    hidden.requires_grad_()
    head.loss(head(hidden, lengths), lengths, torch.tensor([0, 2])).sum().backward()
    learning = hidden.grad.abs().amax(2) > 0
    for row, length in enumerate((6, 3)):
        wanted = {place for word in (0, 1) for place in odds[row, :length, word].topk(2).indices.tolist()}
        assert set(learning[row].nonzero().flatten().tolist()) == wanted


def test_scores_know_no_later_frame():
    """Oracle: the scores of a stretch's beginning alone, behind a real encoder with look-ahead."""
    torch.manual_seed(0)
    encoder = LookAheadEncoder(5, hidden_size=HIDDEN, num_layers=1, context=3).double().eval()
    torch.nn.init.normal_(encoder.row_weight)
    features, head = torch.randn(1, 20, 5).double(), make()
    whole = head.frame_scores(encoder(features)[0])
    beginning = head.frame_scores(encoder(features[:, :15])[0])
    torch.testing.assert_close(whole[:, :12], beginning[:, :12])
    assert not torch.allclose(whole[:, 12:15], beginning[:, 12:15])


@pytest.mark.parametrize("best_frames", [1, 3])
def test_it_learns_words_wherever_they_are_and_stays_quiet_elsewhere(best_frames):
    """The task itself: a word is two frames among noise, at a drawn place; every frame far from it stays low."""
    head = make(["yes", "no", "_unknown_"], best_frames=best_frames, dropout=0.0).float().train()
    optimizer = torch.optim.Adam(head.parameters(), 0.1)
    torch.manual_seed(0)
    targets = torch.arange(90) % 3
    hidden, lengths = 0.3 * torch.randn(90, 12, HIDDEN), torch.randint(4, 13, (90,))
    said = torch.zeros(90, 12, dtype=torch.bool)
    for row, target in enumerate(targets.tolist()):
        if target < 2:
            start = int(torch.randint(int(lengths[row]) - 1, ()))
            hidden[row, start : start + 2, target] += 3
            said[row, start : start + 2] = True
    for _ in range(80):
        optimizer.zero_grad()
        head.loss(head(hidden, lengths), lengths, targets).mean().backward()
        optimizer.step()
    assert (head(hidden, lengths).argmax(1) == targets).float().mean() > 0.95
    elsewhere = head.frame_scores(hidden)[~said & valid_frames(lengths, 12)]
    assert (elsewhere[:, :2] > 0.5).float().mean() < 0.02


def test_narrowed():
    """The first labels alone: as a head of theirs with the same weights; without frames scores are zeros."""
    head = make(["yes", "_unknown_", "no", "_silence_"])
    hidden, lengths = draw()
    weight, bias = head.output.weight[:2].clone(), head.output.bias[:2].clone()
    head.narrow(Tokens(["yes", "_unknown_"]))
    yes = F.linear(hidden, weight, bias)[..., 0].masked_fill(~valid_frames(lengths, hidden.shape[1]), -torch.inf)
    scores = head(hidden, lengths)
    torch.testing.assert_close(
        scores[[0, 1, 3], 0], yes.amax(1)[[0, 1, 3]].float(), atol=1e-6, rtol=0, check_dtype=False
    )
    assert torch.equal(scores[:, 1], torch.zeros_like(scores[:, 1]))
    assert head.config.best_frames == 1
    assert "words" not in head.state_dict()


@pytest.mark.parametrize(
    ("settings", "message"), [({"best_frames": 0}, "best_frames=0: from 1 to 10000"), ({"dropout": 1.0}, "dropout=1.0")]
)
def test_impossible_settings(settings, message):
    """A user's error names the key, the value and the range."""
    with pytest.raises(ConfigError, match=message):
        make(**settings)
