package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/test/examples"
)

// expectedParts are the composed resource names that each kind expands into.
var expectedParts = map[string][]string{
	v1alpha1.KindXDatasetAgent: v1alpha1.AgentParts(),
	v1alpha1.KindXAgentBudget:  {v1alpha1.PartPlannerReplicas, v1alpha1.PartWorkerReplicas},
}

// show prints a rendering so that a person sees what became of the order.
func show(out io.Writer, s *examples.Story, r *examples.Rendering) {
	if r.Fatal != "" {
		fmt.Fprintf(out, "FATAL, nothing is touched: %s\n", r.Fatal)
		return
	}
	showParts(out, s, r)
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CONDITION\tSTATUS\tREASON\tMESSAGE")
	fmt.Fprintf(w, "Ready\t%s\t\t\n", truth(r.Ready))
	for _, c := range r.Conditions {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", c.Type, c.Status, c.Reason, c.Message)
	}
	flush(w)
	for _, e := range r.Events {
		fmt.Fprintf(out, "Event: %s %s: %s\n", e.Type, e.Reason, e.Message)
	}
}

// showParts prints a line for each part that is rendered, expected or observed.
func showParts(out io.Writer, s *examples.Story, r *examples.Rendering) {
	rows := maps.Clone(r.Parts)
	for _, name := range expectedParts[s.Kind()] {
		rows[name] = r.Parts[name]
	}
	if r.Parts[v1alpha1.PartSandboxServiceAccount] != nil && r.Parts[v1alpha1.PartServiceAccountKey] == nil {
		delete(rows, v1alpha1.PartServiceAccountKey) // an agent without a key: the other stands for it
	}
	lost := s.Lost(r)
	for _, name := range lost {
		rows[name] = nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PART\tKIND\tNAME\tNAMESPACE\tREADY")
	for _, name := range examples.Order(rows) {
		p := rows[name]
		switch {
		case p != nil:
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", name, kind(p), text(p, "metadata", "name"), dash(text(p, "metadata", "namespace")), truth(!r.Unready[name]))
		case slices.Contains(lost, name):
			fmt.Fprintf(w, "%s\t-\tDELETED: it is observed and not rendered\t-\t-\n", name)
		case r.HeldBack[name] != "":
			fmt.Fprintf(w, "%s\t-\theld back\t-\t-\n", name)
		default:
			fmt.Fprintf(w, "%s\t-\tnot rendered\t-\t-\n", name)
		}
	}
	flush(w)
	fmt.Fprintf(out, "%d of %d parts rendered, %d held back, %d ready\n", len(r.Parts), len(rows), len(r.HeldBack), len(r.Parts)-len(r.Unready))
	for _, name := range examples.Order(r.HeldBack) {
		fmt.Fprintf(out, "  %s waits for %s\n", name, r.HeldBack[name])
	}
}

// flush writes a table. What can't be printed can't be complained about either.
func flush(w *tabwriter.Writer) { _ = w.Flush() }

// kind names a part's kind and, for an Object, the kind that it wraps.
func kind(p map[string]any) string {
	k := text(p, "kind")
	if wrapped := text(p, "spec", "forProvider", "manifest", "kind"); wrapped != "" {
		return k + " (" + wrapped + ")"
	}
	return k
}

// truth writes a bool as Kubernetes writes a condition's status.
func truth(b bool) string {
	if b {
		return "True"
	}
	return "False"
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// text returns the string at a path of map keys, or "".
func text(o map[string]any, path ...string) string {
	for _, k := range path[:len(path)-1] {
		o, _ = o[k].(map[string]any)
	}
	v, _ := o[path[len(path)-1]].(string)
	return v
}
