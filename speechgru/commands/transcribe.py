"""``speechgru transcribe``: recordings into text, subtitles and word times with a trained model."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
from collections.abc import Callable, Iterator, Sequence

from speechgru.commands.checks import at_least_one
from speechgru.commands.part import EPILOG, Answers, add_part_arguments, is_in_parts, run_part
from speechgru.commands.recordings import listed_recordings, load_recognizer, on_terminal, progress, standard_output
from speechgru.errors import ConfigError
from speechgru.plain import Record
from speechgru.recordings.lines import one_field, printable
from speechgru.recordings.names import file_names
from speechgru.recordings.parts import Stretch
from speechgru.transcripts.cues import CuesConfig
from speechgru.transcripts.formats import record, writer
from speechgru.transcripts.outputs import ArrayOutput, FilesOutput, LinesOutput, OneOutput, Output
from speechgru.transcripts.pieces import PiecesConfig
from speechgru.transcripts.transcript import Transcript

# Loading compiled code takes a second of a processor; with the shipped model it saves 8 ms for a second of sound.
COMPILED_FROM_S = 100.0
FORMATS = ("txt", "vtt", "srt", "tsv", "json")

_EPILOG = """\
A folder is searched at any depth; a glob in quotes may contain **; - reads one whole audio file from standard input.
Without -m the transcription model that ships inside is used (speechgru models says what it knows).
A recording of more than --chunk_length seconds is cut at its pauses of --chunk_pause seconds; where there is none, at
shorter pauses; else into pieces that overlap. So hours of audio need no more memory than seconds.

output formats:
  txt    a line for each segment (what is spoken between two pauses)
  vtt    WebVTT subtitles        srt  SubRip subtitles
  tsv    start and end in milliseconds, text
  json   audio, text, duration_s, segments (id, start, end, text, confidence); with --word_timestamps also words
         (word, start, end, confidence); if the model can tell, familiar (whether it sounds like what the model knows);
         or audio and error
  all    each of them; with -o only
  jsonl  the records of json, one a line, all in OUTPUT_DIR/transcribe-00001-of-00001.jsonl; parquet the same (extra
         parquet)

With -o each recording has its own file, OUTPUT_DIR/NAME.FORMAT, and its path is printed. Without -o one recording is
written to standard output in its format; a folder, a glob or several recordings are written as lines PATH <tab> TEXT
(txt) or as one JSON array (json). Failures go to standard error, and so does a line for each recording that does not
sound like what the model knows: its text is a guess.
The exit code is 0, 1 when a recording failed (the others are done all the same), 2 when nothing could be tried.

examples:
  speechgru transcribe memo.wav
  speechgru transcribe interviews/ -m runs/an4/model -f all -o transcripts
  speechgru transcribe lecture.mp3 -f srt --max_line_width 42 --max_line_count 2 > lecture.srt
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``speechgru transcribe``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG + "\n" + EPILOG
    parser.add_argument("audio", nargs="+", metavar="AUDIO", help="files, folders, globs, lists or -")
    parser.add_argument("-m", "--model", help="model folder, or the name of a shipped model")
    parser.add_argument("-o", "--output_dir", help="write OUTPUT_DIR/NAME.FORMAT for each recording")
    parser.add_argument("-f", "--output_format", choices=(*FORMATS, "all", "jsonl", "parquet"), help="default: txt")
    parser.add_argument("--word_timestamps", action="store_true", help="words with their times in the JSON")
    parser.add_argument("--max_line_width", type=int, help="characters of a line of vtt and srt")
    parser.add_argument("--max_line_count", type=int, help="lines of a subtitle, with --max_line_width")
    parser.add_argument("--highlight_words", action="store_true", help="underline each word of vtt and srt as spoken")
    parser.add_argument("--batch_size", type=int, default=16, help="pieces computed together (default: 16)")
    parser.add_argument(
        "--chunk_length", type=float, default=PiecesConfig.longest_s, help="longest piece in seconds (default: 20)"
    )
    parser.add_argument(
        "--chunk_pause",
        type=float,
        metavar="SECONDS",
        default=PiecesConfig.pause_s,
        help="the pause that ends a piece; longer for a model that was trained on long utterances (default: 0.25)",
    )
    decoding = parser.add_argument_group("decoding (without any of these: as the model's folder says, or greedy)")
    decoding.add_argument(
        "--decoder",
        choices=("greedy", "beam"),
        help="greedy: the best token of each moment; beam: a search with the options below, not the folder's",
    )
    decoding.add_argument("--beam_size", type=int, help="sequences kept by the beam search (default: 50)")
    decoding.add_argument("--lm", metavar="FILE", help="n-gram language model (.arpa, .arpa.gz; see speechgru lm)")
    decoding.add_argument("--lm_weight", type=float, metavar="WEIGHT", help="factor on its logarithms")
    decoding.add_argument("--word_bonus", type=float, metavar="NATS", help="added for each word, with --lm")
    decoding.add_argument("--lexicon", metavar="FILE", help="the only words to come out, or a dictionary of phones")
    decoding.add_argument("--hotwords", metavar="WORDS", help="words to expect, as 'rubout erase:3' (bonus in nats)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--threads", type=int, help="processor threads (default: torch's choice)")
    add_part_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Transcribes what the arguments name; 0, or 1 when a recording failed.

    Raises:
        ConfigError: an option is out of range, or no recording was found at all.
        ModelError: the model folder cannot be loaded.
    """
    at_least_one(arguments, "batch_size", "threads")
    _pieces_config(arguments.chunk_length, arguments.chunk_pause)
    layout = CuesConfig(arguments.max_line_width, arguments.max_line_count, arguments.highlight_words)
    _beam_options(arguments)
    if is_in_parts(arguments) or arguments.output_format == "jsonl":
        return run_part("transcribe", arguments, answers)
    items = listed_recordings(arguments.audio)
    output = _output(arguments, items, layout)
    transcripts, failed = _transcriber(arguments, COMPILED_FROM_S), 0
    try:
        # A progress bar between the lines of results on the same terminal would break up both.
        for transcript in progress(transcripts(items), len(items), "transcribe", hidden=on_terminal()):
            failed += not output.write(transcript)
            if transcript.familiar is False:
                name = printable(one_field(transcript.audio))
                print(f"{name}\tthis does not sound like what the model knows", file=sys.stderr, flush=True)
    finally:  # what was written before Ctrl-C can be read
        output.close()
    if failed:
        print(f"speechgru transcribe: {failed} of {len(items)} failed", file=sys.stderr)
    return int(failed > 0)


def answers(arguments: argparse.Namespace) -> Answers:
    """The function that gives the records of recordings as in JSON, in the order of the recordings."""
    transcripts = _transcriber(arguments)
    return lambda items: (record(one, arguments.word_timestamps) for one in transcripts(items))


def _transcriber(
    arguments: argparse.Namespace, compiled_from_s: float = 0.0
) -> Callable[[Sequence[Stretch]], Iterator[Transcript]]:
    """Loads the model and its decoder; if the decoder needs compiled code, the model uses it from the start."""
    recognizer = load_recognizer(arguments.model, arguments.device, arguments.threads, "ctc")

    from speechgru.decoding import GreedyDecoder
    from speechgru.transcripts.recordings import transcribe_recordings

    config = _decoder_config(arguments.decoder, _beam_options(arguments), recognizer.config.decoder)
    decoder = recognizer.decoder(config)
    return functools.partial(
        transcribe_recordings,
        recognizer,
        decoder=decoder,
        compiled_from_s=compiled_from_s if isinstance(decoder, GreedyDecoder) else 0.0,
        batch_size=arguments.batch_size,
        config=_pieces_config(arguments.chunk_length, arguments.chunk_pause),
    )


def _pieces_config(longest_s: float, pause_s: float) -> PiecesConfig:
    if not 2 <= longest_s <= 600:
        raise ConfigError(f"--chunk_length {longest_s:g}: from 2 to 600 seconds")
    if not 0.05 <= pause_s <= 2:
        raise ConfigError(f"--chunk_pause {pause_s:g}: from 0.05 to 2 seconds")
    return PiecesConfig(longest_s=longest_s, pause_s=pause_s, overlap_s=min(PiecesConfig.overlap_s, longest_s / 4))


def _beam_options(arguments: argparse.Namespace) -> Record:
    """The settings of the beam search that are given."""
    options = {
        "beam_size": arguments.beam_size,
        "language_model": arguments.lm,
        "lm_weight": arguments.lm_weight,
        "word_bonus": arguments.word_bonus,
        "lexicon": arguments.lexicon,
        "hotwords": arguments.hotwords.replace(",", " ").split() if arguments.hotwords else None,
    }
    given = {name: value for name, value in options.items() if value is not None}
    if arguments.decoder == "greedy" and given:
        raise ConfigError(f"--decoder greedy: {', '.join(given)} are for the beam search; leave out one or the other")
    if given:
        from speechgru.decoding.beam import BeamConfig

        BeamConfig(**given)  # complains about what is out of range before the model is loaded
    return given


def _decoder_config(name: str | None, options: Record, own: object) -> object:
    """The settings of the decoder: the model's ``own`` with the options over them, unless another is named."""
    from speechgru.decoding.beam import BeamConfig
    from speechgru.decoding.greedy import GreedyConfig

    if name == "greedy":
        return GreedyConfig()
    if name is None and not options:
        return own
    config = dataclasses.replace(own if name is None and isinstance(own, BeamConfig) else BeamConfig(), **options)
    for key in ("lm_weight", "word_bonus"):
        if key in options and not config.language_model:
            raise ConfigError(f"--{key}: has no effect without --lm")
    return config


def _output(arguments: argparse.Namespace, items: list[Stretch], layout: CuesConfig) -> Output:
    """Where the transcripts go and in which formats; complains about formats that cannot go there."""
    kind, folder, paths = arguments.output_format or "txt", arguments.output_dir, [item.path for item in items]
    wanted = FORMATS if kind == "all" else (kind,)
    writers = {name: writer(name, layout, arguments.word_timestamps) for name in wanted}
    if folder is not None:
        spans = {(item.path, item.start_s, item.duration_s) for item in items}
        if len(spans) > len(set(paths)):
            raise ConfigError(f"-f {kind} is a file for each recording, of which the list has stretches; use -f jsonl")
        names = dict(zip(paths, file_names(paths), strict=True))
        return FilesOutput(folder, names, writers, standard_output(needed=False))
    if kind == "all":
        raise ConfigError("-f all writes files; name a folder for them with -o")
    # Decided by the arguments, not by what is found: the output of a folder has the same form with one file in it.
    if len(arguments.audio) == 1 and paths == arguments.audio:
        return OneOutput(standard_output(json=kind == "json"), writers[kind], is_json=kind == "json")
    if kind == "json":
        return ArrayOutput(standard_output(json=True), arguments.word_timestamps)
    if kind != "txt":
        raise ConfigError(f"-f {kind} is a file for each recording; name a folder for them with -o")
    return LinesOutput(standard_output())
