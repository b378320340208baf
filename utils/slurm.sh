#!/usr/bin/env bash
# Runs jobs on a Slurm cluster as one job array, each with its own log, by the calling convention of Kaldi's slurm.pl.
#
# Usage: slurm.sh [options] [JOB=1:N] [options] <log> <command> [args...]
#  e.g.: slurm.sh --mem 2G --max-jobs-run 20 JOB=1:100 exp/log/feats.JOB.log steps/compute_feats.py --frontend conf/frontend/lps.yaml --part JOB/100 data/eval/wav.scp feats/lps/eval/parts/100/feats.JOB
#  e.g.: slurm.sh --gpu 1 --time 8:00:00 --max-retries 2 exp/log/score.log steps/score.py --ngpu 1 exp/NAME/seed1 eval
#
# JOB=1:N and the command mean the same as for run.sh (see run.sh --help). The jobs get this shell's environment and
# start in this folder. The folder, the logs and all files that the command needs must be on a file system that the
# nodes share.
#
# Options, each followed by a value:
#   --max-jobs-run N, -tc N   jobs at once (default: as many as Slurm lets run)
#   --mem X, --time X, --gpu N, --num-threads N, and others that the configuration knows
#   --config FILE             the configuration (default: conf/slurm.conf here, or else the toolkit's own)
#   --max-retries N           submit those jobs that failed or lost their node again, up to N times (default: 0)
# Options with one - (-p PARTITION, -A ACCOUNT, ...) go to sbatch unchanged; -sync and -V have no effect.
#
# Exit status: 0 if every job's was 0. 1 if some failed: each is named with Slurm's word for it (FAILED, TIMEOUT,
# NODE_FAIL, OUT_OF_MEMORY, CANCELLED, ...), and the end of the first one's log is shown. 130 or 143 after Ctrl-C or a
# TERM signal, which cancels the jobs. With --max-retries 0 Slurm itself queues a job that lost its node again, unless
# the cluster forbids it. FSD_SLURM_PATIENCE: seconds to wait for news of a job that Slurm has forgotten (60).
set -euo pipefail
toolkit=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd -P)
. "$toolkit/utils/job_call.sh"
read_call "$@"
: "${first:?}" "${last:?}" "${log_pattern:?}" "${command_pattern:?}" "${options[0]=}" "${max_jobs?}"

# --- What the configuration makes of the options.

config=conf/slurm.conf
[ -e "$config" ] || config=$toolkit/conf/slurm.conf
declare -A wanted=() # option -> value
asked=() defaults=() # options of this call, and those of the configuration that hold beside them
to_sbatch=()         # options with one -
for ((i = 0; i + 1 < ${#options[@]}; i += 2)); do
  key=${options[i]} value=${options[i + 1]}
  case $key in
    --config) config=$value ;;
    -sync) ;;
    -pe) whole_number "$key" "$value"; wanted[num_threads]=$value; asked+=(num_threads) ;;
    --*) key=${key#--} key=${key//-/_}; wanted[$key]=$value; asked+=("$key") ;;
    *) to_sbatch+=("$key" "$value") ;;
  esac
done

words_of() { # text; sets words to its words: quotes as in a shell, but nothing is carried out
  local text
  text=$(xargs -r printf '%s\n' <<<"$1" 2>/dev/null) || die "$config: unmatched quotes: $1"
  words=()
  [ -z "$1" ] || mapfile -t words <<<"$text"
}

[ -r "$config" ] || die "--config $config: no such file"
declare -A words_for=()
submit_words=() known=' ' number=0
while read -r kind key rest || [ -n "$kind" ]; do
  number=$((number + 1))
  case $kind in
    '') ;;
    command) words_of "$key $rest"; submit_words=("${words[@]}") ;;
    option | default)
      [[ $key =~ ^([A-Za-z][A-Za-z0-9_-]*)=(.*)$ ]] || die "$config, line $number: '$kind NAME=VALUE' is expected, not '$kind $key'"
      key=${BASH_REMATCH[1]//-/_} value=${BASH_REMATCH[2]}
      if [ "$kind" = option ]; then
        words_for[$key=$value]=$rest
        [[ $known == *" $key "* ]] || known+="$key "
      elif [ -z "${wanted[$key]+given}" ]; then
        wanted[$key]=$value
        defaults+=("$key")
      fi ;;
    *) die "$config, line $number: command, option or default is expected, not '$kind'" ;;
  esac
done < <(sed 's/#.*//' "$config")
((${#submit_words[@]})) || die "$config has no line 'command sbatch'"
command -v -- "${submit_words[0]}" >/dev/null ||
  die "no ${submit_words[0]} on this machine: is it one that submits to a Slurm cluster? utils/run.sh runs jobs here"

retries=${wanted[max_retries]:-0} threads=${wanted[num_threads]:-1}
whole_number --max-retries "$retries" 0
max_jobs=${max_jobs:-${wanted[max_jobs_run]:-}}
[ -z "$max_jobs" ] || whole_number --max-jobs-run "$max_jobs"
unset 'wanted[max_retries]' 'wanted[max_jobs_run]'
for key in "${defaults[@]}" "${asked[@]}"; do # of two that say the same to sbatch, the later one holds
  [ -n "${wanted[$key]+given}" ] || continue
  value=${wanted[$key]}
  unset "wanted[$key]"
  if [ -n "${words_for[$key=$value]+there}" ]; then
    words_of "${words_for[$key=$value]}"
  elif [ -n "${words_for[$key=*]+there}" ]; then
    words_of "${words_for[$key=*]}"
  else
    die "--${key//_/-} $value: no line of $config is for it; it has lines for:$known"
  fi
  for word in "${words[@]}"; do submit_words+=("${word//\$0/"$value"}"); done
done
submit_words+=("${to_sbatch[@]}")
for word in "${submit_words[@]}"; do
  [[ $word != -M* && $word != --cluster* ]] || die "$word: jobs of another cluster cannot be watched; submit from a machine of its own"
done
((retries == 0)) || submit_words+=(--no-requeue)

# --- The script of the array's tasks, in a folder of this call's own, in which each task leaves a file when it ends.

folder=./
[[ $log_pattern != */* ]] || folder=${log_pattern%/*}/
while [ -n "$name" ] && [[ $folder == *"$name"* ]]; do # a folder of all jobs is wanted
  folder=${folder%/}
  case $folder in */*) folder=${folder%/*}/ ;; *) folder=./ ;; esac
done
[[ $folder == /* ]] || folder=$PWD/$folder
if ! mkdir -p -- "$folder" 2>/dev/null || ! folder=$(mktemp -d -- "${folder}slurm.XXXXXX" 2>/dev/null); then
  log=$(of_job "$log_pattern" "$first")
  say_failed "$log"
  complain "$log could not be written"
  exit 1
fi
chmod 755 "$folder"
printf '%s' "$command_pattern" >"$folder/command"
cat >"$folder/task.sh" <<'EOF'
#!/bin/bash
folder=$1 here=$2 name=$3 log=$4 threads=$5 round=$6 number=$SLURM_ARRAY_TASK_ID
trap : TERM INT # when the job is ended, this shell lives on to write the log's last line
ended=$folder/ended.$round.$number
rm -f -- "$ended" # of a run of this task that lost its node
cd -- "$here" || exit 1
command=$(cat -- "$folder/command"; echo .) command=${command%.}
if [ -n "$name" ]; then log=${log//"$name"/$number} command=${command//"$name"/$number}; fi
[ -d "${TMPDIR:-/}" ] || unset TMPDIR # that of the submitting machine
started=$(date +%s)
printf '# %s\n# Running on %s as job %s of Slurm\n# Started at %s\n#\n' \
  "$command" "${SLURMD_NODENAME:-$(uname -n)}" "${SLURM_ARRAY_JOB_ID}_$number" "$(date)" >"$log" || exit 1
printf '( %s)\n' "$command" | bash >>"$log" 2>&1
status=${PIPESTATUS[1]}
spent=$(($(date +%s) - started))
printf '# Accounting: time=%d threads=%d\n# Ended (code %d) at %s, elapsed time %d seconds\n' \
  "$spent" "$threads" "$status" "$(date)" "$spent" >>"$log" || exit 1
echo "$status" >"$ended.new" && mv -- "$ended.new" "$ended" || exit 1
exit "$status"
EOF
own_words=out.%A.%a # what Slurm itself has to say of a task; Slurm takes a \ or % in the folder's name for its own
[[ $folder != *[\\%]* ]] || own_words=/dev/null
job_name=${log_pattern##*/} job_name=${job_name%.log}
[ -z "$name" ] || job_name=${job_name//"$name"/}
job_name=${job_name//[^A-Za-z0-9._-]/} job_name=${job_name%.}

# --- Submitting, watching, cancelling.

array=''             # Slurm's number of the array that is being run
declare -A open=()     # tasks of it that have not ended: number -> the last state that Slurm told, or nothing
declare -A ended_as=() # state in which a task ended

leave_nothing() { # whatever ends this script
  if [ -n "$array" ] && ((${#open[@]})); then
    scancel --quiet "$array" || complain "the jobs could not be cancelled: scancel $array"
  fi
  rm -rf -- "$folder"
}
trap leave_nothing EXIT

cancel() { # exit status: ends what runs, then this script
  trap 'exit 130' INT TERM HUP # a second Ctrl-C does not wait
  local i
  complain "interrupted; cancelling ${#open[@]} job(s) (logs: $(of_job "$log_pattern" '*'))"
  if [ -n "$array" ] && scancel --quiet "$array"; then
    for ((i = 0; i < 30; i++)); do
      [ -n "$(squeue --noheader --jobs="$array" 2>/dev/null || true)" ] || break
      sleep 0.5
    done
    open=()
  fi
  exit "$1"
}
trap 'cancel 130' INT
trap 'cancel 143' TERM HUP

ranges() { # ascending numbers -> 1-3,7
  local from=$1 to=$1 number text=''
  for number in "${@:2}" ''; do
    if [ "$number" = "$((to + 1))" ]; then to=$number; continue; fi
    text+=,$from
    ((to == from)) || text+=-$to
    from=$number to=$number
  done
  echo "${text#,}"
}

submit() { # round, tasks
  local round=$1 list i
  shift
  list=$(ranges "$@")${max_jobs:+%$max_jobs}
  for i; do
    open[$i]=
    log=${log_pattern//"$name"/$i}
    if [[ $log == */* ]] && [ ! -d "${log%/*}" ]; then mkdir -p -- "${log%/*}"; fi
    if [ -e "$log" ]; then rm -f -- "$log"; fi # what a former run said would be taken for this one's
  done
  for pause in 5 20 0; do
    # A Ctrl-C has to wait until the array's number is known.
    array=$(trap '' INT TERM HUP; exec "${submit_words[@]}" --parsable --export=ALL --array="$list" --job-name="${job_name:-job}" \
      --chdir="$folder" --output="$own_words" "$folder/task.sh" \
      "$folder" "$PWD" "$name" "$log_pattern" "$threads" "$round" 2>"$folder/refusal") || array=
    array=${array%%;*} # after it may stand the cluster's name
    if [ -n "$array" ] || ((pause == 0)) || ! grep -q 'Unable to contact slurm controller' "$folder/refusal"; then break; fi
    complain "Slurm's controller does not answer; trying again in $pause s"
    sleep "$pause" & wait $! || true
  done
  if [[ $array =~ ^[0-9]+$ ]]; then
    cat -- "$folder/refusal" >&2 # warnings
  else
    complain "error: sbatch did not take the job: ${submit_words[*]} --array=$list"
    sed 's/^/  | /' "$folder/refusal" >&2
    if grep -q 'Invalid job array' "$folder/refusal"; then
      complain "the cluster's MaxArraySize limits the numbers of jobs: $(scontrol show config 2>/dev/null | grep MaxArraySize || true)"
    fi
    exit 1
  fi
}

settle() { # task, state
  ended_as[$1]=$2
  unset "open[$1]"
}

silent=false         # the controller did not answer the last time
waited_for=' ' # reasons why tasks wait that were seen or told
declare -A since=()  # when it was noticed that a task, by what its file or Slurm says, should be over

ask_slurm() { # settles the tasks that Slurm knows to be over, and says what a user should know of the others
  local answer task state reason over missing=() now=' ' requeued=()
  local -A told=() waiting=()
  if ! answer=$(squeue --noheader --array --states=all --jobs="$array" --format='%K|%T|%r' 2>"$folder/refusal"); then
    if ! grep -qi 'invalid job id' "$folder/refusal"; then # else the whole array is over and forgotten
      $silent || complain "Slurm's controller does not answer; still waiting for the jobs: $(head -n 1 "$folder/refusal")"
      silent=true
      return
    fi
    answer=
  fi
  silent=false
  while IFS='|' read -r task state reason; do
    [[ $task =~ ^[0-9]+$ ]] && [ -n "${open[$task]+there}" ] || continue
    told[$task]=$state
    if [ "$state" = PENDING ]; then
      waiting[$reason]=$((${waiting[$reason]:-0} + 1))
      [[ ${open[$task]} != RUNNING ]] || requeued+=("$task")
    fi
  done <<<"$answer"
  for task in "${!open[@]}"; do
    [ -n "${told[$task]:-}" ] || missing+=("$task")
  done
  if ((${#missing[@]})) && command -v sacct >/dev/null; then
    while IFS='|' read -r task state; do
      task=${task#"${array}_"} state=${state%% *} # CANCELLED by 1000
      if [[ $task =~ ^[0-9]+$ ]] && [ -n "${open[$task]+there}" ] && [ -z "${told[$task]:-}" ]; then told[$task]=$state; fi
    done < <(sacct --noheader --parsable2 --allocations --array --jobs="$array" --format=JobID,State 2>/dev/null || true)
  fi
  for task in "${!open[@]}"; do
    state=${told[$task]:-}
    case $state in
      COMPLETED | FAILED | TIMEOUT | NODE_FAIL | OUT_OF_MEMORY | CANCELLED | PREEMPTED | BOOT_FAIL | DEADLINE | REVOKED)
        settle "$task" "$state" ;;
      *)
        over=''
        if [ -z "$state" ]; then
          over=UNKNOWN # forgotten
          [ ! -e "$folder/ended.$round.$task" ] || { settle "$task" FAILED; continue; }
        elif [[ $state != RUNNING && $state != COMPLETING ]]; then
          rm -f -- "$folder/ended.$round.$task" # it waits; if there is such a file, once again
        elif [ -e "$folder/ended.$round.$task" ]; then
          over=FAILED # on its last steps
        fi
        open[$task]=${state:-${open[$task]}}
        if [ -z "$over" ]; then
          unset "since[$task]"
        else
          since[$task]=${since[$task]:-$SECONDS}
          ((SECONDS - since[$task] < ${FSD_SLURM_PATIENCE:-60})) || settle "$task" "$over"
        fi ;;
    esac
  done
  ((${#requeued[@]} == 0)) ||
    complain "Slurm has queued $(first_few "${requeued[@]/#/"${array}_"}") again: the node was lost, or the place was taken"
  for reason in "${!waiting[@]}"; do
    case $reason in None | Resources | Priority | JobArrayTaskLimit | BeginTime | Cleaning) continue ;; esac
    now+="$reason "
    if [[ $waited_for == *" $reason "* ]] && [[ $waited_for != *" told:$reason "* ]]; then # for the second time
      complain "${waiting[$reason]} job(s) of array $array wait: $reason"
      now+="told:$reason "
    elif [[ $waited_for == *" told:$reason "* ]]; then
      now+="told:$reason "
    fi
  done
  waited_for=$now
}

between() { # least, number, most
  local number=$2
  ((number >= $1)) || number=$1
  ((number <= $3)) || number=$3
  echo "$number"
}

watch() { # until no task is open. The files are looked at often, Slurm is asked now and then: by 2 s at first, by 60 s at last.
  local began=$SECONDS next=$((SECONDS + 2)) file task nap
  since=()
  while ((${#open[@]})); do
    for file in "$folder/ended.$round."*[0-9]; do
      task=${file##*.}
      [ -e "$file" ] && [ -n "${open[$task]+there}" ] || continue
      if [ "$(<"$file")" = 0 ]; then
        settle "$task" COMPLETED
      elif [ -z "${since[$task]:-}" ]; then # Slurm knows whether it failed or was ended
        since[$task]=$SECONDS
        next=$(between 0 "$next" $((SECONDS + 1)))
      fi
    done
    ((${#open[@]})) || break
    if ((SECONDS >= next)); then
      ask_slurm
      next=$((SECONDS + $(between 2 $(((SECONDS - began) / 10)) $((${#since[@]} ? 5 : 60)))))
    fi
    nap=$(between 2 $(((SECONDS - began) / 2)) 50)
    sleep "$((nap / 10)).$((nap % 10))" & wait $! || true
  done
}

declare -A meaning=(
  [FAILED]="ended with a code other than 0"
  [TIMEOUT]="ran into the time limit, which --time sets"
  [DEADLINE]="ran into the deadline"
  [NODE_FAIL]="lost the node"
  [BOOT_FAIL]="the node did not start"
  [OUT_OF_MEMORY]="took more memory than asked for by --mem"
  [CANCELLED]="cancelled from outside"
  [PREEMPTED]="had to make room for other jobs"
  [REVOKED]="taken from this cluster"
  [UNKNOWN]="Slurm no longer knows of it, and it left no word: do the nodes share this file system?"
)

tell() { # tasks: a line for each way in which they ended, with their logs
  local task state logs
  while read -r state; do
    logs=()
    for task; do
      [ "${ended_as[$task]}" != "$state" ] || logs+=("$(of_job "$log_pattern" "$task")")
    done
    complain "$state (${meaning[$state]}): $(first_few "${logs[@]}")"
  done < <(for task; do echo "${ended_as[$task]}"; done | sort -u)
}

failed=()
mapfile -t tasks < <(seq "$first" "$last")
for ((round = 0; ; round++)); do
  submit "$round" "${tasks[@]}"
  watch
  again=()
  for task in "${tasks[@]}"; do
    case ${ended_as[$task]} in
      COMPLETED) ;;
      FAILED | NODE_FAIL | BOOT_FAIL | PREEMPTED | UNKNOWN)
        if ((round < retries)); then again+=("$task"); else failed+=("$task"); fi ;;
      *) failed+=("$task") ;; # once more it would end in the same way, or was not wanted
    esac
  done
  ((${#again[@]})) || break
  tell "${again[@]}"
  for task in "${again[@]}"; do
    log=$(of_job "$log_pattern" "$task")
    [ ! -e "$log" ] || mv -f -- "$log" "$log.$((round + 1))"
  done
  complain "submitting ${#again[@]} job(s) again, retry $((round + 1)) of $retries; their logs so far are kept as <log>.$((round + 1))"
  tasks=("${again[@]}")
done

if ((${#failed[@]})); then
  mapfile -t failed < <(printf '%s\n' "${failed[@]}" | sort -n)
  logs=()
  for task in "${failed[@]}"; do logs+=("$(of_job "$log_pattern" "$task")"); done
  say_failed "${logs[@]}"
  tell "${failed[@]}"
  if [ -s "${logs[0]}" ]; then show_end "${logs[0]}"; else complain "${logs[0]} was not written"; fi
  for file in "$folder/out."*".${failed[0]}"; do # what Slurm itself has to say, of the first one
    if [ -s "$file" ]; then sed 's/^/  | /' "$file" >&2; fi
  done
  exit 1
fi
