"""The task of a CTC head: the transcript of an utterance."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import ClassVar

import torch

from speechgru.contracts import Decoder
from speechgru.data.batching import Batch
from speechgru.data.corpora.corpus import Corpus
from speechgru.data.reading import measure_s
from speechgru.data.utterance import Utterance
from speechgru.decoding.calibration import Calibration
from speechgru.errors import AudioError, DataError
from speechgru.evaluation.diagnosis import explain_blanks
from speechgru.evaluation.rounding import spread
from speechgru.evaluation.task import Measure, Task, scored
from speechgru.evaluation.transcription import TranscriptionResult
from speechgru.evaluation.transcription_report import write_transcript_report
from speechgru.plain import Record
from speechgru.recognizer import Recognizer
from speechgru.text import Units
from speechgru.tokens import Tokens
from speechgru.wording import markdown_cell, markdown_grid


class TranscriptionTask(Task[TranscriptionResult]):
    """Texts: word and character errors."""

    name = "transcription"
    verb = "transcribe"
    monitors: ClassVar = {"wer": False, "cer": False, "loss": False}
    judged_by = (
        Measure("wer", "WER", "word error rate", False),
        Measure("cer", "CER", "character error rate", False),
    )
    outputs_are = "tokens"
    hub: ClassVar = {"type": "automatic-speech-recognition", "name": "Speech recognition"}
    tag = "ctc"
    decodes = True

    def outputs(
        self, corpus: Corpus, extra: Sequence[Corpus], learn: Sequence[Utterance], units: Units | None
    ) -> tuple[Tokens, Tokens | None]:
        """The blank and the units of the transcripts."""
        assert units is not None, "check_units"
        return units.tokens(one.text for one in learn), None

    def target(self, recognizer: Recognizer) -> Callable[[Utterance], list[int]]:
        """The indices of the transcript's units."""
        return functools.partial(transcript_target, tokens=recognizer.tokens, units=recognizer.transcript_units)

    def reasons(self, recognizer: Recognizer, utterances: Sequence[Utterance]) -> list[str]:
        """Transcripts with units that the model lacks, and those that need more frames than the recording gives.

        Every token needs a frame, and two equal neighbours a blank between them. A recording whose length cannot be
        read stays: it is reported when it is read.
        """
        reasons, target_of = [], self.target(recognizer)
        for utterance, count in zip(utterances, _frames(recognizer, utterances), strict=True):
            try:
                target = target_of(utterance)
            except DataError as error:
                reasons.append(str(error).removeprefix(f"{utterance.audio}: "))
                continue
            needed = len(target) + sum(one == other for one, other in itertools.pairwise(target))
            short = count is not None and count < needed
            reasons.append(f"{count} frames for {len(target)} tokens that need {needed}" if short else "")
        return reasons

    def answer(
        self,
        recognizer: Recognizer,
        batches: Iterable[Batch],
        decoder: Decoder | None = None,
        *,
        with_loss: bool = False,
    ) -> TranscriptionResult:
        """The decoder's first hypothesis for every utterance, beside the transcript in the same words."""
        decoder = decoder or recognizer.decoder()
        in_words = decoder.gives_words
        heard, utterances = [], []
        errors: list[str] = []
        losses: list[float] = []
        frames = blanks = tokens = 0
        with torch.no_grad(), recognizer.in_eval_mode():
            for batch in batches:
                errors += batch.errors
                if not batch.utterances:
                    continue
                scores, lengths, loss = scored(recognizer, batch, with_loss)
                losses += loss[loss.isfinite()].tolist()  # infinite where the frames cannot hold the transcript
                tokens += int(batch.target_lengths.sum()) if with_loss else 0
                rows = zip(
                    scores.cpu().numpy(), lengths.tolist(), batch.lengths.tolist(), batch.utterances, strict=True
                )
                for row, count, samples, utterance in rows:
                    row = row[:count]
                    best = decoder.decode(row)[0]
                    in_words = in_words or bool(best.words)
                    heard.append(recognizer.transcription(best, row, samples / recognizer.sample_rate))
                    utterances.append(utterance)
                    frames += count
                    blanks += int((row.argmax(1) == 0).sum())
        return TranscriptionResult(
            [_reference(recognizer, utterance, in_words) for utterance in utterances],
            [one.text for one in heard],
            utterances,
            [[word.confidence for word in one.words] for one in heard],
            errors,
            familiar=[one.familiar for one in heard],
            loss=sum(losses) / max(1, len(losses)),
            blank_share=blanks / max(1, frames),
            frames_per_token=frames / max(1, tokens),
        )

    def remark(
        self, result: TranscriptionResult, recognizer: Recognizer, epoch: int, epochs: int, utterances: int
    ) -> str:
        """Why nothing was heard in the whole validation set."""
        if any(result.hypotheses):
            return ""
        subsampling = recognizer.encoder.subsampling
        return explain_blanks(result.blank_share, epoch, epochs, utterances, result.frames_per_token, subsampling)

    def finish(self, recognizer: Recognizer, batches: Iterable[Batch]) -> bool:
        """Calibrates the confidences by what the model got right and wrong."""
        recognizer.config.calibration = Calibration()
        confidences, correct = self.answer(recognizer, batches).word_confidences
        if len(confidences):
            recognizer.config.calibration = Calibration.fit(confidences, correct)
        return bool(len(confidences))

    def write_report(
        self,
        result: TranscriptionResult,
        folder: Path,
        record: Record,
        curves: Sequence[Record] = (),
        settings: str = "",
    ) -> None:
        """``report.html``."""
        write_transcript_report(folder / "report.html", result, record, curves=curves, settings=settings)

    def row(self, summary: Record) -> dict[str, str]:
        """Utterances, words and error rates."""
        return {
            "Utterances": f"{summary['n']:,}",
            "Words": f"{summary['words']:,}",
            "WER, %": spread(summary, "wer", summary["interval"]),
            "CER, %": spread(summary, "cer"),
        }

    def summary(self, classes: Sequence[str]) -> str:
        """That it recognizes speech."""
        return "A recurrent recognizer of speech."

    def hub_metrics(self, record: Record) -> list[Record]:
        """The error rates, with the decoder."""
        return [
            {"type": one.key, "value": record[one.key], "name": f"{one.name.capitalize()}, {record['decoder']}"}
            for one in self.judged_by
        ]

    def card_result(self, record: Record) -> list[str]:
        """The word error rate, and the kinds of errors."""
        interval = ""
        if record["interval"]:
            ends = "{:.2f} to {:.2f} %".format(*(100 * end for end in record["interval"]))
            interval = f"; 95 % interval over {record['interval_over']} {ends}"
        failed = f"; failed files: {record['failed']:,}" if record.get("failed") else ""
        return [
            f"Word error rate **{100 * record['wer']:.2f} %** of {record['words']:,} words in {record['n']:,} "
            f"recordings, decoder {markdown_cell(record['decoder'])}{interval}{failed}.",
            "",
            "| Substituted | Inserted | Deleted | Character error rate, % | Recordings with an error, % |",
            "| ---: | ---: | ---: | ---: | ---: |",
            f"| {record['substitutions']:,} | {record['insertions']:,} | {record['deletions']:,} | "
            f"{100 * record['cer']:.2f} | {100 * record['ser']:.1f} |",
            *_card_familiarity(record),
        ]


def _card_familiarity(record: Record) -> list[str]:
    """How many recordings are marked as not sounding like what the model knows, here and among foreign ones."""
    if record.get("marked") is None:
        return []
    lines = [
        "",
        f"Marked as not sounding like what the model knows: {record['marked']:,} of these {record['n']:,} recordings.",
    ]
    if record.get("foreign"):
        rows = [
            [markdown_cell(one["name"]), f"{one['n']:,}", f"{one['marked']:,}", f"{one['without_text']:,}"]
            for one in record["foreign"]
        ]
        head = ["Foreign recordings", "Number", "Marked", "Without text"]
        lines += ["", markdown_grid([head, ["---", "---:", "---:", "---:"], *rows])]
    return lines


def transcript_target(utterance: Utterance, tokens: Tokens, units: Units) -> list[int]:
    """The indices of the units of an utterance's transcript.

    Raises:
        DataError: it has none, or units that are not among the tokens; the message names the recording.
    """
    try:
        target = units.encode(utterance.text, tokens)
    except DataError as error:
        raise DataError(f"{utterance.audio}: its transcript: {error}") from None
    if not target:
        raise DataError(f"{utterance.audio}: has no transcript and CTC needs one; add it or leave it out")
    return target


def _reference(recognizer: Recognizer, utterance: Utterance, in_words: bool) -> str:
    """The transcript as it is to be compared: in words, or in what the units give for words."""
    units = recognizer.transcript_units
    if in_words or units.gives_words:
        return units.normalize(utterance.text)
    try:
        return units.text(units.encode(utterance.text, recognizer.tokens), recognizer.tokens)
    except DataError as error:
        raise DataError(f"{utterance.audio}: its transcript: {error}") from None


def _frames(recognizer: Recognizer, utterances: Sequence[Utterance]) -> list[int | None]:
    """Frames of the encoder for each utterance; None where its length cannot be read."""
    durations_s: list[float | None] = []
    for utterance in utterances:
        try:
            durations_s.append(measure_s(utterance))
        except AudioError:
            durations_s.append(None)
    samples = torch.tensor([round((duration_s or 0) * recognizer.sample_rate) for duration_s in durations_s])
    counts = recognizer.output_lengths(samples).tolist()
    return [None if duration_s is None else count for duration_s, count in zip(durations_s, counts, strict=True)]
