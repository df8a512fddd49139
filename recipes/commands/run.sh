#!/usr/bin/env bash
# The model that ships inside: trains with three seeds, writes the results into this folder and copies the model of seed 0
# into the package. Start it in the root of a checkout; if run again, it goes on where it stopped.
#   bash recipes/commands/run.sh            downloads Speech Commands (2.5 GB) to data/speech_commands
#   bash recipes/commands/run.sh FOLDER     takes the copy in FOLDER (a folder for each word)
set -euo pipefail
root="${1:-data/speech_commands}"
[ $# -gt 0 ] || speechgru prepare speech_commands root="$root"
speechgru prepare synth root=data/synth_commands voices=380 takes=1 \
    'words=[yes,no,up,down,left,right,go,stop,zero,one,two,three,four,five,six,seven,eight,nine]'

models=
for seed in 0 1 2; do
    speechgru train recipe=commands data.root="$root" seed=$seed run_dir=runs/commands/$seed resume=true
    models+=,runs/commands/$seed/model
done
speechgru evaluate split=test model="[${models#,}]" root="$root" recipe_dir="$(dirname "$0")"

# Always seed 0, so that nothing is chosen on the test words.
if [ -f speechgru/__init__.py ]; then
    mkdir -p speechgru/models/commands
    cp runs/commands/0/model/* speechgru/models/commands/
fi
