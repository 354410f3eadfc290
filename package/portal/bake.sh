#!/usr/bin/env bash
# Writes the templates with what the platform decides once:
#
#   bake.sh <folder to write> BASE_DOMAIN=agents.example.org PROJECT_ID=acme-data \
#           GITEA_URL=https://gitea.example.org GRAFANA_URL=https://grafana.example.org
#
# It writes all or nothing. What stays unbaked stops the form in its first step.
set -euo pipefail
from=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
to=${1:?name the folder to write to}
shift
declare -A value
for pair in "$@"; do value[${pair%%=*}]=${pair#*=}; done

fail() { echo "portal-bake: $*; nothing was written" >&2; exit 2; }
check() { # name, pattern, example
  [[ -n ${value[$1]:-} ]] || fail "$1 is missing, for example $1=$3"
  [[ ${value[$1]} =~ $2 ]] || fail "$1=${value[$1]} is not what it must be, for example $1=$3"
}
check BASE_DOMAIN '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$' agents.example.org
check PROJECT_ID '^[a-z][a-z0-9-]{4,28}[a-z0-9]$' acme-data
check GITEA_URL '^https?://[a-zA-Z0-9.-]+(:[0-9]+)?$' https://gitea.example.org
check GRAFANA_URL '^https?://[a-zA-Z0-9.-]+(:[0-9]+)?(/[a-zA-Z0-9._/-]*)?$' https://grafana.example.org
[[ ${#value[BASE_DOMAIN]} -le 220 ]] || fail "BASE_DOMAIN has ${#value[BASE_DOMAIN]} characters, 220 are allowed"

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
for template in dataset-whisperer change-budget budget-rules swap-dataset destroy-agent; do cp -R "$from/$template" "$tmp/"; done
find "$tmp" -type f -exec sed -i \
  -e "s|__BASE_DOMAIN__|${value[BASE_DOMAIN]}|g" -e "s|__PROJECT_ID__|${value[PROJECT_ID]}|g" \
  -e "s|__GITEA_URL__|${value[GITEA_URL]}|g" -e "s|__GITEA_HOST__|${value[GITEA_URL]#*://}|g" \
  -e "s|__GRAFANA_URL__|${value[GRAFANA_URL]%/}|g" {} +
left=$(grep -rn '__[A-Z_]*__' "$tmp" || true)
[[ -z $left ]] || fail "these are left to fill in: $left"
mkdir -p "$to"
cp -R "$tmp"/. "$to/"
echo "baked into $to: name the five template.yaml there in catalog.locations of Backstage"
