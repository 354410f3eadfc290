package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// A process is a program that is measured.
type process struct {
	cmd *exec.Cmd
	log *os.File
}

func start(dir, binary string, args ...string) (*process, error) {
	log, err := os.Create(filepath.Join(dir, filepath.Base(binary)+".log"))
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(binary, args...), log: log}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return p, errors.Wrapf(p.cmd.Start(), "cannot start %s", filepath.Base(binary))
}

func (p *process) stop() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	_ = p.cmd.Wait()         // which says that it was killed
	_ = p.log.Close()        // it is removed
}

// cpu is what the process has used so far, in seconds.
func (p *process) cpu() (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	// pid (name) state ppid ...: utime and stime are the 14th and 15th field.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	user, err1 := strconv.ParseFloat(fields[11], 64)
	system, err2 := strconv.ParseFloat(fields[12], 64)
	return (user + system) / 100, errors.Join(err1, err2) // USER_HZ is 100
}

// resident is its resident memory in MiB.
func (p *process) resident() (float64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // it was read only
	for s := bufio.NewScanner(f); s.Scan(); {
		if kib, ok := strings.CutPrefix(s.Text(), "VmRSS:"); ok {
			n, err := strconv.ParseFloat(strings.Fields(kib)[0], 64)
			return n / 1024, err
		}
	}
	return 0, errors.New("the kernel does not say how much memory is resident")
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// A server is a Prometheus.
type server struct {
	*process

	url string
}

func startPrometheus(ctx context.Context, binary, dir string, p *population) (*server, error) {
	type m = map[string]any
	config, err := json.Marshal(m{ // JSON is YAML
		"global": m{"scrape_interval": export.String(), "scrape_timeout": "20s"},
		"scrape_configs": []m{{
			"job_name": "agents", "honor_labels": true, "static_configs": []m{{"targets": []string{p.scraped.Addr().String()}}},
			// As backfilled: a counter is the same series whoever wrote it.
			"metric_relabel_configs": []m{{"action": "labeldrop", "regex": "job|instance"}},
		}},
	})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	go p.serve()
	proc, err := start(dir, binary, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--storage.tsdb.retention.time=60d", "--web.listen-address="+address, "--log.level=warn")
	if err != nil {
		return nil, err
	}
	s := &server{process: proc, url: "http://" + address}
	return s, errors.Wrap(s.ready(ctx), "Prometheus does not get ready")
}

func (s *server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		if rsp, err := http.Get(s.url + "/-/ready"); err == nil {
			_ = rsp.Body.Close() // only its status matters
			if rsp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// A cost is what queries made a server do.
type cost struct {
	queries int
	samples int
	seconds float64 // of evaluation
}

type statistics struct {
	Data struct {
		Stats struct {
			Timings struct {
				Exec float64 `json:"execTotalTime"`
			} `json:"timings"`
			Samples struct {
				Total int `json:"totalQueryableSamples"`
			} `json:"samples"`
		} `json:"stats"`
	} `json:"data"`
}

// A tap passes queries on to a server, asks what they cost, and adds it up.
type tap struct {
	*httptest.Server

	server *server

	mu  sync.Mutex
	sum cost
}

func newTap(s *server) *tap {
	t := &tap{server: s}
	t.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body, err := t.ask(r.Context(), r.Form)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		_, _ = w.Write(body) // who hung up wants no answer
	}))
	return t
}

// ask asks the server.
func (t *tap) ask(ctx context.Context, form url.Values) ([]byte, error) {
	form.Set("stats", "all")
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.server.url+"/api/v1/query", strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rsp.Body.Close() }() // it has been read
	body, err := io.ReadAll(rsp.Body)
	if err != nil {
		return nil, err
	}
	var s statistics
	if err := json.Unmarshal(body, &s); err != nil || rsp.StatusCode != http.StatusOK {
		return nil, errors.Errorf("Prometheus answers %s: %.200s", rsp.Status, body)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sum.queries++
	t.sum.samples += s.Data.Stats.Samples.Total
	t.sum.seconds += s.Data.Stats.Timings.Exec
	return body, nil
}

// take returns what queries cost since it was last asked.
func (t *tap) take() cost {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.sum
	t.sum = cost{}
	return c
}
