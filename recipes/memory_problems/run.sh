#!/usr/bin/env bash
# Runs the adding and copying problems for three cells, writes their results into this folder. If run again, it goes on where it stopped.
#   bash recipes/memory_problems/run.sh           the lags of the README's table; one to two hours
#   bash recipes/memory_problems/run.sh 50,100    other lags; a lag twice as long takes about twice the time
set -euo pipefail
here="$(dirname "$0")"
lags="${1:-20,50,100,200,500,1000}"
speechgru inspect memory --cells rnn,gru,lstm --lags "$lags" -o "$here" --readme "$here/README.md"
