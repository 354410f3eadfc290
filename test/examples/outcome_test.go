package examples

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"whisperops.io/functions/test/crossplane"
)

// A Diff that is always empty would pass every story.
func TestDiff(t *testing.T) {
	base := func() Outcome {
		return Outcome{
			Parts:      map[string]string{"bucket": "Bucket/a", "sa-key": heldBack},
			Ready:      true,
			Status:     map[string]any{"phase": "Ready"},
			Conditions: []Condition{{Type: "DatasetValid", Status: "True", Reason: "DatasetFound", Message: "m"}},
			Events:     []Event{{Type: "Normal", Reason: "DatasetFound", Message: "m"}},
			Shows:      map[string]map[string]any{"bucket": {"spec.location": "EU"}},
		}
	}
	for name, change := range map[string]func(*Outcome){
		"PartRenamed":    func(o *Outcome) { o.Parts["bucket"] = "Bucket/b" },
		"PartLost":       func(o *Outcome) { delete(o.Parts, "bucket") },
		"PartNotHeld":    func(o *Outcome) { o.Parts["sa-key"] = "ServiceAccountKey/a" },
		"NotReady":       func(o *Outcome) { o.Ready = false },
		"Status":         func(o *Outcome) { o.Status["url"] = "https://a/" },
		"Condition":      func(o *Outcome) { o.Conditions[0].Status = "False" },
		"Message":        func(o *Outcome) { o.Conditions[0].Message = "n" },
		"EventLost":      func(o *Outcome) { o.Events = nil },
		"Shown":          func(o *Outcome) { o.Shows["bucket"]["spec.location"] = "US" },
		"Fatal":          func(o *Outcome) { o.Fatal = "no" },
		"NothingChanged": func(*Outcome) {},
	} {
		t.Run(name, func(t *testing.T) {
			got := base()
			change(&got)
			diff, err := Diff(base(), got)
			if err != nil {
				t.Fatal(err)
			}
			if (diff == "") != (name == "NothingChanged") {
				t.Errorf("Diff says %q", diff)
			}
		})
	}
}

// What is written must be read back as the same, or no story could pass.
func TestYAMLIsRead(t *testing.T) {
	o := Outcome{
		Parts:      map[string]string{"xagentbudget": "XAgentBudget/a", "bucket": heldBack},
		Status:     map[string]any{"spentUsd": 1.46, "text": "a: \"b\"\n# c"},
		Conditions: []Condition{{Type: "T", Status: "True", Reason: "R", Message: strings.Repeat("a long message: ", 20)}},
		Events:     []Event{{Type: "Warning", Reason: "R", Message: "multi\nline"}},
		Shows:      map[string]map[string]any{"bucket": {"a.0.b": []any{map[string]any{"c": true}}}},
	}
	y, err := o.YAML()
	if err != nil {
		t.Fatal(err)
	}
	var back Outcome
	if err := yaml.UnmarshalStrict([]byte(y), &back); err != nil {
		t.Fatalf("%v in\n%s", err, y)
	}
	if diff, err := Diff(o, back); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if strings.Index(y, "bucket:") > strings.Index(y, "xagentbudget:") {
		t.Errorf("the parts are not in the pipeline's order:\n%s", y)
	}
}

func TestShows(t *testing.T) {
	docs, err := crossplane.Documents([]byte("{spec: {containers: [{name: a, env: []}], count: 0}}"))
	if err != nil {
		t.Fatal(err)
	}
	r := &Rendering{XR: map[string]any{}, Parts: map[string]map[string]any{"p": docs[0]}}
	got := r.Outcome(map[string]map[string]any{"p": {
		"spec.containers.0.name": nil, "spec.count": nil,
		"spec.containers.1.name": nil, "spec.containers.x": nil, "spec.count.deeper": nil, "absent": nil,
	}})
	y, err := yaml.Marshal(got.Shows)
	if err != nil {
		t.Fatal(err)
	}
	if want := "p:\n  spec.containers.0.name: a\n  spec.count: 0\n"; string(y) != want {
		t.Errorf("got\n%swant\n%s", y, want)
	}
}
