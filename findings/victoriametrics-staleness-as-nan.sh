#!/usr/bin/env bash
# VictoriaMetrics hands its staleness markers to whoever asks for raw samples, as the
# string "NaN"; Prometheus never does.
#
# Seen with Debian bookworm's victoria-metrics 1.79.5 (and with v1.151.0 built from source): a target is scraped, then no
# longer exposes a counter. The query x[1m] gives the real samples and, last, one of
# value "NaN", a value that no counter of the target ever had. sum() and rate() skip it,
# so only programs that read raw samples meet it.
#
# So: who reads x[w] from stores of both kinds must skip NaN. To take it for rubbish means to
# distrust every pod that ever ended.
# Needs: apt-get (downloads, installs nothing), python3, curl, jq. Takes 20 seconds.
set -euo pipefail
dir=$(mktemp -d)
chmod 755 "$dir"
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$dir"' EXIT
cd "$dir"
version='1.79.5+ds1-2+b5'
apt-get download "victoria-metrics=$version" >apt.log 2>&1 || { cat apt.log; exit 1; }
dpkg -x victoria-metrics_*.deb .

cat >target.py <<'P'
import http.server, os, sys
class H(http.server.BaseHTTPRequestHandler):
    n = 0
    def do_GET(self):
        H.n += 10
        body = "other 1\n" if os.path.exists("gone") else "other 1\ntokens_total %d\n" % H.n
        self.send_response(200); self.send_header("Content-Type", "text/plain"); self.end_headers(); self.wfile.write(body.encode())
    def log_message(self, *a): pass
s = http.server.HTTPServer(("127.0.0.1", 0), H)
open("port", "w").write(str(s.server_port))
s.serve_forever()
P
python3 target.py & pids+=($!)
until [ -s port ]; do sleep 0.1; done
printf 'scrape_configs: [{job_name: t, scrape_interval: 1s, static_configs: [{targets: ["127.0.0.1:%s"]}]}]\n' "$(cat port)" >scrape.yaml
free=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
usr/bin/victoria-metrics -storageDataPath=data -httpListenAddr="127.0.0.1:$free" -promscrape.config=scrape.yaml >vm.log 2>&1 & pids+=($!)

values() { curl -sf --data-urlencode 'query=tokens_total[1m]' "http://127.0.0.1:$free/api/v1/query" | jq -c '[.data.result[].values[][1]]' 2>/dev/null || echo '[]'; }
eventually() { # condition: of the values, in jq's words
  for _ in $(seq 100); do values | jq -e "$1" >/dev/null && return; sleep 0.2; done
  return 1
}
eventually 'length >= 3' || { echo "CHANGED: no samples came"; tail -5 vm.log; exit 1; }
touch gone
echo "victoria-metrics $version; the target no longer exposes tokens_total"
if eventually 'last == "NaN"'; then
  echo "tokens_total[1m]: $(values)"
  echo "seen again"
else
  echo "tokens_total[1m]: $(values)"
  echo "CHANGED: no NaN among the samples"
  exit 1
fi
