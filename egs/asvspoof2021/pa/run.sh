#!/usr/bin/env bash
# ASVspoof 2021 physical access (PA): trained detectors on speech recorded and replayed in real rooms.
#
# Usage: run.sh [options]          without --corpus-dir it builds and uses the mini corpus in the layout of this one
#  e.g.: run.sh --corpus-dir /corpora/asvspoof2021/PA --exp "egs/asvspoof2019/pa/exp/NAME/seed1"
#
# --corpus-dir is the folder that has ASVspoof2021_PA_eval/flac and keys/PA.
#
# Stages: 0 corpus and data list, 1 features, 2 score, 3 evaluate. Outputs that are complete and made from the same inputs
# are skipped. Paths start from the current folder; confs and the defaults from the recipe's own folder.

export CORPUS=asvspoof2021-pa MINI_WORDS="real speech, replayed in simulated rooms"
. "$(dirname "${BASH_SOURCE[0]}")/steps/eval_recipe.sh" # the options and the stages
