# shellcheck shell=bash
# Sourced; refuses numbers out of range, and values that would not reach a job as they are. Job runners (utils/run.sh,
# Kaldi's run.pl) give a job's command line to a shell, which acts on a $, a ; or a *: that is their convention, and no value may make use of it.

_shell_acts_on='[][:cntrl:][:space:]"'\''`$;&|<>(){}*?\[]'
_several_words='\{.*,.*\}'
_shell_runs='[[:cntrl:][:space:]"'\''`$;&|<>()\]'

refuse() { # a message: ends the script
  echo "${0##*/}: error: $*" >&2
  exit 1
}

require_whole() { # <least>-<most> <option> <number>...: whole numbers, one or several
  local least=${1%-*} most=${1#*-} option=$2 number range
  if [ -n "$most" ]; then range="from $least to $most"; else range="of $least or more"; fi
  shift 2
  for number in "${@:-}"; do
    # longer ones are more than bash can count
    if ! [[ $number =~ ^(0|[1-9][0-9]{0,8})$ ]] || ((number < least || number > ${most:-number})); then
      refuse "$option takes a whole number $range, not '$number'"
    fi
  done
}

require_numbers() { # <least>-<most> <name>...: variables that hold a whole number each
  local range=$1 name
  shift
  for name in "$@"; do require_whole "$range" "--${name//_/-}" "${!name}"; done
}

require_plain() { # <what it is> <text>...: paths and names
  local what=$1 text
  shift
  for text in "$@"; do
    if [[ $text == *JOB* ]]; then
      echo "${0##*/}: error: $what '$text': job runners replace JOB by the number of a job; rename it, or make a link to it" >&2
      exit 1
    elif [[ $text =~ $_shell_acts_on || $text == '~'* ]]; then
      echo "${0##*/}: error: $what '$text': job runners take no blank, quote, bracket, line break or other character that a shell acts on; rename it, or make a link to it" >&2
      exit 1
    fi
  done
}

require_plain_values() { # <option> <KEY=VALUE>...: overrides of conf keys, whose lists have brackets
  local option=$1 text
  shift
  for text in "$@"; do
    if [[ $text =~ $_shell_runs || $text =~ $_several_words ]]; then
      echo "${0##*/}: error: $option '$text': job runners take no quote, no {a,b} and no character by which a shell runs something; write such a value into a conf" >&2
      exit 1
    fi
  done
}

settings_of() { # "KEY=VALUE ...": without the blanks within YAML's lists, [1, 2], which part no settings
  sed -E 's/([[,])[[:space:]]+/\1/g; s/[[:space:]]+([],])/\1/g' <<<"$1"
}

require_name() { # <option> <text>: a part of a file's name
  require_plain "$1" "$2"
  if [[ $2 == */* ]]; then
    echo "${0##*/}: error: $1 '$2': it becomes a part of a folder's name, which has no /" >&2
    exit 1
  fi
}
