package suite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"whisperops.io/functions/hack/controlplane"
)

// A Meter counts the tokens that agents use, as the platform's collector would
// show them to Prometheus: one counter per agent, model and kind of token.
type Meter struct {
	mu     sync.Mutex
	series map[series]float64
}

type series struct {
	metric, agent, model string
	namespace            string // of the pod, as who scrapes would note it; "": it doesn't
}

// Token kinds, by the names that the pipeline's inputs have as defaults.
const (
	Input  = "whisperops_tokens_input_total"
	Output = "whisperops_tokens_output_total"
)

// Spend counts tokens.
func (m *Meter) Spend(agent, model, metric string, tokens float64) {
	m.Report("", agent, model, metric, tokens)
}

// Report counts tokens as a pod of a namespace reports them under an agent's name.
func (m *Meter) Report(namespace, agent, model, metric string, tokens float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.series[series{metric, agent, model, namespace}] += tokens
}

// Total is what was counted.
func (m *Meter) Total(agent, model, metric string) float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.series[series{metric: metric, agent: agent, model: model}]
}

// ServeHTTP shows the counters in Prometheus' text format.
func (m *Meter) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var lines []string
	for s, v := range m.series {
		labels := fmt.Sprintf("agent_name=%q,model=%q", s.agent, s.model)
		if s.namespace != "" {
			labels += fmt.Sprintf(",namespace=%q", s.namespace)
		}
		lines = append(lines, fmt.Sprintf("%s{%s} %v\n", s.metric, labels, v))
	}
	slices.Sort(lines)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	_, _ = w.Write([]byte("# counters\n" + strings.Join(lines, ""))) // a scrape that went away
}

const prometheusConfig = `global: {scrape_interval: 1s, evaluation_interval: 1m}
scrape_configs:
- job_name: agents
  static_configs: [{targets: [%q]}]
- job_name: pods
  honor_labels: true
  file_sd_configs: [{files: [%q]}]
`

// measure starts the meter and a Prometheus that watches it.
func (s *Suite) measure(ctx context.Context) error {
	s.Meter = &Meter{series: map[series]float64{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("cannot start the agents' meter: %w", err)
	}
	srv := &http.Server{Handler: s.Meter, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.o.Log("the agents' meter ended: %v", err)
		}
	}()
	port := prometheusPort
	if !controlplane.IsIsolated() {
		if port, err = controlplane.FreePort(); err != nil {
			return err
		}
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	s.Prometheus = "http://" + address
	dir := filepath.Join(s.Dir, "prometheus")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, prometheusConfig, l.Addr(), s.targets()), 0o600); err != nil {
		return err
	}
	_, err = s.Run(ctx, controlplane.Command{
		Name: "prometheus", Path: s.Tools["PROMETHEUS"],
		Args: []string{"--config.file", config, "--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", address, "--log.level", "warn"},
		Ready: func(ctx context.Context) error {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Prometheus+"/-/ready", http.NoBody)
			if err != nil {
				return err
			}
			rsp, err := http.DefaultClient.Do(req)
			if err != nil {
				return err
			}
			if rsp.StatusCode != http.StatusOK {
				err = fmt.Errorf("it answers %s", rsp.Status)
			}
			return errors.Join(err, rsp.Body.Close())
		},
	})
	return err
}

// look sets what a platform team would: how often the budget's pipeline looks.
// Its defaults, half a minute to five, are right for money and too slow to watch.
// Where Prometheus' usual name can't be made to lead to it, its URL is set, too.
func (s *Suite) look(ctx context.Context) error {
	input := map[string]any{
		"apiVersion": "fn.whisperops.io/v1alpha1", "kind": "FetchSpendInput",
		"grid": "5s", "ingestDelay": "2s", "minLook": "3s", "maxLook": "10s",
	}
	if !controlplane.IsIsolated() {
		input["prometheus"] = map[string]any{"url": s.Prometheus}
	}
	if err := s.input(ctx, "xagentbudget-default", "fetch-spend", func(map[string]any) map[string]any { return input }); err != nil || s.o.Agents.Model == "" {
		return err
	}
	return s.input(ctx, "xdatasetagent-default", "render-workloads", func(have map[string]any) map[string]any {
		model, _ := have["model"].(map[string]any)
		if model == nil {
			model = map[string]any{}
		}
		model["name"] = s.o.Agents.Model
		have["model"] = model
		return have
	})
}

// input changes the input of a Composition's step.
func (s *Suite) input(ctx context.Context, composition, step string, change func(map[string]any) map[string]any) error {
	c, err := s.Get(ctx, "apiextensions.crossplane.io/v1", "Composition", "", composition)
	if err != nil {
		return err
	}
	steps, _, _ := unstructured.NestedSlice(c.Object, "spec", "pipeline")
	for _, st := range steps {
		if m, isMap := st.(map[string]any); isMap && m["step"] == step {
			have, _ := m["input"].(map[string]any)
			m["input"] = change(have)
		}
	}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"pipeline": steps}})
	if err != nil {
		return err
	}
	return s.Patch(ctx, "apiextensions.crossplane.io/v1", "Composition", "", composition, string(patch))
}

// Work lets agents work until the context ends: each whose planner runs uses a
// few tokens a second, of the model its ModelConfig names.
func (s *Suite) Work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
		planners, err := s.List(ctx, "apps/v1", "Deployment", "")
		if err != nil {
			continue // the next second is another
		}
		for _, d := range planners {
			running, _, _ := unstructured.NestedInt64(d.Object, "status", "availableReplicas")
			agent, isAgent := strings.CutPrefix(d.GetNamespace(), "agent-")
			if d.GetName() != "planner" || !isAgent || running == 0 {
				continue
			}
			m, err := s.Get(ctx, "kagent.dev/v1alpha2", "ModelConfig", d.GetNamespace(), "model")
			if err != nil {
				continue
			}
			model, _, _ := unstructured.NestedString(m.Object, "spec", "model")
			s.Meter.Spend(agent, model, Input, 200)
			s.Meter.Spend(agent, model, Output, 50)
		}
	}
}
