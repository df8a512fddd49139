"""The product of the compiled loops against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import speechgru.cells.linear
from speechgru.cells.linear import linear
from speechgru.cells.product import multiply


def drawn(rows, columns, inner):
    generator = np.random.default_rng(rows)
    return [generator.standard_normal(shape).astype(np.float32) for shape in ((rows, inner), (columns, inner))]


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 8])
@pytest.mark.parametrize(("columns", "inner"), [(1, 1), (3, 8), (4, 7), (23, 9), (24, 16), (98, 40), (0, 5), (5, 0)])
def test_it_is_that_of_numpy(rows, columns, inner):
    left, weight = drawn(rows, columns, inner)
    exact = left.astype(np.float64) @ weight.astype(np.float64).T
    out = np.full((rows, columns), np.nan, np.float32)
    multiply(left, weight, out)
    np.testing.assert_allclose(out, exact, rtol=0, atol=2e-6 * inner**0.5)


@pytest.mark.parametrize(("columns", "inner"), [(12, 32), (30, 21)])
def test_a_row_has_the_same_product_in_every_batch(columns, inner):
    """Bit for bit: chunks of a stream have fewer rows than the whole."""
    left, weight = drawn(9, columns, inner)
    whole = np.empty((9, columns), np.float32)
    multiply(left, weight, whole)
    for begin, end in ((7, 8), (6, 8), (5, 8), (0, 1)):
        part = np.empty((end - begin, columns), np.float32)
        multiply(left[begin:end], weight, part)
        np.testing.assert_array_equal(whole[begin:end], part)


@pytest.mark.parametrize("bias", [True, False])
def test_its_gradient_is_that_of_torch(bias):
    torch.manual_seed(0)
    tensors = [torch.randn(shape, requires_grad=True) for shape in ((2, 7, 9), (5, 9), (5,))][: 2 + bias]
    found, wanted = linear(*tensors), F.linear(*tensors)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    at = torch.randn_like(found)
    for one, other in zip(
        torch.autograd.grad(found, tensors, at), torch.autograd.grad(wanted, tensors, at), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_two_threads_give_what_one_gives(monkeypatch):
    frames, weight, bias = torch.randn(50, 9), torch.randn(5, 9), torch.randn(5)
    one = linear(frames, weight, bias)
    monkeypatch.setattr(speechgru.cells.linear, "_WORTH", 50)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    torch.testing.assert_close(linear(frames, weight, bias), one, rtol=0, atol=0)
