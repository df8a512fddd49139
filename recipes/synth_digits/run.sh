#!/usr/bin/env bash
# The corpus, three runs with different seeds, and their results into this folder.
set -euo pipefail
speechgru prepare synth
speechgru train recipe=synth_digits seed=0 run_dir=runs/synth_digits/seed0
speechgru train recipe=synth_digits seed=1 run_dir=runs/synth_digits/seed1
speechgru train recipe=synth_digits seed=2 run_dir=runs/synth_digits/seed2
speechgru evaluate split=test recipe_dir="$(dirname "$0")" \
    model=[runs/synth_digits/seed0/model,runs/synth_digits/seed1/model,runs/synth_digits/seed2/model]
