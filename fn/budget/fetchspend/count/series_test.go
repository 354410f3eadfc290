package count

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"whisperops.io/functions/apis/v1alpha1"
)

// usual are the rules of an input without a word.
var usual = Rules{
	Metrics: Mapping{
		Names: map[string]v1alpha1.TokenClass{
			"whisperops_tokens_input_total": v1alpha1.TokenInput, "whisperops_tokens_output_total": v1alpha1.TokenOutput,
			"whisperops_tokens_cached_input_total": v1alpha1.TokenCachedInput,
		},
		AgentLabel: "agent_name", ModelLabels: []string{"model"}, ReplicaLabels: []string{"__replica__", "prometheus_replica"},
	},
	Grid: 30 * time.Second, SettleAfter: time.Hour, Heartbeat: time.Hour, MaxResets: 20, CachedInInput: true,
}

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
			got, _, err := ReadCounters(tc.answer, "bot", usual)
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
				if len(c.Key) != 16 {
					t.Errorf("key %q", c.Key)
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
			l, err := Read(in)
			if tc.err != "" {
				if err == nil || err.Error() != tc.err {
					t.Fatalf("error %v, want %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(in, l.Write()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
