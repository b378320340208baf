# shellcheck shell=bash
# Sourced by steps/recipe.sh in the folder of a recipe, once its options are parsed and utils/stages.sh is there: checks them and makes paths of
# them, before the environment is looked for and anything is made. `check_confs` follows when there is the environment.
#
# Wants what steps/recipe.sh sets. Sets settings (of --set), feats.
# shellcheck disable=SC2034,SC2154 # options are set by the recipe, which reads what is set here
: "${caller_dir:?}"

require_numbers 0- elastic
require_numbers 0-1024 ngpu
require_numbers 1-1024 nproc nnodes
require_numbers 1- bonafide_utterances
[ -z "$score_jobs" ] || require_numbers 1-1024 score_jobs
[ -z "$train_jobs" ] || require_numbers 1-1024 train_jobs
require_whole 1- --seeds $seeds

[ -n "${model// /}" ] || refuse "--model is empty"

is_mini() { # are the sets, or will they be, of the mini corpus?
  local corpus=$data_dir/train
  if [ "$stage" -eq 0 ]; then
    [ -n "$corpus_dir" ] || return 0
    corpus=$corpus_dir
    [ -d "$corpus" ] || corpus=$(dirname "$corpus")
  fi
  grep -qs '"name": *"mini corpus' "$corpus/corpus.json"
}
if is_mini; then default_schedule=conf/schedule/mini.yaml default_frontend=$MINI_FRONTEND; else default_schedule='' default_frontend=$REAL_FRONTEND; fi
frontend=$(input_path "${frontend:-$default_frontend}")
baseline_conf=$(input_path "$baseline_conf") distill_conf=$(input_path "$distill_conf")
schedule=$(input_path "${schedule:-$default_schedule}") loss=$(input_path "$loss")
model=$(input_paths "$model")
[ -z "$augment" ] || augment=$(input_path "$augment")

require_plain "the folder" "$PWD"
require_plain --frontend "$frontend"; require_plain --augment "$augment"; require_plain --model ${model//[[:space:]]/ }
require_plain --baseline-conf "$baseline_conf"; require_plain --distill-conf "$distill_conf"
require_plain --schedule "$schedule"; require_plain --loss "$loss"
require_name --tag "$tag"
read -r -d '' -a set_list < <(settings_of "$set") || true
require_plain_values --set "${set_list[@]}"
settings=(); for setting in "${set_list[@]}"; do settings+=(--set "$setting"); done
feats=$feats_dir/$(name_of "$frontend")

train_set=train # of the data dirs: the one that is trained on
if [ -n "${train_data// /}" ]; then
  given=$train_data train_data='' train_set=joined/train
  for dir in $given; do
    dir=$(input_path "$dir")
    [ -f "$dir/utt2label" ] || [ ! -f "$dir/train/utt2label" ] || dir=$dir/train
    [ -f "$dir/utt2label" ] || refuse "--train-data $dir: no utt2label in there; give the data dir of a training set, such as data/train"
    train_data+="$dir "
    dir=$(realpath -sm -- "$dir") dir=${dir%/train} dir=${dir%/data}
    train_set+="+${dir##*/}"
  done
  require_plain --train-data "$train_set" $train_data
  [ "$stage" -eq 0 ] || [ -f "$data_dir/$train_set/corpus.json" ] || refuse "no data dir $data_dir/$train_set yet; start with --stage 0"
fi

[ -z "$corpus_dir" ] || [ -z "$bonafide_dir" ] || refuse "--bonafide-dir adds to the mini corpus, not to --corpus-dir"
if [ "$stage" -eq 0 ]; then
  check_corpus_dir
  if [ -z "$corpus_dir" ]; then
    case $bonafide_split in train | dev | eval) ;; *) refuse "--bonafide-split takes train, dev or eval, not '$bonafide_split'" ;; esac
    given=$bonafide_dir bonafide_dir=
    for dir in $given; do
      split=; case $dir in *:train | *:dev | *:eval) split=:${dir##*:} dir=${dir%:*} ;; esac
      dir=$(input_path "$dir")
      [ -d "$dir" ] || refuse "--bonafide-dir $dir: no such folder"
      bonafide_dir+="$dir$split "
    done
  fi
elif [ ! -f "$data_dir/train/corpus.json" ]; then
  refuse "no data dirs in $data_dir yet; start with --stage 0"
fi

asked_for() { # stages...: is one of them to be run?
  local number
  for number in "$@"; do [ "$number" -lt "$stage" ] || [ "$number" -gt "$stop_stage" ] || return 0; done
  return 1
}

# What a stage reads, makes or finds trainings by; what it does not is not looked at.
! asked_for 1 2 3 4 5 || require_file --frontend "$frontend" conf/frontend
! asked_for 2 4 5 || require_file --baseline-conf "$baseline_conf" conf/train
! asked_for 3 4 5 || require_file --distill-conf "$distill_conf" conf/train
if asked_for 2 3 4 5; then
  for network in $model; do require_file --model "$network" conf/model; done
  [ -z "$schedule" ] || require_file --schedule "$schedule" conf/schedule
  [ -z "$loss" ] || require_file --loss "$loss" conf/loss
  [ -z "$augment" ] || require_file --augment "$augment" conf/augment
fi
! asked_for 0 || require_place --data-dir "$data_dir"
! asked_for 1 || $online || require_place --feats-dir "$feats_dir"
! asked_for 2 3 4 5 || require_place --exp-dir "$exp_dir"
! asked_for 5 || [ ! -d "$exp_dir" ] || [ -w "$exp_dir" ] || refuse "--exp-dir $exp_dir: nothing can be written there; give yourself the right, or choose another folder"

check_confs() { # what the confs say, and --set on top of them; whether there are as many GPUs as are asked for
  local options=() runner
  for runner in "$train_cmd" "$cuda_cmd"; do
    command -v "${runner%% *}" >/dev/null || refuse "--cmd: there is no program ${runner%% *}"
  done
  asked_for 1 2 3 || [ "$ngpu" -gt 0 ] || return 0
  case ${cuda_cmd%% *} in *run.sh | *run.pl) ;; *) options+=(--elsewhere) ;; esac # other runners find the GPUs
  ! $online || options+=(--online)
  ! asked_for 1 2 3 || options+=(--frontend "$frontend")
  ! asked_for 2 || options+=(--train-conf "$baseline_conf")
  ! asked_for 3 || options+=(--train-conf "$distill_conf")
  if asked_for 2 3; then
    [ -z "$schedule" ] || options+=(--schedule "$schedule")
    [ -z "$loss" ] || options+=(--loss "$loss")
    for network in $model; do options+=(--model "$network"); done
    [ -z "$augment" ] || options+=(--augment "$augment")
  fi
  steps/check_confs.py --ngpu "$ngpu" --processes $(((ngpu > 0 ? ngpu : nproc) * nnodes)) "${settings[@]}" "${options[@]}" || exit 1
}
