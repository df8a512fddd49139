#!/usr/bin/env bash
# Gets the corpus, trains the shipped an4 further, makes a language model of the training transcripts, chooses its weight
# on the validation split, and writes the results of each corpus into this folder. If run again, it goes on where it stopped.
#   bash recipes/read_english/run.sh            downloads 10 GB to data/read_english
#   bash recipes/read_english/run.sh FOLDER     takes the copies in FOLDER (which holds librispeech and lj_speech)
set -euo pipefail
root="${1:-data/read_english}"
[ $# -gt 0 ] || speechgru prepare read_english root="$root"

here="$(dirname "$0")"
run=runs/read_english/0
speechgru train recipe=read_english init_from=an4 features.normalization=utterance data.root="$root" seed=0 run_dir=$run \
    resume=true
speechgru lm read_english root="$root" -o runs/read_english/words.arpa.gz -m $run/model
speechgru tune-lm $run/model --lm runs/read_english/words.arpa.gz --root "$root" --closed --beam_size 20 \
    --lm_weights 0.75,1,1.25 --word_bonuses=-1,0,1 --prior_weights 0.3
for corpus in lj_speech librispeech; do
    for decoder in decoder=greedy ""; do
        # shellcheck disable=SC2086
        speechgru evaluate split=test model="[$run/model]" data=read_english data.root="$root" data.test="[$corpus]" \
            recipe_dir="$here" $decoder
    done
done
