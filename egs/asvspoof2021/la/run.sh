#!/usr/bin/env bash
# ASVspoof 2021 logical access (LA): trained detectors on speech that went through telephone networks.
#
# Usage: run.sh [options]          without --corpus-dir it builds and uses the mini corpus in the layout of this one
#  e.g.: run.sh --corpus-dir /corpora/asvspoof2021/LA --exp "egs/asvspoof2019/la/exp/NAME/seed1"
#
# --corpus-dir is the folder that has ASVspoof2021_LA_eval/flac and keys/LA.
#
# Stages: 0 corpus and data list, 1 features, 2 score, 3 evaluate. Outputs that are complete and made from the same inputs
# are skipped. Paths start from the current folder; confs and the defaults from the recipe's own folder.

export CORPUS=asvspoof2021-la MINI_WORDS="real speech and real synthesizers, through the codecs of 2021 LA"
. "$(dirname "${BASH_SOURCE[0]}")/steps/eval_recipe.sh" # the options and the stages
