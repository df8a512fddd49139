"""What the training loss of a batch is made of: mixed pairs, two views, their disagreement."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from speechgru.encoders import GRUEncoderConfig
from speechgru.features import LogMelConfig
from speechgru.heads import CTCConfig
from speechgru.model_folder import RecognizerConfig
from speechgru.recognizer import Recognizer
from speechgru.text import CharactersConfig
from speechgru.tokens import Tokens
from speechgru.training.objective import Objective, Precision, disagreement

TARGETS, TARGET_LENGTHS = torch.tensor([[2, 3, 1, 2], [3, 3, 0, 0], [4, 1, 2, 0]]), torch.tensor([4, 2, 3])


@pytest.fixture
def recognizer() -> Recognizer:
    """A small CTC model without dropout."""
    torch.manual_seed(0)
    encoder = GRUEncoderConfig(hidden_size=8, num_layers=1, dropout=0.0)
    config = RecognizerConfig(LogMelConfig(mels=8), encoder, CTCConfig(dropout=0.0), units=CharactersConfig())
    return Recognizer(config, Tokens(["<blank>", "|", "a", "b", "c"]))


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Three waveforms of 0.4, 0.3 and 0.2 s, padded with zeros."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.tensor([6400, 4800, 3200])
    waveforms = torch.randn(3, 6400, generator=generator)
    return waveforms * (torch.arange(6400) < lengths[:, None]), lengths


def own_loss(recognizer: Recognizer, waveform: torch.Tensor, row: int) -> torch.Tensor:
    """The CTC loss of one waveform and the transcript of ``row``, alone."""
    scores, lengths = recognizer(waveform[None], torch.tensor([len(waveform)]))
    target = TARGETS[row, : TARGET_LENGTHS[row]]
    return F.ctc_loss(scores[0], target, lengths, TARGET_LENGTHS[row : row + 1], reduction="none")


def test_mixed_transcripts(recognizer):
    """Oracle: each mixture made by hand, alone, against both transcripts, with the shares of the same draw."""
    waveforms, lengths = batch()
    losses = Objective(recognizer, None, Precision.fp32, 0.4, 0.0)(waveforms, lengths, TARGETS, TARGET_LENGTHS, 5)
    rng = np.random.default_rng(5)
    share, partner = rng.beta(0.4, 0.4), rng.permutation(3)
    assert sorted(partner) == [0, 1, 2]
    for row, other in enumerate(partner):
        longest = int(max(lengths[row], lengths[other]))
        mixed = share * waveforms[row, :longest] + (1 - share) * waveforms[other, :longest]
        wanted = share * own_loss(recognizer, mixed, row) + (1 - share) * own_loss(recognizer, mixed, other)
        torch.testing.assert_close(losses[row], wanted.reshape(()), atol=1e-4, rtol=1e-5)


def test_equal_views_cost_nothing(recognizer):
    """Oracle: the loss of one copy; without masks and dropout the two copies agree, and so do their gradients."""
    found = []
    for consistency in (0.0, 0.5):
        recognizer.zero_grad()
        losses = Objective(recognizer, None, Precision.fp32, 0.0, consistency)(*batch(), TARGETS, TARGET_LENGTHS, 5)
        losses.sum().backward()
        found.append([losses.detach(), *(parameter.grad.clone() for parameter in recognizer.parameters())])
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4)


def test_two_views_are_drawn_apart(recognizer):
    """With dropout the copies differ, and the weight of their disagreement counts."""
    recognizer.encoder.config.dropout = 0.5
    found = []
    for consistency in (1e-9, 1.0, 1.0):
        torch.manual_seed(3)
        objective = Objective(recognizer.train(), None, Precision.fp32, 0.0, consistency)
        found.append(objective(*batch(), TARGETS, TARGET_LENGTHS, 5).detach())
    assert (found[1] > found[0] + 1e-3).all()
    assert torch.equal(found[1], found[2])


def test_disagreement():
    """Oracle: torch's kl_div, row by row over each row's own frames; the side compared with has no gradient."""
    left, right = torch.randn(2, 3, 6, 5, dtype=torch.float64).log_softmax(3)
    left.requires_grad_()
    right.requires_grad_()  # in training both are computed from the same weights
    lengths = torch.tensor([6, 4, 0])
    found = disagreement(left, right, lengths)
    for row, length in enumerate(lengths.tolist()):
        a, b = left[row, :length], right[row, :length]
        kl = F.kl_div(a, b, reduction="sum", log_target=True) + F.kl_div(b, a, reduction="sum", log_target=True)
        torch.testing.assert_close(found[row], kl / 2)
    found.sum().backward()
    assert left.grad is not None
    assert right.grad is not None
    # Of KL(right || left) alone: -p_right / 2 at every valid log-probability; and the other way round.
    valid = (torch.arange(6) < lengths[:, None])[..., None]
    torch.testing.assert_close(left.grad, (-right.exp() / 2 * valid).detach())
    torch.testing.assert_close(right.grad, (-left.exp() / 2 * valid).detach())
