#!/usr/bin/env bash
# Splits a data directory into <data-dir>/split<N>/{1..N}, or with --per-utt <data-dir>/split<N>utt/{1..N}.
#
# Usage: split_data.sh [--per-utt] <data-dir> <N>
#  e.g.: split_data.sh --per-utt data/train 8
# Has the options of Kaldi's script of this name; --help lists them. data_dir.py does the work.
set -euo pipefail

here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd -P)
exec "${FSD_PYTHON:-python3}" "$here/data_dir.py" split_data.sh "$@"
