#!/usr/bin/env bash
# Trains with three seeds and writes the results into this folder. If run again, it goes on where it stopped.
#   bash recipes/speech_commands_12/run.sh            downloads Speech Commands (2.5 GB) to data/speech_commands
#   bash recipes/speech_commands_12/run.sh FOLDER     takes the copy in FOLDER (a folder for each word)
set -euo pipefail
root="${1:-data/speech_commands}"
[ $# -gt 0 ] || speechgru prepare speech_commands root="$root"

models=
for seed in 0 1 2; do
    speechgru train recipe=speech_commands_12 data.root="$root" seed=$seed run_dir=runs/speech_commands_12/$seed resume=true
    models+=,runs/speech_commands_12/$seed/model
done
speechgru evaluate split=test model="[${models#,}]" root="$root" recipe_dir="$(dirname "$0")"
