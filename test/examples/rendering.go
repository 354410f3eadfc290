package examples

import (
	"bytes"
	"regexp"
	"slices"
	"strings"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/errors"
	"whisperops.io/functions/test/crossplane"
)

// A Rendering is all that came out of a pipeline.
type Rendering struct {
	XR         map[string]any // kind, name and status
	Parts      map[string]map[string]any
	Unready    map[string]bool   // parts that are rendered and not ready
	HeldBack   map[string]string // what each part that is held back waits for
	Ready      bool
	Conditions []Condition // those of the functions, sorted by type
	Events     []Event     // those of the functions
	Context    map[string]any
	Fatal      string
}

// FromResult returns what came out of a run in process.
func FromResult(res *crossplane.Result) (*Rendering, error) {
	r := &Rendering{
		XR:      res.Desired.GetComposite().GetResource().AsMap(),
		Parts:   map[string]map[string]any{},
		Unready: map[string]bool{},
		Context: res.Context.AsMap(),
		Fatal:   res.Fatal,
	}
	for name, p := range res.Desired.GetResources() {
		r.Parts[name] = p.GetResource().AsMap()
		if p.GetReady() != fnv1.Ready_READY_TRUE {
			r.Unready[name] = true
		}
	}
	switch res.Desired.GetComposite().GetReady() {
	case fnv1.Ready_READY_UNSPECIFIED:
		r.Ready = len(r.Unready) == 0
	case fnv1.Ready_READY_TRUE, fnv1.Ready_READY_FALSE:
		r.Ready = res.Desired.GetComposite().GetReady() == fnv1.Ready_READY_TRUE
	}
	for _, c := range res.Conditions {
		status := map[fnv1.Status]string{fnv1.Status_STATUS_CONDITION_TRUE: "True", fnv1.Status_STATUS_CONDITION_FALSE: "False"}[c.GetStatus()]
		if status == "" {
			status = "Unknown" // as Crossplane writes one that isn't specified
		}
		r.Conditions = append(r.Conditions, Condition{Type: c.GetType(), Status: status, Reason: c.GetReason(), Message: c.GetMessage()})
	}
	for _, e := range res.Results {
		typ := "Normal"
		if e.GetSeverity() == fnv1.Severity_SEVERITY_WARNING {
			typ = "Warning"
		}
		reason := e.GetReason()
		if reason == "" {
			reason = composeReason
		}
		r.Events = append(r.Events, Event{Type: typ, Reason: reason, Message: e.GetMessage()})
	}
	err := r.finish()
	return r, err
}

// composeReason is the reason that Crossplane gives to an event without one.
const composeReason = "ComposeResources"

// How the Crossplane CLI and core, versions as pinned in test/tools, say things.
var (
	fatalResult   = regexp.MustCompile(`(?s)pipeline step "[^"]*" returned a fatal result: .*`)
	functionEvent = regexp.MustCompile(`(?s)^Pipeline step "[^"]*": (.*)$`)
	notYetReady   = regexp.MustCompile(`^Composed resource "([^"]*)" is not yet ready$`)
)

// FromCLI returns what `crossplane composition render -r -c` printed. stderr is
// what it said when it failed; failed is true then. Without -x, so that the
// status is the one that the run wrote and not one merged with the old.
func FromCLI(stdout, stderr []byte, failed bool) (*Rendering, error) {
	r := &Rendering{Parts: map[string]map[string]any{}, Unready: map[string]bool{}}
	if failed {
		r.Fatal = strings.TrimSpace(string(fatalResult.Find(stderr)))
		if r.Fatal == "" {
			return nil, errors.Errorf("crossplane composition render failed: %s", bytes.TrimSpace(stderr))
		}
		return r, nil
	}
	docs, err := crossplane.Documents(stdout)
	if err != nil {
		return nil, errors.Wrap(err, "cannot read what crossplane composition render printed")
	}
	for _, d := range docs {
		name := crossplane.Annotation(d, crossplane.NameAnnotation)
		switch {
		case name != "":
			r.Parts[name] = d
		case d["apiVersion"] != "render.crossplane.io/v1beta1":
			r.XR = d
		case d["kind"] == "Context":
			r.Context, _ = d["fields"].(map[string]any)
		case d["kind"] == "Result":
			message := field(d, "message")
			if m := notYetReady.FindStringSubmatch(message); m != nil {
				r.Unready[m[1]] = true
			}
			if m := functionEvent.FindStringSubmatch(message); m != nil {
				r.Events = append(r.Events, Event{Type: field(d, "severity"), Reason: field(d, "reason"), Message: m[1]})
			}
		}
	}
	if r.XR == nil {
		return nil, errors.New("crossplane composition render printed no XR")
	}
	if err := r.readConditions(); err != nil {
		return nil, err
	}
	err = r.finish()
	return r, err
}

// readConditions takes the functions' conditions and the readiness from the XR
// that the CLI printed.
func (r *Rendering) readConditions() error {
	var xr struct {
		Status struct {
			Conditions []Condition `json:"conditions"`
		} `json:"status"`
	}
	if err := crossplane.Convert(r.XR, &xr); err != nil {
		return errors.Wrap(err, "cannot read the rendered XR's conditions")
	}
	for _, c := range xr.Status.Conditions {
		switch c.Type {
		case "Ready":
			r.Ready = c.Status == "True"
		case "Synced":
			if c.Status != "True" {
				return errors.Errorf("the XR is not synced: %s", c.Message)
			}
		case "Responsive":
		default:
			r.Conditions = append(r.Conditions, c)
		}
	}
	return nil
}

// finish derives what both ways have in common.
func (r *Rendering) finish() error {
	slices.SortFunc(r.Conditions, func(a, b Condition) int { return strings.Compare(a.Type, b.Type) })
	var held []v1alpha1.HeldBack
	if err := crossplane.Convert(r.Context[v1alpha1.ContextHeldBack], &held); err != nil {
		return errors.Wrapf(err, "cannot read context key %q", v1alpha1.ContextHeldBack)
	}
	r.HeldBack = map[string]string{}
	for _, h := range held {
		r.HeldBack[h.Part] = h.WaitsFor
	}
	return nil
}

// Lost are the observed parts of a story that a rendering leaves out, which
// deletes them. A fatal one touches nothing.
func (s *Story) Lost(r *Rendering) []string {
	if r.Fatal != "" {
		return nil
	}
	var lost []string
	for _, o := range s.Observed {
		if name := crossplane.Annotation(o, crossplane.NameAnnotation); r.Parts[name] == nil {
			lost = append(lost, name)
		}
	}
	return lost
}
