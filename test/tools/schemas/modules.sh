#!/usr/bin/env bash
# modules.sh FOLDER: copies the CRDs of the Go modules in modules.txt to FOLDER. A Go
# module holds a project's whole tree, so no server of that project is asked.
set -euo pipefail
out=$1
while read -r module version sum folders; do
  case $module in ''|'#'*) continue ;; esac
  # A module may demand a newer Go than this machine's only to be looked at.
  said=$(cd "$out" && GOWORK=off GOFLAGS=-mod=mod GOTOOLCHAIN="${SCHEMAS_TOOLCHAIN:-go1.27.3}" go mod download -json "$module@$version") ||
    { echo "cannot download $module $version: $said" >&2; exit 1; }
  dir=$(sed -n 's/^\t"Dir": "\(.*\)",\?$/\1/p' <<<"$said")
  got=$(sed -n 's/^\t"Sum": "\(.*\)",\?$/\1/p' <<<"$said")
  [ "$got" = "$sum" ] || { echo "$module $version has the checksum $got, not $sum: it is not what was pinned" >&2; exit 1; }
  for f in $folders; do
    to=$out/$(tr '/' '_' <<<"$module")_$(tr '/' '_' <<<"$f")
    mkdir -p "$to"
    cp "$dir/$f"/*.yaml "$to/"
  done
done <"$(dirname "${BASH_SOURCE[0]}")/modules.txt"
chmod -R u+w "$out"
