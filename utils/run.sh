#!/usr/bin/env bash
# Runs jobs on this machine, each with its own log, by the calling convention of Kaldi's run.pl and queue.pl.
#
# Usage: run.sh [options] [JOB=1:N] [options] <log> <command> [args...]
#  e.g.: run.sh --max-jobs-run 4 JOB=1:10 exp/log/score.JOB.log steps/score.py exp/NAME/seedJOB eval
#  e.g.: run.sh --gpu 1 exp/log/score.log steps/score.py --ngpu 1 exp/NAME/seed1 eval
#
# JOB=1:N runs N jobs and JOB=3 the third alone. JOB may be any name. It is replaced by the number wherever it stands in
# the log's name and in the command. The command is given to bash as run.pl does it. An argument without white space
# stays unquoted, so that '|', '>' or '$HOME' act as in a shell. One with white space (or an empty one) is put in double
# quotes, or in single quotes if it holds double ones. A \ keeps bash from acting on a $ or a |.
#
# Options, each followed by a value:
#   --max-jobs-run N, -tc N   jobs at once (default: the cores divided by --num-threads; with --gpu, what the GPUs allow)
#   --num-threads N           threads that a job uses
#   --gpu N                   GPUs that a job uses: each job sees its own, in CUDA_VISIBLE_DEVICES
# Other options of queue.pl (--mem X, -q X, -sync y, -pe smp N, -V, ...) are accepted and have no effect here.
#
# Exit status: 0 if every job's was 0. 1 if some failed: the failed logs are named, and the end of the first one is
# shown. 130 or 143 after Ctrl-C or a TERM signal, which also ends the jobs and their children.
set -euo pipefail

. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/job_call.sh"
read_call "$@"
: "${threads:?}" "${gpus:?}" "${first:?}" "${last:?}" "${log_pattern:?}" "${command_pattern:?}"

devices=() # the GPUs to share among the jobs
if ((gpus > 0)); then
  if [ -n "${CUDA_VISIBLE_DEVICES:-}" ]; then
    IFS=, read -r -a devices <<<"$CUDA_VISIBLE_DEVICES"
  elif command -v nvidia-smi >/dev/null; then
    mapfile -t devices < <(nvidia-smi --query-gpu=index --format=csv,noheader 2>/dev/null || true)
  fi
  if ((${#devices[@]} == 0)); then
    complain "WARNING: --gpu $gpus: no GPU is seen here; running ${max_jobs:-1} job(s) at a time without"
    max_jobs=${max_jobs:-1}
  elif ((gpus > ${#devices[@]})); then
    die "--gpu $gpus: a job asks for $gpus GPUs and there are ${#devices[@]} here"
  fi
  max_jobs=${max_jobs:-$((${#devices[@]} / gpus))}
fi
if [ -z "$max_jobs" ]; then
  max_jobs=$(($(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc) / threads)) # nproc heeds those two
  ((max_jobs >= 1)) || max_jobs=1
fi

outcomes=$(mktemp -d) # a job that ends well leaves a file here under its number
trap 'rm -rf "$outcomes"' EXIT

run_job() { # number, slot
  local log command started ended status=0 i mine=()
  log=$(of_job "$log_pattern" "$1") command=$(of_job "$command_pattern" "$1")
  trap : TERM INT # when the jobs are ended, this shell lives on to write the log's last line
  if ((gpus > 0 && ${#devices[@]} > 0)); then
    for ((i = 0; i < gpus; i++)); do mine+=("${devices[($2 * gpus + i) % ${#devices[@]}]}"); done
    CUDA_VISIBLE_DEVICES=$(IFS=,; echo "${mine[*]}")
    export CUDA_VISIBLE_DEVICES
  fi
  mkdir -p -- "$(dirname -- "$log")"
  started=$(date +%s)
  printf '# %s\n# Started at %s\n#\n' "$command" "$(date)" >"$log"
  exec 2>/dev/null # where this shell would say "Terminated"
  # In a new bash, so that nothing of this script (its variables, set -e) reaches the command; its command line comes
  # by standard input, which has no limit of length.
  bash >>"$log" 2>&1 <<<"( $command)" || status=$?
  ended=$(date +%s)
  printf '# Accounting: time=%d threads=%d\n# Ended (code %d) at %s, elapsed time %d seconds\n' \
    $((ended - started)) "$threads" "$status" "$(date)" $((ended - started)) >>"$log"
  if ((status == 0)); then : >"$outcomes/$1"; fi
}

slots=() # pid of the job in each slot; each job is a process group of its own
running() { [ -n "${slots[$1]:-}" ] && kill -0 "${slots[$1]}" 2>/dev/null; }

end_jobs() { # exit status: ends every job with all it started, then this script
  trap '' INT TERM HUP
  local slot ended=0
  exec 3>&2 2>/dev/null # where bash would say "Terminated" for each job
  for slot in "${!slots[@]}"; do
    if running "$slot"; then kill -TERM -- "-${slots[slot]}" 2>/dev/null && ended=$((ended + 1)); fi
  done
  for ((i = 0; i < 50; i++)); do
    local left=0
    for slot in "${!slots[@]}"; do
      if kill -0 -- "-${slots[slot]}" 2>/dev/null; then left=1; fi
    done
    ((left)) || break
    sleep 0.1
  done
  for slot in "${!slots[@]}"; do kill -KILL -- "-${slots[slot]}" 2>/dev/null || true; done
  complain "interrupted; $ended running job(s) ended (logs: $(of_job "$log_pattern" '*'))" 2>&3
  exit "$1"
}
trap 'end_jobs 130' INT
trap 'end_jobs 143' TERM HUP

set -m # each job gets its own process group, by which it is ended with all that it started
until_ended=() # for `wait`, which under -m takes a job that is stopped for a while (SIGSTOP) for one that ended
((BASH_VERSINFO[0] < 5)) || until_ended=(-f)
for ((job = first; job <= last; job++)); do
  while true; do
    for ((slot = 0; slot < max_jobs; slot++)); do
      running "$slot" || break 2
    done
    wait -n "${until_ended[@]}" 2>/dev/null || true
  done
  run_job "$job" "$slot" </dev/null &
  slots[slot]=$!
done
for slot in "${!slots[@]}"; do wait "${until_ended[@]}" "${slots[slot]}" 2>/dev/null || true; done

failed=()
for ((job = first; job <= last; job++)); do
  [ -e "$outcomes/$job" ] || failed+=("$(of_job "$log_pattern" "$job")")
done
if ((${#failed[@]} > 0)); then
  say_failed "${failed[@]}"
  if [ -s "${failed[0]}" ]; then show_end "${failed[0]}"; else complain "${failed[0]} could not be written"; fi
  exit 1
fi
