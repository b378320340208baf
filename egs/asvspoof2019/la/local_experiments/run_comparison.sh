#!/usr/bin/env bash
# Compares training methods fairly: every method on every network, with the same seeds and schedule or the same number
# of tuning trials. Adds the ablation of self-distillation's losses. Makes tables of means, spreads, paired tests and
# early exits.
#
# Usage: local_experiments/run_comparison.sh [options]          on the mini corpus, in the recipe's folder or elsewhere
#  e.g.: local_experiments/run_comparison.sh --seeds "1 2 3 4 5 6 7 8" --ngpu 1
#  e.g.: local_experiments/run_comparison.sh --model conf/model/ecanet9.yaml --methods conf/train/self_distill.yaml
#  e.g.: local_experiments/run_comparison.sh --tune-trials 20 --tune-seeds "11 12" --exp-dir exp_tuned
#
# ../run.sh makes each training, its scores and its results, stages 0 to 5. Complete ones are skipped, so that a run may
# be interrupted, or get more seeds, networks or methods. Options of run.sh that are not listed here (--corpus-dir,
# --mini-size, ...) go into --run-options.

model="conf/model/ecanet18.yaml conf/model/senet34_thin.yaml conf/model/mobilenet_small.yaml conf/model/efficientnet_small.yaml"  # networks
baseline=conf/train/baseline.yaml  # the method that the others are compared with
methods=              # confs of the methods; empty: all of conf/train except the paper's, the debug one and branches
seeds="1 2 3 4 5"     # trainings of each network and method
ablation=conf/train/self_distill.yaml  # method whose losses are left out one by one, by alpha and beta; empty: none
schedule=conf/schedule/mini.yaml  # epochs, batches and learning rate, the same for all
loss=                 # hard loss, the same for all; empty: as the methods say
set=                  # further overrides of conf keys, for all: "train.epochs=3 model.stem=conv3"
tune_trials=0         # trials of steps/sweep.py on dev, for each method on each network before it is trained; 0: none
tune_seeds=11         # trainings of each trial; none of --seeds
exp_dir=exp_comparison  # trainings, scores, results, COMPARISON.md
frontend=conf/frontend/f0_subband.yaml  # front end
augment=              # augmentation of the training set, conf/augment/*.yaml
online=false          # compute features in training and scoring instead of reading them from disk
data_dir=data         # Kaldi data dirs
feats_dir=feats       # features
nj=$(nproc)           # parallel jobs for features
ngpu=                 # GPUs that a training uses: 0 or 1; empty: 1 if this machine has one
train_jobs=           # parallel trainings, of one network's seeds; empty: the number of cores, or GPUs
cmd=                  # job runner instead of those in cmd.sh
run_options=          # further options of run.sh, with their values: "--mini-size tiny"

. "$(dirname "${BASH_SOURCE[0]}")/../utils/parse_options.sh"
command_line="egs/asvspoof2019/la/local_experiments/run_comparison.sh$GIVEN_OPTIONS"
caller_dir=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
. ./path.sh || exit 1
. ./cmd.sh
set -euo pipefail
recipe_dir=$PWD stage=0 stop_stage=0
. utils/stages.sh
[ $# -eq 0 ] || refuse "unexpected argument '$1' (see run_comparison.sh --help)"
require_numbers 1-1024 nj
[ -z "$ngpu" ] || require_numbers 0-1 ngpu
require_numbers 0- tune_trials
require_whole 1- --seeds $seeds
require_whole 1- --tune-seeds $tune_seeds
[ -n "$ngpu" ] || ngpu=$(python3 -c 'import torch; print(min(1, torch.cuda.device_count()))')
if [ "$tune_trials" -gt 0 ]; then
  for seed in $seeds; do
    for other in $tune_seeds; do
      [ "$seed" != "$other" ] || refuse "--tune-seeds: $seed is one of --seeds, so that what is tuned by it would be compared by it; take another"
    done
  done
fi

exp_dir=$(output_path "$exp_dir" exp_comparison)
model=$(input_paths "$model") baseline=$(input_path "$baseline")
schedule=$(input_path "$schedule") loss=$(input_path "$loss") frontend=$(input_path "$frontend") augment=$(input_path "$augment")
data_dir=$(output_path "$data_dir" data) feats_dir=$(output_path "$feats_dir" feats)
if [ -z "$methods" ]; then
  for conf in conf/train/*.yaml; do
    case $conf in *_paper.yaml | *_debug.yaml | */branch_distill.yaml) ;; *) methods+=" $conf" ;; esac
  done
fi
methods=$(input_paths "$methods")
[ -z "$ablation" ] || ablation=$(input_path "$ablation")
read -r -a options <<< "$run_options"
[ -z "$train_jobs" ] || options+=(--train-jobs "$train_jobs")

run_stages() { # networks, first and last stage, method's conf, tag, settings: by the recipe itself, from where the caller stands
  (cd "$caller_dir" && "$recipe_dir/run.sh" --stage "$2" --stop-stage "$3" --model "$1" --seeds "$seeds" --exp-dir "$exp_dir" \
    --baseline-conf "$baseline" --distill-conf "$4" --tag "$5" --schedule "$schedule" --loss "$loss" --frontend "$frontend" \
    --augment "$augment" --online "$online" --data-dir "$data_dir" --feats-dir "$feats_dir" --cmd "$cmd" --set "$set $6" --nj "$nj" --ngpu "$ngpu" --report false --report-all false "${options[@]}")
}

declare -A tuned_of=() # network and method's conf -> the settings of the best trial

tune() { # network, method's conf: sets that of tuned_of, by several workers that share the trials
  local folder settings=() setting jobs=$train_jobs
  [ -z "${tuned_of[$1 $2]:-}" ] || return 0
  folder=$exp_dir/tuning/$(name_of "$1")/$(name_of "$2")
  for setting in $(settings_of "$set"); do settings+=(--set "$setting"); done
  if [ "$ngpu" -gt 0 ]; then jobs=${jobs:-1}; else jobs=${jobs:-$(nproc)}; fi
  jobs=$(least "$jobs" "$tune_trials")
  log "tuning $(name_of "$2") on $(name_of "$1"), $tune_trials trials (logs: $folder/log/sweep.*.log)"
  $cuda_cmd --gpu "$ngpu" --max-jobs-run "$jobs" JOB="1:$jobs" "$folder/log/sweep.JOB.log" \
    sweep.py --trials "$tune_trials" --seeds "$tune_seeds" --frontend "$frontend" --model "$1" --train-conf "$2" \
    --schedule "$schedule" ${loss:+--loss "$loss"} "${settings[@]}" --ngpu "$ngpu" --num-threads "$(most 1 $(($(nproc) / jobs)))" \
    "$data_dir/train" "$feats/train" "$data_dir/dev" "$feats/dev" "$folder" || return
  tuned_of[$1 $2]=$(< "$folder/best_settings")
}

train() { # first and last stage, method's conf, tag, settings: all networks, with what was best for each where they are tuned
  local network
  if [ "$tune_trials" -eq 0 ]; then run_stages "$model" "$@" || return; return 0; fi
  for network in $model; do
    tune "$network" "$3" || return
    run_stages "$network" "$1" "$2" "$3" "$4" "${tuned_of[$network $3]} $5" || return
  done
}

trained() { # method's conf, tag, settings: trains and evaluates all networks; false where one of them could not be trained
  local status=0
  train 3 5 "$@" < /dev/null || status=$?
  [ "$status" -lt 128 ] || exit "$status" # interrupted
  if [ "$status" -ne 0 ]; then
    failed+=("$(name_of "$1")$variant${2:+_$2}")
    log "${failed[-1]} failed and is not compared; going on without it" >&2
    return 1
  fi
}

experiments_of() { # recipes: the folders of all networks trained by them, named as steps/trainings.sh names them
  local recipe network folder
  for recipe; do
    for network in $model; do
      folder=$exp_dir/train_$(name_of "$frontend")_$(name_of "$network")_$recipe
      [ ! -d "$folder" ] || echo "$folder"
    done
  done
}

variant=$(named_parts "$loss" "$schedule")${augment:+_$(name_of "$augment")} # of each training's name, after its method's
if [ "$tune_trials" -gt 0 ]; then
  if $online || [ -n "$augment" ]; then refuse "--tune-trials takes features from disk as they are: leave --online and --augment out"; fi
  cuda_cmd=${cmd:-$cuda_cmd} feats=$feats_dir/$(name_of "$frontend")
fi

# The setting that decides comes last: --set overrides the confs, what was tuned both, and the ablation all of them.
log "the baseline: $(name_of "$baseline")"
run_stages "$model" 0 1 "$baseline" "" ""
train 2 2 "$baseline" "" ""
recipes=("$(name_of "$baseline")$variant") failed=()
for method in $methods; do
  [ "$method" != "$baseline" ] || continue
  log "the method: $(name_of "$method")"
  ! trained "$method" "" "" || recipes+=("$(name_of "$method")$variant")
done

ablated=()
if [ -n "$ablation" ]; then
  name=$(name_of "$ablation")$variant
  while read -r tag settings; do
    log "losses left out: $(name_of "$ablation"), $tag"
    ! trained "$ablation" "$tag" "$settings" || ablated+=("${name}_$tag")
  done <<'LOSSES'
hard_only train.distill.alpha=1 train.distill.beta=0
hard_soft train.distill.beta=0
hard_feature train.distill.alpha=1
LOSSES
  if [[ " ${recipes[*]} " == *" $name "* ]] || trained "$ablation" "" ""; then ablated+=("$name"); fi
fi

mapfile -t compared < <(experiments_of "${recipes[@]}")
tables=(--table "Methods" "${compared[@]}")
if [ ${#ablated[@]} -gt 0 ]; then
  mapfile -t compared < <(experiments_of "${recipes[0]}" "${ablated[@]}")
  tables+=(--table "Losses left out" "${compared[@]}")
fi
more=(); [ "$tune_trials" -eq 0 ] || more+=(--tuning "$exp_dir/tuning")
for name in "${failed[@]}"; do more+=(--note "not compared, since it could not be trained: $name"); done
make_comparison.py --out "$exp_dir/COMPARISON.md" --command "$command_line" --baseline "${recipes[0]}" "${more[@]}" "${tables[@]}"
if [ ${#failed[@]} -gt 0 ]; then
  refuse "not compared, since they failed (see above): ${failed[*]}; when that is fixed, or they are left out of --methods, the same" \
    "command goes on; of the others see $exp_dir/COMPARISON.md"
fi
log "done; see $exp_dir/COMPARISON.md"
