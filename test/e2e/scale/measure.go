package scale

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"whisperops.io/functions/hack/controlplane"
	"whisperops.io/functions/hack/controlplane/suite"
)

// A meter reads counts from a running suite.
type meter struct {
	*suite.Suite

	changes changes

	// The audit log is long: it is read on from where the last count ended.
	offset int64
	writes map[string]int
}

// count reads everything once.
func (m *meter) count(ctx context.Context) (Count, error) {
	c := Count{At: time.Now(), Processes: map[string]Usage{}, Reconciles: map[string]float64{}, Calls: map[string]float64{}, Writes: map[string]int{}, Changes: m.changes.count()}
	for _, p := range m.AllProcesses() {
		u, err := usage(p.PID())
		if err != nil {
			return c, fmt.Errorf("cannot measure %s: %w", p.Name, err)
		}
		c.Processes[plain(p.Name)] = u
		address := metricsAddress(p)
		if address == "" {
			continue
		}
		if err := scrape(ctx, "http://"+address+"/metrics", func(name string, labels map[string]string, v float64) {
			switch name {
			case "controller_runtime_reconcile_total":
				c.Reconciles[plain(p.Name)+" "+labels["controller"]] += v
			case "function_run_function_response_total":
				c.Calls[labels["function_name"]] += v
			case "function_run_function_seconds_sum":
				c.CallTime += time.Duration(v * float64(time.Second))
			}
		}); err != nil {
			return c, fmt.Errorf("cannot read the metrics of %s: %w", p.Name, err)
		}
	}
	err := m.read()
	maps.Copy(c.Writes, m.writes)
	return c, err
}

// read reads on in the audit log, what Crossplane, its providers and the stand-in
// for the cluster's own controllers write; not what Kubernetes writes by itself.
// The stand-in and this test are both the administrator, and told apart by program.
func (m *meter) read() (err error) {
	if m.writes == nil {
		m.writes = map[string]int{}
	}
	m.offset, err = suite.ReadAudit(m.AuditLog, m.offset, func(q suite.Request) {
		if q.Stage != "ResponseComplete" || q.Verb == "get" {
			return
		}
		who, ours := strings.CutPrefix(q.User.Username, "system:serviceaccount:"+controlplane.Namespace+":")
		if who == "admin" {
			who, _, _ = strings.Cut(q.UserAgent, "/")
		} else if !ours {
			return
		}
		what := q.Object.Resource
		if q.Object.Subresource != "" {
			what += "/" + q.Object.Subresource
		}
		m.writes[plain(who)+" "+q.Verb+" "+what]++
	})
	return err
}

// plain is a name without the revision of its package.
func plain(name string) string {
	if i := strings.LastIndexByte(name, '-'); i > 0 && (strings.HasPrefix(name, "function-") || strings.HasPrefix(name, "provider-")) && len(name)-i > 8 {
		return name[:i]
	}
	return name
}

// metricsAddress is where a process shows its metrics; empty if it shows none
// that are counted here.
func metricsAddress(p *controlplane.Process) string {
	if p.Name == "crossplane" {
		if i := slices.Index(p.Args, "--metrics-port"); i >= 0 {
			return "127.0.0.1:" + p.Args[i+1]
		}
	}
	for _, e := range p.Env {
		if a, is := strings.CutPrefix(e, "METRICS_BIND_ADDRESS="); is && strings.HasPrefix(p.Name, "provider-kubernetes") {
			return a
		}
	}
	return ""
}

// scrape calls f for each sample that a process shows.
func scrape(ctx context.Context, url string, f func(name string, labels map[string]string, v float64)) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer rsp.Body.Close() //nolint:errcheck // a reader
	if rsp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, rsp.Status)
	}
	return parse(rsp.Body, f)
}

// parse reads Prometheus' text format, as far as client libraries write it:
// labels without escapes matter to nobody here.
func parse(r io.Reader, f func(name string, labels map[string]string, v float64)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		text := lines.Text()
		i := strings.LastIndexByte(text, ' ')
		if i < 0 || strings.HasPrefix(text, "#") {
			continue
		}
		v, err := strconv.ParseFloat(text[i+1:], 64)
		if err != nil {
			return fmt.Errorf("cannot read sample %q: %w", text, err)
		}
		name, rest, _ := strings.Cut(text[:i], "{")
		labels := map[string]string{}
		for pair := range strings.SplitSeq(strings.TrimSuffix(rest, "}"), `",`) {
			k, value, _ := strings.Cut(pair, `="`)
			labels[k] = strings.TrimSuffix(value, `"`)
		}
		f(name, labels, v)
	}
	return lines.Err()
}

// ticksPerSecond is the unit of times in /proc on every Linux that Go runs on.
const ticksPerSecond = 100

// usage reads what a process has used, from /proc.
func usage(pid int) (Usage, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return Usage{}, err
	}
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return Usage{}, err
	}
	return readUsage(stat, status)
}

func readUsage(stat, status []byte) (Usage, error) {
	// Counted behind the command, which is in brackets and may hold spaces: fields
	// 14 and 15 are the ticks in user and system mode.
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(f) < 13 {
		return Usage{}, fmt.Errorf("cannot read %q", stat)
	}
	user, err := strconv.ParseInt(f[11], 10, 64)
	if err != nil {
		return Usage{}, err
	}
	system, err := strconv.ParseInt(f[12], 10, 64)
	if err != nil {
		return Usage{}, err
	}
	for line := range strings.Lines(string(status)) {
		if kb, is := strings.CutPrefix(line, "VmRSS:"); is {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(kb), " kB"), 10, 64)
			return Usage{CPU: time.Duration(user+system) * time.Second / ticksPerSecond, RSS: n << 10}, err
		}
	}
	return Usage{}, errors.New("it holds no memory: it has ended")
}
