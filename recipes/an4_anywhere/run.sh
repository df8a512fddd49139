#!/usr/bin/env bash
# Gets the corpus, trains the shipped an4 further with three seeds, makes a language model of the training transcripts,
# and writes the results into this folder: as recorded, and in other conditions. If run again, it goes on.
#   bash recipes/an4_anywhere/run.sh            downloads the corpus to data/an4
#   bash recipes/an4_anywhere/run.sh FOLDER     takes the copy in FOLDER
set -euo pipefail
root="${1:-data/an4}"
[ $# -gt 0 ] || speechgru prepare an4 root="$root"

models=
for seed in 0 1 2; do
    speechgru train recipe=an4_anywhere init_from=an4 features.normalization=global data.root="$root" seed=$seed \
        run_dir=runs/an4_anywhere/$seed resume=true
    models+=,runs/an4_anywhere/$seed/model
done
speechgru evaluate split=test model="[${models#,}]" root="$root" recipe_dir="$(dirname "$0")" decoder=greedy
speechgru lm an4 root="$root" --order 5 -o runs/an4_anywhere/words.arpa.gz -m runs/an4_anywhere/0/model
# shellcheck disable=SC2086
speechgru tune-lm ${models//,/ } --lm runs/an4_anywhere/words.arpa.gz --closed --root "$root"
speechgru evaluate split=test model="[${models#,}]" root="$root" recipe_dir="$(dirname "$0")" conditions=true
