#!/usr/bin/env bash
# Measures what more hours bring: the model that the recipe begins with, then runs with a part of the training recordings.
# Run run.sh before it; the rows go into the same results.
#   bash recipes/read_english/less_data.sh [FOLDER [PERCENT ...]]      (data/read_english, 12.5 25 50)
set -euo pipefail
root="${1:-data/read_english}"
shift $(($# > 0))
here="$(dirname "$0")"

measure() {  # MODEL CORPUS
    speechgru evaluate split=test model="[$1]" data=read_english data.root="$root" data.test="[$2]" recipe_dir="$here" decoder=greedy
}

for corpus in lj_speech librispeech; do measure an4 $corpus; done
[ $# -gt 0 ] || set -- 12.5 25 50
for percent in "$@"; do
    run=runs/read_english/percent_$percent
    speechgru train recipe=read_english init_from=an4 features.normalization=utterance data.root="$root" seed=0 run_dir="$run" \
        name="read_english_$percent" data.train_percent="$percent" resume=true
    for corpus in lj_speech librispeech; do measure "$run/model" $corpus; done
done
