#!/usr/bin/env bash
# A PromQL query that VictoriaMetrics breaks off is answered with HTTP 200, "success", and
# the error in the middle of the matrix.
#
# Seen with VictoriaMetrics v1.151.0, single node: /api/v1/query of a range selector (x[1h])
# streams raw samples as it reads them. When a limit is met late, here
# -search.maxSamplesPerSeries, status and half of the result have left already, and the JSON
# of the error is appended to what came so far. The body is no JSON; a client that reads
# series as they come has a result that looks whole but for its end. The same limit, met
# early, is HTTP 422.
#
# So: whoever reads such an answer must read it to its end before using any of it, and find
# the server's own words in its tail: a JSON decoder names a comma instead.
# Needs: go (it fetches the toolchain that VictoriaMetrics asks for), curl, python3. Builds
# for a minute or two on an empty cache.
set -euo pipefail
dir=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; chmod -R u+w "$dir"; rm -rf "$dir"' EXIT
cd "$dir"
version=v1.151.0
GOBIN=$dir go install "github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics@$version" 2>/dev/null
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
url=http://127.0.0.1:$port
./victoria-metrics -storageDataPath=data -httpListenAddr="127.0.0.1:$port" -search.maxSamplesPerSeries=1000 -retentionPeriod=100y >log 2>&1 &
server=$!
until curl -sf "$url/health" >/dev/null; do kill -0 "$server"; sleep 0.2; done

# 1,499 series within the limit, and one with five times as many samples as it allows.
now=$(date +%s)
python3 - "$now" >in.json <<'P'
import json, sys
now = int(sys.argv[1]) * 1000
for i in range(1500):
    n = 5000 if i == 1499 else 400
    print(json.dumps({"metric": {"__name__": "x", "pod": "p%04d" % i}, "values": list(range(n)),
                      "timestamps": [now - 3600000 + k * (3500000 // n) for k in range(n)]}))
P
curl -sf -T in.json -X POST "$url/api/v1/import"
curl -sf "$url/internal/force_flush"

same=1
ask() { # query, what was seen
  local code
  code=$(curl -s -o out -w '%{http_code}' --data-urlencode "query=$1" --data-urlencode "time=$now" "$url/api/v1/query")
  echo "$1: HTTP $code, $(python3 -c 'import json
try: json.load(open("out")); print("JSON")
except ValueError: print("no JSON")'), begins $(head -c 20 out), ends ...$(tail -c 60 out)"
  [ "$code" = "$2" ] || same=0
}
echo "VictoriaMetrics $version"
ask 'x{pod="p1499"}[1h]' 422
ask 'x[1h]' 200
grep -q '^{"status":"success"' out && grep -q '"status":"error"' out || same=0
! python3 -c 'import json; json.load(open("out"))' 2>/dev/null || same=0
[ "$same" = 1 ] || { echo "CHANGED: it is not as this finding says"; exit 1; }
echo "seen again: VictoriaMetrics $version"
