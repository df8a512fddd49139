#!/usr/bin/env bash
# The corpus, three runs with different seeds, and their results into this folder. Run again, it goes on where it stopped.
#   bash recipes/an4/run.sh            downloads the corpus to data/an4
#   bash recipes/an4/run.sh FOLDER     takes the copy in FOLDER
set -euo pipefail
root="${1:-data/an4}"
[ $# -gt 0 ] || speechgru prepare an4 root="$root"

models=
for seed in 0 1 2; do
    speechgru train recipe=an4 data.root="$root" seed=$seed run_dir=runs/an4/$seed resume=true
    models+=,runs/an4/$seed/model
done
speechgru evaluate split=test model="[${models#,}]" root="$root" recipe_dir="$(dirname "$0")"
