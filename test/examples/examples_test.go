package examples

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"

	"whisperops.io/functions/test/crossplane"
	"whisperops.io/functions/test/pipeline"
)

var update = flag.Bool("update", false, "rewrite the want.yaml of every story")

// TestStories runs every story of examples/ through its real Composition.
func TestStories(t *testing.T) {
	stories, err := All(filepath.Join(pipeline.Root(), "examples"))
	if err != nil {
		t.Fatal(err)
	}
	if len(stories) == 0 {
		t.Fatal("there is no story")
	}
	for _, s := range stories {
		t.Run(s.Name, func(t *testing.T) {
			r := run(t, s)
			if lost := s.Lost(r); len(lost) > 0 {
				t.Errorf("this would delete %v", lost)
			}
			if refused, err := s.Refused(pipeline.Root(), r); err != nil || len(refused) > 0 {
				t.Errorf("the API server would not take this status: %v, %v", refused, err)
			}
			got := r.Outcome(s.Want.Shows)
			file := filepath.Join(s.Dir, "want.yaml")
			if *update {
				y, err := got.YAML()
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(y), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			diff, err := Diff(s.Want, got)
			if err != nil {
				t.Fatal(err)
			}
			if diff != "" {
				t.Errorf("%s: -want, +got (after reading it, make examples-update accepts it):\n%s", file, diff)
			}
		})
	}
}

// TestIndex: a story that nobody finds, or that doesn't say why, is none.
func TestIndex(t *testing.T) {
	dir := filepath.Join(pipeline.Root(), "examples")
	stories, err := All(dir)
	if err != nil {
		t.Fatal(err)
	}
	index, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range stories {
		if !strings.Contains(string(index), fmt.Sprintf("[%s](%s)", s.Name, s.Name)) {
			t.Errorf("examples/README.md does not list %s", s.Name)
		}
		if _, err := os.Stat(filepath.Join(s.Dir, "README.md")); err != nil {
			t.Errorf("%s tells no story: %v", s.Name, err)
		}
	}
	for _, m := range regexp.MustCompile(`\(((agent|budget)-[a-z-]+)\)`).FindAllStringSubmatch(string(index), -1) {
		if !slices.ContainsFunc(stories, func(s *Story) bool { return s.Name == m[1] }) {
			t.Errorf("examples/README.md lists %s, which does not exist", m[1])
		}
	}
}

// TestObservedIsWhatIsRendered: Crossplane keeps the name of what it observes, so
// a story that observes another one than the pipeline renders would show
// something that no cluster does.
func TestObservedIsWhatIsRendered(t *testing.T) {
	stories, err := All(filepath.Join(pipeline.Root(), "examples"))
	if err != nil {
		t.Fatal(err)
	}
	identity := func(o map[string]any) string {
		return fmt.Sprintf("%s %s %s/%s", o["apiVersion"], o["kind"], field(o, "metadata", "namespace"), field(o, "metadata", "name"))
	}
	compared := 0
	for _, s := range stories {
		r := run(t, s)
		for _, o := range s.Observed {
			name := crossplane.Annotation(o, crossplane.NameAnnotation)
			if r.Parts[name] == nil {
				continue
			}
			compared++
			if got, want := identity(o), identity(r.Parts[name]); got != want {
				t.Errorf("%s observes %s as %s, but the pipeline renders %s", s.Name, name, got, want)
			}
		}
	}
	if compared == 0 {
		t.Error("no story observes anything")
	}
}

// run renders a story in process.
func run(t *testing.T, s *Story) *Rendering {
	t.Helper()
	functions := pipeline.All()
	if s.Prometheus != nil {
		srv := httptest.NewServer(s.Prometheus.Handler())
		defer srv.Close()
		maps.Copy(functions, WithClock(logging.NewNopLogger(), func() time.Time { return s.Prometheus.Now }, func() string { return srv.URL }))
	}
	text, _, err := s.WithInputs(s.Composition(pipeline.Root()))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "composition.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	steps, err := pipeline.Load(file, functions)
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
	res, err := crossplane.Run(context.Background(), steps, observed, s.Required, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := FromResult(res)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestStepsAndNoDataset: whatever step is put into the pipeline, an order without a dataset
// isn't ready. function-sdk-go's helpers forget that it isn't.
func TestStepsAndNoDataset(t *testing.T) {
	stories, err := All(filepath.Join(pipeline.Root(), "examples"))
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, s := range stories {
		if len(s.Steps) == 0 {
			continue
		}
		tried++
		t.Run(s.Name, func(t *testing.T) {
			s.Required = nil
			if r := run(t, s); r.Ready || r.Fatal != "" {
				t.Errorf("want an order that is not ready, got ready=%t, fatal %q, parts %v", r.Ready, r.Fatal, slices.Sorted(maps.Keys(r.Parts)))
			}
		})
	}
	if tried == 0 {
		t.Error("no story has steps of its own")
	}
}
