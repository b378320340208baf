#!/usr/bin/env bash
# Puts data directories together into one.
#
# Usage: combine_data.sh [--extra-files 'f1 f2'] [--skip-fix true] <dest-dir> <src-dir1> <src-dir2> ...
#  e.g.: combine_data.sh data/train_dev data/train data/dev
# Has the options of Kaldi's script of this name; --help lists them. data_dir.py does the work.
set -euo pipefail

here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd -P)
exec "${FSD_PYTHON:-python3}" "$here/data_dir.py" combine_data.sh "$@"
