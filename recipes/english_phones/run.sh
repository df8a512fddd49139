#!/usr/bin/env bash
# Trains on your own lists, writes the results into this folder. Start it in the root of a checkout; if run again, it goes on where it stopped.
# The lists, in JSON lines with audio_filepath and text, are train.jsonl, valid.jsonl and test.jsonl; words.dict has their words, as in CMUdict, without stress.
#   bash recipes/english_phones/run.sh            takes those in data/english_phones
#   bash recipes/english_phones/run.sh FOLDER     takes those in FOLDER
set -euo pipefail
lists="${1:-data/english_phones}"
speechgru train recipe=english_phones data.train="$lists/train.jsonl" data.valid="$lists/valid.jsonl" data.test="$lists/test.jsonl" \
    units.dictionary="$lists/words.dict" run_dir=runs/english_phones/0 resume=true
speechgru evaluate split=test model=runs/english_phones/0/model recipe_dir="$(dirname "$0")"
