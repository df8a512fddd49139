#!/usr/bin/env bash
# Gets the corpus, trains with three seeds and writes the results into this folder. If run again, it goes on where it stopped.
#   bash recipes/timit/run.sh            takes the licensed copy in data/timit and counts its sentences
#   bash recipes/timit/run.sh FOLDER     takes the copy in FOLDER
set -euo pipefail
root="${1:-data/timit}"
[ $# -gt 0 ] || speechgru prepare timit root="$root"

models=
for seed in 0 1 2; do
    speechgru train recipe=timit data.root="$root" seed=$seed run_dir=runs/timit/$seed resume=true
    models+=,runs/timit/$seed/model
done
speechgru evaluate split=test model="[${models#,}]" root="$root" recipe_dir="$(dirname "$0")"
