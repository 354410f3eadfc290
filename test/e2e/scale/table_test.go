package scale

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// made is a size in which everything grows as the agents do.
func made(agents, added int) Size {
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	n := float64(agents)
	count := func(after time.Duration, cpuSeconds, work float64) Count {
		return Count{
			At: at.Add(after),
			Processes: map[string]Usage{
				"etcd":                   {CPU: time.Duration(cpuSeconds * float64(time.Second)), RSS: int64(n) << 20},
				"function-budget-decide": {CPU: time.Duration(cpuSeconds / 10 * float64(time.Second)), RSS: 10 << 20},
			},
			Reconciles: map[string]float64{"crossplane composite/xagentbudgets": work, "provider-kubernetes objects": 10 * work},
			Calls:      map[string]float64{"function-budget-decide": work},
			CallTime:   time.Duration(work) * time.Millisecond,
			Writes:     map[string]int{"crossplane patch xagentbudgets": int(work)},
			Changes:    map[string]int{"xagentbudgets.whisperops.io": int(work) / 3},
		}
	}
	a := float64(added)
	return Size{
		Agents: agents, Added: added, Ready: time.Duration(a) * 2 * time.Second, DB: int64(n) << 20,
		Before: count(0, 0, 0), Grown: count(time.Minute, 3*a, 100*a), Idle: count(2*time.Minute, 0, 0), End: count(32*time.Minute, n, 6*n),
	}
}

func TestTable(t *testing.T) {
	got := Table([]Size{made(10, 10), made(100, 90)})
	for _, want := range []string{
		"| agents | 10 | 100 |",
		"| all Ready after, s | 20 | 180 |",
		"| seconds per added agent | 2.00 | 2.00 |",
		"| CPU seconds per added agent | 3.30 | 3.30 |",
		"| of these the functions | 0.300 | 0.300 |",
		"| function calls per second while growing | 50.0 | 50.0 |",
		"| mean time of a call while growing, ms | 1.0 | 1.0 |",
		"| idle: XR reconciles per agent and hour | 12.0 | 12.0 |",
		"| idle: provider reconciles per agent and hour | 120 | 120 |",
		"| idle: requests that could write, per agent and hour | 12.00 | 12.00 |",
		"| idle: of an order and its parts changed, per agent and hour | 4.00 | 4.00 |",
		"| idle: CPU, thousandths of a core | 6 | 61 |",
		"| memory of all processes, MiB | 20 | 110 |",
		"| etcd | 3.00; 6; 10 | 3.00; 56; 100 |",
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("want the line %q in\n%s", want, got)
		}
	}
}

func TestFaster(t *testing.T) {
	if got := Faster([]Size{made(10, 10), made(100, 90)}); len(got) > 0 {
		t.Errorf("want nothing that grows faster than the agents, got %q", got)
	}
	quadratic := made(100, 90)
	quadratic.End.Writes = map[string]int{"crossplane patch xagentbudgets": 6 * 100 * 100 / 10}
	quadratic.DB = 100 * 100 << 20 / 10
	got := Faster([]Size{made(10, 10), quadratic})
	want := []string{
		"idle: requests that could write, per agent and hour: 12.00 with 10 agents, 120.00 with 100",
		"etcd's file, MiB: 10 with 10 agents, 1000 with 100",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}

func TestGrown(t *testing.T) {
	if diff := cmp.Diff("     7  c\n     1  b\n", Grown(map[string]int{"a": 5, "b": 1}, map[string]int{"a": 5, "b": 2, "c": 7})); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}

func TestParse(t *testing.T) {
	var got []string
	err := parse(strings.NewReader(`# HELP a b
# TYPE a counter
a_total{controller="composite/x",result="a,b"} 12
b_sum 1.5e+01
`), func(name string, labels map[string]string, v float64) {
		got = append(got, name+" "+labels["controller"]+" "+labels["result"])
		if v != 12 && v != 15 {
			t.Errorf("%s is %v", name, v)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a_total composite/x a,b", "b_sum  "}, got); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}

func TestReadUsage(t *testing.T) {
	got, err := readUsage([]byte("12 (a b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20"), []byte("Name:\tx\nVmRSS:\t    2048 kB\n"))
	if err != nil {
		t.Fatal(err)
	}
	if want := (Usage{CPU: 3 * time.Second, RSS: 2 << 20}); got != want {
		t.Errorf("want %v, got %v", want, got)
	}
	if _, err := readUsage([]byte("12 (a) Z 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20"), []byte("Name:\tx\n")); err == nil {
		t.Error("want an error for a process that has ended")
	}
}
