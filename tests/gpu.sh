#!/usr/bin/env bash
# Tests and measures the toolkit on one GPU or more, in at most 8 minutes, and writes what it found as one page.
#
# Usage: tests/gpu.sh [options]
#  e.g.: tests/gpu.sh --out gpu.md
# Without a GPU, --device cpu runs the same steps in short, to see that they work; its figures say nothing about a GPU.

device=cuda # cuda, or cpu: the same in short
out=gpu.md  # where the page goes

. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../utils/parse_options.sh"
out=$(realpath -- "$out")
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
. ./path.sh

case $device in
  cuda)
    python3 -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' ||
      { echo "tests/gpu.sh: error: torch finds no GPU here; --device cpu tries the steps without one" >&2; exit 1; }
    models="senet34 ecanet18" amps="none bf16 fp16" steps=(--steps 60 --rounds 3) short=(--steps 60 --rounds 1)
    utterances=(--utterances 32 --rounds 2) ;;
  cpu)
    export FSD_GPU_TESTS=cpu
    models=ecanet9 amps=none steps=(--steps 1 --rounds 1 --batch-size 2 --frames 24) short=("${steps[@]}")
    utterances=(--utterances 1 --rounds 1 conf/frontend/f0_subband.yaml) ;;
  *) echo "tests/gpu.sh: error: --device takes cuda or cpu, not '$device'" >&2; exit 1 ;;
esac

failed=()
work=$(mktemp)
trap 'rm -f "$work"' EXIT
part() { # <title> <command...>: its output becomes a part of the page; a failure does not keep later parts from running
  local began=$SECONDS status=0
  echo "$(date '+%H:%M:%S') tests/gpu.sh: $1" >&2
  "${@:2}" > "$work.part" 2>&1 || status=$?
  [ $status -eq 0 ] || failed+=("$1")
  { printf '\n## %s\n\n```\n' "$1"; cat "$work.part"; printf '```\n\nstatus %s, %s s\n' "$status" $((SECONDS - began)); } >> "$work"
  rm -f "$work.part"
}

{
  echo "# Tests and benches on ${device/cuda/a GPU}"
  echo
  python3 -c 'import platform, torch
gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
print(f"{len(gpus)} x {gpus[0]}" if gpus else "no GPU", f"torch {torch.__version__}", f"CUDA {torch.version.cuda}", sep=", ")'
  date +%F
} > "$work"
part "tests" python3 -m pytest -n 0 tests/steps/training/test_on_a_gpu.py tests/steps/frontend/test_batches.py \
  tests/steps/frontend/test_filter_bank.py tests/steps/frontend/test_log_spectrum.py
for amp in $amps; do
  measure=("${short[@]}")
  [ "$amp" != none ] || measure=("${steps[@]}")
  # shellcheck disable=SC2086 # several names
  part "a training step, autocast $amp, and CUDA graphs on and off" tests/bench/training.py --device "$device" --model $models --amp "$amp" "${measure[@]}"
done
part "front ends" tests/bench/frontends_gpu.py --device "$device" "${utterances[@]}"
mv "$work" "$out"
if [ ${#failed[@]} -gt 0 ]; then
  echo "tests/gpu.sh: FAILED:$(printf ' %s;' "${failed[@]}") see $out" >&2
  exit 1
fi
echo "tests/gpu.sh: all passed; see $out"
