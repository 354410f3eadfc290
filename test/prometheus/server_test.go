package prometheus

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang/snappy"
	"google.golang.org/protobuf/encoding/protowire"

	"whisperops.io/functions/test/process"
)

// A Prometheus is a real one.
type Prometheus struct {
	*process.Process

	url string
}

// startPrometheus starts a Prometheus that scrapes agents from the world once a
// second. replica, if it isn't empty, is its external label; it then writes what
// it scrapes of the agents named forwarded to the store at that URL, too.
func startPrometheus(t *testing.T, binary, name, world string, agents []string, replica string, forwarded []string, store string) *Prometheus {
	t.Helper()
	dir, address := t.TempDir(), process.FreeAddress(t)
	type m = map[string]any
	config := m{
		"global":  m{"scrape_interval": "1s", "scrape_timeout": "1s"},
		"storage": m{"tsdb": m{"out_of_order_time_window": "2h"}},
	}
	var targets []m
	for _, a := range agents {
		targets = append(targets, m{"targets": []string{world}, "labels": m{"__metrics_path__": "/metrics/" + a}})
	}
	if len(targets) > 0 {
		config["scrape_configs"] = []m{{"job_name": "agents", "honor_labels": true, "static_configs": targets}}
	}
	if replica != "" {
		config["global"].(m)["external_labels"] = m{"prometheus_replica": replica}
		config["remote_write"] = []m{{
			"url":                   store + "/api/v1/write",
			"queue_config":          m{"batch_send_deadline": "500ms", "min_shards": 1, "max_shards": 1},
			"write_relabel_configs": []m{{"source_labels": []string{"agent_name"}, "regex": strings.Join(forwarded, "|"), "action": "keep"}},
		}}
	}
	b, err := json.Marshal(config) // JSON is YAML
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	p := &Prometheus{url: "http://" + address, Process: process.Run(t, name, binary,
		"--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address,
		"--web.enable-admin-api", "--web.enable-remote-write-receiver", "--log.level=warn")}
	p.Ready(t)
	return p
}

// Ready waits until it answers queries.
func (p *Prometheus) Ready(t *testing.T) {
	t.Helper()
	process.Until(t, p.Name+" to be ready", func() error {
		_, err := p.call(t.Context(), "/-/ready", nil, nil)
		return err
	})
}

func (p *Prometheus) call(ctx context.Context, path string, form url.Values, body []byte) ([]byte, error) {
	method, payload := http.MethodGet, io.Reader(nil)
	if form != nil {
		method, payload = http.MethodPost, strings.NewReader(form.Encode())
	}
	if body != nil {
		method, payload = http.MethodPost, bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, p.url+path, payload)
	if err != nil {
		return nil, err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if body != nil {
		req.Header.Set("Content-Encoding", "snappy")
		req.Header.Set("Content-Type", "application/x-protobuf")
		req.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	}
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rsp.Body.Close() }() // it has been read
	b, err := io.ReadAll(rsp.Body)
	if err != nil {
		return nil, err
	}
	if rsp.StatusCode/100 != 2 {
		return nil, fmt.Errorf("%s answers %s: %s", p.Name, rsp.Status, b[max(0, len(b)-4000):])
	}
	return b, nil
}

// Query returns the values of an instant query, with their labels.
func (p *Prometheus) Query(ctx context.Context, expr string) ([]series, error) {
	b, err := p.call(ctx, "/api/v1/query", url.Values{"query": {expr}}, nil)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string `json:"metric"`
				Value  [2]any            `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		return nil, err
	}
	var out []series
	for _, r := range answer.Data.Result {
		s := series{labels: r.Metric}
		if _, err := fmt.Sscan(fmt.Sprint(r.Value[1]), &s.value); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// Forget deletes an agent's samples up to a time, as retention does.
func (p *Prometheus) Forget(ctx context.Context, agent string, until time.Time) error {
	_, err := p.call(ctx, "/api/v1/admin/tsdb/delete_series", url.Values{
		"match[]": {fmt.Sprintf("{agent_name=%q}", agent)}, "end": {until.UTC().Format(time.RFC3339)},
	}, nil)
	return err
}

// Stored says whether the server has the present values of all of a pod's
// counters, from so many replicas.
func (p *Prometheus) Stored(ctx context.Context, pod *Pod, replicas int) error {
	has, err := p.Query(ctx, fmt.Sprintf("{agent_name=%q,pod=%q}", pod.agent.name, pod.name))
	if err != nil {
		return err
	}
	for _, want := range pod.Series() {
		n := 0
		for _, s := range has {
			if s.value == want.value && s.labels["__name__"] == want.labels["__name__"] && s.labels["model"] == want.labels["model"] {
				n++
			}
		}
		if n < replicas {
			return fmt.Errorf("%d of %d replicas have %v at %v", n, replicas, want.labels, want.value)
		}
	}
	return nil
}

// A series is labels and one value.
type series struct {
	labels map[string]string
	value  float64
	at     time.Time
}

// Write sends samples by remote-write.
func (p *Prometheus) Write(ctx context.Context, samples []series) error {
	if len(samples) == 0 {
		return errors.New("nothing to write")
	}
	_, err := p.call(ctx, "/api/v1/write", nil, snappy.Encode(nil, writeRequest(samples)))
	return err
}

// writeRequest encodes prometheus.WriteRequest: timeseries = 1 {labels = 1 {name =
// 1, value = 2}, samples = 2 {value = 1, timestamp = 2}}.
func writeRequest(samples []series) []byte {
	var out []byte
	for _, s := range samples {
		var ts []byte
		for _, k := range slices.Sorted(maps.Keys(s.labels)) {
			var l []byte
			l = protowire.AppendTag(l, 1, protowire.BytesType)
			l = protowire.AppendString(l, k)
			l = protowire.AppendTag(l, 2, protowire.BytesType)
			l = protowire.AppendString(l, s.labels[k])
			ts = protowire.AppendTag(ts, 1, protowire.BytesType)
			ts = protowire.AppendBytes(ts, l)
		}
		var v []byte
		v = protowire.AppendTag(v, 1, protowire.Fixed64Type)
		v = binary.LittleEndian.AppendUint64(v, math.Float64bits(s.value))
		v = protowire.AppendTag(v, 2, protowire.VarintType)
		v = protowire.AppendVarint(v, uint64(s.at.UnixMilli()))
		ts = protowire.AppendTag(ts, 2, protowire.BytesType)
		ts = protowire.AppendBytes(ts, v)
		out = protowire.AppendTag(out, 1, protowire.BytesType)
		out = protowire.AppendBytes(out, ts)
	}
	return out
}
