#!/usr/bin/env bash
# Runs the recipes of the other corpora on the tiny mini corpus, in each corpus's layout. Those that only evaluate take detectors
# that tests/recipe.sh has trained. The others train with debug confs.
#
# Usage: tests/other_recipes.sh <work-dir of tests/recipe.sh la> [<recipe> ...]
#  e.g.: tests/other_recipes.sh /tmp/la asvspoof2021/df mlaad
set -euo pipefail
if [ $# -lt 1 ]; then sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 1; fi
work=$1
shift
root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd -P)
die() { echo "other_recipes.sh $recipe: FAILED: $*" >&2; exit 1; }
[ $# -gt 0 ] || set -- asvspoof2021/la asvspoof2021/df asvspoof2021/pa in_the_wild mlaad asvspoof5 own partial

for recipe; do
  dir=$work/$recipe
  mkdir -p "$dir/data"
  [ "$recipe" = asvspoof2021/pa ] || cp -r "$work/data-tiny/mini_corpus_tiny" "$dir/data/"
  options=(--mini-size tiny --data-dir "$dir/data" --feats-dir "$dir/feats" --exp-dir "$dir/exp")
  case $recipe in
    asvspoof5 | own | partial) options+=(--model conf/model/ecanet9.yaml --schedule conf/schedule/debug.yaml --seeds 1 --report false) ;;
    *) options+=(--exp "$(echo "$work"/exp-tiny/*_baseline_debug/seed[12])") ;;
  esac
  (cd "$work" && "$root/egs/$recipe/run.sh" "${options[@]}")
  grep -qE "mini corpus( as|, spoofed in part)" "$dir/exp/RESULTS.md" || die "RESULTS.md does not say that this is a mini corpus"
  for set in "$dir"/data/*/utt2label; do
    "$root/utils/validate_data_dir.sh" --no-text --no-spk-sort --no-feats "$(dirname "$set")" || die "data dir $set"
  done
  for scores in "$dir"/exp/train_*/seed*/scores/eval.txt; do
    [ "$(wc -l < "$scores")" -eq "$(wc -l < "$dir/data/eval/utt2label")" ] || die "trials lack scores in $scores"
    results=$(dirname "$scores")/../results/eval
    case $recipe in
      asvspoof2021/la | asvspoof2021/df | asvspoof5) grep -q "^codec" "$results/per_condition.tsv" || die "no figures by codec" ;;
      partial) [ -s "$results/located.json" ] || die "stretches were not located" ;;
      asvspoof2021/pa) grep -q "^room" "$results/per_condition.tsv" || die "no figures by room" ;;
    esac
  done
  stamp=$(stat -c %Y "$dir"/exp/train_*/seed1/scores/eval.txt)
  case $recipe in
    asvspoof2021/*)
      (cd "$work" && "$root/egs/$recipe/run.sh" "${options[@]}" --stage 2 --phase all)
      compgen -G "$dir/exp/train_*/seed1/results/eval_all/evaluation.json" >/dev/null || die "no results of all phases"
      grep -q "^phase" "$dir"/exp/train_*/seed1/results/eval_all/per_condition.tsv || die "no figures by phase"
      ;;
  esac
  [ "$stamp" = "$(stat -c %Y "$dir"/exp/train_*/seed1/scores/eval.txt)" ] || die "scores were made again"
  echo "other_recipes.sh $recipe: passed"
done
