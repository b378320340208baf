# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # options are set here and read in what this sources
# Sourced by the run.sh of each corpus that only evaluates: the options and the stages that all of them have. The run.sh says
# CORPUS and MINI_WORDS (steps/corpus.sh).
: "${CORPUS:?}"

stage=0               # first stage to run
stop_stage=3          # last stage to run
exp=                  # trained detectors, "DIR/seed1 DIR/seed2"; empty: all of egs/asvspoof2019/la/exp (of pa, for replayed speech)
corpus_dir=           # the real corpus; empty: the mini corpus in the layout of this one
mini_size=small       # size of the mini corpus: tiny, small or full
mini_seed=1           # seed of the mini corpus
allow_subset=false    # take a corpus that lacks some of the official trials
phase=                # which trials count, where they have phases: eval, progress, hidden or all; empty: eval
data_dir=data         # Kaldi data dirs
feats_dir=feats       # features
exp_dir=exp           # links to the detectors, their scores and results
online=false          # compute features in scoring instead of reading them from disk: no stage 1
nj=$(nproc)           # parallel jobs for features and evaluation
ngpu=0                # 1: score on a GPU
skip_bad=false        # leave out utterances that cannot be read instead of stopping
cmd=                  # job runner instead of those in cmd.sh

. "$(dirname "${BASH_SOURCE[0]}")/recipe_begin.sh" # calls utils/parse_options.sh

require_numbers 0-1 ngpu
require_name --phase "$phase"
[ "$stage" -gt 0 ] || check_corpus_dir
[ "$stage" -eq 0 ] || [ -f "$data_dir/eval/utt2label" ] || refuse "no data dir $data_dir/eval yet; start with --stage 0"
trainings=() experiments=()
if [ -n "$exp" ]; then
  for dir in $exp; do trainings+=("$(input_path "$dir")"); done
else
  for file in "$(readlink -f utils)"/../egs/asvspoof2019/"$RECIPE"/exp/*/seed*/final.pt; do
    [ ! -f "$file" ] || trainings+=("$(dirname "$file")")
  done
fi
[ "$stop_stage" -eq 0 ] || [ ${#trainings[@]} -gt 0 ] ||
  refuse "no trained detector; give --exp, or train one: egs/asvspoof2019/$RECIPE/run.sh"
enter_environment
phase_option=(); [ -z "$phase" ] || phase_option=(--phase "$phase")

if begin_stage 0 "corpus and data list"; then
  hold "$data_dir/.lock" "$data_dir" 60
  # shellcheck disable=SC2119 # it takes no options of the mini corpus here
  make_data
  end_stage "$data_dir"
fi

declare -A frontend_of # experiment -> conf of its front end
folders=()
for training in "${trainings[@]}"; do
  [ "$stop_stage" -gt 0 ] || break
  read -r experiment seed frontend < <(adopt_training.py "$training" "$exp_dir") || exit 1
  frontend_of[$experiment]=$frontend folders+=("$experiment/seed$seed")
  [[ " ${experiments[*]} " == *" $experiment "* ]] || experiments+=("$experiment")
done

if ! $online && begin_stage 1 "features"; then
  for frontend in $(printf '%s\n' "${frontend_of[@]}" | sort -u); do
    feats=$feats_dir/$(name_of "$frontend")
    hold "$feats/.lock" "$feats" 60
    steps/check_feats_space.py --nj "$nj" --frontend "$frontend" "$data_dir" "$feats" eval
    steps/make_feats.sh --nj "$nj" --cmd "$train_cmd" --frontend "$frontend" --skip-bad "$skip_bad" \
      "$data_dir/eval" "$feats/eval"
  done
  end_stage "$feats_dir"
fi

if begin_stage 2 "score"; then
  for dir in "${folders[@]}"; do
    feats=$feats_dir/$(name_of "${frontend_of[${dir%/seed*}]}") options=(--online)
    inputs=("$dir/final.pt" "$data_dir/eval/utt2label" "$data_dir/eval/wav.scp")
    if ! $online; then options=(--feats-dir "$feats") inputs+=("$feats/eval/feats.scp"); fi
    ! up_to_date "$dir/scores/eval.txt" "${inputs[@]}" || continue
    hold "$dir/.lock" "$dir"
    log "scoring by $dir"
    mkdir -p "$dir/log"
    with_progress "$dir/log/score.log" -- $cuda_cmd --gpu "$ngpu" "$dir/log/score.log" \
      score.py --ngpu "$ngpu" "${options[@]}" --data-dir "$data_dir" "$dir" eval
  done
  end_stage "$exp_dir/*/seed*/scores"
fi

if begin_stage 3 "evaluate"; then
  for dir in "${folders[@]}"; do
    hold "$dir/.lock" "$dir"
    log "evaluating $dir"
    mkdir -p "$dir/log"
    $train_cmd "$dir/log/evaluate.log" evaluate_experiment.py "${phase_option[@]}" --data-dir "$data_dir" "$dir" eval
  done
  make_results.py --out "$exp_dir/RESULTS.md" --command "$command_line" "${experiments[@]}"
  end_stage "$exp_dir/RESULTS.md and $exp_dir/*/seed*/results/eval"
fi
