#!/usr/bin/env bash
# Gets the corpus, trains with three seeds and writes the results into this folder. If run again, it goes on where it stopped.
#   bash recipes/synth_digits/run.sh            makes the corpus in data/synth_digits
#   bash recipes/synth_digits/run.sh FOLDER     takes the one that `speechgru prepare synth root=FOLDER` made
set -euo pipefail
root="${1:-data/synth_digits}"
[ $# -gt 0 ] || speechgru prepare synth root="$root"

models=
for seed in 0 1 2; do
    speechgru train recipe=synth_digits data.root="$root" seed=$seed run_dir=runs/synth_digits/$seed resume=true
    models+=,runs/synth_digits/$seed/model
done
speechgru evaluate split=test model="[${models#,}]" root="$root" recipe_dir="$(dirname "$0")"
