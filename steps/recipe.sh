# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # options are set here and read in what this sources
# Sourced by the run.sh of each corpus: the options and the stages that all of them have. A stage's commands can be given by hand,
# in the recipe's folder and after `. ./path.sh`.
#
# The run.sh says what is its own: CORPUS and MINI_WORDS (steps/corpus.sh), REAL_FRONTEND and MINI_FRONTEND (the front end
# where none is given), and if they differ from the usual ones BASELINE_CONF and DISTILL_CONF.
: "${CORPUS:?}" "${REAL_FRONTEND:?}" "${MINI_FRONTEND:?}"

stage=0               # first stage to run
stop_stage=5          # last stage to run
corpus_dir=           # the real corpus; empty: the mini corpus
mini_size=small       # size of the mini corpus: tiny, small or full
mini_seed=1           # seed of the mini corpus
bonafide_dir=         # speech to add to the mini corpus: "DIR DIR:dev DIR:eval"; needs its own --data-dir, --feats-dir and --exp-dir
bonafide_split=train  # where a DIR without :SPLIT goes: train, dev or eval
bonafide_utterances=60  # largest number of utterances of each added speaker
train_data=           # Kaldi data dirs whose utterances are trained on too: "DIR DIR" (docs/cross_corpus.md)
allow_subset=false    # take a corpus that lacks some of the official trials
data_dir=data         # Kaldi data dirs
feats_dir=feats       # features
exp_dir=exp           # trainings, scores and results
frontend=             # front end; empty: the recipe's own
model=conf/model/ecanet18.yaml  # network, or several: "a.yaml b.yaml"
baseline_conf=        # training method of stage 2; empty: the recipe's own, as a rule conf/train/baseline.yaml
distill_conf=         # training method of stage 3; empty: the recipe's own, as a rule conf/train/self_distill.yaml
schedule=             # epochs, batches and learning rate of both, conf/schedule/*.yaml; empty: mini.yaml on the mini corpus, else as the methods say
loss=                 # hard loss of both, conf/loss/*.yaml; empty: as the methods say
online=false          # compute features in training and scoring instead of reading them from disk: no stage 1
augment=              # augmentation of the training set, conf/augment/*.yaml; steps on waveforms need --online true
set=                  # overrides of conf keys: "train.epochs=3 model.stem=conv3"
tag=                  # name of a variant, appended to the names of its trainings
seeds="1 2 3"         # trainings of each network and method; seeds in a row can run in parallel
nj=$(nproc)           # parallel jobs for features
ngpu=0                # GPUs that a training uses on each machine, one process each
nproc=1               # processes that a training uses on each machine, if it uses no GPU
nnodes=1              # machines that a training uses (docs/cluster.md)
elastic=0             # largest number of restarts after a process of a training died; it resumes from the last checkpoint
score_jobs=           # jobs that share each training's scoring; empty: 1, or --ngpu
train_jobs=           # parallel trainings (and scorings), of one network's seeds; empty: one for each core or GPU, and on cores those left for a last round too
skip_bad=false        # leave out utterances that cannot be read instead of stopping
allow_pipes=false     # run the entries of wav.scp that are commands (`sph2pipe -f wav a.sph |`), as Kaldi does
heads=true            # score and evaluate the exits too, stages that have heads of their own, if a training has them
report=true           # stage 5 also makes report.html, a page that compares the systems and shows their details
report_all=true       # RESULTS.md and report.html take all finished trainings of this data and front end in --exp-dir; false: this command's
cmd=                  # job runner instead of those in cmd.sh

. "$(dirname "${BASH_SOURCE[0]}")/recipe_begin.sh" # calls utils/parse_options.sh
. steps/recipe_options.sh # checks them all, and makes nothing yet
enter_environment
check_confs

if begin_stage 0 "corpus and data lists"; then
  hold "$data_dir/.lock" "$data_dir" 60
  added=()
  for dir in $bonafide_dir; do added+=(--bonafide-dir "$dir"); done
  make_data --bonafide-split "$bonafide_split" --bonafide-utterances "$bonafide_utterances" "${added[@]}"
  [ -z "$train_data" ] || local/join_train_data.py "$data_dir/$train_set" "$data_dir/train" $train_data
  end_stage "$data_dir"
fi

# The sets that stage 0 made.
for list in "$data_dir"/*/utt2label; do require_plain "the data dir" "$(dirname "$list")"; done
sets=$(cd "$data_dir" && for list in */utt2label; do dirname "$list"; done)
test_sets=$(for name in $sets; do [ "$name" = train ] || echo "$name"; done)
sets="$train_set $test_sets"
. steps/trainings.sh

if ! $online && begin_stage 1 "features by $(name_of "$frontend")"; then
  hold "$feats/.lock" "$feats" 60
  steps/check_feats_space.py --nj "$nj" --frontend "$frontend" "${settings[@]}" "$data_dir" "$feats" $sets
  for name in $sets; do
    steps/make_feats.sh --nj "$nj" --cmd "$train_cmd" --frontend "$frontend" --skip-bad "$skip_bad" --set "$set" \
      --allow-pipes "$allow_pipes" \
      "$data_dir/$name" "$feats/$name"
  done
  end_stage "$feats"
fi

if begin_stage 2 "train by $(name_of "$baseline_conf")"; then
  train_all "$baseline_conf"
  end_stage "$exp_dir/*_$(name_of "$baseline_conf")*/seed*/curves.png"
fi

if begin_stage 3 "train by $(name_of "$distill_conf")"; then
  train_all "$distill_conf"
  end_stage "$exp_dir/*_$(name_of "$distill_conf")*/seed*/curves.png"
fi

if begin_stage 4 "score"; then
  find_trainings
  for experiment in "${experiments[@]}"; do
    for range in $(seeds_to_do "$experiment" is_scored); do
      score_all "$experiment" "$range"
    done
    for range in $(seeds_to_do "$experiment" has_domain); do
      fit_domains "$experiment" "$range"
    done
  done
  end_stage "$exp_dir/*/seed*/scores"
fi

if begin_stage 5 "evaluate"; then
  find_trainings
  for experiment in "${experiments[@]}"; do
    for range in $(seeds_to_do "$experiment" is_evaluated); do
      hold_seeds "$experiment" "$range"
      $train_cmd --max-jobs-run "$nj" JOB="$range" "$experiment/log/evaluate.JOB.log" \
        evaluate_experiment.py --data-dir "$data_dir" "$experiment/seedJOB" $test_sets
    done
    [ -f "$data_dir/eval/rttm" ] || continue
    for range in $(seeds_to_do "$experiment" is_located); do
      hold_seeds "$experiment" "$range"
      log "locating spoofed stretches by $experiment, seeds ${range/:/ to } (tables: log/locate.SEED.log)"
      $train_cmd --max-jobs-run "$nj" JOB="$range" "$experiment/log/locate.JOB.log" \
        locate.py --data-dir "$data_dir" "${pipes_option[@]}" "$experiment/seedJOB" dev eval
    done
  done
  beside=(); ! $report_all || beside=(--beside)
  make_results.py "${beside[@]}" --out "$exp_dir/RESULTS.md" --command "$command_line" "${experiments[@]}"
  if $report; then
    report.py "${beside[@]}" "${pipes_option[@]}" --data-dir "$data_dir" --feats-dir "$feats" --command "$command_line" --out "$exp_dir/report.html" \
      "${experiments[@]}"
  fi
  made="$exp_dir/RESULTS.md"; ! $report || made+=", $exp_dir/report.html"
  end_stage "$made, and $exp_dir/*/seed*/results/*/*.png"
  say_next
fi
