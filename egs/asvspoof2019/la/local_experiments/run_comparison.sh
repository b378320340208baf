#!/usr/bin/env bash
# Compares training methods fairly: every method on every network with the same seeds, epochs, batches and learning rates, and
# the ablation of self-distillation's losses; then tables with means, spreads, paired tests and early exits.
#
# Usage: local_experiments/run_comparison.sh [options]          on the mini corpus, in the recipe's folder or elsewhere
#  e.g.: local_experiments/run_comparison.sh --seeds "1 2 3 4 5 6 7 8" --ngpu 1
#  e.g.: local_experiments/run_comparison.sh --model conf/model/ecanet9.yaml --methods conf/train/self_distill.yaml
#
# Each training, its scores and its results are made by ../run.sh, stages 0 to 5; what is whole is not made again, so that a
# run that was broken off, or is given more seeds, networks or methods, goes on. Options of run.sh that are not listed here
# (--corpus-dir, --frontend, ...) go into --run-options.

model="conf/model/ecanet18.yaml conf/model/senet34_thin.yaml conf/model/mobilenet_small.yaml conf/model/efficientnet_small.yaml"  # networks
baseline=conf/train/baseline.yaml  # what the methods are compared with
methods=              # confs of the methods; empty: all of conf/train but those for tests, the mini corpus, other schedules and branches
seeds="1 2 3 4 5"     # trainings of each network and method
ablation=conf/train/self_distill.yaml  # method whose losses are left out one by one, by alpha and beta; empty: none
budget="train.epochs=6 train.batch_size=32 train.select_by=last_epoch train.schedule.name=cosine train.schedule.lr=2e-3 train.schedule.warmup_steps=20"  # the same for all; as in baseline_mini.yaml
set=                  # further overrides of conf keys, for all: "train.epochs=3 model.stem=conv3"
exp_dir=exp_comparison  # trainings, scores, results, COMPARISON.md
nj=$(nproc)           # parallel jobs for features
ngpu=0                # GPUs that a training uses: 0 or 1
train_jobs=           # trainings at once, of one network's seeds; empty: as many as there are cores, or GPUs
run_options=          # further options of run.sh, with their values: "--mini-size tiny --data-dir data-tiny"

command_line="egs/asvspoof2019/la/local_experiments/run_comparison.sh$(printf ' %q' "$@" | sed "s/ ''\$//")"
. "$(dirname "${BASH_SOURCE[0]}")/../utils/parse_options.sh"
caller_dir=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
. ./path.sh || exit 1
set -euo pipefail
recipe_dir=$PWD stage=0 stop_stage=0
. utils/stages.sh
[ $# -eq 0 ] || { echo "run_comparison.sh: error: unexpected argument '$1' (see run_comparison.sh --help)" >&2; exit 1; }
require_integers nj ngpu
require_counts --seeds $seeds

exp_dir=$(output_path "$exp_dir" exp_comparison)
model=$(input_paths "$model") baseline=$(input_path "$baseline")
if [ -z "$methods" ]; then
  for conf in conf/train/*.yaml; do
    case $conf in *_debug.yaml | *_mini.yaml | *_noam.yaml | *_anneal.yaml | */branch_distill.yaml) ;; *) methods+=" $conf" ;; esac
  done
fi
methods=$(input_paths "$methods")
[ -z "$ablation" ] || ablation=$(input_path "$ablation")
read -r -a options <<< "$run_options"
[ -z "$train_jobs" ] || options+=(--train-jobs "$train_jobs")

run_stages() { # first and last stage, method's conf, tag, settings: by the recipe itself, from where the caller stands
  (cd "$caller_dir" && "$recipe_dir/run.sh" --stage "$1" --stop-stage "$2" --model "$model" --seeds "$seeds" --exp-dir "$exp_dir" \
    --baseline-conf "$baseline" --distill-conf "$3" --tag "$4" --set "$budget $set $5" --nj "$nj" --ngpu "$ngpu" --report false "${options[@]}")
}

experiments_of() { # recipes: the folders of all networks trained by them
  local recipe network folder
  for recipe; do
    for network in $model; do
      for folder in "$exp_dir"/train_*"_$(name_of "$network")_$recipe"; do [ ! -d "$folder" ] || echo "$folder"; done
    done
  done
}

# The conf that decides comes last in --set, so that --set overrides the budget, and the ablation both.
log "the baseline: $(name_of "$baseline")"
run_stages 0 2 "$baseline" "" ""
recipes=("$(name_of "$baseline")")
for method in $methods; do
  [ "$method" != "$baseline" ] || continue
  log "the method: $(name_of "$method")"
  run_stages 3 5 "$method" "" ""
  recipes+=("$(name_of "$method")")
done

ablated=()
if [ -n "$ablation" ]; then
  name=$(name_of "$ablation")
  while read -r tag settings; do
    log "losses left out: $name, $tag"
    run_stages 3 5 "$ablation" "$tag" "$settings" < /dev/null
    ablated+=("${name}_$tag")
  done <<'LOSSES'
hard_only train.distill.alpha=1 train.distill.beta=0
hard_soft train.distill.beta=0
hard_feature train.distill.alpha=1
LOSSES
  # shellcheck disable=SC2076
  if ! [[ " ${recipes[*]} " =~ " $name " ]]; then
    run_stages 3 5 "$ablation" "" ""
  fi
  ablated+=("$name")
fi

mapfile -t compared < <(experiments_of "${recipes[@]}")
tables=(--table "Methods" "${compared[@]}")
if [ ${#ablated[@]} -gt 0 ]; then
  mapfile -t compared < <(experiments_of "$(name_of "$baseline")" "${ablated[@]}")
  tables+=(--table "Losses left out" "${compared[@]}")
fi
make_comparison.py --out "$exp_dir/COMPARISON.md" --command "$command_line" --baseline "$(name_of "$baseline")" "${tables[@]}"
log "done; see $exp_dir/COMPARISON.md"
