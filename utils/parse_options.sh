# shellcheck shell=bash
# Sourced after the option variables of a script are set: turns `--some-name value` into some_name=value.
#
# As Kaldi's: only variables that are set already are options; an empty value on the command line is taken; a boolean
# (default true or false) takes true or false only; --config FILE sources more settings; --help prints $help_message,
# or the comment at the top of the script and its options. Unlike Kaldi's it takes --name=value too, and an unknown
# option names the nearest one.

_options_of() { # the options with default and comment: variables set at the left margin before parsing, in $0 or in $OPTIONS_IN
  sed -n '/parse_options\.sh/q; s/^\([a-z][a-z0-9_]*\)=\(.*\)$/\1=\2/p' "${OPTIONS_IN:-$0}" |
    while IFS= read -r line; do
      name=${line%%=*} rest=${line#*=}
      value=${rest%%#*} comment=
      value=${value%"${value##*[![:space:]]}"}
      case $rest in *'#'*) comment=${rest#*#} ;; esac
      printf '  --%-18s %s%s\n' "${name//_/-}" "${comment# }" "${value:+ (default: $value)}"
    done
}

_print_help() {
  if [ -n "${help_message:-}" ]; then
    printf '%b\n' "$help_message"
  else
    sed -n '2,/^[^#]/{s/^# \{0,1\}//p;}' "$0"
    echo
    echo "options:"
    _options_of
  fi
}

# Variables that the script has not set at the left margin are options only if they cannot be bash's or the environment's.
_is_option() { # name
  local _attributes
  [[ $1 =~ ^[a-zA-Z][a-zA-Z0-9_]*$ ]] && [ -n "${!1+set}" ] || return 1
  _attributes=$(declare -p "$1") _attributes=${_attributes#declare -} _attributes=${_attributes%% *}
  if [[ $1 == *[A-Z]* ]] || [[ $_attributes == *x* ]]; then
    _options_of | awk -v want="--${1//_/-}" '$1 == want { found = 1 } END { exit !found }'
  fi
}

nearest_name() { # <name>: that of the names on standard input, a line each, which is most like it; nothing if none is
  awk -v want="${1,,}" '
    function common(a, b,   i, j, t) { # length of the longest common subsequence; of several alike, what is alike for longer
      delete t
      for (i = 1; i <= length(a); i++) for (j = 1; j <= length(b); j++)
        t[i, j] = substr(a, i, 1) == substr(b, j, 1) ? t[i-1, j-1] + 1 : (t[i-1, j] > t[i, j-1] ? t[i-1, j] : t[i, j-1])
      for (i = 1; i <= length(a) && substr(a, i, 1) == substr(b, i, 1); i++);
      return t[length(a), length(b)] + i / 1000
    }
    { s = 2 * common(want, tolower($1)) / (length(want) + length($1)); if (index(tolower($1), want) == 1) s += 0.4; if (s > best) { best = s; near = $1 } }
    END { if (best > 0.6) print near }'
}

_set_option() { # name, value
  local _option=$1 _value=$2 _old _near
  if ! _is_option "$_option"; then
    _near=$(_options_of | awk '{print $1}' | sed 's/^--//' | nearest_name "${_option//_/-}")
    echo "$0: error: no option --${_option//_/-}${_near:+; did you mean --$_near?} (see $0 --help)" >&2
    exit 1
  fi
  _old=${!_option}
  if { [ "$_old" = true ] || [ "$_old" = false ]; } && [ "$_value" != true ] && [ "$_value" != false ]; then
    echo "$0: error: --${_option//_/-} takes true or false, not '$_value'" >&2
    exit 1
  fi
  printf -v "$_option" '%s' "$_value"
}

GIVEN_OPTIONS= # as they were typed, to write a command down
# shellcheck disable=SC2034
[ $# -eq 0 ] || GIVEN_OPTIONS=$(printf ' %q' "$@")
while [ $# -gt 0 ]; do
  case $1 in
    --help|-h) _print_help; exit 0 ;;
    --) shift; break ;;
    --config|--config=*)
      if [ "$1" = --config ]; then shift; _config=${1:-}; else _config=${1#*=}; fi
      [ -r "$_config" ] || { echo "$0: error: --config $_config: no such file" >&2; exit 1; }
      # shellcheck disable=SC1090
      . "$_config"
      shift ;;
    --*=*)
      _name=${1%%=*}; _name=${_name#--}
      _set_option "${_name//-/_}" "${1#*=}"
      shift ;;
    --*)
      _name=${1#--}
      [ $# -ge 2 ] || { echo "$0: error: $1 needs a value (see $0 --help)" >&2; exit 1; }
      _set_option "${_name//-/_}" "$2"
      shift 2 ;;
    *) break ;;
  esac
done
true
