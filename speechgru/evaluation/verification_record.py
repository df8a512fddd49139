"""A model on lists of trials, beside the mean of cepstra, as plain values and as a table."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from speechgru.audio import read_audio
from speechgru.data.trials import find_trials, read_trials, speaker
from speechgru.decoding.same_speaker import SameSpeakerConfig
from speechgru.evaluation.rounding import rounded
from speechgru.evaluation.verification import PRIOR, Verification, verify
from speechgru.features import MFCC, MFCCConfig
from speechgru.features.normalization import Normalization
from speechgru.plain import Record
from speechgru.recognizer import Recognizer
from speechgru.wording import markdown_cell, markdown_grid

BASELINE = "mean of MFCC"
Progress = Callable[[Iterable[str], int, str], Iterable[str]]


@dataclasses.dataclass
class Scored:
    """The trials of one list with the scores of both systems.

    Attributes:
        name: of the list.
        same: whether each trial is of one speaker.
        speakers: the two of each trial.
        model: scores of the model.
        baseline: scores of the mean of cepstra.
    """

    name: str
    same: list[bool]
    speakers: list[tuple[str, str]]
    model: list[float]
    baseline: list[float]


def cosine(first: Tensor, second: Tensor) -> list[float]:
    """The cosine of each row and the same row of the other, (rows, values) each: how similar they are, -1 to 1."""
    return F.cosine_similarity(first.double(), second.double(), dim=-1).tolist()


def score_trials(
    recognizer: Recognizer, path: str | os.PathLike[str], roots: Sequence[str | os.PathLike[str]], progress: Progress
) -> Scored:
    """Scores of both systems for every trial of a list.

    Raises:
        AudioError: a recording cannot be read.
        DataError: the list is wrong, or a recording is not there.
        ModelError: the model makes no vectors.
    """
    trials = read_trials(path)
    found = find_trials(trials, roots)
    vectors, cepstra = [], []
    for name in progress(found, len(found), Path(path).stem):
        waveform, _ = read_audio(found[name], recognizer.sample_rate)
        vectors.append(recognizer.embed(waveform, source_rate=recognizer.sample_rate))
        cepstra.append(mean_cepstrum(waveform, recognizer.sample_rate))
    place = {name: number for number, name in enumerate(found)}
    first = [place[one.first] for one in trials]
    second = [place[one.second] for one in trials]
    means = torch.stack(cepstra)
    means = (means - means.mean(0)) / means.std(0)
    return Scored(
        Path(path).stem,
        [one.same for one in trials],
        [(speaker(one.first), speaker(one.second)) for one in trials],
        *(cosine(rows[first], rows[second]) for rows in (torch.stack(vectors), means)),
    )


def mean_cepstrum(waveform: Tensor, sample_rate: int) -> Tensor:
    """The mean over frames of 19 cepstral coefficients, without the zeroth, which is the loudness."""
    settings = MFCCConfig(sample_rate=sample_rate, mels=40, coefficients=20, normalization=Normalization.none)
    frames, _ = MFCC(settings)(waveform[None])
    return frames[0, :, 1:].mean(0)


def choose_threshold(lists: Sequence[Scored]) -> SameSpeakerConfig:
    """The threshold at the equal error rate over all trials of some lists."""
    found = _verify(lists, "model")
    count = sum(len(one.same) for one in lists)
    chosen_on: dict[str, str | float] = {"lists": ", ".join(one.name for one in lists), "trials": count}
    return SameSpeakerConfig(found.threshold, {**chosen_on, "equal_error_rate": round(found.equal_error_rate, 4)})


def _verify(lists: Sequence[Scored], system: str) -> Verification:
    return verify(
        [score for one in lists for score in getattr(one, system)],
        [same for one in lists for same in one.same],
        [pair for one in lists for pair in one.speakers],
    )


def verification_record(scored: Scored, threshold: float | None) -> Record:
    """What is kept of a list: counts, both systems, and the model at its own threshold."""
    record: Record = {
        "list": scored.name,
        "trials": len(scored.same),
        "same": sum(scored.same),
        "speakers": len({name for pair in scored.speakers for name in pair}),
        "prior": PRIOR,
        **{system: _measures(_verify([scored], system)) for system in ("model", "baseline")},
    }
    if threshold is not None:
        accepted = [score >= threshold for score in scored.model]
        wrong = {
            kind: [yes != kind for yes, same in zip(accepted, scored.same, strict=True) if same == kind]
            for kind in (True, False)
        }
        record["own"] = {
            "threshold": rounded(threshold),
            "false_rejects": rounded(sum(wrong[True]) / len(wrong[True])),
            "false_accepts": rounded(sum(wrong[False]) / len(wrong[False])),
        }
    return record


def _measures(found: Verification) -> Record:
    return {
        "equal_error_rate": rounded(found.equal_error_rate),
        "equal_error_rate_interval": [rounded(end) for end in found.equal_error_rate_interval],
        "min_cost": rounded(found.min_cost),
        "min_cost_interval": [rounded(end) for end in found.min_cost_interval],
    }


HEADING = [
    "list",
    "trials",
    "speakers",
    "system",
    "EER, %",
    f"minDCF({PRIOR:g})",
    "false accepts, %",
    "false rejects, %",
]


def verification_rows(records: Sequence[Record], model: str) -> list[list[str]]:
    """Plain cells under HEADING, two rows a list: the model and the mean of cepstra."""
    rows = []
    for record in records:
        for system, name in (("model", model), ("baseline", BASELINE)):
            one = record[system]
            rate = "{:.1f} ({:.1f} to {:.1f})".format(
                *(100 * value for value in (one["equal_error_rate"], *one["equal_error_rate_interval"]))
            )
            cost = "{:.3f} ({:.3f} to {:.3f})".format(one["min_cost"], *one["min_cost_interval"])
            own = record.get("own") if system == "model" else None
            errors = [f"{100 * own[key]:.1f}" if own else "" for key in ("false_accepts", "false_rejects")]
            rows.append([record["list"], f"{record['trials']:,}", str(record["speakers"]), name, rate, cost, *errors])
    return rows


def verification_table(records: Sequence[Record], model: str) -> str:
    """The table of a README."""
    rule = ["---", "---:", "---:", "---", "---:", "---:", "---:", "---:"]
    rows = [list(map(markdown_cell, row)) for row in verification_rows(records, model)]
    return markdown_grid([HEADING, rule, *rows])
