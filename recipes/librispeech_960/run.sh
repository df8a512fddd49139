#!/usr/bin/env bash
# Gets the corpus, trains one run, writes its results into this folder. Run again, it goes on where it stopped.
#   bash recipes/librispeech_960/run.sh            downloads 61 GB to data/librispeech
#   bash recipes/librispeech_960/run.sh FOLDER     takes the copy in FOLDER
set -euo pipefail
root="${1:-data/librispeech}"
[ $# -gt 0 ] || speechgru prepare librispeech root="$root" \
    "train=[train-clean-100,train-clean-360,train-other-500]"

models=
for seed in 0; do
    speechgru train recipe=librispeech_960 data.root="$root" seed=$seed run_dir=runs/librispeech_960/$seed resume=true
    models+=,runs/librispeech_960/$seed/model
done
speechgru evaluate split=test model="[${models#,}]" root="$root" recipe_dir="$(dirname "$0")"
