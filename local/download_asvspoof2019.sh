#!/usr/bin/env bash
# Downloads and unpacks ASVspoof 2019 (logical access, physical access) from its official place, Edinburgh DataShare.
#
# Usage: download_asvspoof2019.sh [options] <la|pa|la pa> <dir>
#  e.g.: download_asvspoof2019.sh la /corpora/asvspoof2019       gives /corpora/asvspoof2019/LA
#  e.g.: download_asvspoof2019.sh --check-only true la pa /corpora/asvspoof2019
#
# LA.zip has about 7.6 GB and PA.zip about 16 GB; unpacked, each takes as much again. An interrupted download resumes,
# now or when this is called again. The database is published under the ODC Attribution licence:
# https://datashare.ed.ac.uk/handle/10283/3336. It has no published checksums; the archive's own (CRC-32) are checked.

url_base=https://datashare.ed.ac.uk/bitstream/handle/10283/3336  # where LA.zip and PA.zip are
check_only=false      # print what exists and what would be done; status 1 if something is missing
no_space_check=false  # start even if the disk seems too small
remove_archive=false  # remove the zip when it is unpacked
tries=10              # give up after this number of attempts in a row without progress
retry_wait=10         # seconds between attempts

. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../utils/parse_options.sh"
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../utils/plain_values.sh"
set -euo pipefail

page=https://datashare.ed.ac.uk/handle/10283/3336
say() { echo "download_asvspoof2019.sh: $*"; }
die() { echo "download_asvspoof2019.sh: error: $*" >&2; exit 1; }
in_gb() { awk -v bytes="$1" 'BEGIN { printf "%.1f GB", bytes / 1e9 }'; }
size_of() { if [ -f "$1" ]; then stat -c %s "$1"; else echo 0; fi; }

if [ $# -lt 2 ]; then
  die "the part (la or pa) and the folder are expected (see download_asvspoof2019.sh --help)"
fi
dir=${!#}
read -r -a parts <<<"${*:1:$#-1}"
for part in "${parts[@]}"; do
  case $part in la | pa) ;; *) die "'$part' is neither la nor pa (see download_asvspoof2019.sh --help)" ;; esac
done
require_numbers 1- tries
[[ $retry_wait =~ ^[0-9]{1,6}(\.[0-9]+)?$ ]] || die "--retry-wait takes a number of seconds, not '$retry_wait'"

if command -v curl >/dev/null; then
  client=curl
elif command -v wget >/dev/null; then
  client=wget
else
  client=
fi

remote_size() { # url: the archive's size by the server's word; nothing where it does not say
  case $client in
    curl) curl --silent --fail --head --location --max-time 60 "$1" || true ;;
    wget) wget --quiet --server-response --spider --timeout=60 --tries=1 "$1" 2>&1 || true ;;
  esac | tr -d '\r' | awk 'tolower($1) == "content-length:" { size = $2 } END { if (size > 0) print size }'
}

fetch() { # url, file: one attempt, from where the file ends; 0, or 2 (cannot go on from there), 3 (no use), 1 (broke off)
  local status=0 code quiet=(--silent --show-error)
  [ ! -t 2 ] || quiet=(--progress-bar)
  if [ "$client" = curl ]; then
    code=$(curl "${quiet[@]}" --fail --location --connect-timeout 60 --speed-limit 1000 --speed-time 120 \
      --continue-at - --write-out '%{http_code}' --output "$2" "$1") || status=$?
    case $status in
      0) return 0 ;;
      33 | 36) return 2 ;; # the server sent the whole, or refused the part
      23) die "$2 cannot be written; is the disk full?" ;;
      22) case $code in 416) return 2 ;; 4*) say "the server answers $code to $1" >&2; return 3 ;; esac ;;
    esac
  else
    quiet=(--no-verbose)
    [ ! -t 2 ] || quiet=(--quiet --show-progress)
    wget "${quiet[@]}" --continue --timeout=120 --tries=1 --output-document "$2" "$1" || status=$?
    case $status in
      0) return 0 ;;
      3) die "$2 cannot be written; is the disk full?" ;;
      8) if [ -s "$2" ]; then return 2; else return 3; fi ;;
    esac
  fi
  return 1
}

download() { # url, archive, size or nothing: makes the archive, by way of <archive>.part
  local url=$1 archive=$2 size=$3 status here furthest=0 in_vain=0
  while true; do
    here=$(size_of "$archive.part")
    if [ -n "$size" ] && [ "$here" -gt "$size" ]; then rm -f "$archive.part"; here=0; fi
    status=0
    if [ -z "$size" ] || [ "$here" -lt "$size" ]; then
      [ "$here" -eq 0 ] || say "resuming after $(in_gb "$here")"
      fetch "$url" "$archive.part" || status=$?
    fi
    here=$(size_of "$archive.part")
    if [ "$status" -eq 0 ] && { [ -z "$size" ] || [ "$here" -eq "$size" ]; }; then
      mv "$archive.part" "$archive"
      return 0
    fi
    if [ "$here" -gt "$furthest" ]; then furthest=$here in_vain=0; else in_vain=$((in_vain + 1)); fi
    case $status in
      2)
        say "the server cannot resume at $(in_gb "$here"); beginning again"
        rm -f "$archive.part" ;;
      3) die "$url is not available. Look at $page, give another --url-base, or put the archive at $archive and call this again" ;;
      *) say "the download was interrupted at $(in_gb "$here")" ;;
    esac
    if [ "$in_vain" -ge "$tries" ]; then
      die "$url: $tries attempts in a row got no further than $(in_gb "$furthest"); call this again later to go on"
    fi
    [ "$status" -eq 2 ] || sleep "$retry_wait"
  done
}

open_archive() { # archive, folder to unpack to or nothing to test it
  local status=0
  if command -v unzip >/dev/null; then
    if [ $# -eq 1 ]; then unzip -tqq "$1" >&2 || status=$?; else unzip -qq "$1" -d "$2" >&2 </dev/null || status=$?; fi
    [ "$status" -le 1 ] # 1: a warning, everything was unpacked
  else
    "${FSD_PYTHON:-python3}" - "$@" <<'PYTHON'
import sys, zipfile
try:
    with zipfile.ZipFile(sys.argv[1]) as archive:
        if len(sys.argv) > 2:
            archive.extractall(sys.argv[2])
        elif bad := archive.testzip():
            sys.exit(f"{bad}: wrong CRC")
except Exception as error:
    sys.exit(str(error))
PYTHON
  fi
}

missing_of() { # an unpacked corpus, LA or PA: what it lacks, on one line; nothing if it is whole
  local name kind protocol flacs lines lacking=()
  for name in train dev eval; do
    kind=trl; [ "$name" != train ] || kind=trn
    protocol=$1/ASVspoof2019_${2}_cm_protocols/ASVspoof2019.$2.cm.$name.$kind.txt
    if [ ! -s "$protocol" ]; then lacking+=("${protocol#"$1"/}"); continue; fi
    lines=$(awk 'NF { n++ } END { print n + 0 }' "$protocol") # a last line without a newline counts too
    flacs=0
    [ ! -d "$1/ASVspoof2019_${2}_$name/flac" ] || flacs=$(find "$1/ASVspoof2019_${2}_$name/flac" -name '*.flac' | wc -l)
    # there are more of them than trials: the ASV's enrolment files
    [ "$flacs" -ge "$lines" ] || lacking+=("$((lines - flacs)) of $lines files in ASVspoof2019_${2}_$name/flac")
  done
  local IFS=,
  echo "${lacking[*]}"
}

unpack() { # archive, target, LA or PA: unpacked aside, then renamed
  local aside top lacking
  aside=$(dirname "$2")/.$3.unpacking
  rm -rf "$aside"
  mkdir "$aside"
  if ! open_archive "$1" "$aside"; then
    rm -rf "$aside"
    mv -f "$1" "$1.damaged"
    die "$1 is damaged (or the disk is full); it is now $1.damaged. Call this again to download it again, and remove that one"
  fi
  top=$aside
  [ ! -d "$aside/$3" ] || top=$aside/$3
  lacking=$(missing_of "$top" "$3")
  if [ -n "$lacking" ]; then
    rm -rf "$aside"
    die "$1 is incomplete: it lacks $lacking. Remove it and call this again"
  fi
  mv "$top" "$2"
  rm -rf "$aside"
}

incomplete=0
for part in "${parts[@]}"; do
  name=${part^^} url=$url_base/${part^^}.zip
  target=$dir/$name archive=$dir/$name.zip
  if [ -d "$target" ]; then
    lacking=$(missing_of "$target" "$name")
    if [ -z "$lacking" ]; then
      say "$target is there and complete"
      continue
    fi
    if ! $check_only; then die "$target is there but lacks $lacking; remove it and call this again"; fi
    say "$target lacks $lacking"
    incomplete=1
    continue
  fi

  [ -n "$client" ] || [ -f "$archive" ] || die "neither curl nor wget is here; install one, or put $url at $archive by hand"
  size=$(remote_size "$url")
  about=${size:-$([ "$name" = LA ] && echo 7600000000 || echo 16000000000)}
  have=$(($(size_of "$archive") + $(size_of "$archive.part")))
  needed=$((2 * about - have)) # the archive, and as much for what is in it
  existing=$dir
  while [ ! -d "$existing" ]; do existing=$(dirname "$existing"); done
  free=$(($(df -Pk "$existing" | awk 'NR == 2 { print $4 }') * 1024))
  say "$url: $(in_gb "$about"), of which $(in_gb "$have") is here; space needed in $dir: $(in_gb "$needed"), free: $(in_gb "$free")"
  if $check_only; then
    if [ -f "$archive" ]; then
      if open_archive "$archive"; then say "$archive is complete, not yet unpacked"; else say "$archive is damaged"; fi
    fi
    incomplete=1
    continue
  fi
  if [ "$free" -lt "$needed" ] && ! $no_space_check; then
    die "$dir has too little space: $(in_gb "$free") of $(in_gb "$needed"); make room, or say --no-space-check true"
  fi

  mkdir -p "$dir"
  exec 9>"$dir/.$name.lock"
  if command -v flock >/dev/null && ! flock -n 9; then die "another process is downloading $archive; wait for it"; fi
  if [ ! -f "$archive" ]; then
    download "$url" "$archive" "$size"
    if [ "$(head -c 2 "$archive")" != PK ]; then # a page that tells of an error, with status 200
      mv -f "$archive" "$archive.damaged"
      die "$url gave no zip archive (it is now $archive.damaged). Look at $page, or give another --url-base"
    fi
  fi
  say "unpacking $archive"
  unpack "$archive" "$target" "$name"
  rm -f "$dir/.$name.lock"
  exec 9>&-
  if $remove_archive; then rm "$archive"; fi
  say "$target is there and complete"
done
exit "$incomplete"
