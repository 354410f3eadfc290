package render

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"whisperops.io/functions/fn/internal/manifest"
)

func TestStance(t *testing.T) {
	var (
		nothing   = Observed{}
		observing = Observed{Wants: new(int64(1)), Has: new(int64(1))}
		stopping  = Observed{Updates: true, Wants: new(int64(0)), Has: new(int64(1))}
		stopped   = Observed{Updates: true, Wants: new(int64(0)), Has: new(int64(0))}
		starting  = Observed{Updates: true, Wants: new(int64(1)), Has: new(int64(0))}
		started   = Observed{Updates: true, Wants: new(int64(1)), Has: new(int64(1))}
		garbage   = Observed{Updates: true}
	)
	pause, run := new(true), new(false)
	cases := map[string]struct {
		reason string
		pause  *bool
		o      Observed
		want   stance
	}{
		"NewAgent":          {"The Deployment of a new agent doesn't exist yet: nothing is written.", run, nothing, observe},
		"Running":           {"While the agent runs an autoscaler may scale.", run, observing, observe},
		"Scaled":            {"Nine replicas that an autoscaler wants are nobody's mistake.", run, Observed{Wants: new(int64(1)), Has: new(int64(9))}, observe},
		"Stop":              {"Planner and worker both call the model: a pause is final.", pause, observing, stop},
		"StopNewAgent":      {"A budget of 0 holds an agent at 0 from its first second.", pause, nothing, stop},
		"StopWhileStarting": {"The money was gone before the start was through.", pause, starting, stop},
		"StayStopped":       {"A paused agent stays at 0.", pause, stopped, stop},
		"Start":             {"Only who set the 0 can take it back.", run, stopped, start},
		"StartAtOnce":       {"A stop that wasn't through yet is turned around.", run, Observed{Updates: true, Wants: new(int64(0))}, start},
		"StartNotThrough":   {"It goes on until replicas are seen.", run, starting, start},
		"StartNothingThere": {"Nor does a Deployment that is being made again end a start.", run, Observed{Updates: true, Wants: new(int64(1))}, start},
		"StartDisputed":     {"A start under way is ended by replicas, not by whoever set them to 0 before.", run, Observed{Updates: true, Wants: new(int64(1)), Has: new(int64(0)), SetByOther: true}, start},
		"StartThrough":      {"Once replicas are seen, they are an autoscaler's again.", run, started, observe},
		"StopNotThrough":    {"The Deployment never got to 0: there is nothing to start.", run, stopping, observe},
		"StoppedByNobody":   {"A budget that was deleted while paused and made again finds its Deployments at 0.", run, Observed{Wants: new(int64(1)), Has: new(int64(0))}, start},
		"ScaledToZero":      {"An autoscaler that scaled to 0, or a person, is not fought.", run, Observed{Wants: new(int64(1)), Has: new(int64(0)), SetByOther: true}, observe},
		"Garbage":           {"What can't be read is not touched.", run, garbage, observe},
		"NoVerdictNothing":  {"Without a verdict nothing is written.", nil, nothing, observe},
		"NoVerdictRunning":  {"A decide that broke pauses nobody.", nil, observing, observe},
		"NoVerdictStopped":  {"A decide that broke unpauses nobody.", nil, stopped, stop},
		"NoVerdictAtZero":   {"Nor does it start what it finds at 0.", nil, Observed{Wants: new(int64(1)), Has: new(int64(0))}, observe},
		"NoVerdictStarting": {"A start goes on.", nil, starting, start},
		"NoVerdictStarted":  {"And ends.", nil, started, observe},
		"NoVerdictGarbage":  {"What can't be read is not touched.", nil, garbage, observe},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := stanceOf(tc.pause, false, tc.o); got != tc.want {
				t.Errorf("%s\nstance %d, want %d", tc.reason, got, tc.want)
			}
		})
	}
}

// A budget that nothing is known of starts nobody, but what a person asks for goes on.
func TestStanceUnknown(t *testing.T) {
	run := new(false)
	cases := map[string]struct {
		reason string
		o      Observed
		want   stance
	}{
		"AtZero":   {"A budget that was deleted while paused, and made again while nothing can be measured, knows no better than who set the 0.", Observed{Wants: new(int64(1)), Has: new(int64(0))}, observe},
		"New":      {"A new agent runs before anything was measured.", Observed{}, observe},
		"Running":  {"Who runs goes on.", Observed{Wants: new(int64(1)), Has: new(int64(1))}, observe},
		"Stopped":  {"Who is stopped by this budget is started by its verdict: a raise, or a new period.", Observed{Updates: true, Wants: new(int64(0)), Has: new(int64(0))}, start},
		"Starting": {"A start goes on.", Observed{Updates: true, Wants: new(int64(1)), Has: new(int64(0))}, start},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := stanceOf(run, true, tc.o); got != tc.want {
				t.Errorf("%s\nstance %d, want %d", tc.reason, got, tc.want)
			}
		})
	}
}

// A field that comes and goes would be applied, and removed, at every change.
func TestRenderKeepsItsShape(t *testing.T) {
	shapes := map[string]manifest.Object{}
	for name, pause := range map[string]*bool{"run": new(false), "pause": new(true), "none": nil} {
		o := Render(Facts{AgentName: "bot", Namespace: "agent-bot", ProviderConfig: "in-cluster", RunningReplicas: 2, Pause: pause})
		if len(o) != 2 {
			t.Fatalf("%s: %d Objects, always two are rendered", name, len(o))
		}
		shapes[name], _ = o["planner-replicas"]["spec"].(manifest.Object)
	}
	if diff := cmp.Diff(shapes["run"], shapes["none"]); diff != "" {
		t.Errorf("a new agent without a verdict is not rendered as one that runs:\n%s", diff)
	}
	var keys func(manifest.Object) []string
	keys = func(o manifest.Object) []string {
		var ks []string
		for _, k := range manifest.Keys(o) {
			ks = append(ks, k)
			if m, ok := o[k].(manifest.Object); ok {
				ks = append(ks, keys(m)...)
			}
		}
		return ks
	}
	if diff := cmp.Diff(keys(shapes["run"]), keys(shapes["pause"])); diff != "" {
		t.Errorf("a field comes and goes between running and paused:\n%s", diff)
	}
}
