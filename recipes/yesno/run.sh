#!/usr/bin/env bash
# Gets the corpus, trains with three seeds and writes the results into this folder. If run again, it goes on where it stopped.
#   bash recipes/yesno/run.sh            downloads the corpus to data/yesno
#   bash recipes/yesno/run.sh FOLDER     takes the copy in FOLDER
set -euo pipefail
root="${1:-data/yesno}"
[ $# -gt 0 ] || speechgru prepare yesno root="$root"

models=
for seed in 0 1 2; do
    speechgru train recipe=yesno data.root="$root" seed=$seed run_dir=runs/yesno/$seed resume=true
    models+=,runs/yesno/$seed/model
done
speechgru evaluate split=test model="[${models#,}]" root="$root" recipe_dir="$(dirname "$0")"
