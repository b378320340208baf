#!/usr/bin/env bash
# ASVspoof 5, track 1: baseline and self-distilled networks, from the corpus to EER and minDCF.
#
# Usage: run.sh [options]          without --corpus-dir it builds and uses the mini corpus in the layout of this one
#  e.g.: run.sh --corpus-dir /corpora/asvspoof5 --ngpu 1 --seeds "1 2 3"
#
# --corpus-dir is the folder that has flac_T, flac_D, flac_E_eval and the .tsv lists.
#
# Stages: 0 corpus and data lists, 1 features, 2 train by --baseline-conf, 3 train by --distill-conf, 4 score, 5
# evaluate and report. Outputs that are complete and made from the same inputs and confs are skipped. Paths start from
# the current folder; confs and the defaults from the recipe's own folder.

export CORPUS=asvspoof5 MINI_WORDS="real speech and real synthesizers" \
  REAL_FRONTEND=conf/frontend/f0_subband.yaml MINI_FRONTEND=conf/frontend/f0_subband.yaml
. "$(dirname "${BASH_SOURCE[0]}")/steps/recipe.sh" # the options and the stages
