package chattest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"whisperops.io/functions/apis/v1alpha1"
)

// A Kube is an API server that has one XAgentBudget.
type Kube struct {
	*httptest.Server

	mu     sync.Mutex
	budget *v1alpha1.XAgentBudget
	status int // answer with it instead
	gets   int
}

// NewKube starts one with a budget of 5 USD, of which 1.25 are spent.
func NewKube() *Kube {
	spent, paused := 1.25, false
	b := &v1alpha1.XAgentBudget{}
	b.APIVersion, b.Kind = v1alpha1.GroupVersion.String(), v1alpha1.KindXAgentBudget
	b.Spec.BudgetUSD, b.Spec.Period = 5, v1alpha1.PeriodMonthly
	b.Status.SpentUSD, b.Status.Paused, b.Status.Cause = &spent, &paused, v1alpha1.CauseRunning
	k := &Kube{budget: b}
	k.Server = httptest.NewServer(http.HandlerFunc(k.serve))
	return k
}

// Change edits the budget.
func (k *Kube) Change(f func(*v1alpha1.XAgentBudget)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f(k.budget)
}

// Exhaust pauses the agent because its money is gone.
func (k *Kube) Exhaust() {
	k.Change(func(b *v1alpha1.XAgentBudget) {
		spent, paused := b.Spec.BudgetUSD+0.02, true
		b.Status.SpentUSD, b.Status.Paused, b.Status.Cause = &spent, &paused, v1alpha1.CauseBudgetExhausted
	})
}

// Raise gives it more.
func (k *Kube) Raise(usd float64) {
	k.Change(func(b *v1alpha1.XAgentBudget) {
		paused := false
		b.Spec.BudgetUSD = usd
		b.Status.Paused, b.Status.Cause = &paused, v1alpha1.CauseRunning
	})
}

// Answer has the server answer with a status; 0 ends that.
func (k *Kube) Answer(status int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.status = status
}

// Gets is how often the budget was read.
func (k *Kube) Gets() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.gets
}

func (k *Kube) serve(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if r.Method != http.MethodGet || !strings.HasPrefix(r.URL.Path, "/apis/whisperops.io/v1alpha1/namespaces/agent-housing-bot/xagentbudgets/housing-bot") {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	k.gets++
	if k.status != 0 {
		w.WriteHeader(k.status)
		fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":%d}`, k.status)
		return
	}
	_ = json.NewEncoder(w).Encode(k.budget) //nolint:errchkjson // its times are good ones
}

// Kubeconfig writes one that leads to the server.
func (k *Kube) Kubeconfig(dir string) (string, error) {
	path := filepath.Join(dir, "kubeconfig")
	return path, os.WriteFile(path, fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: test
contexts: [{name: test, context: {cluster: test, user: test}}]
clusters: [{name: test, cluster: {server: %q}}]
users: [{name: test, user: {}}]
`, k.URL), 0o600)
}
