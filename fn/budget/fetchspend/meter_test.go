package fetchspend

import (
	"context"
	"strings"
	"testing"
	"time"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend/query"
)

// meters are a store that holds heartbeats beside the tokens.
type meters struct {
	tokens, beats *store
	failure       error // of the question for heartbeats
}

func (m *meters) Query(ctx context.Context, promQL string, at time.Time) (query.Answer, error) {
	if !strings.Contains(promQL, "whisperops_meter_heartbeat_timestamp_seconds") {
		return m.tokens.Query(ctx, promQL, at)
	}
	if m.failure != nil {
		return query.Answer{}, m.failure
	}
	return m.beats.Query(ctx, promQL, at)
}

// TestMeterSilent looks at an agent whose tokens are counted by a meter. A figure that
// stands still is an agent at rest, or one whose calls nobody counts: the meter's
// heartbeat tells them apart. What was counted stays counted.
func TestMeterSilent(t *testing.T) {
	const beats = "10:00:00=1 .. 10:30:00=61"
	down := query.Problem{Reason: v1alpha1.ReasonQueryTimedOut, Message: "The server did not answer within prometheus.timeout"}
	cases := map[string]struct {
		why     string
		beats   map[string]string // by agent
		preset  string
		created string // default: 10:00:00
		look    string
		failure error
		want    string // the flaw's reason; empty: none
	}{
		"Beating":          {why: "The agent rests, and its meter counts on.", beats: map[string]string{"bot": beats}, preset: "token-meter", look: "10:30:20"},
		"TwoScrapesMissed": {why: "A scrape that fails is no meter that fell silent.", beats: map[string]string{"bot": "10:00:00=1 .. 10:28:00=57"}, preset: "token-meter", look: "10:30:20"},
		"WentDark":         {why: "It stopped at 10:20: whatever the agent does since is counted by nobody.", beats: map[string]string{"bot": "10:00:00=1 .. 10:20:00=41"}, preset: "token-meter", look: "10:24:00", want: "MeterSilent"},
		"SecondLook":       {why: "The longest time between two looks is five minutes: the first look after the last heartbeat may come too soon, the second says it.", beats: map[string]string{"bot": "10:00:00=1 .. 10:20:00=41"}, preset: "token-meter", look: "10:25:01", want: "MeterSilent"},
		"NeverSpoke":       {why: "No meter was ever there.", preset: "token-meter", look: "10:30:20", want: "MeterSilent"},
		"OfAnother":        {why: "The meter is alive, and doesn't know this budget.", beats: map[string]string{"bot-2": beats}, preset: "token-meter", look: "10:30:20", want: "MeterSilent"},
		"NewBudget":        {why: "A meter hears of a budget when it is made, and is scraped after that.", preset: "token-meter", created: "10:28:00", look: "10:30:20"},
		"BackAgain":        {why: "It passes by itself.", beats: map[string]string{"bot": "10:00:00=1 10:29:30=2 10:30:00=3"}, preset: "token-meter", look: "10:30:20"},
		"OtherCounters":    {why: "Counters of agents' own have no meter.", look: "10:30:20"},
		"OtherPreset":      {why: "A gateway has no heartbeat.", preset: "litellm", look: "10:30:20"},
		"CannotBeAsked":    {why: "What is not known is said, and the figure counts.", preset: "token-meter", failure: down, look: "10:30:20", want: "QueryTimedOut"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			in := &input.FetchSpendInput{}
			in.Default()
			in.Metrics = input.TokenMetrics{Preset: tc.preset}
			if tc.preset == "" {
				in.Metrics.Default()
			}
			f := facts(t, tc.look, nil)
			var err error
			if f.Settings, err = ReadSettings(in); err != nil {
				t.Fatal(err)
			}
			if tc.created != "" {
				f.Created = when(t, tc.created)
			}
			q := &meters{tokens: &store{now: f.Now}, beats: &store{now: f.Now}, failure: tc.failure}
			for agent, text := range tc.beats {
				q.beats.series = append(q.beats.series, stored{labels: map[string]string{"__name__": "whisperops_meter_heartbeat_timestamp_seconds", "agent_name": agent, "namespace": "agent-" + agent}, samples: samples(t, text)})
			}
			o := Measure(t.Context(), q, f)
			got := ""
			if o.Measurement.Flaw != nil {
				got = o.Measurement.Flaw.Reason
			}
			if o.Spent == nil || got != tc.want {
				t.Errorf("spent %v, flaw %q, want a figure and %q\n%s", o.Spent, got, tc.want, tc.why)
			}
		})
	}
}
