package examples

import (
	stdcmp "cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"whisperops.io/functions/apis/v1alpha1"
)

// An Outcome is what a want.yaml holds.
type Outcome struct {
	// Parts are Kind/metadata.name of what is rendered, or "held back", by
	// composed resource name.
	Parts map[string]string `json:"parts,omitempty"`

	// Ready is the XR's readiness.
	Ready bool `json:"ready"`

	// Status of the XR without its conditions.
	Status map[string]any `json:"status,omitempty"`

	// Conditions that the functions set, sorted by type.
	Conditions []Condition `json:"conditions,omitempty"`

	// Events that the functions write, in their order.
	Events []Event `json:"events,omitempty"`

	// Fatal is the fatal result that ended the pipeline. Then there are no parts,
	// no status and no events: nothing is touched.
	Fatal string `json:"fatal,omitempty"`

	// Shows are the fields of parts that the story is about: composed resource
	// name, path (keys and list indices joined with dots), value.
	Shows map[string]map[string]any `json:"shows,omitempty"`
}

// A Condition of an XR.
type Condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"`
	Reason  string `json:"reason"`
	Message string `json:"message,omitempty"`
}

// An Event that a function writes.
type Event struct {
	Type    string `json:"type"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// heldBack is what want.yaml says of a part that is not rendered yet.
const heldBack = "held back"

// Outcome returns what a want.yaml says of a rendering. shows names the fields of
// parts that it repeats.
func (r *Rendering) Outcome(shows map[string]map[string]any) Outcome {
	out := Outcome{Fatal: r.Fatal, Conditions: r.Conditions}
	if r.Fatal != "" {
		return out
	}
	out.Ready, out.Events = r.Ready, r.Events
	out.Parts = map[string]string{}
	for name, p := range r.Parts {
		out.Parts[name] = fmt.Sprintf("%s/%s", p["kind"], field(p, "metadata", "name"))
	}
	for name := range r.HeldBack {
		out.Parts[name] = heldBack
	}
	out.Status = map[string]any{}
	status, _ := r.XR["status"].(map[string]any)
	for k, v := range status {
		if k != "conditions" {
			out.Status[k] = v
		}
	}
	for name, fields := range shows {
		shown := map[string]any{}
		for path := range fields {
			if v := at(r.Parts[name], strings.Split(path, ".")); v != nil {
				shown[path] = unmarked(v)
			}
		}
		if out.Shows == nil {
			out.Shows = map[string]map[string]any{}
		}
		out.Shows[name] = shown
	}
	return out
}

// unmarked leaves out what differs with who runs the pipeline and is no story's
// matter: whose order a thing is, and what Crossplane calls it.
func unmarked(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, x := range v {
			switch k {
			case v1alpha1.LabelOrderUID, v1alpha1.GoogleLabelOrderUID, "crossplane.io/composition-resource-name":
			default:
				out[k] = unmarked(x)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = unmarked(x)
		}
		return out
	}
	return v
}

// at returns what stands at a path of map keys and list indices, or nil.
func at(v any, path []string) any {
	for _, k := range path {
		switch t := v.(type) {
		case map[string]any:
			v = t[k]
		case []any:
			i, err := strconv.Atoi(k)
			if err != nil || i < 0 || i >= len(t) {
				return nil
			}
			v = t[i]
		default:
			return nil
		}
	}
	return v
}

// YAML is the outcome in the order in which a person reads it.
func (o Outcome) YAML() (string, error) {
	w := &writer{}
	if len(o.Parts) > 0 {
		w.line("parts:")
		for _, name := range Order(o.Parts) {
			w.item("  ", pair{name, o.Parts[name]})
		}
	}
	if o.Fatal == "" {
		w.item("", pair{"ready", o.Ready})
	}
	if len(o.Status) > 0 {
		w.item("", pair{"status", o.Status})
	}
	if len(o.Conditions) > 0 {
		w.line("conditions:")
		for _, c := range o.Conditions {
			w.item("- ", pair{"type", c.Type}, pair{"status", c.Status}, pair{"reason", c.Reason}, pair{"message", c.Message})
		}
	}
	if len(o.Events) > 0 {
		w.line("events:")
		for _, e := range o.Events {
			w.item("- ", pair{"type", e.Type}, pair{"reason", e.Reason}, pair{"message", e.Message})
		}
	}
	if o.Fatal != "" {
		w.item("", pair{"fatal", o.Fatal})
	}
	if len(o.Shows) > 0 {
		w.item("", pair{"shows", o.Shows})
	}
	return w.b.String(), w.err
}

// Diff compares what a story wants with what came out: "" if it is the same.
func Diff(want, got Outcome) (string, error) {
	w, err := want.YAML()
	if err != nil {
		return "", err
	}
	g, err := got.YAML()
	if err != nil {
		return "", err
	}
	if w == g {
		return "", nil
	}
	return cmp.Diff(strings.Split(w, "\n"), strings.Split(g, "\n")), nil
}

type pair struct {
	key   string
	value any
}

// A writer writes YAML whose keys keep their order. The first error stays.
type writer struct {
	b   strings.Builder
	err error
}

func (w *writer) line(s string) { w.b.WriteString(s + "\n") }

// item writes pairs below one another, the first one behind the prefix.
func (w *writer) item(prefix string, pairs ...pair) {
	for _, p := range pairs {
		y, err := yaml.Marshal(map[string]any{p.key: p.value})
		if err != nil && w.err == nil {
			w.err = err
		}
		for l := range strings.SplitSeq(strings.TrimSuffix(string(y), "\n"), "\n") {
			w.line(prefix + l)
			prefix = strings.Repeat(" ", len(prefix))
		}
	}
}

// Order returns the keys of parts in the order in which the pipeline renders
// them; unknown ones come last.
func Order[V any](parts map[string]V) []string {
	known := v1alpha1.AgentParts()
	key := slices.Index(known, v1alpha1.PartServiceAccountKey)
	known = append(slices.Insert(known, key, v1alpha1.PartSandboxServiceAccount), v1alpha1.PartPlannerReplicas, v1alpha1.PartWorkerReplicas)
	place := func(name string) int {
		if i := slices.Index(known, name); i >= 0 {
			return i
		}
		return len(known)
	}
	return slices.SortedFunc(maps.Keys(parts), func(a, b string) int {
		return stdcmp.Or(place(a)-place(b), strings.Compare(a, b))
	})
}
