#!/usr/bin/env bash
# Trains all cells at equal parameters on three corpora, writes the comparison into this folder. If run again, it goes on where it stopped.
#   bash recipes/cells/run.sh                            downloads FSDD, Speech Commands (2.5 GB) and AN4 to data/
#   bash recipes/cells/run.sh FSDD SPEECH_COMMANDS AN4   takes the copies in these folders
set -euo pipefail
fsdd="${1:-data/fsdd}" speech_commands="${2:-data/speech_commands}" an4="${3:-data/an4}"
[ $# -gt 0 ] || speechgru prepare fsdd root="$fsdd"
[ $# -gt 0 ] || speechgru prepare speech_commands root="$speech_commands"
[ $# -gt 0 ] || speechgru prepare an4 root="$an4"

# A run that fails is reported and counted; the others go on, and the comparison says which cells are missing.
failed=0
# The three cells of every textbook, and two that are said to be faster: three seeds, on AN4 one.
five=gru,lstm,rnn,min_gru,sli_gru

speechgru train --multirun recipe=cells_fsdd data.root="$fsdd" seed=0,1,2 'cell=glob(*)' resume=true || failed=1
speechgru train --multirun recipe=cells_speech_commands data.root="$speech_commands" seed=0 'cell=glob(*)' resume=true || failed=1
speechgru train --multirun recipe=cells_speech_commands data.root="$speech_commands" seed=1,2 cell=$five resume=true || failed=1
speechgru train --multirun recipe=cells_an4 data.root="$an4" seed=0 cell=$five resume=true || failed=1
# The page that teaches the cells shows the same tables; an installed package has no such page.
page="$(dirname "$0")/../../docs/lab-report.md"
[ -f "$page" ] || page=
speechgru compare runs/cells_fsdd runs/cells_speech_commands runs/cells_an4 --recipe_dir "$(dirname "$0")" ${page:+--readme "$page"} --threads 1
exit $failed
