#!/usr/bin/env bash
# Searches on validation data for each cell's own learning rate and gate bias; then trains three seeds on a longer schedule
# and writes the tables into this folder. If run again, it goes on where it stopped. Searching needs the extra tune.
#   bash recipes/cells/tuned.sh                            downloads FSDD, AN4 and Speech Commands (2.5 GB) to data/
#   bash recipes/cells/tuned.sh FSDD SPEECH_COMMANDS AN4   takes the copies in these folders
set -euo pipefail
fsdd="${1:-data/fsdd}" speech_commands="${2:-data/speech_commands}" an4="${3:-data/an4}"
[ $# -gt 0 ] || speechgru prepare fsdd root="$fsdd"
[ $# -gt 0 ] || speechgru prepare speech_commands root="$speech_commands"
[ $# -gt 0 ] || speechgru prepare an4 root="$an4"

failed=0

# tuned RECIPE ROOT MONITOR EPOCHS_OF_A_TRIAL EPOCHS RATES CELL...: eight trials a cell. Six rates around the GRU's, which is
# the first, then two more gate biases; for the plain network, which has no gate, two more rates.
tuned() {
    local recipe=$1 root=$2 monitor=$3 short=$4 long=$5 rates=$6 searched=() own cell seed
    shift 6
    for cell in "$@"; do
        case $cell in
        lstm) own=("optimizer.learning_rate=${rates% *}" cell.forget_bias=1,0,2) ;;
        rnn) own=("optimizer.learning_rate=${rates/ /,}") ;;
        *) own=("optimizer.learning_rate=${rates% *}" cell.update_bias=0,-1,1) ;;
        esac
        speechgru tune recipe="$recipe" cell="$cell" data.root="$root" name="$recipe-$cell" sampler=coordinate pruner=none \
            trainer.epochs="$short" trainer.monitor=loss "${own[@]}" && searched+=("$cell") || failed=1
    done
    for seed in 0 1 2; do
        for cell in ${searched[@]+"${searched[@]}"}; do
            speechgru train "runs/tune/$recipe-$cell/recipe/$recipe-${cell}_tuned.yaml" data.root="$root" seed="$seed" \
                trainer.epochs="$long" trainer.monitor="$monitor" run_dir="runs/tuned/$recipe" resume=true || failed=1
        done
        speechgru compare runs/tuned --searches runs/tune --recipe_dir "$(dirname "$0")" || failed=1
    done
}

digits="0.003,0.0015,0.006,0.00075,0.012,0.024 0.000375,0.0001875" letters="0.002,0.001,0.004,0.0005,0.008,0.016 0.00025,0.000125"
tuned cells_fsdd "$fsdd" null 10 30 "$digits" lstm gru
tuned cells_fsdd "$fsdd" null 10 30 "$digits" rnn min_gru sli_gru
tuned cells_an4 "$an4" null 10 45 "$letters" lstm gru
tuned cells_an4 "$an4" null 10 45 "$letters" rnn min_gru sli_gru
tuned cells_speech_commands "$speech_commands" loss 5 20 "$digits" lstm gru
tuned cells_speech_commands "$speech_commands" loss 5 20 "$digits" rnn min_gru sli_gru
exit $failed
