#!/usr/bin/env bash
# What the hours bring: the model that the recipe begins with, then a quarter and a half of the training recordings. Run
# run.sh before it; the rows go into the same results.
#   bash recipes/read_english/less_data.sh [FOLDER]
set -euo pipefail
root="${1:-data/read_english}"
here="$(dirname "$0")"

speechgru evaluate split=test model=an4 data=read_english data.root="$root" data.test=[librispeech] recipe_dir="$here" decoder=greedy
speechgru evaluate split=test model=an4 data=read_english data.root="$root" data.test=[lj_speech] recipe_dir="$here" decoder=greedy
for percent in 25 50; do
    run=runs/read_english/percent_$percent
    speechgru train recipe=read_english init_from=an4 features.normalization=utterance data.root="$root" seed=0 run_dir=$run \
        name=read_english_$percent data.train_percent=$percent resume=true
    for corpus in lj_speech librispeech; do
        speechgru evaluate split=test model="[$run/model]" data=read_english data.root="$root" data.test="[$corpus]" \
            recipe_dir="$here" decoder=greedy
    done
done
