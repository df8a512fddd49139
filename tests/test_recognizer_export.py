"""A whole recognizer as a graph: torch.export of the models that ship, from waveforms to scores."""

import pytest
import torch
from torch.export import Dim, export

import speechgru
from speechgru import compiled


def exported(model):
    """Of any number of rows and samples."""
    rows, samples = Dim("rows", min=1, max=64), Dim("samples", min=1600, max=16000 * 60)
    example = torch.zeros(2, 16000), torch.tensor([16000, 12000])
    with torch.no_grad():
        return export(model, example, dynamic_shapes=({0: rows, 1: samples}, {0: rows})).module()


@pytest.mark.filterwarnings("ignore::UserWarning:torch", "ignore:The .grad attribute")  # of torch's own tracing
@pytest.mark.parametrize("name", ["an4", pytest.param("commands", marks=pytest.mark.slow)])
def test_an_exported_recognizer_answers_as_the_model(name):
    """Oracle: the model itself, by torch's operators, at shapes that the export has not seen."""
    model = speechgru.load(name)
    graph = exported(model)
    generator = torch.Generator().manual_seed(0)
    for lengths in ([16000], [9000, 8000, 500], [40000, 39999], [4000, 1, 4800, 4799, 3000]):
        waveforms = 0.1 * torch.randn(len(lengths), max(lengths), generator=generator)
        for row, length in zip(waveforms, lengths, strict=True):
            row[length:] = 0
        with torch.no_grad(), compiled.disabled():
            scores, frames = model(waveforms, torch.tensor(lengths))
            again, counts = graph(waveforms, torch.tensor(lengths))
        assert torch.equal(counts, frames)
        torch.testing.assert_close(again, scores, atol=1e-5, rtol=1e-5)
