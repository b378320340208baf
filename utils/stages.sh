# shellcheck shell=bash
# Sourced by recipes: numbered stages with a line when one begins and one when it ends, and paths as the caller means them.
# Wants the variables stage, stop_stage, and caller_dir (the folder in which the recipe was called).
: "${stage?}" "${stop_stage?}" "${caller_dir:?}"

. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/plain_values.sh"

log() { echo "$(date '+%Y-%m-%d %H:%M:%S') ${0##*/}: $*"; }

_stage_number='' _stage_began=0

begin_stage() { # number, what it does; false if the user did not ask for this stage
  if [ "$stage" -gt "$1" ] || [ "$stop_stage" -lt "$1" ]; then return 1; fi
  _stage_number=$1 _stage_began=$SECONDS
  local of=; [ "$stage" = "$stop_stage" ] || of=" of $stage-$stop_stage"
  log "stage $1$of: $2"
}

end_stage() { # where to look
  log "stage $_stage_number: done in $((SECONDS - _stage_began)) s; see $1"
  _stage_number=
  _let_go
}

_held=() # locks of this stage: descriptor, file, descriptor, file, ...

# Two runs must not write to the same place at once. A lock is the system's, not the file's being there: it is held by this
# script and by all that it has started (they inherit the descriptor), and is gone with the last of them, however they end.
# So after a kill of this script alone, a rerun leaves jobs that still write their time.
hold() { # <lock file> <what it stands for> [<seconds>]: until the stage ends; leaves if another run has it for so long
  local lock=$1 what=$2 patience=${3:-5} fd status=0 folder
  folder=$(dirname "$lock")
  mkdir -p "$folder" || { echo "${0##*/}: error: $folder cannot be made; choose another folder, or fix the problem above" >&2; exit 1; }
  # Where nothing can be written there is nothing to guard: what is whole there is used. What this script has is its own.
  if [ ! -w "$folder" ] || [[ " ${_held[*]} " == *" $lock "* ]]; then return 0; fi
  if ! command -v flock >/dev/null; then
    log "WARNING: no flock (of util-linux) here: make sure that no other run writes to $what" >&2
    return 0
  fi
  # Another user's lock may be read only, which is enough to have it.
  if [ -e "$lock" ] && [ ! -w "$lock" ]; then exec {fd}<"$lock"; else exec {fd}>>"$lock"; fi
  flock -n -E 75 "$fd" || status=$?
  if [ "$status" -eq 75 ]; then
    log "$what: $(_holder_of "$lock" "$fd"); waiting up to $patience s for it" >&2
    status=0
    flock -w "$patience" -E 75 "$fd" || status=$?
    if [ "$status" -eq 75 ]; then
      echo "${0##*/}: error: $what: $(_holder_of "$lock" "$fd"); start again when it has ended, or end it" >&2
      exit 1
    fi
  fi
  [ "$status" -eq 0 ] || log "WARNING: $lock: this file system has no locks: make sure that no other run writes to $what" >&2
  # Who has it is a help for others, and no more: a full disk will be told of by the stage itself.
  { echo "${0##*/}, pid $$ on $(uname -n), since $(date '+%Y-%m-%d %H:%M:%S')" >"$lock"; } 2>/dev/null || true
  _held+=("$fd" "$lock")
}

_holder_of() { # <lock file> <descriptor>: who has it, in words; for use in $(...), which has the descriptor too and is not meant
  local said pid processes fd=$2
  exec {fd}>&-
  said=$(cat "$1" 2>/dev/null) || said=
  pid=${said#*pid } pid=${pid%% *}
  # kill -0 fails for another user's process too
  if [[ $said == *" on $(uname -n), since "* && $({ LC_ALL=C kill -0 "$pid"; } 2>&1) == *"No such process"* ]]; then
    processes=$(find /proc/[0-9]*/fd -lname "$(readlink -f "$1")" 2>/dev/null | cut -d/ -f3 | sort -nu | grep -vx "$$" | tr '\n' ' ') || true
    echo "what a run that was killed (${said%% on *}) has started is still at work there (pid ${processes:-unknown })" | sed 's/ )$/)/'
  else
    echo "another run is at work there (${said:-which one is not known})"
  fi
}

_let_go() {
  local i fd
  for ((i = 0; i < ${#_held[@]}; i += 2)); do
    : 2>/dev/null >"${_held[i + 1]}" || true
    fd=${_held[i]}
    exec {fd}>&-
  done
  _held=()
}

_say_failed_stage() {
  local status=$?
  if [ "$status" -eq 130 ]; then
    log "interrupted; run the same command to resume" >&2
  elif [ "$status" -ne 0 ] && [ -n "$_stage_number" ]; then
    log "stage $_stage_number failed; when it is fixed, resume by --stage $_stage_number" >&2
  fi
}
trap _say_failed_stage EXIT
trap 'exit 130' INT

# Recipes work in their own folder; the paths that they use and print are valid where they were called too.

input_path() { # a path given on the command line: where the caller stands, or else in the recipe's folder
  case $1 in
    '' | /*) echo "$1" ;;
    *) if [ "$caller_dir" = "$PWD" ]; then echo "$1"
      elif [ -e "$caller_dir/$1" ]; then realpath -sm -- "$caller_dir/$1"
      elif [ -e "$1" ]; then echo "$PWD/$1"
      else echo "$1"; fi ;;
  esac
}

input_paths() { # several, separated by spaces
  local path
  for path in $1; do printf '%s ' "$(input_path "$path")"; done
}

output_path() { # a path given on the command line, and the option's default, which is in the recipe's folder
  case $1 in
    /*) echo "$1" ;;
    *) if [ "$caller_dir" = "$PWD" ]; then echo "$1"; elif [ "$1" != "$2" ]; then realpath -sm -- "$caller_dir/$1"; else echo "$PWD/$1"; fi ;;
  esac
}

require_file() { # <option> <file> <folder>: it is there; else name what replaces it, or the nearest name in its folder or in this one
  local folder near instead
  [ ! -f "$2" ] || return 0
  instead=$(sed -n "s,^$(basename "$3")/$(name_of "$2")\\.yaml ,,p" "$3/../former_names.txt" 2>/dev/null) || instead=
  [ -z "$instead" ] || refuse "$1 $2: no such file; give $instead instead"
  for folder in "$(dirname "$2")" "$3"; do
    near=$(find "$folder/" -maxdepth 1 -name "*.yaml" -printf '%f\n' 2>/dev/null | sed 's/\.[^.]*$//' | nearest_name "$(name_of "$2")") || near=
    [ -z "$near" ] || refuse "$1 $2: no such file; did you mean $folder/$near.yaml?"
  done
  refuse "$1 $2: no such file"
}

from_caller() { # <path>: as it is written where the recipe was called, quoted for a shell; relative where that is shorter
  local absolute relative
  absolute=$(realpath -s -- "$1")
  relative=$(realpath -s --relative-to="$caller_dir" -- "$1")
  if [ ${#relative} -lt ${#absolute} ]; then printf '%q' "$relative"; else printf '%q' "$absolute"; fi
}

require_place() { # <option> <folder>: it is there, or can be made
  local there=$2
  until [ -e "$there" ]; do there=$(dirname "$there"); done
  [ -d "$there" ] || refuse "$1 $2: $there is a file; remove it, or choose another folder"
  [ "$there" = "$2" ] || [ -w "$there" ] || refuse "$1 $2: nothing can be written to $there; give yourself the right, or choose another folder"
}

up_to_date() { # is file $1 there, and newer than each of the files that follow?
  local input
  [ -s "$1" ] || return 1
  for input in "${@:2}"; do
    [ ! "$input" -nt "$1" ] || return 1
  done
}

all_up_to_date() { # are all files of the list $1 there, and newer than each of the files that follow?
  local output
  for output in $1; do up_to_date "$output" "${@:2}" || return 1; done
}

least() { printf '%s\n' "$@" | sort -n | head -n 1; }
most() { printf '%s\n' "$@" | sort -n | tail -n 1; }

ranges_of() { # whole numbers -> the ranges that they make up, as job arrays want them: 1 2 3 7 -> 1:3 7:7
  [ $# -gt 0 ] || return 0
  printf '%s\n' "$@" | sort -nu | awk '
    NR == 1 { first = last = $1; next }
    $1 == last + 1 { last = $1; next }
    { print first ":" last; first = last = $1 }
    END { if (NR) print first ":" last }'
}

name_of() { # the name of a conf: its file's, without folder and .yaml
  basename "$1" .yaml
}

named_parts() { # <conf of the loss> <of the schedule>: how the name of a training goes on; the paper's are not named
  local part
  for part; do case $(name_of "$part") in '' | a_softmax | paper) ;; *) printf '_%s' "$(name_of "$part")" ;; esac; done
}
