#!/usr/bin/env bash
# Checks that the tables of a data directory are sorted, complete and agree with each other.
#
# Usage: validate_data_dir.sh [--no-feats] [--no-text] [--no-wav] [--no-spk-sort] [--non-print] <data-dir>
#  e.g.: validate_data_dir.sh --no-text --no-feats --no-spk-sort data/train
# Has the options of Kaldi's script of this name; --help lists them. data_dir.py does the work.
set -euo pipefail

here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd -P)
exec "${FSD_PYTHON:-python3}" "$here/data_dir.py" validate_data_dir.sh "$@"
