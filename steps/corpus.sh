# shellcheck shell=bash
# shellcheck disable=SC2154 # options are set by the recipe
# Sourced by steps/recipe.sh and steps/eval_recipe.sh: stage 0, from a corpus or the mini corpus to data dirs. The run.sh says
# CORPUS (a name of local/prepare_data.py), MINI_WORDS (what its mini corpus is, in words), and where that has another layout
# MINI_LAYOUT (a name of local/recast_mini_corpus.py). If a --corpus-dir that is a folder holds another corpus than CORPUS, which
# is then a list, FOLDER_CORPUS says which.
: "${CORPUS:?}" "${MINI_WORDS:?}"

case $CORPUS in *-pa) RECIPE=pa ;; *) RECIPE=la ;; esac # the mini corpus that stands in

check_corpus_dir() { # --corpus-dir as it has to be; --mini-size as there are
  if [ -n "$corpus_dir" ]; then
    [ -z "${FOLDER_CORPUS:-}" ] || [ ! -d "$corpus_dir" ] || CORPUS=$FOLDER_CORPUS
    if [ "$CORPUS" = own ]; then
      [ -f "$corpus_dir" ] || refuse "--corpus-dir $corpus_dir: give a CSV or TSV list${FOLDER_CORPUS:+, or the folder of $FOLDER_CORPUS} (docs/corpora.md)"
    else
      [ ! -f "$corpus_dir" ] || refuse "--corpus-dir $corpus_dir: this is a file; give the folder that holds the corpus's protocols and audio"
      [ -d "$corpus_dir" ] || refuse "--corpus-dir $corpus_dir: no such folder"
    fi
  else
    local size
    case $RECIPE in la) size=$mini_size ;; *) size=${RECIPE}_$mini_size ;; esac
    [ -f "conf/mini_corpus/$size.yaml" ] || refuse "--mini-size takes tiny, small or full, not '$mini_size'"
  fi
}

make_data() { # [options of make_mini_corpus.py]
  local corpus=$corpus_dir subset=()
  if [ -z "$corpus" ]; then
    log "no --corpus-dir: using the mini corpus ($mini_size): $MINI_WORDS, but small; its figures say nothing about the real corpus"
    local/make_mini_corpus.py --recipe "$RECIPE" --size "$mini_size" --seed "$mini_seed" --nj "$nj" "$@" \
      --downloads "${FSD_DOWNLOADS:-$FSD_ROOT/downloads}" "$data_dir/mini_corpus_$mini_size"
    corpus=$data_dir/mini_corpus_$mini_size/${RECIPE^^}
    case $CORPUS in
      asvspoof2019-*) ;;
      *)
        local layout=${MINI_LAYOUT:-$CORPUS}
        local/recast_mini_corpus.py --corpus "$layout" "$corpus" "$data_dir/mini_corpus_${mini_size}_$layout"
        corpus=$data_dir/mini_corpus_${mini_size}_$layout
        [ "$CORPUS" != own ] || corpus+=/list.csv
        ;;
    esac
  fi
  ! $allow_subset || subset=(--allow-subset)
  local/prepare_data.py --corpus "$CORPUS" --corpus-dir "$corpus" "${subset[@]}" "$data_dir"
}
