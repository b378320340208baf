#!/usr/bin/env bash
# Your own list of recordings: baseline and self-distilled networks, from the list to EER.
#
# Usage: run.sh [options]          without --corpus-dir it builds and uses the mini corpus in the layout of this one
#  e.g.: run.sh --corpus-dir my/list.csv --ngpu 1 --seeds "1 2 3"
#
# --corpus-dir is a CSV or TSV list, path,label[,attack,speaker,split,...] (docs/corpora.md).
#
# Stages: 0 corpus and data lists, 1 features, 2 train by --baseline-conf, 3 train by --distill-conf, 4 score, 5
# evaluate and report. Outputs that are complete and made from the same inputs and confs are skipped. Paths start from
# the current folder; confs and the defaults from the recipe's own folder.

export CORPUS=own MINI_WORDS="real speech and real synthesizers" \
  REAL_FRONTEND=conf/frontend/f0_subband.yaml MINI_FRONTEND=conf/frontend/f0_subband.yaml
. "$(dirname "${BASH_SOURCE[0]}")/steps/recipe.sh" # the options and the stages
