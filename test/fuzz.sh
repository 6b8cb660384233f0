#!/usr/bin/env bash
# Runs every fuzz target of the tree for a while, one after the other.
#   test/fuzz.sh [TIME]    TIME as `go test -fuzztime` takes it, default 10s
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-10s}
found=0
while IFS=: read -r file target; do
  found=$((found + 1))
  echo "== $target in $(dirname "$file") for $time"
  go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "./$(dirname "$file")"
done < <(git ls-files '*_test.go' | xargs grep -oE '^func Fuzz[A-Za-z0-9_]+' | sed 's/:func /:/' | sort)
echo "$found fuzz targets, no failure"
