# shellcheck shell=bash
# Sourced by recipes: numbered stages with a line when one begins and one when it ends, and paths as the caller means them.
# Wants the variables stage, stop_stage, and caller_dir (the folder in which the recipe was called).
: "${stage:?}" "${stop_stage:?}" "${caller_dir:?}"

. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/plain_values.sh"

log() { echo "$(date '+%Y-%m-%d %H:%M:%S') ${0##*/}: $*"; }

_stage_number='' _stage_began=0

begin_stage() { # number, what it does; false if the user did not ask for this stage
  if [ "$stage" -gt "$1" ] || [ "$stop_stage" -lt "$1" ]; then return 1; fi
  _stage_number=$1 _stage_began=$SECONDS
  log "stage $1: $2"
}

end_stage() { # where to look
  log "stage $_stage_number: done in $((SECONDS - _stage_began)) s; see $1"
  _stage_number=
}

_say_failed_stage() {
  local status=$?
  if [ "$status" -ne 0 ] && [ -n "$_stage_number" ]; then
    log "stage $_stage_number failed; when it is mended, go on with --stage $_stage_number" >&2
  fi
}
trap _say_failed_stage EXIT

input_path() { # a path given on the command line: where the caller stands, or else in the recipe's folder
  case $1 in
    /*) echo "$1" ;;
    *) if [ "$caller_dir" != "$PWD" ] && [ -e "$caller_dir/$1" ]; then echo "$caller_dir/$1"; else echo "$1"; fi ;;
  esac
}

input_paths() { # several, separated by spaces
  local path
  for path in $1; do printf '%s ' "$(input_path "$path")"; done
}

output_path() { # a path given on the command line, and the option's default, which is in the recipe's folder
  case $1 in
    /*) echo "$1" ;;
    *) if [ "$caller_dir" != "$PWD" ] && [ "$1" != "$2" ]; then echo "$caller_dir/$1"; else echo "$1"; fi ;;
  esac
}

require_integers() { # names of variables that must hold whole numbers
  local name
  for name in "$@"; do
    if ! [[ ${!name} =~ ^-?[0-9]+$ ]]; then
      echo "${0##*/}: error: --${name//_/-} takes a whole number, not '${!name}'" >&2
      exit 1
    fi
  done
}

require_counts() { # <option> <number>...: one whole number of 1 or more, or several
  local option=$1 number
  shift
  for number in "${@:-}"; do
    if ! [[ $number =~ ^[1-9][0-9]*$ ]]; then
      echo "${0##*/}: error: $option takes whole numbers of 1 or more, not '$number'" >&2
      exit 1
    fi
  done
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
