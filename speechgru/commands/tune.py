"""``speechgru tune``: gives models a decoder with a language model, its weight chosen on their validation split."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
from typing import TYPE_CHECKING, Any

from speechgru.errors import ConfigError
from speechgru.shipped import model_names, model_path

if TYPE_CHECKING:
    from pathlib import Path

    from speechgru.decoding.beam import BeamConfig
    from speechgru.evaluation.decoder_choice import Grid, Scored
    from speechgru.recognizer import Recognizer

LM_WEIGHTS = "0.25,0.5,0.75,1,1.5"
WORD_BONUSES = "0,1,2,3,4,6"
PRIOR_WEIGHTS = "0,0.2,0.4"

_EPILOG = """\
Each model scores the validation split of the corpus it was trained on once; then every weight of the language model is
tried with every bonus for a word and every weight of the tokens' priors. The setting with the fewest word errors of all
models together goes into the folder of each, with the language model itself and confidences that are right for it.
From then on transcribe, evaluate and recognizer.transcribe() decode so; --decoder greedy (decoder=greedy for evaluate)
does without. A list that begins with a number below 0 is written --word_bonuses=-1,0,1.

examples:
  speechgru lm an4 root=data/an4 -o words.arpa.gz -m runs/an4/model
  speechgru tune runs/an4/model --lm words.arpa.gz --closed
  speechgru tune runs/an4/[012]/model --lm words.arpa.gz --closed --root data/an4
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``speechgru tune``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("model", nargs="+", metavar="MODEL", help="folders of models with a CTC head")
    parser.add_argument("--lm", metavar="FILE", help="language model (default: that of the first model)")
    parser.add_argument("--lexicon", metavar="FILE", help="the only words to come out, or a dictionary of phones")
    parser.add_argument("--closed", action="store_true", help="only words of the language model may come out")
    parser.add_argument("--beam_size", type=int, help="sequences kept by the beam search (default: 50)")
    parser.add_argument("--lm_weights", default=LM_WEIGHTS, metavar="LIST", help=f"to try (default: {LM_WEIGHTS})")
    parser.add_argument(
        "--word_bonuses", default=WORD_BONUSES, metavar="LIST", help=f"in nats (default: {WORD_BONUSES})"
    )
    parser.add_argument(
        "--prior_weights", default=PRIOR_WEIGHTS, metavar="LIST", help=f"0 to 1 (default: {PRIOR_WEIGHTS})"
    )
    parser.add_argument("--root", default="", help="where the corpus is (default: where it was at training)")
    parser.add_argument("--split", default="valid", choices=("train", "valid"), help="to choose on (default: valid)")
    parser.add_argument("--batch_size", type=int, default=32, help="recordings computed together (default: 32)")


def run(arguments: argparse.Namespace) -> int:
    """Chooses, prints the grid on standard output and writes the model folders; 0.

    Raises:
        ConfigError: an option is out of range, or a model has no CTC head or no language model.
        DataError: the corpus or the language model cannot be read.
        ModelError: a model folder cannot be loaded.
    """
    weights = _numbers("lm_weights", arguments.lm_weights)
    bonuses = _numbers("word_bonuses", arguments.word_bonuses)
    prior_weights = _numbers("prior_weights", arguments.prior_weights)
    if arguments.batch_size < 1:
        raise ConfigError(f"--batch_size {arguments.batch_size}: at least 1")
    folders = _folders(arguments.model)

    from tqdm import tqdm

    from speechgru.commands.recordings import load_recognizer
    from speechgru.decoding.greedy import GreedyConfig
    from speechgru.evaluation.decoder_choice import measure_grid, token_shares, word_errors

    recognizers = [load_recognizer(folder, "cpu", None, "ctc") for folder in folders]
    config = _decoder(recognizers[0], arguments)
    for end in (min, max):  # complains before anything is computed
        tried: dict[str, Any] = {
            "lm_weight": end(weights),
            "word_bonus": end(bonuses),
            "prior_weight": end(prior_weights),
        }
        dataclasses.replace(config, **tried, priors=[1.0])
    models = [
        (recognizer, _scored(recognizer, folder, arguments))
        for recognizer, folder in zip(recognizers, folders, strict=True)
    ]
    grids = []
    for prior_weight in sorted(set(prior_weights)):
        bar = functools.partial(tqdm, desc=f"prior_weight={prior_weight:g}", unit="setting", disable=None)
        grids.append(measure_grid(models, config, weights, bonuses, prior_weight, bar))
        print(f"prior_weight={prior_weight:g}\n{_table(grids[-1])}")
    grid = min(grids, key=lambda one: one.quality)
    row, column = grid.best
    chosen = dataclasses.replace(config, lm_weight=grid.lm_weights[column], word_bonus=grid.word_bonuses[row])
    share = 100 * grid.errors[row, column] / grid.words
    print(
        f"lm_weight={chosen.lm_weight:g} word_bonus={chosen.word_bonus:g} prior_weight={grid.prior_weight:g}: "
        f"{share:.2f} % of {grid.words} words wrong"
    )
    if all(one.units is not None and one.units.gives_words for one in recognizers):
        greedy = sum(word_errors(scored, one.decoder(GreedyConfig()), one) for one, scored in models)
        print(f"decoder=greedy: {100 * greedy / grid.words:.2f} %")
    if grid.at_edge or min(prior_weights) < grid.prior_weight == max(prior_weights):
        print("the best lies at the edge of what was tried: wider lists may hold a better one")
    for (recognizer, scored), folder in zip(models, folders, strict=True):
        shares = token_shares(scored) if grid.prior_weight else []
        _keep(recognizer, scored, dataclasses.replace(chosen, priors=shares, prior_weight=grid.prior_weight), folder)
    return 0


def _keep(recognizer: Recognizer, scored: list[Scored], decoder: BeamConfig, folder: Path) -> None:
    """Puts a decoder, and confidences that are right for it, into a model folder."""
    from speechgru.evaluation.decoder_choice import calibrate

    recognizer.config.decoder = decoder
    recognizer.config.calibration = calibrate(recognizer, scored, recognizer.decoder())
    recognizer.save(folder)
    print(f"{folder} decodes so from now on", file=sys.stderr)


def _folders(names: list[str]) -> list[Path]:
    """The model folders; those that ship are not changed."""
    for name in names:
        if name in model_names():
            raise ConfigError(f"{name}: the model that ships stays as it is; name the folder of one (./{name} is one)")
    return [model_path(name) for name in names]


def _scored(recognizer: Recognizer, folder: Path, arguments: argparse.Namespace) -> list[Scored]:
    """A model's scores of the corpus it was trained on; what cannot be read is told."""
    from tqdm import tqdm

    from speechgru.data.batching import BatchLoader
    from speechgru.evaluation.decoder_choice import score
    from speechgru.evaluation.run_folder import own_data
    from speechgru.registry import build

    utterances = build("data", own_data(recognizer, folder, arguments.root)).utterances(arguments.split)
    loader = BatchLoader(
        utterances, None, recognizer.sample_rate, batch_size=arguments.batch_size, shuffle=False, cache_mb=0
    )
    scored, errors = score(recognizer, tqdm(loader.epoch(0), desc=str(folder), unit="batch", disable=None))
    print("\n".join(errors), end="\n" * bool(errors), file=sys.stderr)
    return scored


def _numbers(name: str, text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise ConfigError(f"--{name} {text}: numbers with commas between") from None


def _decoder(recognizer: Recognizer, arguments: argparse.Namespace) -> BeamConfig:
    """The settings that are not chosen: the model's own, with what the options say."""
    from speechgru.decoding.beam import BeamConfig

    own = recognizer.config.decoder
    given = {"language_model": arguments.lm, "lexicon": arguments.lexicon, "beam_size": arguments.beam_size}
    given = {name: value for name, value in given.items() if value is not None}
    config: BeamConfig = own if isinstance(own, BeamConfig) else BeamConfig()
    config = dataclasses.replace(config, nbest=1, prior_weight=0.0, **given)
    if not config.language_model:
        raise ConfigError("--lm: the model has no language model of its own; give one (speechgru lm makes it)")
    return dataclasses.replace(config, closed=True) if arguments.closed else config


def _table(grid: Grid) -> str:
    """Word error rates in percent; a line a bonus, a column a weight."""
    from speechgru.wording import table

    rows: list[list[Any]] = [
        [f"{bonus:g}", *(f"{100 * one / grid.words:.2f}" for one in errors)]
        for bonus, errors in zip(grid.word_bonuses, grid.errors, strict=True)
    ]
    return table(["word_bonus \\ lm_weight", *(f"{weight:g}" for weight in grid.lm_weights)], rows)
