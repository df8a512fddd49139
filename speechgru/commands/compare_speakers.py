"""``speechgru compare-speakers``: whether two recordings are of one speaker; how often that is right."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Sequence
from pathlib import Path

from speechgru.commands.recordings import load_recognizer, progress, standard_output
from speechgru.compiled import disabled
from speechgru.errors import ConfigError
from speechgru.plain import Record
from speechgru.recordings.lines import one_field, printable
from speechgru.shipped import model_path, model_title

_EPILOG = """\
The score is the cosine of the vectors of both recordings, -1 to 1. If --save chose a threshold for the model, there is
also a verdict: "same speaker" or "different speakers". It is no proof of identity.

--trials measures the model on lists of pairs, one a line: 1 (one speaker) or 0 (two), then two recordings, as paths
below one of the folders of --root, with or without suffix. The table has the equal error rate (EER) and the smallest
detection cost (minDCF, one speaker in one of twenty trials), beside those of the mean of cepstra, with 95 % intervals
over speakers. The folder says who speaks, or the part of the name before _nohash_ does.

examples:
  speechgru compare-speakers a.wav b.wav -m runs/speaker/model
  speechgru compare-speakers -m runs/speaker/model --trials valid.txt --root recordings --save
  speechgru compare-speakers -m runs/speaker/model --trials test.txt --root recordings
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``speechgru compare-speakers``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("audio", nargs="*", metavar="AUDIO", help="two recordings")
    parser.add_argument("-m", "--model", required=True, help="model folder of a speaker head (recipe speaker)")
    parser.add_argument("--trials", nargs="+", metavar="FILE", help="lists of pairs to measure the model on")
    parser.add_argument("--root", nargs="+", default=["."], metavar="FOLDER", help="where their recordings are")
    parser.add_argument("--save", action="store_true", help="keep the threshold of the equal error rate in the model")
    parser.add_argument(
        "--readme",
        metavar="FILE",
        help="write the table between <!-- verification --> and <!-- /verification -->, "
        "and verification.json beside FILE",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--threads", type=int, help="processor threads (default: torch's choice)")


@disabled()  # loading compiled code would delay the first answer longer than it saves
def run(arguments: argparse.Namespace) -> int:
    """Compares two recordings, or measures the model on lists of trials.

    Raises:
        AudioError: a recording cannot be read.
        ConfigError: an option is out of range or has no meaning here.
        DataError: a list is wrong, or one of its recordings is not there.
        ModelError: the model folder cannot be loaded, or its head makes no vectors.
    """
    if arguments.threads is not None and arguments.threads < 1:
        raise ConfigError(f"--threads {arguments.threads}: at least 1")
    if arguments.trials:
        if arguments.audio:
            raise ConfigError(f"{arguments.audio[0]}: name two recordings or --trials, not both")
        return _measure(arguments)
    if arguments.save or arguments.readme:
        raise ConfigError(f"--{'save' if arguments.save else 'readme'}: only with --trials")
    if len(arguments.audio) != 2:
        raise ConfigError(f"{len(arguments.audio)} recordings: name two")
    return _compare(arguments)


def _compare(arguments: argparse.Namespace) -> int:
    recognizer = load_recognizer(arguments.model, arguments.device, arguments.threads, None)

    from speechgru.evaluation.verification_record import cosine

    first, second = recognizer.embed(arguments.audio)
    (score,) = cosine(first[None], second[None])
    own = recognizer.config.same_speaker
    if own is None:
        line = f"score {score:.3f}; no threshold was chosen for this model (--trials FILE --save chooses one)"
    else:
        verdict = "same speaker" if score >= own.threshold else "different speakers"
        line = f"score {score:.3f}, threshold {own.threshold:.3f}: {verdict}"
    standard_output().write(f"{line}\n")
    return 0


def _measure(arguments: argparse.Namespace) -> int:
    from speechgru.model_folder import check_own, write_chosen

    path = model_path(arguments.model)
    if arguments.save:
        check_own(path)
    recognizer = load_recognizer(path, arguments.device, arguments.threads, None)

    from speechgru.evaluation.verification_record import (
        HEADING,
        choose_threshold,
        score_trials,
        verification_record,
        verification_rows,
    )
    from speechgru.wording import table

    lists = [score_trials(recognizer, one, arguments.root, progress) for one in arguments.trials]
    chosen = choose_threshold(lists) if arguments.save else recognizer.config.same_speaker
    records = [verification_record(one, chosen.threshold if chosen else None) for one in lists]
    title = model_title(arguments.model)
    standard_output().write(table(HEADING, verification_rows(records, title), left=1) + "\n")
    if arguments.readme:
        _write(Path(arguments.readme), title, records)
    if arguments.save and chosen:
        write_chosen(path, chosen)
        print(f"kept in {printable(one_field(str(path)))}: threshold {chosen.threshold:.3f}")
    return 0


def _write(readme: Path, title: str, records: Sequence[Record]) -> None:
    """Writes the table into the README, and the records it is made of beside it."""
    from speechgru.evaluation.machine import describe_machine
    from speechgru.evaluation.results import update_readme, write_results
    from speechgru.evaluation.verification_record import verification_table

    update_readme(readme, verification_table(records, title), "verification")
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    content = {"model": title, "date": date, "machine": describe_machine(), "lists": list(records)}
    write_results(readme.with_name("verification.json"), content)
