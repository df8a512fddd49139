#!/usr/bin/env bash
# Gets the corpus, trains with three seeds, makes a language model of the training transcripts, chooses its weight on the
# held-out speakers, and writes the results into this folder. If run again, it goes on where it stopped.
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
speechgru evaluate split=test model="[${models#,}]" root="$root" recipe_dir="$(dirname "$0")" decoder=greedy
speechgru lm an4 root="$root" --order 5 -o runs/an4/words.arpa.gz -m runs/an4/0/model
# shellcheck disable=SC2086
speechgru tune-lm ${models//,/ } --lm runs/an4/words.arpa.gz --closed --root "$root"
speechgru evaluate split=test model="[${models#,}]" root="$root" recipe_dir="$(dirname "$0")"
