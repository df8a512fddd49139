#!/usr/bin/env bash
# Gets both corpora, trains one run, takes its threshold from the validation speakers, and writes its results on the test
# speakers into this folder. If run again, it goes on where it stopped.
#   bash recipes/speaker/run.sh            downloads the corpora to data/speakers
#   bash recipes/speaker/run.sh FOLDER     takes the copies in FOLDER (which holds speech_commands and an4)
set -euo pipefail
root="${1:-data/speakers}"
[ $# -gt 0 ] || speechgru prepare speakers root="$root"

here="$(dirname "$0")"
run=runs/speaker/0
roots=("$root/speech_commands" "$root/an4" "$root/an4/wav")
speechgru train recipe=speaker data.root="$root" seed=0 run_dir=$run resume=true
speechgru compare-speakers -m $run/model --trials "$here"/trials/valid_*.txt --root "${roots[@]}" --save
speechgru compare-speakers -m $run/model --trials "$here"/trials/test_*.txt --root "${roots[@]}" --readme "$here/README.md"
speechgru evaluate split=test model="[$run/model]" root="$root" recipe_dir="$here"
