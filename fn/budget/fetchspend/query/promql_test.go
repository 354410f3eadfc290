package query

import (
	"strings"
	"testing"
	"time"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend/count"
)

var usual = count.Mapping{
	Names: map[string]v1alpha1.TokenClass{"x": v1alpha1.TokenInput}, AgentLabel: "agent_name", ModelLabels: []string{"model"},
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
			var cs []count.Counter
			for _, l := range tc.labels {
				l["__name__"], l["agent_name"] = "x", "bot"
				cs = append(cs, count.Counter{Labels: l})
			}
			if got := strings.Join(Past(usual, "bot", cs, false), "; "); got != tc.want {
				t.Errorf("asks\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

// Whether an agent is still is one query, in which each metric is asked by itself how
// often it changed; a server that takes no regular expression on names gets one for each.
func TestStillQuery(t *testing.T) {
	two := usual
	two.Names = map[string]v1alpha1.TokenClass{"x": v1alpha1.TokenInput, "y.z": v1alpha1.TokenOutput}
	at := time.Unix(1795428000, 0)
	for exact, want := range map[bool]string{
		false: `last_over_time({__name__=~"x|y\\.z",agent_name="bot"}[90s] @ 1795428000) or ((sum(changes({__name__="x",agent_name="bot"}[90s] @ 1795428000)) or vector(0)) + (sum(changes({__name__="y.z",agent_name="bot"}[90s] @ 1795428000)) or vector(0)))`,
		true:  `last_over_time({__name__="x",agent_name="bot"}[90s] @ 1795428000) or ((sum(changes({__name__="x",agent_name="bot"}[90s] @ 1795428000)) or vector(0))); last_over_time({__name__="y.z",agent_name="bot"}[90s] @ 1795428000) or ((sum(changes({__name__="y.z",agent_name="bot"}[90s] @ 1795428000)) or vector(0)))`,
	} {
		if got := strings.Join(Still(two, "bot", 90*time.Second, at, exact), "; "); got != want {
			t.Errorf("exact %t: asks\n%s\nwant\n%s", exact, got, want)
		}
	}
}

// Heartbeats of many agents are one query, with an exact name, which every server takes.
func TestBeatsQuery(t *testing.T) {
	prefixed := usual
	prefixed.AgentLabel, prefixed.AgentPrefix = "k8s.namespace.name", "agent-"
	if got, want := Beats("beat", prefixed, []string{"a", "b.c"}, 3*time.Minute), `count by ("k8s.namespace.name") (last_over_time({__name__="beat","k8s.namespace.name"=~"agent-a|agent-b\\.c"}[180s]))`; got != want {
		t.Errorf("asks\n%s\nwant\n%s", got, want)
	}
}

// Whether any of many agents moved is one query: each metric by itself, with an exact name,
// which every server takes, and for the agents it is asked about and no others.
func TestRestQuery(t *testing.T) {
	two := usual
	two.Names = map[string]v1alpha1.TokenClass{"x": v1alpha1.TokenInput, "y.z": v1alpha1.TokenOutput}
	two.AgentPrefix = "agent-"
	x, y := `{__name__="x",agent_name=~"agent-a|agent-b"}[90s] @ 1795428000`, `{__name__="y.z",agent_name=~"agent-a|agent-b"}[90s] @ 1795428000`
	want := `0 - (sum by (agent_name) (changes(` + x + `) > 0) or sum by (agent_name) (changes(` + y + `) > 0)) or ` +
		`sum by (agent_name) (label_replace(sum by (agent_name) (last_over_time(` + x + `) + 1), "nth", "0", "", "") or ` +
		`label_replace(sum by (agent_name) (last_over_time(` + y + `) + 1), "nth", "1", "", "")) or vector(0)`
	if got := Rest(two, []string{"a", "b"}, 90*time.Second, time.Unix(1795428000, 0)); got != want {
		t.Errorf("asks\n%s\nwant\n%s", got, want)
	}
	if one := `{__name__="x",agent_name="a"}`; !strings.Contains(Rest(usual, []string{"a"}, 0, time.Time{}), one) {
		t.Errorf("one agent is not asked for by %s", one)
	}
	dotted := usual
	dotted.AgentLabel = "agent.name"
	if got := Rest(dotted, []string{"a"}, 0, time.Time{}); !strings.Contains(got, `sum by ("agent.name") (changes({__name__="x","agent.name"="a"}`) {
		t.Errorf("a label with a dot must be quoted: %s", got)
	}
	names := 0
	for RestFits(two, names+len("agent-bot-0000|")) {
		names += len("agent-bot-0000|")
	}
	if n := names / len("agent-bot-0000|"); n < 150 || len(Rest(two, make([]string, n), 0, time.Time{}))+names*4 > 16<<10 {
		t.Errorf("room for %d agents, want at least 150 in 16 KiB, as VictoriaMetrics takes", n)
	}
}
