#!/usr/bin/env bash
# In-the-Wild: trained detectors on deepfakes of public figures, collected from the internet.
#
# Usage: run.sh [options]          without --corpus-dir it builds and uses the mini corpus in the layout of this one
#  e.g.: run.sh --corpus-dir /corpora/release_in_the_wild --exp "egs/asvspoof2019/la/exp/NAME/seed1"
#
# --corpus-dir is the folder release_in_the_wild, which has meta.csv.
#
# Stages: 0 corpus and data list, 1 features, 2 score, 3 evaluate. Outputs that are complete and made from the same inputs
# are skipped. Paths start from the current folder; confs and the defaults from the recipe's own folder.

export CORPUS=in_the_wild MINI_WORDS="real speech and real synthesizers"
. "$(dirname "${BASH_SOURCE[0]}")/steps/eval_recipe.sh" # the options and the stages
