package scale

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"whisperops.io/functions/hack/controlplane"
	"whisperops.io/functions/hack/controlplane/suite"
)

// TestMain gives the stack namespaces of its own; the unit tests need none.
func TestMain(m *testing.M) {
	if os.Getenv("SCALE_SIZES") == "" {
		os.Exit(m.Run())
	}
	os.Exit(controlplane.Isolated(m.Run))
}

const dataset = "houses"

// perAgent is how long one more agent may take, on any machine.
const perAgent = 15 * time.Second

// TestScale grows a control plane to each of the sizes in SCALE_SIZES, leaves it
// alone for SCALE_WINDOW minutes, and prints what that cost.
func TestScale(t *testing.T) {
	var sizes []int
	for f := range strings.FieldsSeq(os.Getenv("SCALE_SIZES")) {
		n, err := strconv.Atoi(f)
		if err != nil || n < 1 || len(sizes) > 0 && n <= sizes[len(sizes)-1] {
			t.Fatalf("SCALE_SIZES %q must be growing numbers", os.Getenv("SCALE_SIZES"))
		}
		sizes = append(sizes, n)
	}
	if len(sizes) == 0 {
		t.Skip("make scale runs it")
	}
	window := 10 * time.Minute
	if v := os.Getenv("SCALE_WINDOW"); v != "" {
		n, err := strconv.ParseFloat(v, 64)
		if err != nil {
			t.Fatal(err)
		}
		window = time.Duration(n * float64(time.Minute))
	}
	s, err := suite.Boot(t.Context(), suite.Load{Dir: t.TempDir(), Log: t.Logf, Verbs: []string{"create", "update", "patch", "delete", "deletecollection"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	if err := s.LookAsShipped(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.ApplyWithStatus(t.Context(), suite.NewDataset(dataset, "acme-data-datasets")); err != nil {
		t.Fatal(err)
	}
	m := &meter{Suite: s, changes: changes{n: map[string]int{}}}
	if err := m.changes.watch(t.Context(), s.Metadata); err != nil {
		t.Fatal(err)
	}
	var done []Size
	have := 0
	for _, n := range sizes {
		size, err := m.grow(t, have, n, window)
		if err != nil {
			t.Fatalf("with %d agents: %v", n, err)
		}
		done, have = append(done, size), n
		t.Logf("measured with %d agents:\n%s\nin the idle %s, requests that could write:\n%sand what was changed:\n%s",
			n, Table(done), size.window().Round(time.Second), Grown(size.Idle.Writes, size.End.Writes), Grown(size.Idle.Changes, size.End.Changes))
	}
	for _, f := range Faster(done) {
		t.Logf("grows faster than the agents: %s", f)
	}
}

// grow orders agents until there are n, and measures.
func (m *meter) grow(t *testing.T, have, n int, window time.Duration) (Size, error) {
	t.Helper()
	ctx := t.Context()
	s := Size{Agents: n, Added: n - have}
	var err error
	if s.Before, err = m.count(ctx); err != nil {
		return s, err
	}
	if err := m.order(ctx, have, n); err != nil {
		return s, err
	}
	// A look reads all orders: the more there are, the less often, or the looks
	// would be part of what is measured.
	var looked time.Time
	waits := errors.New("nobody looked yet")
	if err := controlplane.Eventually(ctx, time.Minute+perAgent*time.Duration(s.Added), fmt.Sprintf("%d agents to be Ready", n), func(ctx context.Context) error {
		if time.Since(looked) > time.Duration(n)*10*time.Millisecond {
			waits, looked = m.allReady(ctx, n), time.Now()
		}
		return waits
	}); err != nil {
		return s, err
	}
	if s.Grown, err = m.count(ctx); err != nil {
		return s, err
	}
	s.Ready = s.Grown.At.Sub(s.Before.At)
	t.Logf("%d agents Ready after %s; meanwhile requests that could write:\n%sand what was changed:\n%s",
		n, s.Ready.Round(100*time.Millisecond), Grown(s.Before.Writes, s.Grown.Writes), Grown(s.Before.Changes, s.Grown.Changes))
	if err := m.quiet(ctx, n); err != nil {
		return s, err
	}
	if s.Idle, err = m.count(ctx); err != nil {
		return s, err
	}
	t.Logf("quiet after another %s; measuring for %s", s.Idle.At.Sub(s.Grown.At).Round(time.Second), window)
	select {
	case <-ctx.Done():
		return s, ctx.Err()
	case <-time.After(window): // the length of a measurement
	}
	if s.End, err = m.count(ctx); err != nil {
		return s, err
	}
	db, err := os.Stat(filepath.Join(m.Dir, "etcd", "member", "snap", "db"))
	if err != nil {
		return s, err
	}
	s.DB = db.Size()
	return s, m.allReady(ctx, n)
}

// order makes orders, some at a time, as people do.
func (m *meter) order(ctx context.Context, from, to int) error {
	names := make(chan string)
	errs := make(chan error, 8)
	var all sync.WaitGroup
	for range cap(errs) {
		all.Go(func() {
			var failed error
			for n := range names {
				if err := m.Apply(ctx, suite.NewOrder(n, dataset, 5)); err != nil {
					failed = err
				}
			}
			errs <- failed
		})
	}
	for i := from; i < to; i++ {
		names <- fmt.Sprintf("bot-%04d", i)
	}
	close(names)
	all.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// allReady fails unless n orders are Ready.
func (m *meter) allReady(ctx context.Context, n int) error {
	orders, err := m.List(ctx, suite.API, "XDatasetAgent", "")
	if err != nil {
		return err
	}
	ready, waits := 0, ""
	for i := range orders {
		if s, _, msg := controlplane.Condition(&orders[i], "Ready"); s == "True" {
			ready++
		} else {
			waits = orders[i].GetName() + ": " + msg
		}
		if phase, _, _ := unstructured.NestedString(orders[i].Object, "status", "phase"); phase == "Failed" {
			return controlplane.Never(fmt.Errorf("%s failed", orders[i].GetName()))
		}
	}
	if ready != n {
		return fmt.Errorf("%d of %d are Ready; %s", ready, n, waits)
	}
	return nil
}

// breakerOpen is how long Crossplane's circuit breaker drops the events of a new
// order, and a little more. Until then orders are looked at by the clock.
const breakerOpen = 6 * time.Minute

// quiet waits until the circuit breakers are closed, and then until next to nothing
// was changed for a while: the ledgers of many budgets are never all silent. What never
// rests is measured as it is.
func (m *meter) quiet(ctx context.Context, agents int) error {
	const still, limit = 40 * time.Second, breakerOpen + 4*time.Minute
	began, last, since := time.Now(), grown(nil, m.changes.count()), time.Now()
	for time.Since(began) < limit && (time.Since(began) < breakerOpen || time.Since(since) < still) {
		if n := grown(nil, m.changes.count()); n > last+float64(agents/20) {
			last, since = n, time.Now()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
	return nil
}
