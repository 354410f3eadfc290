package portal

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"whisperops.io/functions/hack/controlplane"
)

// Each program is killed in the middle of its stage once. What it did is run again, goes
// on from there, and ends as if nothing had happened.
func TestKilledInTheMiddle(t *testing.T) {
	r := join(t)
	const agent = "killed-bot"
	order := func() string {
		t.Helper()
		id, err := r.submit(t.Context(), "dataset-whisperer", newOrder(agent, first))
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	alive := func() {
		t.Helper()
		r.see(t, 3*time.Minute, "Backstage and Gitea to answer again", func(ctx context.Context) error {
			if err := r.entity(ctx, "template/default/dataset-whisperer"); err != nil {
				return err
			}
			return r.Gitea.Do(ctx, "GET", "/orgs/agents", nil, nil)
		})
	}
	// begun waits until a task is in a step.
	begun := func(id, step string) {
		t.Helper()
		r.see(t, 3*time.Minute, "step: "+step, func(ctx context.Context) error {
			if !strings.Contains(r.said(ctx, id), step) {
				return r.ended(ctx, id)
			}
			return nil
		})
	}

	r.stampf(t, "Gitea is killed while it takes the repository")
	id := order()
	begun(id, "Beginning step Make the repository")
	r.crash(t, "gitea")
	alive()
	r.again(t, id, order)
	r.see(t, time.Minute, "Application", func(ctx context.Context) error { _, err := r.application(ctx, agent); return err })

	r.stampf(t, "Argo CD's controller is killed while it delivers")
	r.crash(t, "argocd-application-controller")
	r.see(t, 4*time.Minute, "22 parts, Ready", r.ready(agent))
	r.see(t, 2*time.Minute, "Application Synced and Healthy", r.delivered(agent, "Healthy"))

	r.stampf(t, "Backstage is killed while it changes the order")
	change := func() string {
		t.Helper()
		id, err := r.submit(t.Context(), "change-budget", object{"agent": component(agent), "budget_usd": 8})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	id = change()
	begun(id, "Beginning step Change the order in Git")
	r.crash(t, "backstage")
	alive()
	r.form(t, 4*time.Minute, "change-budget", object{"agent": component(agent), "budget_usd": 8})
	r.see(t, time.Minute, "budget changed", r.ordered(agent, 8, "budgetUsd"))
	if n := r.commits(t, agent); n != 2 {
		t.Errorf("want one commit of the order and one of its budget, got %d", n)
	}

	r.stampf(t, "the ledger is killed while it dismantles")
	r.retireUntil(t, agent, "still standing")
	r.stampf(t, "the ledger is run again, and Argo CD's controller killed meanwhile")
	r.crash(t, "argocd-application-controller")
	r.retireUntil(t, agent, "the repository is gone")
	r.form(t, 6*time.Minute, "destroy-agent", object{"agent": component(agent), "sure": true})
	r.nothing(t, agent)
}

// again submits a task once more that the death of a program has let fail, as often as
// a patient person would. Its six tries of a push alone can take two minutes and a half.
func (r *running) again(t *testing.T, id string, submit func() string) {
	t.Helper()
	for attempt := range 3 {
		err := controlplane.Eventually(t.Context(), 6*time.Minute, "the task", func(ctx context.Context) error { return r.ended(ctx, id) })
		if err == nil {
			r.stampf(t, "task completed after %d more attempts", attempt)
			return
		}
		r.stampf(t, "%v", err)
		id = submit()
	}
	t.Fatal("want the task to be run again with success")
}

// retireUntil runs ledger retire and kills it when it has said something.
func (r *running) retireUntil(t *testing.T, agent, says string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), r.Ledger, "retire", "--agent", agent, "--yes", "--poll", "100ms")
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, r.LedgerEnv...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		r.stampf(t, "ledger: %s", lines.Text())
		if strings.Contains(lines.Text(), says) {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // it was killed
			return
		}
	}
	t.Fatalf("the ledger never said %q: %v", says, cmd.Wait())
}
