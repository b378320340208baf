# shellcheck shell=bash
# Sourced; gives with_progress, which shows the progress of jobs from their logs while they run, whatever runs them.
#
#   with_progress "exp/log/make_feats.*.log" -- $cmd JOB=1:$nj exp/log/make_feats.JOB.log compute_feats.py ...
#
# Before `--`: logs or quoted patterns of logs; they need not exist yet, and what they hold already is not shown.
# Its status is that of the command. See utils/follow_log.py for the lines that a log is read for.

_with_progress_dir=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd -P)

with_progress() {
  local logs=() follower ready fd status=0
  while [ $# -gt 0 ] && [ "$1" != -- ]; do logs+=("$1"); shift; done
  if [ $# -lt 2 ] || [ ${#logs[@]} -eq 0 ]; then
    echo "with_progress: usage: with_progress <log>... -- <command> [args...]" >&2
    return 2
  fi
  shift
  # The command starts once the follower has set aside what the logs hold from former runs; a follower that cannot
  # start closes the pipe, and the command runs without.
  exec {fd}< <(exec "${FSD_PYTHON:-python3}" "$_with_progress_dir/follow_log.py" --while-pid $$ --say-ready \
    "${logs[@]}" </dev/null)
  follower=$!
  read -r ready <&"$fd" || ready=
  [ "$ready" = ready ] || echo "with_progress: WARNING: the progress of ${logs[*]} cannot be shown" >&2
  "$@" {fd}<&- || status=$?
  kill -TERM "$follower" 2>/dev/null || true
  wait "$follower" 2>/dev/null || true
  exec {fd}<&-
  return "$status"
}
