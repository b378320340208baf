#!/usr/bin/env bash
# Runs a recipe end to end on the tiny mini corpus with debug confs, then again. The second run must reuse all outputs.
#
# Usage: tests/recipe.sh <la|pa> <work-dir> [<job runner>]
#  e.g.: tests/slurm.sh tests/recipe.sh la /tmp/la utils/slurm.sh
# With a job runner, all jobs of the first two runs go through it. The scores must be the same as without it.
set -euo pipefail
if [ $# -lt 2 ] || [ $# -gt 3 ]; then sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 1; fi
part=$1 work=$2 runner=${3:-}
root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd -P)
die() { echo "recipe.sh $part: FAILED: $*" >&2; exit 1; }
mkdir -p "$work"

recipe() { # from another folder than the recipe's, as a user may
  (cd "$work" && "$root/egs/asvspoof2019/$part/run.sh" --mini-size tiny --data-dir data-tiny --feats-dir feats-tiny \
    --exp-dir exp-tiny --model conf/model/ecanet9.yaml --schedule conf/schedule/debug.yaml \
    --seeds "1 2" "$@")
}
case $part in la) features=f0_subband ;; pa) features=lps_257 ;; *) die "$part: la or pa is expected" ;; esac
began=$SECONDS
recipe ${runner:+--cmd "$runner"} | tee "$work/first.out"
first=$((SECONDS - began))

exp=$work/exp-tiny
for method in baseline_debug self_distill_debug; do
  for seed in 1 2; do
    dir=$exp/train_${features}_ecanet9_$method/seed$seed
    for file in final.pt conf.yaml detector.json curves.png epochs.tsv scores/eval.txt results/eval/evaluation.json \
      results/eval/per_attack.tsv results/eval/per_speaker.tsv results/eval/det.png results/dev/evaluation.json; do
      [ -s "$dir/$file" ] || die "$dir/$file is missing or empty"
    done
    compgen -G "$dir/tensorboard/events*" >/dev/null || die "$dir/tensorboard has no events"
    [ "$(wc -l < "$dir/scores/eval.txt")" -eq "$(wc -l < "$work/data-tiny/eval/utt2label")" ] || die "trials lack scores"
  done
done
[ -s "$exp/train_${features}_ecanet9_self_distill_debug/seed1/results/eval_head1/evaluation.json" ] || die "no results of head 1"
grep -q "Grad-CAM" "$exp/report.html" || die "$exp/report.html is incomplete"
! grep "Left out: " "$exp/report.html" || die "$exp/report.html lacks a section"
grep -q "mini corpus" "$exp/RESULTS.md" || die "$exp/RESULTS.md does not name the corpus"
for set in train dev eval; do
  "$root/utils/validate_data_dir.sh" --no-text --no-spk-sort --no-feats "$work/data-tiny/$set" || die "data dir $set"
done

# It ends with three commands that can be given where it was called.
mapfile -t next < <(sed -n '/^Next:$/,$p' "$work/first.out" | sed 1d)
[ ${#next[@]} -eq 3 ] && [ -s "${next[0]##*file://}" ] || die "run.sh does not end with three commands: ${next[*]}"
(cd "$work" && bash -c "${next[1]}") > "$work/detect.out" || die "not to be given: ${next[1]}"
grep -Eq "(bonafide|partial|spoof|-) +[0-9.]+ +[0-9]+" "$work/detect.out" || die "no verdict by ${next[1]}"
[[ ${next[2]} == *"steps/serve.py --model exp-tiny/train_${features}_ecanet9_self_distill_debug/seed1" ]] || die "${next[2]}"
[[ "$(grep -o 'see [^,]*' "$work/first.out" | cut -d' ' -f2 | sort -u)" != *$'\n'[^/]* ]] || die "a path that holds in the recipe's folder only"

if [ "$part" = la ]; then
  # What is not the synthesis tells little: duration, level, silences, outer bands. On so few files the EER is coarse.
  "$root/tests/bench/corpus_leaks.py" --at-least 25 "$work/data-tiny/mini_corpus_tiny/LA"
else
  for set in train dev eval; do
    [ "$(cut -d' ' -f2 "$work/data-tiny/$set/utt2env" | sort -u | wc -l)" -eq 27 ] || die "$set lacks environments"
    [ "$(cut -d' ' -f2 "$work/data-tiny/$set/utt2attack" | sort -u | wc -l)" -eq 10 ] || die "$set lacks attacks"
  done
  for file in per_environment.tsv attack_by_environment.png; do
    [ -s "$exp/train_${features}_ecanet9_baseline_debug/seed1/results/eval/$file" ] || die "eval has no $file"
  done
  grep -q "talker-to-ASV distance" "$exp/RESULTS.md" || die "$exp/RESULTS.md has no tables by environment"
fi

if [ -n "$runner" ]; then
  recipe --stage 2 --stop-stage 4 --exp-dir exp-here --seeds 1 --train-jobs 2 --score-jobs 2 --cmd utils/run.sh
  compared=0
  for file in "$work"/exp-here/*/seed1/scores/*.txt; do
    cmp "$file" "$exp${file#"$work/exp-here"}" || die "$runner and utils/run.sh lead to different scores"
    compared=$((compared + 1))
  done
  [ "$compared" -ge 12 ] || die "only $compared score files to compare $runner by"
fi

checksums() { (cd "$work" && find data-tiny feats-tiny exp-tiny -type f ! -name '*.log' ! -name '.*.lock' ! -name '*.json.*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum); }
checksums > "$work/before.sums"
began=$SECONDS
recipe ${runner:+--cmd "$runner"} | tee "$work/second.out"
second=$((SECONDS - began))
checksums > "$work/after.sums"
cmp "$work/before.sums" "$work/after.sums" || die "a second run changed complete files"
[ "$second" -lt $((first / 2 + 5)) ] || die "a second run took $second s, the first $first s: it did not reuse complete files"

check_variants() { # of what the recipes share
  # A conf that changed is noticed, not mixed.
  if recipe --stage 2 --stop-stage 2 --set train.epochs=1 > "$work/changed.out" 2>&1; then die "a changed conf was not noticed"; fi
  grep -q "train.epochs: 2 -> 1" "$work/changed.out" || die "the message about a changed conf does not name the key"
  recipe --stage 2 --stop-stage 2 --set train.epochs=1 --tag short --seeds 1
  [ -s "$exp/train_${features}_ecanet9_baseline_debug_short/seed1/final.pt" ] || die "--tag made no training of its own"

  # Kaldi's queue.pl makes a log's folder before it puts the job's number in: the number may stand in the name alone.
  cat > "$work/like_queue.sh" <<'RUNNER'
#!/usr/bin/env bash
for word; do
  case $word in *JOB*.log) [[ ${word%/*} != *JOB* ]] || { echo "like_queue.sh: no folder $word" >&2; exit 1; } ;; esac
done
exec utils/run.sh "$@"
RUNNER
  chmod +x "$work/like_queue.sh"

  # A variant of one method alone goes through to the table; what was not trained is said.
  recipe --stage 3 --set train.distill.temperature=4 --tag t4 --seeds 1 --report false --cmd "$work/like_queue.sh" | tee "$work/variant.out"
  grep -q "left out: .*baseline_debug_t4/seed1" "$work/variant.out" || die "nothing is said of the baseline that is not there"
  [ -s "$exp/train_${features}_ecanet9_self_distill_debug_t4/seed1/results/eval/evaluation.json" ] || die "no results of the variant"
  for name in baseline_debug self_distill_debug self_distill_debug_t4; do
    grep -q "^| ecanet9 | $name |" "$exp/RESULTS.md" || die "$exp/RESULTS.md lost $name"
  done

  # Features computed on the way, augmented; no stage 1, and a name of its own.
  recipe --stage 1 --stop-stage 2 --online true --augment conf/augment/rawboost.yaml --feats-dir feats-none --seeds 1
  [ -s "$exp/train_${features}_ecanet9_baseline_debug_rawboost/seed1/final.pt" ] || die "no augmented training"
  [ ! -e "$work/feats-none" ] || die "--online true left features on disk"
}
# Neither another front end nor a variant touches what is there. Each by one recipe, as both share that code.
if [ "$part" = la ]; then
  recipe --stage 1 --stop-stage 1 --frontend conf/frontend/lps_low.yaml
  [ -s "$work/feats-tiny/lps_low/eval/feats.scp" ] || die "no features by lps_low"
else
  check_variants
fi
checksums | grep -F -v -e lps_low -e _short -e _t4 -e _rawboost -e exp-tiny/RESULTS -e exp-tiny/report.html > "$work/third.sums"
cmp <(grep -F -v -e exp-tiny/RESULTS -e exp-tiny/report.html "$work/before.sums") "$work/third.sums" || die "another front end or variant changed files that it should not touch"
echo "recipe.sh $part: passed: first run $first s, second $second s"
