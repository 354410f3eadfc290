#!/usr/bin/env bash
# check.sh "QUICK TARGETS" "MEANWHILE" "LIVE" "REST": what make check runs.
#
# First what is quick, then what needs a control plane and mostly waits for it, with
# MEANWHILE in the background, then the rest. The first target that fails ends it.
# At the end: what took how long, and what was not checked. A target that could not
# check something prints a line that begins with "NOT CHECKED:".
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
logs=_output/check
rm -rf "$logs"
mkdir -p "$logs"
began=$(date +%s)

run() { # target: runs it, keeps its output and how long it took
  local target=$1 start
  start=$(date +%s)
  if ! make "$target" 2>&1 | tee "$logs/$target.log"; then
    echo "=== make $target failed; make $target alone runs it again" >&2
    return 1
  fi
  echo "$target $(($(date +%s) - start))" >>"$logs/times"
}

each() {
  local t
  for t in "$@"; do
    echo "=== $(date +%T) make $t"
    run "$t"
  done
}

# shellcheck disable=SC2086 # lists of targets
{
  each $1
  (for t in $2; do nice -n 19 bash -c "$(declare -f run); set -euo pipefail; logs=$logs; run $t" >/dev/null || exit 1; done) &
  meanwhile=$!
  trap 'kill $meanwhile 2>/dev/null || true' EXIT
  each $3
  wait $meanwhile || { echo "=== one of: $2 failed; its output:" >&2; for t in $2; do tail -n 50 "$logs/$t.log"; done >&2; exit 1; }
  each $4
}

echo "=== what took how long"
sort -k2 -n -r "$logs/times" | while read -r target seconds; do printf '%6d s  %s\n' "$seconds" "$target"; done
printf '%6d s  in all\n' $(($(date +%s) - began))
cat "$logs"/*.log | grep -h '^NOT CHECKED' | sort -u || true
echo "all that was checked is good"
