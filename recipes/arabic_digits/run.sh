#!/usr/bin/env bash
# Gets the corpus, trains one run, writes its results into this folder. Run again, it goes on where it stopped.
#   bash recipes/arabic_digits/run.sh            downloads the corpus to data/arabic_digits
#   bash recipes/arabic_digits/run.sh FOLDER     takes the copy in FOLDER
set -euo pipefail
root="${1:-data/arabic_digits}"
[ $# -gt 0 ] || speechgru prepare arabic_digits root="$root"

run=runs/arabic_digits/0
speechgru train recipe=arabic_digits data.root="$root" seed=0 run_dir=$run resume=true
speechgru evaluate split=test model="[$run/model]" root="$root" recipe_dir="$(dirname "$0")"
