#!/usr/bin/env bash
# MLAAD and a list of bona fide speech: trained detectors on text-to-speech in many languages.
#
# Usage: run.sh [options]          without --corpus-dir it builds and uses the mini corpus in the layout of this one
#  e.g.: run.sh --corpus-dir /corpora/mlaad --exp "egs/asvspoof2019/la/exp/NAME/seed1"
#
# --corpus-dir is the folder that has fake/ and bonafide.csv (docs/corpora.md).
#
# Stages: 0 corpus and data list, 1 features, 2 score, 3 evaluate. Outputs that are complete and made from the same inputs
# are skipped. Paths start from the current folder; confs and the defaults from the recipe's own folder.

export CORPUS=mlaad MINI_WORDS="real speech and real synthesizers"
. "$(dirname "${BASH_SOURCE[0]}")/steps/eval_recipe.sh" # the options and the stages
