"""The few rows of ``speechgru bench`` that a README shows, in words for somebody who knows none of the benches."""

from __future__ import annotations

from collections.abc import Sequence

HEADING = ["what, on one thread, warm", "beside", "ours", "theirs", "ratio"]

# By bench and name of the row: what it is called. The peer is named as the bench names it.
CHOSEN = {
    ("features", "mfcc torchaudio 1 x 1 s"): "MFCC of one recording of 1 s",
    ("features", "mfcc librosa 32 x 1 s"): "MFCC of 32 recordings of 1 s",
    (
        "encoder",
        "training step, 40 -> 2 x 128, 32 x 100 frames",
    ): ("training step, 2 x 128 bidirectional, 32 x 50 to 100 frames"),
    ("cells", "gru, training step, 32 x 100 frames"): "training step, one GRU of 128, 32 x 100 frames without padding",
    (
        "inference",
        "40 -> 2 x 128 bidirectional, 1 x 100 frames",
    ): ("answer, 2 x 128 bidirectional, one recording of 100 frames"),
    ("decoding", "beam of 10, 1000 frames"): "beam search, 10 hypotheses, 1,000 frames of 29 tokens",
}


def chosen_rows(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Cells under HEADING, of those rows (bench, name, peer, ours, theirs, ratio) that are CHOSEN.

    Only rows with a peer; of several rows with the same bench and name, the first.
    """
    found = {(row[0], row[1]): row for row in reversed(rows) if row[2]}
    return [[text, *found[key][2:]] for key, text in CHOSEN.items() if key in found]
