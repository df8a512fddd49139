"""``speechgru listen``: reports words and labels while the sound is being made."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from speechgru.commands.checks import at_least_one
from speechgru.commands.recordings import load_recognizer, on_terminal, standard_output
from speechgru.errors import AudioError, ConfigError, SpeechGRUError
from speechgru.shipped import default_model

if TYPE_CHECKING:
    from speechgru.audio.live import Block
    from speechgru.commands.listening import Listening
    from speechgru.recognizer import Recognizer
    from speechgru.streaming.event import Event
    from speechgru.streaming.stream import StreamConfig

_EPILOG = """\
Without FILE the microphone is used (extra mic: pip install 'speechgru[mic]') until Ctrl-C; - reads raw samples from a
pipe: signed 16 bits, one channel, --rate of them a second. A file is heard as fast as possible.

A model that hears labels reports each label as soon as its smoothed score reaches the threshold that was chosen for the
model (speechgru detect), or --threshold. A model that transcribes reports words. If it computes step by step, it
reports the settled words of a phrase at once, and all of its words with their times at the pause after it; any other
model reports words at the pause only.

On a terminal each label is a line, START LABEL CONFIDENCE, and each phrase a line, START WORDS. In a pipe each event is
a line with a JSON object: kind (word or label), text, start_s, end_s, confidence, final (false: a settled word of a
phrase that goes on; it comes once more when the phrase has ended), and, if the model can say it, familiar (whether the
phrase sounds like what the model knows; on a terminal the line of the phrase says so if it does not).
At the end standard error says how late words were reported, what it cost, and for a file how the answer differs from
the model's answer to the whole recording at once (classifiers: the track of its scores; else: speechgru transcribe).

The exit code is 0, 1 when the sound cannot be read or broke off, 2 for a wrong option, 130 after Ctrl-C; with the
microphone, Ctrl-C gives 0.

examples:
  speechgru listen
  speechgru listen meeting.flac -m an4
  arecord -t raw -f S16_LE -r 16000 | speechgru listen - --rate 16000 --save_alarms alarms
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``speechgru listen``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("audio", nargs="?", metavar="FILE", help="a recording, or - for raw samples from a pipe")
    parser.add_argument("-m", "--model", help="model folder, or the name of a shipped model (default: keywords)")
    parser.add_argument(
        "-f", "--output_format", choices=("txt", "jsonl"), help="default: txt on a terminal, else jsonl"
    )
    parser.add_argument("--rate", type=int, default=16000, help="sample rate of raw samples, in Hz (default: 16000)")
    parser.add_argument("--microphone", metavar="DEVICE", help="number or part of the name (default: the system's)")
    parser.add_argument("--threshold", type=float, help="for all labels, instead of those chosen for the model")
    parser.add_argument("--pause", type=float, metavar="SECONDS", help="the silence that ends a phrase (default: 0.5)")
    parser.add_argument("--window", type=float, metavar="SECONDS", help="for models that hear windows (default: 1.0)")
    parser.add_argument("--hop", type=float, metavar="SECONDS", help="from one window to the next (default: 0.1)")
    parser.add_argument(
        "--block",
        type=float,
        metavar="SECONDS",
        default=0.25,
        help="sound heard together: shorter reports sooner, longer costs less (default: 0.25)",
    )
    parser.add_argument("--save_alarms", metavar="DIR", help="keep the sound of each reported label in a wav file")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--threads", type=int, default=1, help="processor threads (default: 1)")


def run(arguments: argparse.Namespace) -> int:
    """Listens until the sound ends, or until Ctrl-C where there is no other end; 0.

    Raises:
        ConfigError: an option is out of range, or there is no microphone.
        AudioError: the sound cannot be read, or broke off.
        KeyboardInterrupt: Ctrl-C; what was heard is reported.
        ModelError: the model folder cannot be loaded.
    """
    at_least_one(arguments, "threads")
    if not 0.02 <= arguments.block <= 10:
        raise ConfigError(f"--block {arguments.block:g}: from 0.02 to 10 seconds")
    form = arguments.output_format or ("txt" if on_terminal() else "jsonl")
    output = standard_output(form == "jsonl")
    model = arguments.model or default_model("keyword")
    recognizer = load_recognizer(model, arguments.device, arguments.threads, None)
    from speechgru.commands.listening import Alarms, JsonLines, Lines, Listening
    from speechgru.warming import warm_up_stream

    config = _config(arguments, recognizer)
    alarms = Alarms(arguments.save_alarms) if arguments.save_alarms else None
    if alarms and recognizer.head.scores_frames:
        raise ConfigError("--save_alarms: is for models that hear labels; this one transcribes")
    writer = Lines(output) if form == "txt" else JsonLines(output)
    warm_up_stream(recognizer, config)  # now: while the compiler is at work, a microphone's samples would be dropped
    listening = Listening(recognizer.stream(config), writer, alarms)
    stopped, failure = False, None
    with _source(arguments) as (blocks, rate):
        try:
            for number, block in enumerate(blocks):
                if not number:
                    _tell_threshold(recognizer, config)
                listening.hear(block, rate)
        except KeyboardInterrupt:
            stopped = True
        except SpeechGRUError as error:  # what was heard until then is reported first
            failure = error
    if not failure or listening.seconds:
        listening.end()
        listening.tell()
    if failure:
        raise failure
    if stopped and arguments.audio is not None:
        raise KeyboardInterrupt  # the command line knows its exit code
    if os.path.isfile(arguments.audio or ""):  # no pipe, which cannot be read again
        _compare(recognizer, arguments.audio, config, listening)
    return 0


def _config(arguments: argparse.Namespace, recognizer: Recognizer) -> StreamConfig:
    """How to listen."""
    from speechgru.decoding.operating_point import KeywordConfig
    from speechgru.streaming.scores import WindowConfig, keywords_of
    from speechgru.streaming.stream import StreamConfig
    from speechgru.tokens import is_word

    default, windows = StreamConfig(), WindowConfig()
    keywords = recognizer.config.keywords
    if arguments.threshold is not None:
        if not 0 < arguments.threshold <= 1:
            raise ConfigError(f"--threshold {arguments.threshold:g}: above 0 and at most 1")
        thresholds = {label: arguments.threshold for label in recognizer.tokens.names if is_word(label)}
        chosen = keywords_of(recognizer)
        keywords = KeywordConfig(chosen.smoothing_ms, chosen.refractory_s, thresholds)
    return StreamConfig(
        WindowConfig(
            windows.length_s if arguments.window is None else arguments.window,
            windows.hop_s if arguments.hop is None else arguments.hop,
        ),
        default.pause_s if arguments.pause is None else arguments.pause,
        keywords=keywords,
    )


def _tell_threshold(recognizer: Recognizer, config: StreamConfig) -> None:
    """Says which threshold is used where none was chosen."""
    from speechgru.decoding.operating_point import DEFAULT_THRESHOLD

    if config.keywords is None and not recognizer.head.scores_frames:
        print(
            f"speechgru listen: no threshold was chosen for this model (speechgru detect does); {DEFAULT_THRESHOLD:g} "
            "for each label",
            file=sys.stderr,
        )


@contextlib.contextmanager
def _source(arguments: argparse.Namespace) -> Iterator[tuple[Iterator[Block], int]]:
    """The blocks to hear, and their sample rate."""
    from speechgru.audio import read_blocks
    from speechgru.audio.decoder import check_rate
    from speechgru.audio.live import Block, Microphone, read_pcm

    if arguments.audio is None:
        with Microphone(arguments.microphone, arguments.block) as microphone:
            print(f"speechgru listen: {microphone.name}, {microphone.rate} Hz; Ctrl-C ends", file=sys.stderr)
            yield microphone.blocks(), microphone.rate
    elif arguments.audio == "-":
        if sys.stdin is None:
            raise ConfigError("standard input is closed; give a file")
        try:
            check_rate(arguments.rate, "--rate")
        except AudioError as error:
            raise ConfigError(str(error)) from None
        yield read_pcm(sys.stdin.buffer, arguments.rate, arguments.block), arguments.rate
    else:
        read = read_blocks(arguments.audio, block_s=arguments.block)  # a pipe can be read once only
        first, rate = next(read)
        yield (Block(samples) for samples in itertools.chain([first], (samples for samples, _ in read))), rate


def _compare(recognizer: Recognizer, audio: str, config: StreamConfig, listening: Listening) -> None:
    """Says how the reported events differ from the model's answer to the whole recording at once."""
    if listening.events is None:
        print("speechgru listen: too much was told to be compared with the recording at once", file=sys.stderr)
        return
    if recognizer.head.scores_frames:
        from speechgru.evaluation.error_rate import edit_distance
        from speechgru.transcripts import transcribe_recordings

        (transcript,) = transcribe_recordings(recognizer, [(audio, "")])
        wanted, found = transcript.text.split(), [event.text for event in listening.events]
        errors = edit_distance(wanted, found)
        line = f"{errors} of {len(wanted)} words differ from those of speechgru transcribe"
    else:
        wanted_events = _at_once(recognizer, audio, config)
        told = {(event.text, round(event.end_s, 3)) for event in listening.events}
        expected = {(event.text, round(event.end_s, 3)) for event in wanted_events}
        line = f"{len(told ^ expected)} of {len(expected)} labels differ from those of the track of the recording"
    print(f"speechgru listen: {line}", file=sys.stderr)


def _at_once(recognizer: Recognizer, audio: str, config: StreamConfig) -> list[Event]:
    from speechgru.audio import read_blocks
    from speechgru.streaming.event import Event
    from speechgru.streaming.keywords import KeywordSpotter
    from speechgru.streaming.scores import keywords_of, score_blocks

    blocks = (block for block, _ in read_blocks(audio, recognizer.sample_rate))
    spotter = KeywordSpotter(recognizer.tokens.names, config.keywords or keywords_of(recognizer))
    tracks = score_blocks(recognizer, blocks, config.windows)
    found = (one for track in tracks for one in spotter.feed(track.end_s, track.scores))
    return [Event("label", one.label, one.start_s, one.end_s, one.confidence) for one in found]
