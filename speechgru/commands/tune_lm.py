"""``speechgru tune-lm``: chooses a decoder, and what marks foreign recordings, on validation data."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
from typing import TYPE_CHECKING

from speechgru.commands.checks import at_least_one
from speechgru.errors import ConfigError
from speechgru.shipped import model_names, model_path

if TYPE_CHECKING:
    from pathlib import Path

    from speechgru.decoding.beam import BeamConfig
    from speechgru.evaluation.decoder_choice import Grid, Scored
    from speechgru.evaluation.foreign import ForeignSource
    from speechgru.recognizer import Recognizer

LM_WEIGHTS = "0.25,0.5,0.75,1,1.5"
WORD_BONUSES = "0,1,2,3,4,6"
PRIOR_WEIGHTS = "0,0.2,0.4"

_EPILOG = """\
Each model scores once the validation split of the corpus it was trained on. Then every weight of the language model is
tried with every bonus for a word and every weight of the tokens' priors. The setting with the fewest word errors of all
models together goes into the folder of each, with the language model itself and confidences that are right for it.
From then on transcribe, evaluate and recognizer.transcribe() use this setting; --decoder greedy (decoder=greedy for
evaluate) does not.

With --foreign a model also learns what it does not know: other speech, other languages, noises. The score is how unsure
the model is of the tokens it hears. The threshold between the recordings of its validation split and the foreign ones
goes into its folder; from then on transcribe says which recordings do not sound like what the model knows. --foreign
alone leaves the decoder as it is. From a list of recordings with splits (manifest.tsv) those of train are taken, so
that speechgru evaluate split=test foreign=[...] measures on others.

A list that begins with a number below 0 is written --word_bonuses=-1,0,1.

examples:
  speechgru lm an4 root=data/an4 -o words.arpa.gz -m runs/an4/model
  speechgru tune-lm runs/an4/model --lm words.arpa.gz --closed
  speechgru tune-lm runs/an4/[012]/model --lm words.arpa.gz --closed --root data/an4
  speechgru tune-lm runs/an4/model --foreign lj_speech/manifest.tsv noises/
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``speechgru tune-lm``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("model", nargs="+", metavar="MODEL", help="folders of models with a CTC head")
    parser.add_argument("--lm", metavar="FILE", help="language model (default: that of the first model)")
    parser.add_argument("--lexicon", metavar="FILE", help="the only words to come out, or a dictionary of phones")
    parser.add_argument("--closed", action="store_true", help="only words of the language model may come out")
    parser.add_argument("--beam_size", type=int, help="sequences kept by the beam search (default: 50)")
    parser.add_argument("--lm_weights", default=LM_WEIGHTS, metavar="LIST", help=f"to be tried (default: {LM_WEIGHTS})")
    parser.add_argument(
        "--word_bonuses", default=WORD_BONUSES, metavar="LIST", help=f"in nats (default: {WORD_BONUSES})"
    )
    parser.add_argument(
        "--prior_weights", default=PRIOR_WEIGHTS, metavar="LIST", help=f"0 to 1 (default: {PRIOR_WEIGHTS})"
    )
    parser.add_argument(
        "--foreign", nargs="+", default=[], metavar="PATH", help="folders and lists of what the model does not know"
    )
    parser.add_argument("--root", default="", help="where the corpus is (default: where it was at training)")
    parser.add_argument("--split", default="valid", choices=("train", "valid"), help="to choose on (default: valid)")
    parser.add_argument("--batch_size", type=int, default=32, help="recordings computed together (default: 32)")


def run(arguments: argparse.Namespace) -> int:
    """Chooses, prints the grid on standard output and writes the model folders; 0.

    Raises:
        AudioError, DataError: the corpus, the language model or the foreign recordings cannot be read.
        ConfigError: an option is out of range, or a model has no CTC head or no language model.
        ModelError: a model folder cannot be loaded.
    """
    weights = _numbers("lm_weights", arguments.lm_weights)
    bonuses = _numbers("word_bonuses", arguments.word_bonuses)
    prior_weights = _numbers("prior_weights", arguments.prior_weights)
    at_least_one(arguments, "batch_size")
    folders = _folders(arguments.model)

    from speechgru.commands.recordings import load_recognizer

    recognizers = [load_recognizer(folder, "cpu", None, "ctc") for folder in folders]
    only_foreign = bool(arguments.foreign) and not arguments.lm
    config = None if only_foreign else _decoder(recognizers[0], arguments)
    if config:  # complains before anything is computed
        for end in (min, max):
            tried = dataclasses.replace(config, lm_weight=end(weights), word_bonus=end(bonuses))
            dataclasses.replace(tried, prior_weight=end(prior_weights), priors=[1.0])
    sources = _foreign(arguments.foreign)
    models = [
        (recognizer, _scored(recognizer, folder, arguments), folder)
        for recognizer, folder in zip(recognizers, folders, strict=True)
    ]
    if config:
        _choose_decoder(models, config, weights, bonuses, prior_weights)
    for recognizer, scored, folder in models if sources else ():
        _choose_familiarity(recognizer, scored, folder, sources)
    return 0


def _choose_decoder(
    models: list[tuple[Recognizer, list[Scored], Path]],
    config: BeamConfig,
    weights: list[float],
    bonuses: list[float],
    prior_weights: list[float],
) -> None:
    """Prints the grids and keeps the best setting in every model folder."""
    from tqdm import tqdm

    from speechgru.decoding.greedy import GreedyConfig
    from speechgru.evaluation.decoder_choice import measure_grid, token_shares, word_errors

    pairs = [(recognizer, scored) for recognizer, scored, _ in models]
    grids = []
    for prior_weight in sorted(set(prior_weights)):
        bar = functools.partial(tqdm, desc=f"prior_weight={prior_weight:g}", unit="setting", disable=None)
        grids.append(measure_grid(pairs, config, weights, bonuses, prior_weight, bar))
        print(f"prior_weight={prior_weight:g}\n{_table(grids[-1])}")
    grid = min(grids, key=lambda one: one.quality)
    row, column = grid.best
    chosen = dataclasses.replace(config, lm_weight=grid.lm_weights[column], word_bonus=grid.word_bonuses[row])
    share = 100 * grid.errors[row, column] / grid.words
    print(
        f"lm_weight={chosen.lm_weight:g} word_bonus={chosen.word_bonus:g} prior_weight={grid.prior_weight:g}: "
        f"{share:.2f} % of {grid.words} words wrong"
    )
    if all(one.units is not None and one.units.gives_words for one, _ in pairs):
        greedy = sum(word_errors(scored, one.decoder(GreedyConfig()), one) for one, scored in pairs)
        print(f"decoder=greedy: {100 * greedy / grid.words:.2f} %")
    if grid.at_edge or min(prior_weights) < grid.prior_weight == max(prior_weights):
        print("the best lies at the edge of what was tried: wider lists may hold a better one")
    for recognizer, scored, folder in models:
        shares = token_shares(scored) if grid.prior_weight else []
        _keep(recognizer, scored, dataclasses.replace(chosen, priors=shares, prior_weight=grid.prior_weight), folder)


def _foreign(paths: list[str]) -> list[ForeignSource]:
    """The recordings to choose on: from a list with splits, those of train."""
    if not paths:
        return []
    from speechgru.evaluation.foreign import find_foreign

    return find_foreign(paths, ("train",))


def _choose_familiarity(
    recognizer: Recognizer, scored: list[Scored], folder: Path, sources: list[ForeignSource]
) -> None:
    """Puts the threshold between own and foreign recordings into a model folder; prints how well it separates them."""
    from tqdm import tqdm

    from speechgru.decoding.familiarity import token_entropy
    from speechgru.decoding.greedy import GreedyConfig
    from speechgru.evaluation.foreign import choose_familiarity, hear
    from speechgru.model_folder import write_chosen

    recognizer.config.familiarity = None  # an older one would leave out the text of even sounds
    decoder, found = recognizer.decoder(GreedyConfig()), []
    for source in sources:
        bar = functools.partial(tqdm, total=len(source.items), desc=source.name, unit="recording", disable=None)
        for transcript in hear(recognizer, source, decoder, bar):
            if transcript.error:
                print(f"{transcript.audio}: {transcript.error}", file=sys.stderr)
            elif transcript.entropy is not None:
                found.append(transcript.entropy)
    chosen = choose_familiarity([token_entropy(one.log_probabilities) for one in scored], found)
    write_chosen(folder, chosen)
    numbers = chosen.chosen_on
    print(
        f"most_entropy={chosen.most_entropy:g}: marks {numbers['own_marked']} of {numbers['own']} own recordings and "
        f"{numbers['foreign_marked']} of {numbers['foreign']} foreign ones"
    )
    print(f"{folder} knows what it does not know from now on", file=sys.stderr)


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
    """A model's scores of the corpus it was trained on; what cannot be read is reported."""
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
    """Word error rates in percent; one line for each bonus, one column for each weight."""
    from speechgru.wording import table

    rows: list[list[str]] = [
        [f"{bonus:g}", *(f"{100 * one / grid.words:.2f}" for one in errors)]
        for bonus, errors in zip(grid.word_bonuses, grid.errors, strict=True)
    ]
    return table(["word_bonus \\ lm_weight", *(f"{weight:g}" for weight in grid.lm_weights)], rows)
