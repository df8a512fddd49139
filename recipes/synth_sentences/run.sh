#!/usr/bin/env bash
# Gets the corpus, trains with three seeds and writes the results into this folder. If run again, it goes on where it stopped.
#   bash recipes/synth_sentences/run.sh            makes the corpus in data/synth_sentences
#   bash recipes/synth_sentences/run.sh FOLDER     takes the one that `speechgru prepare synth_sentences root=FOLDER` made
set -euo pipefail
root="${1:-data/synth_sentences}"
[ $# -gt 0 ] || speechgru prepare synth_sentences root="$root"

models=
for seed in 0 1 2; do
    speechgru train recipe=synth_sentences data.root="$root" seed=$seed run_dir=runs/synth_sentences/$seed resume=true
    models+=,runs/synth_sentences/$seed/model
done
speechgru evaluate split=test model="[${models#,}]" root="$root" recipe_dir="$(dirname "$0")"
