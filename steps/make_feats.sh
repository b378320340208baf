#!/usr/bin/env bash
# Extracts features: data dir -> feats.scp, arks, utt2num_frames, and the conf they were made with.
#
# Usage: steps/make_feats.sh [options] <data-dir> <feats-dir>
#  e.g.: steps/make_feats.sh --nj 4 --frontend conf/frontend/f0_subband.yaml data/train feats/f0_subband/train
nj=4                                       # parallel jobs, and arks
cmd=run.sh                                 # job runner
frontend=conf/frontend/f0_subband.yaml     # conf of the front end
skip_bad=false                             # leave out utterances that cannot be read, listed in <feats-dir>/skipped
allow_pipes=false                           # run the entries of wav.scp that are commands (`sph2pipe -f wav a.sph |`), as Kaldi does
ngpu=0                                     # 1: the jobs compute in batches on a GPU; the same numbers except for rounding
set=                                       # overrides of conf keys, such as "frontend.compress=8bit"

. "$(dirname "$(readlink -f "$0")")/../path.sh" || exit 1
. parse_options.sh
set -euo pipefail
. with_progress.sh
. plain_values.sh

if [ $# -ne 2 ]; then
  _print_help >&2
  exit 1
fi
data=$1 dir=$2
log=$dir/log parts=$dir/parts/$nj
die() { echo "make_feats.sh: error: $*" >&2; exit 1; }
require_numbers 1-1024 nj
require_numbers 0-1 ngpu
command -v "${cmd%% *}" >/dev/null || die "--cmd $cmd: no such job runner here; name one by a path that holds in $PWD"

[ -f "$data/wav.scp" ] || die "$data/wav.scp: no such file; make the data dir first (--stage 0)"
read -r -d '' -a settings <<<"$set" || true
require_plain "the data dir" "$data"; require_plain "the feats dir" "$dir"; require_plain --frontend "$frontend"
require_plain_values --set "${settings[@]}"
conf_options=(--frontend "$frontend" "${settings[@]/#/--set=}")

pipes=(); ! $allow_pipes || pipes=(--allow-pipes)
status=0
merge_feats.py check "${conf_options[@]}" "${pipes[@]}" --nj "$nj" "$data/wav.scp" "$dir" || status=$?
case $status in
  0) ;;
  10) echo "make_feats.sh: $dir is complete and made from the same inputs and conf; nothing to do"; exit 0 ;;
  *) exit "$status" ;;
esac

mkdir -p "$log" "$parts"
# A part that a broken-off run finished is kept; its job ends at once.
kept=$(find "$parts" -name 'feats.*.utt2num_frames' | wc -l)
[ "$kept" -eq 0 ] || echo "make_feats.sh: resumes $dir: $kept of $nj jobs are done"
gpu=(); [ "$ngpu" -eq 0 ] || gpu=(--gpu "$ngpu")
with_progress "$log/make_feats.*.log" -- $cmd "${gpu[@]}" JOB=1:"$nj" "$log/make_feats.JOB.log" \
  test -f "$parts/feats.JOB.utt2num_frames" '||' \
  env OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
  compute_feats.py "${conf_options[@]}" --part "JOB/$nj" --ngpu "$ngpu" "${pipes[@]}" "$data/wav.scp" "$parts/feats.JOB"
skip=(); ! $skip_bad || skip=(--skip-bad)
merge_feats.py merge "${conf_options[@]}" "${skip[@]}" --nj "$nj" "$data/wav.scp" "$dir"
echo "make_feats.sh: $(wc -l < "$dir/feats.scp") utterances, $(du -shL "$dir" | cut -f1), in $dir"
