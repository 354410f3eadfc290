package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// A report counts what was checked and collects what is wrong.
type report struct {
	kinds    map[schema.GroupVersionKind]*tally
	sources  map[string]int // files or folders read, by what they are
	failures []string

	unchecked map[schema.GroupVersionKind]int // objects of kinds whose CRD is not there
}

// A tally counts the objects of one kind.
type tally struct {
	objects   int
	sparse    int
	files     map[string]bool
	readiness map[string]bool // policies under which Objects wrap it
	failures  int
}

func newReport() *report {
	return &report{kinds: map[schema.GroupVersionKind]*tally{}, sources: map[string]int{}, unchecked: map[schema.GroupVersionKind]int{}}
}

func (r *report) tally(gvk schema.GroupVersionKind) *tally {
	t := r.kinds[gvk]
	if t == nil {
		t = &tally{files: map[string]bool{}, readiness: map[string]bool{}}
		r.kinds[gvk] = t
	}
	return t
}

func (r *report) checked(p place, gvk schema.GroupVersionKind, sparse bool) {
	t := r.tally(gvk)
	t.objects++
	if sparse {
		t.sparse++
	}
	t.files[p.file] = true
}

// judged notes the policy by which an Object judges what it wraps.
func (r *report) judged(gvk schema.GroupVersionKind, object *unstructured.Unstructured) {
	policy, _, err := unstructured.NestedString(object.Object, "spec", "readiness", "policy")
	if err != nil || policy == "" {
		policy = "SuccessfulCreate"
	}
	r.tally(gvk).readiness[policy] = true
}

func (r *report) fail(p place, o *unstructured.Unstructured, message string) {
	r.tally(o.GroupVersionKind()).failures++
	where := p.file
	if p.part != "" {
		where += ": " + p.part
	}
	r.failures = append(r.failures, fmt.Sprintf("%s: %s/%s: %s", where, o.GetKind(), o.GetName(), message))
}

// write writes the table and returns an error when something is wrong, or
// when nothing was checked.
func (r *report) write(w io.Writer) error {
	var kinds []schema.GroupVersionKind
	for gvk := range r.kinds {
		kinds = append(kinds, gvk)
	}
	slices.SortFunc(kinds, func(a, b schema.GroupVersionKind) int {
		return strings.Compare(a.Group+"/"+a.Kind, b.Group+"/"+b.Kind)
	})
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "KIND\tVERSION\tOBJECTS\tSPARSE\tFILES\tREADY WHEN\tFAILURES")
	objects := 0
	for _, gvk := range kinds {
		t := r.kinds[gvk]
		objects += t.objects
		var policies []string
		for p := range t.readiness {
			policies = append(policies, p)
		}
		slices.Sort(policies)
		fmt.Fprintf(out, "%s\t%s\t%d\t%d\t%d\t%s\t%d\n", gvk.Kind, gvk.GroupVersion(), t.objects, t.sparse, len(t.files), strings.Join(policies, ","), t.failures)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("cannot write the table: %w", err)
	}
	fmt.Fprintf(w, "\nread: %d golden responses, %d example files, %d rendered examples (make render writes them), %d install manifests, %d files of the lab\n",
		r.sources["golden responses"], r.sources["example files"], r.sources["rendered examples"], r.sources["install manifests"], r.sources["lab"])
	for _, f := range r.failures {
		fmt.Fprintln(w, f)
	}
	if objects == 0 || r.sources["golden responses"] == 0 {
		return fmt.Errorf("nothing that is rendered was checked: no golden story was found")
	}
	if n := len(r.failures); n > 0 {
		return fmt.Errorf("%d of what was checked would be refused or never be ready", n)
	}
	fmt.Fprintf(w, "%d objects of %d kinds: all accepted\n", objects, len(kinds))
	if len(r.unchecked) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	for _, gvk := range slices.SortedFunc(maps.Keys(r.unchecked), func(a, b schema.GroupVersionKind) int { return strings.Compare(a.String(), b.String()) }) {
		fmt.Fprintf(w, "NOT CHECKED: %d objects of kind %s (%s): no CRD of it is here\n", r.unchecked[gvk], gvk.Kind, gvk.GroupVersion())
	}
	fmt.Fprintln(w, howToGetSchemas)
	return nil
}
