"""The table of formats: what a model weighs and how far each format is from it, or why there is no such file of it."""

from pathlib import Path

import pytest
import torch

from speechgru.cli import main
from speechgru.encoders import GRUEncoderConfig
from speechgru.export.c import parity as c_parity
from speechgru.export.c.writer import write_c
from speechgru.export.onnx_model import write_onnx
from speechgru.features import LogMelConfig, Normalization
from speechgru.heads import ClassificationConfig, KeywordHeadConfig
from speechgru.lab import formats
from speechgru.model_folder import RecognizerConfig
from speechgru.recognizer import Recognizer
from speechgru.shipped import model_names
from speechgru.tokens import Tokens

pytest.importorskip("onnxruntime")

FORMATS = ["torch", "ONNX, whole recordings", "ONNX, streams", "ONNX, 8-bit weights"]
FORMATS += ["page for a browser", "C", "C, 8-bit weights"]
RATE = 8000


def saved(folder, head, bidirectional):
    """A small model with drawn weights, and it in a folder."""
    torch.manual_seed(0)
    features = LogMelConfig(RATE, mels=8, normalization=Normalization.none)
    encoder = GRUEncoderConfig(16, 1, bidirectional=bidirectional)
    model = Recognizer(RecognizerConfig(features, encoder, head), Tokens(["yes", "no", "_silence_"])).eval()
    model.save(folder)
    return model


def test_rows_say_why_there_is_no_file(tmp_path, capsys):
    """Oracle: the sizes of the files, and the reasons that the writers give; the page keeps its other text."""
    model = saved(tmp_path / "mine", ClassificationConfig(attention_heads=2), True)
    page = tmp_path / "page.md"
    page.write_text("before\n\n<!-- formats -->\nold\n<!-- /formats -->\n\nafter\n")
    assert main(["formats", str(tmp_path / "mine"), "--repeats", "1", "--readme", str(page)]) == 0
    before, _, rest = page.read_text().partition("<!-- formats -->\n")
    text, _, after = rest.partition("\n<!-- /formats -->")
    assert (before, after) == ("before\n\n", "\n\nafter\n")
    about, _, table = text.partition("\n\n")
    assert "one thread, torch 2" in about
    rows = {
        cells[1]: cells for cells in ([cell.strip() for cell in line.split("|")[1:-1]] for line in table.split("\n"))
    }
    assert [name for name in rows if name not in ("format", "---")] == FORMATS
    assert rows["torch"][3] == f"{(tmp_path / 'mine' / 'model.safetensors').stat().st_size / 1e6:.2f}"
    whole = rows["ONNX, whole recordings"]
    assert 0 < float(whole[2]) < 1e-4
    assert whole[3] == f"{len(write_onnx(model, {}).SerializeToString()) / 1e6:.2f}"
    assert float(rows["ONNX, 8-bit weights"][2]) > float(whole[2])
    assert float(rows["page for a browser"][2]) < 1e-4
    assert rows["page for a browser"][4:] == ["in the browser", ""]
    for name in ("ONNX, streams", "C", "C, 8-bit weights"):
        assert rows[name][2:] == ["this model has a classification head, which scores whole recordings", "", "", ""]
    assert "mine" in capsys.readouterr().out


def test_the_page_has_every_format_of_the_models_that_ship():
    """Oracle: the names of the models; a row has numbers, or the reason why there are none."""
    page = (Path(__file__).resolve().parent.parent / "docs" / "export.md").read_text(encoding="utf-8")
    text = page.partition("<!-- formats -->")[2].partition("<!-- /formats -->")[0]
    heading, _, *rows = [
        [one.strip().replace("\\_", "_") for one in line.split("|")[1:-1]]
        for line in text.split("\n")
        if line[:1] == "|"
    ]
    assert heading == formats.HEADING
    assert [row[:2] for row in rows] == [[name, kind] for name in model_names() for kind in FORMATS]
    for _, kind, difference, size, *_ in rows:
        assert kind == "torch" or difference
        assert size or " " in difference


@pytest.mark.slow
@pytest.mark.skipif(c_parity.compiler() is None, reason="there is no C compiler here")
def test_a_model_that_streams_has_every_format(tmp_path):
    """Oracle: the proof of each format, which is not passed beyond 1e-4, and the bytes that the writer of C counts."""
    model = saved(tmp_path / "mine", KeywordHeadConfig(), False)
    rows = {row[1]: row for row in formats.format_rows("mine", tmp_path / "mine", 1)}
    assert list(rows) == FORMATS
    for name in ("ONNX, whole recordings", "ONNX, streams", "C"):
        assert 0 < float(rows[name][2]) < 1e-4
    assert 1e-4 < float(rows["C, 8-bit weights"][2]) < 0.1
    assert rows["C"][3] == f"{write_c(model, 'mine').flash_bytes / 1e6:.2f}"
    assert all(float(row[4]) > 0 for name, row in rows.items() if name != "page for a browser")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--repeats", "0"], "--repeats 0: at least 1"),
        (["--parts", "an4"], "--parts measures models of its own"),
        (["commanding"], "commanding"),
    ],
)
def test_mistakes_are_told(words, reason, capsys):
    """Oracle: one line, and no model is loaded."""
    assert main(["formats", *words]) == 2
    assert reason in capsys.readouterr().err
