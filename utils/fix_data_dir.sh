#!/usr/bin/env bash
# Sorts the tables of a data directory and keeps the utterances that all of them have.
#
# Usage: fix_data_dir.sh [--utt-extra-files 'f1 f2'] [--spk-extra-files 'f3'] <data-dir>
#  e.g.: fix_data_dir.sh data/train
# Has the options of Kaldi's script of this name; --help lists them. data_dir.py does the work.
set -euo pipefail

here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd -P)
exec "${FSD_PYTHON:-python3}" "$here/data_dir.py" fix_data_dir.sh "$@"
