#!/usr/bin/env bash
# Gets the corpus, trains with three seeds and writes the results into this folder. If run again, it goes on where it stopped.
#   bash recipes/librispeech_100/run.sh            downloads 7 GB to data/librispeech
#   bash recipes/librispeech_100/run.sh FOLDER     takes the copy in FOLDER
set -euo pipefail
root="${1:-data/librispeech}"
[ $# -gt 0 ] || speechgru prepare librispeech root="$root"

models=
for seed in 0 1 2; do
    speechgru train recipe=librispeech_100 data.root="$root" seed=$seed run_dir=runs/librispeech_100/$seed resume=true
    models+=,runs/librispeech_100/$seed/model
done
speechgru evaluate split=test model="[${models#,}]" root="$root" recipe_dir="$(dirname "$0")"
