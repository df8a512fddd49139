#!/usr/bin/env bash
# The adding and the copying problem for three cells, and their results into this folder. Run again, it goes on where it stopped.
#   bash recipes/memory_problems/run.sh           the lags of the README's table; one to two hours
#   bash recipes/memory_problems/run.sh 50,100    other lags; each takes about as much longer as it is longer
set -euo pipefail
here="$(dirname "$0")"
lags="${1:-20,50,100,200,500,1000}"
speechgru inspect memory --cells rnn,gru,lstm --lags "$lags" -o "$here" --readme "$here/README.md"
