package scale

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// said is what go test -v makes of a log line.
func said(text string) string {
	return "=== RUN   TestScale\n    scale_test.go:79: measured:\n        " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n        ") + "\n--- PASS: TestScale (1.00s)\n"
}

func TestBeside(t *testing.T) {
	fewer := made(100, 90)
	fewer.End.Writes = map[string]int{"crossplane patch xagentbudgets": 300}
	now := said(Table([]Size{made(10, 10)})) + said(Table([]Size{made(10, 10), fewer}))
	got, err := Beside(now, said(Table([]Size{made(10, 10), made(100, 90)})))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| agents | 10 | 100 |\n| --- | ---: | ---: |\n",
		"| all Ready after, s | 20 of 20: **1.00** | 180 of 180: **1.00** |\n",
		"| idle: requests that could write, per agent and hour | 12.00 of 12.00: **1.00** | 6.00 of 12.00: **0.50** |\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("want %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "etcd |") {
		t.Errorf("processes are no figures:\n%s", got)
	}
}

func TestBesideRefuses(t *testing.T) {
	table := said(Table([]Size{made(10, 10)}))
	for name, tc := range map[string]struct{ now, base, want string }{
		"NothingMeasured": {table, "FAIL\n", "the earlier build: it printed no figures: see its log"},
		"OtherSizes":      {table, said(Table([]Size{made(20, 20)})), "one was measured with [10] agents, the other with [20]"},
		"CutOff":          {"| agents | 10 | 20 |\n| all Ready after, s | 3 |\n", table, `this build: "all Ready after, s" has 1 figures for 2 numbers of agents`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Beside(tc.now, tc.base)
			if err == nil {
				t.Fatal("want an error")
			}
			if diff := cmp.Diff(tc.want, err.Error()); diff != "" {
				t.Errorf("-want, +got:\n%s", diff)
			}
		})
	}
}
