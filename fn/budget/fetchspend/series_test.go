package fetchspend

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"whisperops.io/functions/apis/v1alpha1"
)

func TestReadCounters(t *testing.T) {
	sr := func(labels string, values ...float64) Series {
		s := Series{Labels: map[string]string{"__name__": "whisperops_tokens_output_total", "agent_name": "bot", "model": "m"}}
		for l := range strings.FieldsSeq(labels) {
			k, v, _ := strings.Cut(l, "=")
			s.Labels[k] = v
		}
		for i, v := range values {
			s.Samples = append(s.Samples, Sample{At: int64(i), Value: v})
		}
		return s
	}
	cases := map[string]struct {
		reason string
		answer []Series
		want   []string // names, and how many twins and points each has
		err    string
	}{
		"Nothing":       {reason: "No series is an answer."},
		"OtherAgent":    {reason: "A server, or a cache before it, that answers another question has not answered ours.", answer: []Series{sr("agent_name=other", 1)}, err: "it holds series that were not asked for"},
		"OtherMetric":   {reason: "As above.", answer: []Series{sr("__name__=up", 1)}, err: "it holds series that were not asked for"},
		"NoLabels":      {reason: "As above.", answer: []Series{{}}, err: "it holds series that were not asked for"},
		"SameTwice":     {reason: "Which of the two is it? Either way tokens would count twice.", answer: []Series{sr("pod=a", 1), sr("pod=a", 2)}, err: "it holds the same series twice"},
		"SameTwinTwice": {reason: "As above.", answer: []Series{sr("__replica__=0", 1), sr("__replica__=0", 2)}, err: "it holds the same series twice"},
		"Twins":         {reason: "What differs in replica labels only is one counter.", answer: []Series{sr("prometheus_replica=0 pod=a", 1, 2), sr("prometheus_replica=1 pod=a", 1)}, want: []string{`{model="m",pod="a"} 2 3`}},
		"OneWithout":    {reason: "A replica may have no label: before the pair was one.", answer: []Series{sr("pod=a", 1), sr("prometheus_replica=1 pod=a", 1)}, want: []string{`{model="m",pod="a"} 2 2`}},
		"Two":           {reason: "Pods are counters of their own.", answer: []Series{sr("pod=a", 1), sr("pod=b", 1)}, want: []string{`{model="m",pod="a"} 1 1`, `{model="m",pod="b"} 1 1`}},
		"NoModel":       {reason: "Tokens without a model are tokens: they have no price, and are never free.", answer: []Series{sr("model=", 1)}, want: []string{`{model=""} 1 1`}},
		"Glued":         {reason: "Labels that read the same when they are glued together are not.", answer: []Series{sr("a=bc", 1), sr("ab=c", 1)}, want: []string{`{a="bc",model="m"} 1 1`, `{ab="c",model="m"} 1 1`}},
		"LongLabel":     {reason: "A condition has an end, and agents name their models themselves.", answer: []Series{sr("pod="+strings.Repeat("é", 500), 1)}, want: []string{`{model="m",pod="` + strings.Repeat("é", 20) + `..."} 1 1`}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			got, err := readCounters(tc.answer, "bot", defaults(t))
			if tc.err != "" {
				if err == nil || err.Error() != tc.err {
					t.Fatalf("error %v, want %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			for _, c := range got {
				seen[strings.TrimPrefix(c.name, "whisperops_tokens_output_total")+" "+strconv.Itoa(len(c.twins))+" "+strconv.Itoa(len(c.points))] = true
				if len(c.key) != 16 {
					t.Errorf("key %q", c.key)
				}
			}
			if diff := cmp.Diff(tc.want, sortedKeys(seen), cmp.Transformer("", func(l []string) string { return strings.Join(l, "\n") })); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A ledger that can't be relied on is one that was lost.
func TestReadLedger(t *testing.T) {
	good := func() *v1alpha1.Ledger {
		return &v1alpha1.Ledger{
			Period: "lifetime", From: "2026-11-23T10:00:00Z", Mapping: "0123456789abcdef", AsOf: "2026-11-23T12:00:00Z", SettledAt: "2026-11-23T11:00:00Z",
			Totals:  []v1alpha1.TokenTotal{{Model: "m", Class: "input", Tokens: "18446744073709551615"}},
			Cursors: []v1alpha1.Cursor{{Series: "0123456789abcdef", At: "1795431600000", Value: "9007199254740992", Resets: "2", ResetsBefore: "1"}},
		}
	}
	cases := map[string]struct {
		reason string
		change func(*v1alpha1.Ledger)
		err    string
	}{
		"Good":              {"It is read and written without a change.", func(*v1alpha1.Ledger) {}, ""},
		"Rebased":           {"As above.", func(l *v1alpha1.Ledger) { l.Rebased = "2026-11-23T11:30:00Z" }, ""},
		"NoPeriod":          {"Its totals belong to nothing.", func(l *v1alpha1.Ledger) { l.Period = "" }, "its period is empty"},
		"NoTime":            {"Samples before it are counted already, whatever it is.", func(l *v1alpha1.Ledger) { l.SettledAt = "" }, "its settledAt is no time"},
		"TimeOfAnotherKind": {"As above.", func(l *v1alpha1.Ledger) { l.From = "23.11.2026" }, "its from is no time"},
		"TimeBeyondTime":    {"Differences of times must not overflow.", func(l *v1alpha1.Ledger) { l.AsOf = "9999-01-01T00:00:00Z" }, "its asOf is no time"},
		"RebasedIsNoTime":   {"As above.", func(l *v1alpha1.Ledger) { l.Rebased = "never" }, "its rebased is no time"},
		"Negative":          {"Nobody used less than nothing.", func(l *v1alpha1.Ledger) { l.Totals[0].Tokens = "-5" }, "its totals are broken"},
		"Overflow":          {"It was garbled: no sum gets there.", func(l *v1alpha1.Ledger) { l.Totals[0].Tokens = "18446744073709551616" }, "its totals are broken"},
		"UnknownClass":      {"It has no price.", func(l *v1alpha1.Ledger) { l.Totals[0].Class = "thinking" }, "its totals are broken"},
		"TotalTwice":        {"Which is it?", func(l *v1alpha1.Ledger) { l.Totals = append(l.Totals, l.Totals[0]) }, "its totals are broken"},
		"CursorTwice":       {"Which is it?", func(l *v1alpha1.Ledger) { l.Cursors = append(l.Cursors, l.Cursors[0]) }, "its cursors are broken"},
		"CursorAhead":       {"Samples up to settledAt are counted; those up to this are not.", func(l *v1alpha1.Ledger) { l.Cursors[0].At = "1795431600001" }, "its cursors are broken"},
		"CursorNegative":    {"Before 1970 there were no tokens.", func(l *v1alpha1.Ledger) { l.Cursors[0].At = "-1" }, "its cursors are broken"},
		"CursorOfNothing":   {"It belongs to no series.", func(l *v1alpha1.Ledger) { l.Cursors[0].Series = "" }, "its cursors are broken"},
		"Resets":            {"They are counted, not measured.", func(l *v1alpha1.Ledger) { l.Cursors[0].Resets = "1.5" }, "its cursors are broken"},
		"HugeResets":        {"A sum of two must not overflow.", func(l *v1alpha1.Ledger) { l.Cursors[0].ResetsBefore = "99999999999" }, "its cursors are broken"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			in := good()
			tc.change(in)
			l, err := readLedger(in)
			if tc.err != "" {
				if err == nil || err.Error() != tc.err {
					t.Fatalf("error %v, want %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(in, l.write()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A second query asks for the past of counters by all labels that they have.
func TestPastQuery(t *testing.T) {
	cases := map[string]struct {
		reason string
		labels []map[string]string
		want   string
	}{
		"One":    {"What a series is called is known to the letter.", []map[string]string{{"pod": "a"}}, `last_over_time({agent_name="bot",__name__="x",pod="a"}[86400s])`},
		"Two":    {"It may match others too: they are told apart in the answer.", []map[string]string{{"pod": "a"}, {"pod": "b.c"}}, `last_over_time({agent_name="bot",__name__="x",pod=~"a|b\\.c"}[86400s])`},
		"Apart":  {"A label that some of them lack would leave those out.", []map[string]string{{"pod": "a", "zone": "1"}, {"pod": "a"}}, `last_over_time({agent_name="bot",__name__="x",pod="a"}[86400s])`},
		"Dotted": {"OpenTelemetry's names are labels in Prometheus 3, and PromQL wants them quoted: unquoted they are no query, and nothing would ever be measured again.", []map[string]string{{"k8s.pod.name": `a"b`}}, `last_over_time({agent_name="bot",__name__="x","k8s.pod.name"="a\"b"}[86400s])`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			var cs []counter
			for _, l := range tc.labels {
				l["__name__"], l["agent_name"] = "x", "bot"
				cs = append(cs, counter{labels: l})
			}
			if got := pastQuery(defaults(t), "bot", cs); got != tc.want {
				t.Errorf("asks\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}
