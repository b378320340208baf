# shellcheck shell=bash
# Sourced by steps/recipe.sh, after utils/stages.sh and once its sets and confs are known: the trainings of a recipe, how they
# are named, trained, found again and told apart from those that are done.
#
# A training is $exp_dir/TRAIN_FRONTEND_MODEL_METHOD[_LOSS][_SCHEDULE][_AUGMENT][_TAG]/seedN; the folder above it, the experiment,
# holds all seeds. The paper's loss and schedule are not named.
# Wants the recipe's options, data_dir, feats, test_sets, and baseline_conf and distill_conf as paths.
: "${data_dir:?}" "${feats:?}" "${exp_dir:?}" "${frontend:?}" "${model:?}" "${seeds:?}" "${baseline_conf:?}" "${distill_conf:?}"
settings=("${settings[@]}") # of --set; may be empty
: "${train_set:?}" "${test_sets:?}" "${ngpu:?}" "${heads:?}" "${cuda_cmd:?}" "${train_cmd:?}" "${nj:?}" "${tag?}" "${train_jobs?}" "${online:?}" "${augment?}" "${schedule?}" "${loss?}"
: "${nproc:?}" "${nnodes:?}" "${elastic:?}" "${score_jobs?}"

part_options=()
[ -z "$loss" ] || part_options+=(--loss "$loss")
[ -z "$schedule" ] || part_options+=(--schedule "$schedule")
variant_of_training=$(named_parts "$loss" "$schedule")${augment:+_$(name_of "$augment")}${tag:+_$tag}
online_option=(); ! $online || online_option=(--online)
pipes_option=(); ! "${allow_pipes:-false}" || pipes_option=(--allow-pipes)
online_option+=("${pipes_option[@]}")
augment_option=(); [ -z "$augment" ] || augment_option=(--augment "$augment")
tag_option=(); [ -z "$tag" ] || tag_option=(--tag "$tag")
[ "$ngpu" -eq 0 ] || nproc=$ngpu # a process for each GPU
launcher=() machines=()
if [ $((nproc * nnodes + elastic)) -gt 1 ]; then
  launcher=(distribute.py --ngpu "$ngpu" --nproc "$nproc" --nnodes "$nnodes" --max-restarts "$elastic")
fi
[ "$nnodes" -eq 1 ] || machines=(--nnodes "$nnodes")
score_jobs=${score_jobs:-$([ "$ngpu" -eq 0 ] && echo 1 || echo "$ngpu")}

experiment_of() { # model conf, training conf
  echo "$exp_dir/${train_set##*/}_$(name_of "$frontend")_$(name_of "$1")_$(name_of "$2")$variant_of_training"
}

threads_of() { # <first:last> <processes of a job>: sets `limit`, how many jobs of that array run at once, `threads`, those of
  # each process, and `job_threads`, those of each job
  local jobs=$train_jobs count=$((${1#*:} - ${1%:*} + 1)) cores own
  cores=$(most 1 $(($(nproc) / $2)))
  limit=() threads=() job_threads=()
  if [ "$ngpu" -eq 0 ]; then
    # A thread each: two jobs on a core each get further than one job on two. Those that would be left over for a last
    # round, with cores idle beside them, share the cores with the first ones.
    [ -n "$jobs" ] || jobs=$(least "$count" $((cores + count % cores)))
    own=$(most 1 $((cores / jobs)))
    threads=(--num-threads "$own") job_threads=(--num-threads $((own * $2)))
  fi
  [ -z "$jobs" ] || limit=(--max-jobs-run "$jobs")
}

hold_seeds() { # <experiment> <first:last>: keep other runs from these trainings until the stage ends
  local seed
  for seed in $(seq "${2%:*}" "${2#*:}"); do hold "$1/log/.seed$seed.lock" "$1/seed$seed"; done
}

train_all() { # training conf: every network's seeds, several at once
  local network experiment range seed logs limit threads job_threads
  for network in $model; do
    experiment=$(experiment_of "$network" "$1")
    for range in $(ranges_of $seeds); do
      hold_seeds "$experiment" "$range"
      threads_of "$range" "$nproc"
      logs=(); for seed in $(seq "${range%:*}" "${range#*:}"); do logs+=("$experiment/log/train.$seed.log"); done
      log "training $experiment, seeds ${range/:/ to } (logs: log/train.SEED.log)"
      with_progress "${logs[@]}" -- $cuda_cmd --gpu "$ngpu" "${machines[@]}" "${limit[@]}" "${job_threads[@]}" \
        JOB="$range" "$experiment/log/train.JOB.log" \
        "${launcher[@]}" train.py --frontend "$frontend" --model "$network" --train-conf "$1" "${part_options[@]}" "${settings[@]}" "${online_option[@]}" \
        "${augment_option[@]}" "${tag_option[@]}" --seed JOB \
        --ngpu "$ngpu" "${threads[@]}" "$data_dir/$train_set" "$feats/$train_set" "$data_dir/dev" "$feats/dev" "$experiment/seedJOB"
      grep -h '^train.py:' "${logs[@]}" || true
    done
  done
}

score_all() { # <experiment> <first:last>: scores the test sets by its trainings of those seeds
  local gpu seed files limit threads job_threads exit_options options
  gpu=$(least 1 "$ngpu")
  exit_options_of "$1/seed${2%:*}"
  options=("${exit_options[@]}" "${online_option[@]}" --ngpu "$gpu" --data-dir "$data_dir" --feats-dir "$feats")
  hold_seeds "$1" "$2"
  log "scoring by $1, seeds $2"
  if [ "$score_jobs" -eq 1 ]; then
    threads_of "$2" 1
    with_progress "$1/log/score.*.log" -- \
      $cuda_cmd --gpu "$gpu" "${limit[@]}" "${job_threads[@]}" JOB="$2" "$1/log/score.JOB.log" \
      score.py "${threads[@]}" "${options[@]}" "$1/seedJOB" $test_sets
    return
  fi
  for seed in $(seq "${2%:*}" "${2#*:}"); do
    threads_of "1:$score_jobs" 1
    with_progress "$1/log/score.$seed.*.log" -- \
      $cuda_cmd --gpu "$gpu" "${limit[@]}" "${job_threads[@]}" JOB=1:"$score_jobs" "$1/log/score.$seed.JOB.log" \
      score.py --part "JOB/$score_jobs" "${threads[@]}" "${options[@]}" "$1/seed$seed" $test_sets
    files=$(results_of "$1/seed$seed" scores .txt)
    merge_scores.py --nj "$score_jobs" --data-dir "$data_dir" $files
  done
}

fit_domains() { # <experiment> <first:last>: what the trainings of those seeds were trained on, for detect.py
  local gpu limit threads job_threads
  gpu=$(least 1 "$ngpu")
  hold_seeds "$1" "$2"
  threads_of "$2" 1
  log "fitting the alarm for recordings unlike the training set: $1, seeds $2"
  $cuda_cmd --gpu "$gpu" "${limit[@]}" "${job_threads[@]}" JOB="$2" "$1/log/domain.JOB.log" \
    fit_domain.py "${threads[@]}" "${online_option[@]}" --ngpu "$gpu" --data-dir "$data_dir" --feats-dir "$feats" --train-set "$train_set" "$1/seedJOB"
}

find_trainings() { # sets trainings to the folders that stages 2 and 3 finished, and experiments to those above them
  local network conf seed experiment found
  trainings=() experiments=()
  for network in $model; do
    for conf in "$baseline_conf" "$distill_conf"; do
      experiment=$(experiment_of "$network" "$conf") found=false
      for seed in $seeds; do
        if [ -s "$experiment/seed$seed/final.pt" ]; then
          trainings+=("$experiment/seed$seed") found=true
        else
          log "not trained, so left out: $experiment/seed$seed"
        fi
      done
      ! $found || experiments+=("$experiment")
    done
  done
  if [ ${#trainings[@]} -eq 0 ]; then
    echo "run.sh: error: nothing is trained yet; run stages 2 and 3 with the same options first" >&2
    exit 1
  fi
}

say_next() { # what to do with the trainings that were found: commands as they can be given where the recipe was called
  local python training name recording='' page
  for training in "${trainings[@]}"; do [ "${training%/seed*}" != "${experiments[-1]}" ] || break; done
  python=$(from_caller "$FSD_PYTHON") training=$(from_caller "$training")
  for name in $test_sets; do
    if read -r _ recording <"$data_dir/$name/wav.scp" && [ "$name" = eval ]; then break; fi
  done
  if [ -f "$recording" ]; then recording=$(from_caller "$recording"); else recording=RECORDING.wav; fi
  if ${report:-true}; then page="$python -m webbrowser file://$(realpath "$exp_dir/report.html")"; else page="less $(from_caller "$exp_dir/RESULTS.md")"; fi
  echo "Next:"
  echo "  $page"
  echo "  $python $(from_caller "$FSD_ROOT/steps/detect.py") --model $training $recording"
  echo "  $python $(from_caller "$FSD_ROOT/steps/serve.py") --model $training"
}

results_of() { # <training> <folder> <ending>: the files that a set's detector and heads end in, a line each
  local name head
  for name in $test_sets; do
    echo "$1/$2/$name$3"
    for head in $(exits_of "$1"); do echo "$1/$2/${name}_head$head$3"; done
  done
}

exits_of() { # <training>: the stages before the last whose heads are scored too: those that it says it trained
  local stages=()
  if $heads && [ -f "$1/heads" ]; then read -r -a stages < "$1/heads"; fi
  [ ${#stages[@]} -lt 2 ] || echo "${stages[@]::${#stages[@]}-1}"
}

exit_options_of() { # <training>: sets `exit_options`, which scores are to be made
  local stage
  exit_options=()
  [ -z "$(exits_of "$1")" ] || for stage in $(< "$1/heads"); do exit_options+=(--exit "$stage"); done
}

seeds_to_do() { # <experiment> <is it done?>: the ranges of those of its trainings' seeds for which that does not hold
  local dir todo=()
  for dir in "${trainings[@]}"; do
    if [ "${dir%/seed*}" = "$1" ] && ! "$2" "$dir"; then todo+=("${dir##*/seed}"); fi
  done
  [ ${#todo[@]} -eq 0 ] || ranges_of "${todo[@]}"
}

is_scored() {
  local features=() name
  for name in $test_sets; do
    features+=("$data_dir/$name/utt2label" "$data_dir/$name/utt2attack")
    if $online; then features+=("$data_dir/$name/"{wav.scp,segments,reco2file_and_channel}); else features+=("$feats/$name/feats.scp"); fi
  done
  all_up_to_date "$(results_of "$1" scores .txt)" "$1/final.pt" "${features[@]}"
}

is_located() { all_up_to_date "$1/results/eval/located.json" "$1/final.pt" "$data_dir"/{dev,eval}/{rttm,wav.scp}; }
has_domain() { all_up_to_date "$1/domain.npz" "$1/final.pt"; }

is_evaluated() {
  local inputs outputs name table head
  inputs=$(results_of "$1" scores .txt)
  outputs=$(results_of "$1" results /evaluation.json)
  for name in $test_sets; do
    for table in "$data_dir/$name"/{asv_scores,corpus.json,utt2*}; do
      if [ -f "$table" ]; then inputs+=" $table"; fi
    done
    if [ -f "$data_dir/$name/utt2env" ]; then outputs+=" $1/results/$name/attack_by_environment.png"; fi
    if [ "$name" = dev ]; then
      outputs+=" $1/calibration.json"
      for head in $(exits_of "$1"); do outputs+=" $1/calibration_head$head.json"; done
    fi
  done
  all_up_to_date "$outputs" $inputs
}
