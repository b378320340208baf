#!/usr/bin/env bash
# Makes the toolkit's virtual environment, pinned; CPU torch if there is no NVIDIA GPU.
#
# Usage: make_environment.sh [--dev] <dir>
#  e.g.: make_environment.sh .venv
# --dev adds the packages for the tests. Does nothing if the environment is complete and made from the same
# requirements. $FSD_BASE_PYTHON names the Python (3.11 or newer) to build on; else python3.11, then python3.
set -euo pipefail

usage() { sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; }
dev=false
case ${1:-} in
  --help | -h) usage; exit 0 ;;
  --dev) dev=true; shift ;;
esac
if [ $# -ne 1 ] || [ "${1:0:1}" = - ]; then usage >&2; exit 1; fi
venv=$1
root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd -P)
say() { echo "make_environment.sh: $*"; }

torch_pin=$(grep -o '^torch==[^ ]*' "$root/requirements.txt")
audio_pin=$(grep -o '^torchaudio==[^ ]*' "$root/requirements.txt")

stamp_of() { cat "$root/constraints.txt" "$@" | cksum; }
whole() { # is stamp $1 there, and made from the files that follow?
  [ -f "$venv/$1" ] && [ "$(cat "$venv/$1")" = "$(stamp_of "${@:2}")" ]
}

# Two recipes that start at once must not build into one folder together.
exec 9>"$venv.lock"
if ! flock -n 9; then
  say "another process is making $venv; waiting for it"
  flock 9
fi

if ! whole .toolkit_is_whole "$root/requirements.txt"; then
  base=${FSD_BASE_PYTHON:-}
  if [ -z "$base" ]; then
    for candidate in python3.11 python3.12 python3.13 python3; do
      if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then base=$candidate; break; fi
    done
  fi
  if [ -z "$base" ]; then
    say "error: no Python 3.11 or newer found; install one, or name it in FSD_BASE_PYTHON" >&2
    exit 1
  fi
  version_of() { "$1" -c 'import sys; print(*sys.version_info[:2])' 2>/dev/null; }
  # One that was whole is brought up to date in its place: a run that goes on beside this needs it. One that was not is no ground.
  if [ -f "$venv/.toolkit_is_whole" ] && [ "$(version_of "$venv/bin/python3")" = "$(version_of "$base")" ]; then
    say "the pinned packages have changed: bringing $venv up to date"
    rm "$venv/.toolkit_is_whole"
  else
    say "making the virtual environment $venv with $("$base" --version) (once; some minutes, about 2 GB of disk)"
    rm -rf "$venv"
    "$base" -m venv "$venv" || { say "error: '$base -m venv' failed; is the venv module installed (Debian: python3-venv)?" >&2; exit 1; }
  fi
  pip=("$venv/bin/python3" -m pip --disable-pip-version-check --no-input install -qq --constraint "$root/constraints.txt")

  if command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; then
    say "an NVIDIA GPU is here: installing $torch_pin with CUDA"
    "${pip[@]}" "$torch_pin"
  else
    say "no NVIDIA GPU is here: installing the CPU build of $torch_pin"
    # A configured package index may hold CPU builds; else uv knows where PyTorch keeps them; else the default build,
    # which is larger but runs on a CPU as well.
    if ! "${pip[@]}" "$torch_pin+cpu" 2>/dev/null; then
      "${pip[@]}" uv
      if ! "$venv/bin/uv" pip install --quiet --python "$venv/bin/python3" --torch-backend cpu "$torch_pin"; then
        say "no CPU build of $torch_pin is available; installing the default build"
        "${pip[@]}" "$torch_pin"
      fi
    fi
  fi
  # torchaudio pins another torch than ours; what is used of it needs no compiled code (see fit_torchaudio.py)
  "${pip[@]}" --no-deps "$audio_pin"
  # not by a pipe: under pipefail, a pip that ends before it has read all of it would fail by grep's SIGPIPE
  "${pip[@]}" --requirement <(grep -v -E '^torch(audio)?==' "$root/requirements.txt")
  "$venv/bin/python3" "$root/utils/fit_torchaudio.py"
  stamp_of "$root/requirements.txt" > "$venv/.toolkit_is_whole"
  say "done: $venv"
fi

if $dev && ! whole .dev_is_whole "$root"/requirements-{dev,sweep}.txt; then
  say "adding what the tests need to $venv"
  "$venv/bin/python3" -m pip --disable-pip-version-check --no-input install -qq \
    --constraint "$root/constraints.txt" --requirement "$root/requirements-dev.txt"
  stamp_of "$root"/requirements-{dev,sweep}.txt > "$venv/.dev_is_whole"
fi
