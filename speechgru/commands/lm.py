"""``speechgru lm``: an n-gram language model from text."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from speechgru.errors import ConfigError, DataError
from speechgru.text.normalization import Step, normalize

DEFAULT_STEPS = "nfkc,upper,no_punctuation"
HIGHEST_ORDER = 9

_EPILOG = """\
TEXT is the name of a corpus with its settings after it (speechgru prepare lists them), a text file with one sentence a
line, a manifest (.jsonl, .json: the key text), a table (.csv, .tsv: the column text), a file of Sphinx
(.transcription), or - for sentences on standard input. The text must be written as the model's transcripts are: -m
takes the normalisation from the model folder, --normalize names its steps.

The model is interpolated modified Kneser-Ney, in the ARPA format, which KenLM, SRILM and flashlight read too.

examples:
  speechgru lm an4 root=data/an4 -o words.arpa.gz -m runs/an4/model
  speechgru lm transcripts.txt -o words.arpa
  speechgru tune-lm runs/an4/model --lm words.arpa.gz
  zcat corpus.txt.gz | speechgru lm - -o words.arpa.gz --order 4 --test held_out.txt
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``speechgru lm``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("text", nargs="+", metavar="TEXT", help="corpus and KEY=VALUE, texts, manifests, tables, -")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the model: .arpa or .arpa.gz")
    parser.add_argument("--order", type=int, default=3, help=f"words of the longest n-gram, 1 to {HIGHEST_ORDER} (3)")
    parser.add_argument("-m", "--model", help="normalise as this model folder does, or this shipped model")
    parser.add_argument(
        "--normalize",
        metavar="STEPS",
        help=f"steps of normalisation, of {', '.join(Step.__members__)} or none (default: {DEFAULT_STEPS})",
    )
    parser.add_argument("--split", help="train, valid or test (default: train of a corpus, all rows of a table)")
    parser.add_argument("--test", action="append", default=[], metavar="TEXT", help="print the perplexity of this text")
    parser.add_argument("--test_split", help="split of --test (default: valid of a corpus, all rows of a table)")


def run(arguments: argparse.Namespace) -> int:
    """Trains the model, writes it and prints its size on standard error; 0.

    Raises:
        ConfigError: an option is out of range.
        DataError: a text cannot be read or holds no words, or the model cannot be written.
    """
    if not 1 <= arguments.order <= HIGHEST_ORDER:
        raise ConfigError(f"--order {arguments.order}: from 1 to {HIGHEST_ORDER}")
    if not Path(arguments.output).name.endswith((".arpa", ".arpa.gz")):
        raise ConfigError(f"-o {arguments.output}: the name of a language model ends in .arpa or .arpa.gz")
    if not Path(arguments.output).absolute().parent.is_dir():
        raise ConfigError(f"-o {arguments.output}: its folder is not there")
    for name in ("split", "test_split"):
        if getattr(arguments, name) not in (None, "train", "valid", "test"):
            raise ConfigError(f"--{name} {getattr(arguments, name)}: train, valid or test")
    steps = _steps(arguments.model, arguments.normalize)
    from speechgru.decoding.arpa import write_arpa
    from speechgru.decoding.kneser_ney import train
    from speechgru.decoding.language_model import LanguageModel

    settings = [word for word in arguments.text if re.match(r"[\w.]+=", word) and not Path(word).exists()]
    sources = [word for word in arguments.text if word not in settings]
    if settings and not any(map(_is_corpus, [*sources, *arguments.test])):
        raise ConfigError(f"{settings[0]}: a setting of a corpus, and none is named (speechgru prepare lists them)")
    sentences = [words for source in sources for words in _sentences(source, steps, arguments.split, "train", settings)]
    if not sentences:
        raise DataError(f"{', '.join(sources)}: no words; a language model learns from sentences, one a line")
    # Read before the model is written: a mistyped name costs nothing then.
    tests = {
        source: list(_sentences(source, steps, arguments.test_split, "valid", settings)) for source in arguments.test
    }
    ngrams = train(sentences, arguments.order)
    write_arpa(arguments.output, ngrams)
    sizes = ", ".join(f"{len(level)} {order}-grams" for order, level in enumerate(ngrams, 1))
    words = sum(map(len, sentences))
    print(f"{arguments.output}: {sizes} from {words} words in {len(sentences)} sentences", file=sys.stderr)
    if tests:
        model = LanguageModel.from_ngrams(ngrams)
        for source, held_out in tests.items():
            perplexity, known, unknown = model.perplexity(held_out)
            print(f"{source}\tperplexity {perplexity:.2f}\t{known} words and ends\t{unknown} unknown words")
    return 0


def _steps(model: str | None, names: str | None) -> list[Step]:
    if model is not None and names is not None:
        raise ConfigError("-m and --normalize: the model folder names its own steps; give one of the two")
    if model is not None:
        from speechgru.commands.recordings import load_recognizer

        units = load_recognizer(model, "cpu", None, "ctc").units
        assert units is not None, "a CTC model has units"
        return list(units.config.normalization)
    chosen = [] if names == "none" else (DEFAULT_STEPS if names is None else names).split(",")
    for name in chosen:
        if name not in Step.__members__:
            raise ConfigError(f"--normalize {name}: none, or some of {', '.join(Step.__members__)} with commas between")
    return [Step[name] for name in chosen]


def _sentences(
    source: str, steps: list[Step], split: str | None, usual: str, settings: list[str]
) -> Iterator[list[str]]:
    """The words of each sentence that has any; from a corpus without ``split``, those of the split ``usual``."""
    texts = _transcripts(source, split or usual, settings) if _is_corpus(source) else _texts(source, split)
    for text in texts:
        words = normalize(text, steps).split()
        if words:
            yield words


def _is_corpus(source: str) -> bool:
    """Whether it is the name of a corpus and not of a file."""
    if not source.isidentifier() or Path(source).exists():
        return False
    import speechgru.data.corpora  # noqa: F401  the import registers them
    from speechgru.registry import names

    return source in names("data")


def _transcripts(corpus: str, split: str, settings: list[str]) -> Iterable[str]:
    from speechgru.commands.corpus_settings import settings_of
    from speechgru.registry import build, entry, from_plain

    plain = {"name": corpus, **settings_of(settings, entry("data", corpus).config)}
    return [one.text for one in build("data", from_plain(plain, "data", corpus)).utterances(split)]


def _texts(source: str, split: str | None) -> Iterable[str]:
    from speechgru.data.manifest import read_manifest
    from speechgru.data.sphinx import read_transcriptions
    from speechgru.data.table import read_table
    from speechgru.text_files import read_lines

    if source == "-":
        try:
            return sys.stdin.buffer.read().decode("utf-8-sig").split("\n")
        except UnicodeDecodeError as error:
            raise DataError(f"-: standard input is not UTF-8 (byte {error.start}); save it as UTF-8 text") from None
    suffix = Path(source).suffix.lower()
    if suffix == ".transcription":
        return read_transcriptions(Path(source)).values()
    if suffix in (".jsonl", ".json"):
        return [utterance.text for utterance in read_manifest(source)]
    if suffix in (".csv", ".tsv"):
        found = read_table(source)
        if split is not None and split not in found:
            raise DataError(f"{source}: has no rows of the split {split} (it has {', '.join(sorted(found)) or 'none'})")
        return [row.text for name, rows in found.items() if split in (None, name) for row in rows]
    return read_lines(Path(source))
