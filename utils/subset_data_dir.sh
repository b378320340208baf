#!/usr/bin/env bash
# Makes a data directory of some of the utterances of another.
#
# Usage: subset_data_dir.sh [--first|--last|--shortest|--speakers|--per-spk] <src-dir> <N> <dest-dir>
#    or: subset_data_dir.sh --spk-list|--utt-list <file> <src-dir> <dest-dir>
#  e.g.: subset_data_dir.sh --first data/train 500 data/train_500
# Has the options of Kaldi's script of this name; --help lists them. data_dir.py does the work.
set -euo pipefail

here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd -P)
exec "${FSD_PYTHON:-python3}" "$here/data_dir.py" subset_data_dir.sh "$@"
