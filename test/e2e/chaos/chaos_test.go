package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"whisperops.io/functions/hack/controlplane"
	"whisperops.io/functions/hack/controlplane/suite"
)

// TestMain gives the stack namespaces of its own; the unit tests need none.
func TestMain(m *testing.M) {
	if os.Getenv("CHAOS_MINUTES") == "" {
		os.Exit(m.Run())
	}
	os.Exit(controlplane.Isolated(m.Run))
}

// TestChaos does what a plan says to a real control plane. It runs when
// CHAOS_MINUTES is set; CHAOS_SEED and CHAOS_AGENTS are optional.
func TestChaos(t *testing.T) {
	if os.Getenv("CHAOS_MINUTES") == "" {
		t.Skip("make chaos runs it")
	}
	c := Case{Seed: number(t, "CHAOS_SEED", rand.Uint64N(1_000_000)), Length: time.Duration(number(t, "CHAOS_MINUTES", 30)) * time.Minute, Agents: int(number(t, "CHAOS_AGENTS", 20))}
	t.Logf("this run: %s", c)
	defer func() {
		if t.Failed() {
			t.Logf("to do the same again: %s", c)
		}
	}()
	w := boot(t)
	plan := Plan(c)
	text := fmt.Sprintln(c)
	for _, a := range plan {
		text += fmt.Sprintln(a)
	}
	if err := os.WriteFile(filepath.Join(w.Dir, "plan.txt"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := w.watch(ctx, w.Dynamic); err != nil {
		t.Fatal(err)
	}
	squatters := Squat(c.Seed, 2+c.Agents/5)
	leave, err := w.squat(ctx, squatters)
	if err != nil {
		t.Fatal(err)
	}
	working, stopWork := context.WithCancel(ctx)
	defer stopWork()
	var others sync.WaitGroup
	others.Go(func() { w.workAll(working, w.spend) })
	others.Go(func() { w.inspect(ctx, t, cancel) })
	defer others.Wait()
	defer cancel() // before that

	if err := w.carryOut(ctx, plan); err != nil {
		t.Errorf("chaos itself failed: %v", err)
	}
	t.Logf("%d acts are done; now calm", len(plan))
	stopWork()
	w.paying.Wait()
	w.settle(ctx, t)
	usd, calls := w.paid()
	if t.Logf("%d calls through the token-meter, one of which was killed %d times; the provider's bill is %s", calls, w.kills.Load()/2, usd); usd == 0 {
		t.Error("nobody paid through the token-meter")
	}
	w.check(t)
	if ctx.Err() == nil {
		if err := leave(ctx); err != nil {
			t.Error(err)
		}
		t.Logf("%d orders met %d things of squatters, which are as they were", len(squatters.Orders), len(squatters.Things))
	}
	w.empty(ctx, t)
	w.check(t)
	if t.Failed() {
		w.explainAll(t)
	}
}

func number(t *testing.T, variable string, otherwise uint64) uint64 {
	t.Helper()
	v := os.Getenv(variable)
	if v == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

func boot(t *testing.T) *world {
	t.Helper()
	p, err := newProvider(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s, err := suite.Boot(t.Context(), suite.Load{
		Dir: t.TempDir(), Log: t.Logf, Verbs: []string{"delete", "deletecollection"}, Agents: suite.Agents{Meter: true, ModelURL: p.url},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	w := &world{Suite: s, recorder: newRecorder(s.Meter), log: t.Logf}
	p.of.Store(w.recorder)
	if err := controlplane.Eventually(t.Context(), time.Minute, "all processes, the token-meters last", func(context.Context) error { return w.known() }); err != nil {
		t.Fatal(err)
	}
	if err := w.ApplyYAML(t.Context(), priceTable); err != nil {
		t.Fatal(err)
	}
	for _, d := range Datasets {
		if err := w.ApplyWithStatus(t.Context(), suite.NewDataset(d, bucketOf(d))); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// violations are those of the history so far.
func (w *world) violations() ([]Violation, error) {
	h, err := w.copy(w.AuditLog)
	return Always(h), err
}

// inspect looks at the invariants all along and ends chaos at the first that is
// broken, so that what broke it is still to be seen.
func (w *world) inspect(ctx context.Context, t *testing.T, end func()) {
	t.Helper()
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Second):
		}
		if vs, err := w.violations(); err != nil || len(vs) > 0 {
			t.Logf("an invariant is broken (%v): %q", err, vs)
			end()
			return
		}
	}
}

func (w *world) check(t *testing.T) {
	t.Helper()
	vs, err := w.violations()
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range vs {
		t.Error(v)
	}
}

// settles is how long what was broken may take to heal. A function that was killed
// within a call is waited for two minutes; and an order whose many events
// Crossplane's circuit breaker took for a loop hears of its parts every 30 seconds
// only, for five minutes.
const settles = 8 * time.Minute

// settle waits until everything is as it should be.
func (w *world) settle(ctx context.Context, t *testing.T) {
	t.Helper()
	if ctx.Err() != nil {
		return // an invariant is broken
	}
	began := time.Now()
	if err := w.calm(ctx); err != nil {
		t.Errorf("cannot calm down: %v", err)
		return
	}
	var ends []End
	said := time.Now()
	if err := controlplane.Eventually(ctx, settles, "calm", func(ctx context.Context) error {
		var err error
		if ends, err = w.ends(ctx); err == nil {
			err = join(Calm(ends))
		}
		if err != nil && time.Since(said) > 30*time.Second {
			said = time.Now()
			t.Logf("not calm after %s: %v", time.Since(began).Round(time.Second), err)
		}
		return err
	}); err != nil {
		t.Error(err)
		w.explainAll(t)
		return
	}
	total := Picos(0)
	for _, e := range ends {
		total += e.Money.Spent
	}
	t.Logf("%d agents are as they should be after %s; together they spent %s", len(ends), time.Since(began).Round(time.Second), total)
}

// empty deletes all orders, and waits until nothing is left of them.
func (w *world) empty(ctx context.Context, t *testing.T) {
	t.Helper()
	if ctx.Err() != nil || t.Failed() {
		return
	}
	began := time.Now()
	if err := w.dropAll(ctx); err != nil {
		t.Error(err)
		return
	}
	if err := controlplane.Eventually(ctx, settles, "nothing to be left", func(ctx context.Context) error {
		left, err := w.left(ctx)
		return errors.Join(err, join(NoLeftovers(left)))
	}); err != nil {
		t.Error(err)
		return
	}
	t.Logf("nothing is left after %s", time.Since(began).Round(time.Second))
}

func join(vs []Violation) error {
	if len(vs) == 0 {
		return nil
	}
	lines := make([]string, 0, len(vs))
	for _, v := range vs {
		lines = append(lines, string(v))
	}
	return errors.New(strings.Join(lines, "\n"))
}

// explainAll shows what a user would look at, with whatever time that takes.
func (w *world) explainAll(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	w.explain(ctx)
}
