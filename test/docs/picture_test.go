package docs

import (
	"context"
	"fmt"
	"html"
	"maps"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"

	"whisperops.io/functions/test/crossplane"
	"whisperops.io/functions/test/examples"
	"whisperops.io/functions/test/pipeline"
)

// A stop is a step of a pipeline and what it adds to what the steps before it left.
type stop struct {
	step, function string
	parts          int
	leaves         []string
}

// stops runs a story through its Composition step by step, and returns what each adds.
func stops(t *testing.T, story string) (kind string, out []stop) {
	t.Helper()
	s, err := examples.Read(filepath.Join(pipeline.Root(), "examples", story))
	if err != nil {
		t.Fatal(err)
	}
	functions := pipeline.All()
	if s.Prometheus != nil {
		srv := httptest.NewServer(s.Prometheus.Handler())
		defer srv.Close()
		maps.Copy(functions, examples.WithClock(logging.NewNopLogger(), func() time.Time { return s.Prometheus.Now }, func() string { return srv.URL }))
	}
	steps, err := pipeline.Load(s.Composition(pipeline.Root()), functions)
	if err != nil {
		t.Fatal(err)
	}
	connection, err := s.Connection()
	if err != nil {
		t.Fatal(err)
	}
	observed, err := crossplane.Observed(s.XR, s.Observed, connection)
	if err != nil {
		t.Fatal(err)
	}
	refs := pipelineOf(t, strings.ToLower(s.Kind())).Spec.Pipeline
	known := map[string]bool{}
	for i := range steps {
		res, err := crossplane.Run(context.Background(), steps[:i+1], observed, s.Required, nil)
		if err != nil || res.Fatal != "" {
			t.Fatalf("%s: step %s: %v %s", story, steps[i].Name, err, res.Fatal)
		}
		at := stop{step: steps[i].Name, function: refs[i].FunctionRef.Name}
		fresh := func(what string, names []string) {
			var added []string
			for _, n := range names {
				if !known[what+n] {
					added = append(added, n)
				}
				known[what+n] = true
			}
			if what == "part" {
				at.parts = len(added)
			} else if len(added) > 0 {
				at.leaves = append(at.leaves, wrapped(what+" "+strings.Join(added, ", "))...)
			}
		}
		fresh("part", slices.Sorted(maps.Keys(res.Desired.GetResources())))
		fresh("context", slices.Sorted(maps.Keys(res.Context.GetFields())))
		fresh("status", slices.Sorted(maps.Keys(res.Desired.GetComposite().GetResource().GetFields()["status"].GetStructValue().GetFields())))
		var types []string
		for _, c := range res.Conditions {
			types = append(types, c.GetType())
		}
		fresh("condition", types)
		out = append(out, at)
	}
	return s.Kind(), out
}

// wrapped breaks a list into lines that fit into a column.
func wrapped(s string) []string {
	const longest = 46
	var out []string
	line := ""
	for word := range strings.FieldsSeq(s) {
		if line != "" && len(line)+1+len(word) > longest {
			out, line = append(out, line), " "
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return append(out, line)
}

// Measures of the picture, in pixels.
const (
	width, columnWidth, margin, boxWidth, boxHeight, gap, lineHeight = 1020, 516, 16, 150, 34, 14, 15
)

// picture draws both pipelines as their Compositions have them: each step, and what it
// leaves in a story in which all is well.
func picture(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	height := 0
	for column, story := range []string{"agent-everything-ready", "budget-cruise"} {
		kind, all := stops(t, story)
		x := margin + column*columnWidth
		y := margin + 14
		fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\" class=\"kind\">%s</text>\n", x, y, kind)
		y += 14
		total := 0
		for i, s := range all {
			total += s.parts
			lines := s.leaves
			if s.parts > 0 {
				lines = append([]string{fmt.Sprintf("%d parts", s.parts)}, lines...)
				if s.parts == 1 {
					lines[0] = "1 part"
				}
			}
			if s.function == "function-auto-ready" {
				lines = []string{fmt.Sprintf("Ready once all %d parts are", total)}
			}
			h := max(boxHeight, len(lines)*lineHeight+8)
			ours := "ours"
			if s.function == "function-auto-ready" {
				ours = "others"
			}
			if i > 0 {
				fmt.Fprintf(&b, "<path d=\"M%d %d v%d\" class=\"arrow\" marker-end=\"url(#to)\"/>\n", x+boxWidth/2, y-gap, gap-3)
			}
			fmt.Fprintf(&b, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"6\" class=\"%s\"/>\n", x, y, boxWidth, h, ours)
			fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\" class=\"step\">%s</text>\n", x+boxWidth/2, y+h/2+5, html.EscapeString(s.step))
			for n, l := range lines {
				class := "leaves"
				if n == 0 && s.parts > 0 {
					class = "parts"
				}
				fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\" class=\"%s\">%s</text>\n", x+boxWidth+12, y+(h-len(lines)*lineHeight)/2+lineHeight*(n+1)-4, class, html.EscapeString(l))
			}
			y += h + gap
		}
		height = max(height, y)
	}
	return fmt.Sprintf(`<!-- Code generated from package/compositions by make generate. DO NOT EDIT. -->
<svg xmlns="http://www.w3.org/2000/svg" width="%[1]d" height="%[2]d" viewBox="0 0 %[1]d %[2]d" role="img" aria-label="The steps of both pipelines, and what each leaves">
<style>
text { font: 12px ui-monospace, Menlo, Consolas, monospace; fill: #24292f }
.kind { font-weight: bold; font-size: 14px }
.step { text-anchor: middle; font-weight: bold }
.parts { fill: #0a5d2c; font-weight: bold }
.ours { fill: #e6f0fb; stroke: #3a6ea5 }
.others { fill: #f3f3f3; stroke: #8a8a8a }
.arrow { stroke: #57606a; fill: none }
</style>
<defs><marker id="to" markerWidth="8" markerHeight="8" refX="5" refY="4" orient="auto"><path d="M0 1 L6 4 L0 7 z" fill="#57606a"/></marker></defs>
<rect width="%[1]d" height="%[2]d" fill="#ffffff"/>
%[3]s</svg>
`, width, height, b.String())
}
