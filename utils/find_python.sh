#!/usr/bin/env bash
# Prints the path of a Python that has the toolkit's packages. Makes one in .venv if there is none yet.
#
# Usage: find_python.sh
#  e.g.: "$(utils/find_python.sh)" steps/describe.py conf/model/senet34.yaml
# $FSD_PYTHON, then the active environment, then <toolkit>/.venv. Messages go to standard error.
set -euo pipefail

case ${1:-} in --help | -h) sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;; esac
root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd -P)

missing_packages() { # the required packages that the Python $1 cannot import, on one line
  "$1" - "$root/requirements.txt" 2>/dev/null <<'EOF'
import importlib.util, sys
modules = {"pyyaml": "yaml", "scikit-learn": "sklearn", "pillow": "PIL"}
if sys.version_info < (3, 11):
    print(f"Python>=3.11 (this is {sys.version.split()[0]})")
    raise SystemExit
names = [line.split("==")[0].strip() for line in open(sys.argv[1]) if "==" in line]
print(*[n for n in names if importlib.util.find_spec(modules.get(n, n)) is None])
EOF
}

if [ -n "${FSD_PYTHON:-}" ]; then
  python=$(command -v "$FSD_PYTHON") || { echo "path.sh: FSD_PYTHON=$FSD_PYTHON is not a program" >&2; exit 1; }
  missing=$(missing_packages "$python") || { echo "path.sh: FSD_PYTHON=$FSD_PYTHON does not run" >&2; exit 1; }
  if [ -n "$missing" ]; then
    echo "path.sh: FSD_PYTHON=$FSD_PYTHON lacks: $missing" >&2
    echo "path.sh: install them (requirements.txt has the versions), or unset FSD_PYTHON to have .venv made" >&2
    exit 1
  fi
  echo "$python"
  exit 0
fi

active=${VIRTUAL_ENV:-${CONDA_PREFIX:-}}
if [ -n "$active" ] && [ -x "$active/bin/python3" ]; then
  missing=$(missing_packages "$active/bin/python3" || echo python)
  if [ -z "$missing" ]; then
    echo "$active/bin/python3"
    exit 0
  fi
  echo "path.sh: the active environment $active lacks: $missing; using $root/.venv instead" >&2
fi

"$root/utils/make_environment.sh" "$root/.venv" >&2
echo "$root/.venv/bin/python3"
