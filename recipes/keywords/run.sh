#!/usr/bin/env bash
# Trains with three seeds, writes the results into this folder. Start it in the root of a checkout; if run again, it goes on where it stopped.
# You provide data/background/speech and data/background/noises: recordings of any length in which none of the words is said.
#   bash recipes/keywords/run.sh            downloads Speech Commands (2.5 GB) to data/speech_commands
#   bash recipes/keywords/run.sh FOLDER     takes the copy in FOLDER (a folder for each word)
set -euo pipefail
here="$(dirname "$0")"
root="${1:-data/speech_commands}"
[ $# -gt 0 ] || speechgru prepare speech_commands root="$root"
speechgru prepare synth root=data/synth_commands voices=380 takes=1 \
    'words=[yes,no,up,down,left,right,go,stop,zero,one,two,three,four,five,six,seven,eight,nine]'
speechgru prepare synth root=data/synth_others voices=60 takes=1 "words=[$(paste -sd, "$here/other_words.txt")]"
speechgru prepare synth root=data/synth_similar voices=10 takes=1 "words=[$(paste -sd, "$here/similar_words.txt")]"

models=
for seed in 0 1 2; do
    speechgru train recipe=keywords data.root="$root" seed=$seed run_dir=runs/keywords/$seed resume=true
    models+=,runs/keywords/$seed/model
done
speechgru evaluate split=test model="[${models#,}]" root="$root" recipe_dir="$here"
