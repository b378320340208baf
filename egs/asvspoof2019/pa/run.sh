#!/usr/bin/env bash
# ASVspoof 2019 physical access (PA): baseline and self-distilled networks, from the corpus to EER and min t-DCF.
#
# Usage: run.sh [options]          without --corpus-dir it builds and uses the mini corpus
#  e.g.: run.sh --corpus-dir /corpora/asvspoof2019/PA --ngpu 1 --seeds "1 2 3"
#  e.g.: run.sh --stage 2 --model conf/model/senet34.yaml --set "train.epochs=8" --tag short
#
# Stages: 0 corpus and data lists, 1 features, 2 train by --baseline-conf, 3 train by --distill-conf, 4 score, 5
# evaluate and report. Outputs that are complete and made from the same inputs and confs are skipped. Paths start from
# the current folder; confs and the defaults from the recipe's own folder.

export CORPUS=asvspoof2019-pa MINI_WORDS="real speech, replayed in simulated rooms" \
  REAL_FRONTEND=conf/frontend/lps.yaml MINI_FRONTEND=conf/frontend/lps_257.yaml
. "$(dirname "${BASH_SOURCE[0]}")/steps/recipe.sh" # the options and the stages
