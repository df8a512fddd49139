"""``speechgru tune``: searches for the settings of a training that give the best validation figure."""

from __future__ import annotations

_HELP = """\
usage: speechgru tune [RECIPE] KEY=RANGE ... [key=value ...] [trials=40] [options]

Searches for the settings with the best figure on the validation set: trains once for each trial, stops trials early
that do worse than the others did, and writes the best settings as a recipe. The figure is the one that chooses the best
epoch (trainer.monitor); the test set is never used. The same command goes on with a search that was stopped, and joins
one that runs.

ranges:
  KEY=log(1e-4,1e-2)          a number between the two, its logarithm drawn evenly; a whole number if both are
  KEY=interval(0.0,0.5)       a number between the two; int(interval(8,64)) a whole one
  KEY=range(32,129,16)        32, 48, 64 ... without the end
  KEY=choice(gru,lstm)        one of these; Hydra's other ways to write it are gru,lstm and glob(*)

settings of the search:
  trials=40                   how many trials, over all processes
  name=fsdd                   of the study and, below runs/tune, of its folder (default: the recipe's)
  run_dir=FOLDER              the study's folder
  sampler=tpe                 draws near what went well; coordinate tries all values of the first range, then, with the
                              best of them, those of the second, so the first value of each should be the usual one
  pruner=median               what stops a trial: median (worse than half of the others), hyperband or none
  storage=postgresql://...    a database that many machines share (default: a file in the folder)
  heartbeat_s=15              a trial without a sign of life for four times that long is taken over by another process

examples:
  speechgru tune fsdd 'optimizer.learning_rate=log(1e-4,1e-2)' 'encoder.hidden_size=range(32,129,16)' trials=40
  speechgru tune data=folder data.root=recordings 'cell=choice(gru,li_gru)' 'encoder.dropout=interval(0.0,0.4)'
  speechgru train runs/tune/fsdd/recipe/fsdd_tuned.yaml  the best settings, trained again

All other settings are those of speechgru train (speechgru train --help). The weight of a language model is chosen by
speechgru tune-lm."""


def run_hydra(words: list[str]) -> int:
    """Searches, or prints the help without waiting for torch; 0.

    Raises:
        SpeechGRUError: as of :func:`speechgru.commands.tune_search.search_for_settings`.
    """
    if {"-h", "--help"} & set(words):
        print(_HELP)
        return 0
    from speechgru.commands.tune_search import search_for_settings

    search_for_settings(words)
    return 0
