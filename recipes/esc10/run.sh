#!/usr/bin/env bash
# Gets ESC-10, trains a run for each of its five folds, writes the results into this folder. If run again, it goes on where it stopped.
#   bash recipes/esc10/run.sh            downloads ESC-10 to data/esc10
#   bash recipes/esc10/run.sh FOLDER     takes the copy in FOLDER
set -euo pipefail
root="${1:-data/esc10}"
[ $# -gt 0 ] || speechgru prepare esc10 root="$root"

models=
for fold in 1 2 3 4 5; do
    run=runs/esc10/$fold-0
    speechgru train recipe=esc10 data.root="$root" data.fold=$fold seed=0 run_dir=$run resume=true
    models+=,$run/model
done
speechgru evaluate split=test model="[${models#,}]" root="$root" recipe_dir="$(dirname "$0")"
