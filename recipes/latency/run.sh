#!/usr/bin/env bash
# Trains encoders that wait for more or less of what follows, on two corpora, and writes their table into this folder. If
# run again, it goes on where it stopped.
#   bash recipes/latency/run.sh                       downloads Speech Commands (2.5 GB) and AN4 to data/
#   bash recipes/latency/run.sh SPEECH_COMMANDS AN4   takes the copies in these folders
set -euo pipefail
speech_commands="${1:-data/speech_commands}" an4="${2:-data/an4}"
[ $# -gt 0 ] || speechgru prepare speech_commands root="$speech_commands"
[ $# -gt 0 ] || speechgru prepare an4 root="$an4"

# A run that fails is reported and counted; the others go on.
failed=0
words=(recipe=latency_speech_commands data.root="$speech_commands" seed=0,1,2 resume=true)
letters=(recipe=latency_an4 data.root="$an4" seed=0 resume=true)
chunks=(encoder=latency_controlled 'encoder.training_chunks=[5,10,20,40]' 'encoder.training_rights=[0,5,10]')

speechgru train --multirun "${words[@]}" encoder=gru || failed=1
speechgru train --multirun "${words[@]}" encoder=look_ahead encoder.context=0,5,20 || failed=1
speechgru train --multirun "${words[@]}" "${chunks[@]}" || failed=1
# Each word gets the score of its best frame: nothing waits for the end of the recording.
speechgru train --multirun "${words[@]}" encoder=look_ahead encoder.context=0 head.pooling=best_frame \
    run_dir=runs/latency_speech_commands/best_frame || failed=1

speechgru train --multirun "${letters[@]}" encoder=gru || failed=1
speechgru train --multirun "${letters[@]}" encoder=look_ahead encoder.context=0,5,20 || failed=1
speechgru train --multirun "${letters[@]}" "${chunks[@]}" || failed=1
speechgru latency runs/latency_speech_commands runs/latency_an4 --recipe_dir "$(dirname "$0")" --threads 1
exit $failed
