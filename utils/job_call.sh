# shellcheck shell=bash
# Sourced by run.sh and slurm.sh: what the job runners share, their calling convention (Kaldi's) and how they tell of failures.

complain() { echo "${0##*/}: $*" >&2; }
die() { complain "error: $*"; exit 1; }
usage() { sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; }
whole_number() { # name, value: refuses what is not a whole number of 1 or more ($3: or 0)
  if ! [[ $2 =~ ^[0-9]{1,9}$ ]] || ((10#$2 < ${3:-1})); then
    die "$1 takes a whole number of ${3:-1} or more, not '$2'"
  fi
}

# shellcheck disable=SC2034 # the runners use them
read_call() { # a runner's arguments; sets the variables of the next lines
  max_jobs='' threads=1 gpus=0 # of --max-jobs-run, --num-threads, --gpu
  options=()                   # every option but --max-jobs-run: name, value, name, value, ...
  name='' first=1 last=1       # of JOB=1:N
  log_pattern='' command_pattern=''
  local arg value
  for _ in 1 2; do # options may stand before and after JOB=1:N
    while [ $# -ge 1 ] && [[ $1 == -* ]]; do
      case $1 in --help | -h) usage; exit 0 ;; -V) shift; continue ;; esac
      [ $# -ge 2 ] || die "$1 needs a value (see ${0##*/} --help)"
      value=$2
      case $1 in
        --max-jobs-run | -tc) # given twice, the smaller one holds
          whole_number "$1" "$2"
          if [ -z "$max_jobs" ] || ((10#$2 < max_jobs)); then max_jobs=$((10#$2)); fi
          shift 2
          continue ;;
        --num-threads) whole_number "$1" "$2"; threads=$((10#$2)) ;;
        --gpu) whole_number "$1" "$2" 0; gpus=$((10#$2)) ;;
        -pe) [ $# -lt 3 ] || { value=$3; shift; set -- -pe "${@:2}"; } ;; # takes two values, as in -pe smp 4
        *) if [[ $2 == --* ]]; then complain "WARNING: suspicious value '$2' of $1: it begins with --"; fi ;;
      esac
      options+=("$1" "$value")
      shift 2
    done
    if [ $# -ge 1 ] && [[ $1 =~ ^([A-Za-z_][A-Za-z0-9_]*)=([0-9]{1,9})(:([0-9]{1,9}))?$ ]]; then
      name=${BASH_REMATCH[1]} first=$((10#${BASH_REMATCH[2]})) last=$((10#${BASH_REMATCH[4]:-${BASH_REMATCH[2]}}))
      ((first >= 1 && first <= last)) || die "invalid job range '$1': the first number is 1 or more and not above the last"
      shift
    elif [ $# -ge 1 ] && [[ $1 == ?*=*:* ]]; then
      complain "WARNING: suspicious first argument '$1'"
    fi
  done
  if [ $# -lt 2 ]; then usage >&2; exit 1; fi
  log_pattern=$1
  shift
  if ((last > first)) && [[ $log_pattern != *"$name"* ]]; then
    die "jobs $first to $last would all write to $log_pattern: put $name into the log's name"
  fi
  for arg; do
    if [[ $arg =~ ^[^[:space:]]+$ ]]; then
      command_pattern+="$arg "
    elif [[ $arg == *'"'* ]]; then
      command_pattern+="'${arg//\'/\'\\\'\'}' "
    else
      command_pattern+="\"$arg\" "
    fi
  done
}

of_job() { # a text with the job's number put in
  if [ -n "$name" ]; then printf '%s' "${1//"$name"/$2}"; else printf '%s' "$1"; fi
}

first_few() { # names, the first five of them
  echo "${*:1:5}$( (($# <= 5)) || echo " ...")"
}

say_failed() { # logs of the failed jobs
  complain "$# of $((last - first + 1)) job(s) failed: $(first_few "$@")"
  if [ -z "$name" ] && [[ $log_pattern == *JOB* ]]; then complain "was JOB=1:N forgotten?"; fi
  local folder free
  folder=$(dirname -- "$1")
  free=$(df -Pk -- "$folder" 2>/dev/null | awk 'NR == 2 { print $4 }') || free=
  if [ -n "$free" ] && ((free < 1024)); then # then a log may be without its last words
    complain "the disk of $folder is full ($free KiB are free): free some space, then start again: complete files are kept"
  fi
}

show_end() { # file
  complain "the end of $1:"
  tail -n 20 -- "$1" | sed 's/^/  | /' >&2
}
