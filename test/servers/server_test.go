package servers

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"whisperops.io/functions/test/process"
)

// A server takes samples by remote write, and answers queries.
type server struct {
	name   string
	url    string
	tenant string
	write  string // where samples are written; a path, or a URL if that is another's
	flush  string // makes what was written visible; a path, or empty
}

// startPrometheus starts one that scrapes nothing.
func startPrometheus(t *testing.T, name, binary string) *server {
	t.Helper()
	dir, address := t.TempDir(), process.FreeAddress(t)
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte("storage: {tsdb: {out_of_order_time_window: 24h}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	process.Run(t, "prometheus", binary, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address, "--web.enable-remote-write-receiver", "--log.level=warn")
	s := &server{name: name, url: "http://" + address, write: "/api/v1/write"}
	s.ready(t, "/-/ready")
	return s
}

// startVictoriaMetrics starts one with some flags of its own.
func startVictoriaMetrics(t *testing.T, flags ...string) *server {
	t.Helper()
	address := process.FreeAddress(t)
	process.Run(t, "victoria-metrics", *victoriaBinary, append([]string{
		"-storageDataPath=" + t.TempDir(), "-httpListenAddr=" + address,
		"-memory.allowedBytes=128MB", "-loggerLevel=WARN",
	}, flags...)...)
	s := &server{name: "VictoriaMetrics", url: "http://" + address, write: "/api/v1/write", flush: "/internal/force_flush"}
	s.ready(t, "/health")
	return s
}

func (s *server) ready(t *testing.T, path string) {
	t.Helper()
	process.Until(t, s.name+" to be ready", func() error {
		return s.call(t.Context(), path, nil)
	})
}

// call asks for a path; with a body it is a write.
func (s *server) call(ctx context.Context, path string, body []byte) error {
	method := http.MethodGet
	if body != nil {
		method = http.MethodPost
	}
	if !strings.HasPrefix(path, "http://") {
		path = s.url + path
	}
	r, err := http.NewRequestWithContext(ctx, method, path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if s.tenant != "" {
		r.Header.Set("X-Scope-OrgID", s.tenant)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/x-protobuf")
		r.Header.Set("Content-Encoding", "snappy")
		r.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: HTTP %d: %s", s.name, path, answer.StatusCode, text)
	}
	return err
}

// store writes samples, in the order of time as servers like it.
func (s *server) store(t *testing.T, all []series) {
	t.Helper()
	for batch := range slices.Chunk(inOrder(all), 5000) {
		if err := s.call(t.Context(), s.write, snappy(writeRequest(batch))); err != nil {
			t.Fatal(err)
		}
	}
	if s.flush != "" {
		if err := s.call(t.Context(), s.flush, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// A series is labels and samples.
type series struct {
	labels  map[string]string
	samples []sample
}

// A sample is a value at a time in Unix milliseconds.
type sample struct {
	at int64
	v  float64
}

// stale is the value by which a scraper says that a series has ended.
var stale = math.Float64frombits(0x7ff0000000000002)

// inOrder takes series apart into single samples, by time.
func inOrder(all []series) []series {
	var out []series
	for _, s := range all {
		for _, p := range s.samples {
			out = append(out, series{labels: s.labels, samples: []sample{p}})
		}
	}
	slices.SortStableFunc(out, func(a, b series) int { return int(a.samples[0].at - b.samples[0].at) })
	return out
}

// writeRequest encodes prometheus.WriteRequest: timeseries = 1 {labels = 1 {name =
// 1, value = 2}, samples = 2 {value = 1, timestamp = 2}}.
func writeRequest(all []series) []byte {
	var out []byte
	for _, s := range all {
		var ts []byte
		for _, k := range slices.Sorted(maps.Keys(s.labels)) {
			if s.labels[k] == "" {
				continue // to Prometheus there is no such label, and Thanos refuses it
			}
			var l []byte
			l = protowire.AppendString(protowire.AppendTag(l, 1, protowire.BytesType), k)
			l = protowire.AppendString(protowire.AppendTag(l, 2, protowire.BytesType), s.labels[k])
			ts = protowire.AppendBytes(protowire.AppendTag(ts, 1, protowire.BytesType), l)
		}
		for _, p := range s.samples {
			var v []byte
			v = protowire.AppendFixed64(protowire.AppendTag(v, 1, protowire.Fixed64Type), math.Float64bits(p.v))
			v = protowire.AppendVarint(protowire.AppendTag(v, 2, protowire.VarintType), uint64(p.at))
			ts = protowire.AppendBytes(protowire.AppendTag(ts, 2, protowire.BytesType), v)
		}
		out = protowire.AppendBytes(protowire.AppendTag(out, 1, protowire.BytesType), ts)
	}
	return out
}

// snappy is the block format without any compression: remote write takes nothing
// else, and nobody here is in a hurry.
func snappy(b []byte) []byte {
	out := binary.AppendUvarint(nil, uint64(len(b)))
	for piece := range slices.Chunk(b, 1<<16) {
		n := len(piece) - 1
		out = append(out, 61<<2, byte(n), byte(n>>8)) // a literal with a length of two bytes
		out = append(out, piece...)
	}
	return out
}
