# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # options are set by the recipe, which reads what is set here
# Sourced by steps/recipe.sh and steps/eval_recipe.sh once their options have their defaults: parses the command line, and checks
# and completes the options that both have. Sets RECIPE_DIR, caller_dir (where the recipe was called) and command_line.
last_stage=$stop_stage RECIPE_DIR=$(dirname "${BASH_SOURCE[-1]}") OPTIONS_IN=${BASH_SOURCE[1]}
. "$RECIPE_DIR/utils/parse_options.sh"
caller_dir=$PWD
cd "$RECIPE_DIR" || exit 1
command_line="egs/${PWD#*/egs/}/run.sh$GIVEN_OPTIONS"
set -euo pipefail
. utils/stages.sh
[ $# -eq 0 ] || refuse "unexpected argument '$1' (see run.sh --help)"
. steps/corpus.sh

require_numbers "0-$last_stage" stage stop_stage
[ "$stage" -le "$stop_stage" ] || refuse "--stage $stage --stop-stage $stop_stage: no stage is left to run"
require_numbers 0- mini_seed
require_numbers 1-1024 nj
for name in data_dir feats_dir exp_dir; do [ -n "${!name// /}" ] || refuse "--${name//_/-} is empty"; done
data_dir=$(output_path "$data_dir" data) feats_dir=$(output_path "$feats_dir" feats) exp_dir=$(output_path "$exp_dir" exp)
[ -z "$corpus_dir" ] || corpus_dir=$(input_path "$corpus_dir")
require_plain --data-dir "$data_dir"; require_plain --feats-dir "$feats_dir"; require_plain --exp-dir "$exp_dir"

enter_environment() { # the toolkit's Python, job runners, and what shows the progress of jobs
  . ./path.sh || exit 1
  . ./cmd.sh
  . utils/with_progress.sh
  train_cmd=${cmd:-$train_cmd} cuda_cmd=${cmd:-$cuda_cmd}
}
