# shellcheck shell=bash
# Sourced by every run.sh: finds (or on first use makes) the Python environment, and sets PATH, PYTHONPATH, LC_ALL and how memory is kept.
#
# Which Python: $FSD_PYTHON if it is set; else the active virtual or conda environment if it has the packages of
# requirements.txt; else the toolkit's own, .venv beside this file, made on first use.

FSD_ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd -P) || return 1
export FSD_ROOT
export LC_ALL=C
export PYTHONPATH="$FSD_ROOT${PYTHONPATH:+:$PYTHONPATH}"
# Freed memory stays with a program: each training step and each recording asks for the same large arrays again, which glibc
# would give back and fetch, page by page, every time. Changes no number.
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=2147483647 MALLOC_TOP_PAD_=67108864

if [ -z "${FSD_ENVIRONMENT_CHECKED:-}" ]; then
  FSD_PYTHON=$("$FSD_ROOT/utils/find_python.sh") || { echo "path.sh: no usable Python environment" >&2; return 1; }
  export FSD_PYTHON
  export FSD_ENVIRONMENT_CHECKED=1
fi
PATH="$(dirname "$FSD_PYTHON"):$FSD_ROOT/utils:$FSD_ROOT/steps:$FSD_ROOT/local:$PATH"
export PATH
