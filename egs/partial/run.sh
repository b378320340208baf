#!/usr/bin/env bash
# Recordings that are spoofed in part: networks that say where, from a list with stretches to segment EERs.
#
# Usage: run.sh [options]          without --corpus-dir it builds and uses recordings made of the mini corpus
#  e.g.: run.sh --corpus-dir /corpora/PartialSpoof/database --ngpu 1 --seeds "1 2 3"
#
# --corpus-dir is PartialSpoof's folder `database`, or a CSV or TSV list, path,label[,attack,speaker,split,...], with the
# spoofed stretches beside it, in list.rttm (docs/partial.md).
#
# Stages: 0 corpus and data lists, 1 features, 2 train by --baseline-conf, 3 train by --distill-conf, 4 score, 5
# evaluate, locate stretches and report. Outputs that are complete and made from the same inputs and confs are skipped.
# Paths start from the current folder; confs and the defaults from the recipe's own folder.

export CORPUS=own FOLDER_CORPUS=partialspoof MINI_LAYOUT=partial MINI_WORDS="real speech with stretches of real synthesizers" \
  REAL_FRONTEND=conf/frontend/f0_subband_frames.yaml MINI_FRONTEND=conf/frontend/f0_subband_frames.yaml \
  BASELINE_CONF=conf/train/baseline_frames.yaml DISTILL_CONF=conf/train/self_distill_frames.yaml
. "$(dirname "${BASH_SOURCE[0]}")/steps/recipe.sh" # the options and the stages
