#!/usr/bin/env bash
# Makes the corpus of "hey computer", trains with three seeds, writes the results into this folder. If run again, it goes on
# where it stopped. Background is what makes a detector usable: docs/wake-word.md says how to add it.
#   bash recipes/wake_word/run.sh            makes the corpus in data/wake_word
#   bash recipes/wake_word/run.sh FOLDER     takes the one that `speechgru prepare wake_word root=FOLDER` made
set -euo pipefail
root="${1:-data/wake_word}"
[ $# -gt 0 ] || speechgru prepare wake_word root="$root" 'phrase=hey computer'

models=
for seed in 0 1 2; do
    speechgru train recipe=wake_word data.root="$root" seed=$seed run_dir=runs/wake_word/$seed resume=true
    models+=,runs/wake_word/$seed/model
done
speechgru evaluate split=test model="[${models#,}]" root="$root" recipe_dir="$(dirname "$0")"
