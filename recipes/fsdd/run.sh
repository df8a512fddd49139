#!/usr/bin/env bash
# Trains on both splits of FSDD, three seeds each, and writes the results into this folder. If run again, it goes on where it stopped.
#   bash recipes/fsdd/run.sh            downloads FSDD to data/fsdd
#   bash recipes/fsdd/run.sh FOLDER     takes the copy in FOLDER (which holds recordings/)
set -euo pipefail
root="${1:-data/fsdd}"
[ $# -gt 0 ] || speechgru prepare fsdd root="$root"

# The official split: three runs.
models=
for seed in 0 1 2; do
    speechgru train recipe=fsdd data.root="$root" seed=$seed run_dir=runs/fsdd/$seed resume=true
    models+=,runs/fsdd/$seed/model
done

# Leave one speaker out: six folds of three runs, with synthetic voices beside the five real ones.
speechgru prepare synth root=data/synth_digits_8k sample_rate=8000 voices=150 takes=1
for speaker in george jackson lucas nicolas theo yweweler; do
    for seed in 0 1 2; do
        run=runs/fsdd_unseen/$speaker-$seed
        speechgru train recipe=fsdd_unseen data.root="$root" data.held_out_speaker=$speaker seed=$seed run_dir=$run resume=true
        models+=,$run/model
    done
done
speechgru evaluate split=test model="[${models#,}]" root="$root" recipe_dir="$(dirname "$0")"
