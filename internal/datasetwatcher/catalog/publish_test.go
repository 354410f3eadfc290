package catalog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"whisperops.io/functions/internal/gitea"
)

// repo is a Git repository in memory.
type repo struct {
	files    map[string]string // content by path
	commits  int
	requests int
	// meddle is called before each commit; an error is its answer.
	meddle func() error
}

func (r *repo) Head(context.Context) (string, error) {
	r.requests++
	if r.commits == 0 {
		return "", nil
	}
	return fmt.Sprint("commit-", r.commits), nil
}

func (r *repo) Tree(_ context.Context, _, folder string) (map[string]string, error) {
	r.requests++
	tree := map[string]string{}
	for p, content := range r.files {
		if path.Dir(p) == folder {
			tree[p] = blobSHA([]byte(content), "")
		}
	}
	return tree, nil
}

func (r *repo) Blob(_ context.Context, sha string) ([]byte, error) {
	r.requests++
	for _, content := range r.files {
		if blobSHA([]byte(content), "") == sha {
			return []byte(content), nil
		}
	}
	return nil, errors.New("no such blob")
}

func (r *repo) Commit(_ context.Context, _ string, changes []gitea.Change) error {
	r.requests++
	if r.meddle != nil {
		if err := r.meddle(); err != nil {
			return err
		}
	}
	for _, c := range changes {
		content, exists := r.files[c.Path]
		if exists != (c.Before != "") || exists && blobSHA([]byte(content), "") != c.Before {
			return fmt.Errorf("%w: %s", gitea.ErrConflict, c.Path)
		}
	}
	for _, c := range changes {
		if c.After == nil {
			delete(r.files, c.Path)
		} else {
			r.files[c.Path] = string(c.After)
		}
	}
	r.commits++
	return r.consistent()
}

// consistent says whether the location names only files that are there.
func (r *repo) consistent() error {
	for _, t := range r.targets() {
		if _, ok := r.files[path.Join("datasets", t)]; !ok {
			return fmt.Errorf("the location names %s, which is not there", t)
		}
	}
	return nil
}

func (r *repo) targets() []string {
	l := struct {
		Spec struct {
			Targets []string `json:"targets"`
		} `json:"spec"`
	}{}
	if yaml.Unmarshal([]byte(r.files["datasets/catalog-info.yaml"]), &l) != nil {
		return nil // somebody scribbled over it
	}
	return l.Spec.Targets
}

// entities are the names of the datasets that the repository shows.
func (r *repo) entities() string {
	names := []string{}
	for p := range r.files {
		if n := layout.dataset(p); n != "" {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func snapshot(names ...string) Snapshot {
	s := Snapshot{Complete: true}
	for _, n := range names {
		s.Datasets = append(s.Datasets, dataset(n))
	}
	return s
}

func publisher(r *repo) *Publisher {
	return &Publisher{Layout: layout, Repository: r, MaxFall: 0.5}
}

func TestPublish(t *testing.T) {
	r := &repo{files: map[string]string{"README.md": "hello"}}
	p := publisher(r)
	step := func(s Snapshot, want Report, entities string) {
		t.Helper()
		got, err := p.Publish(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if got := r.entities(); got != entities {
			t.Errorf("want %s, got %s", entities, got)
		}
	}
	step(snapshot("a", "b", "c"), Report{Created: 4, Commits: 1}, "a b c")
	step(snapshot("a", "b", "c"), Report{}, "a b c")
	before := r.requests
	step(snapshot("a", "b", "c"), Report{}, "a b c")
	if n := r.requests - before; n != 1 {
		t.Errorf("want an idle publication to cost one request, got %d", n)
	}

	changed := snapshot("a", "b", "c")
	changed.Datasets[1].Status.Ready = false
	step(changed, Report{Updated: 1, Commits: 1}, "a b c")
	step(snapshot("a", "b", "c"), Report{Updated: 1, Commits: 1}, "a b c")

	r.files["datasets/resources/a.yaml"] = "scribbled"
	r.commits++
	step(snapshot("a", "b", "c"), Report{Updated: 1, Commits: 1}, "a b c")

	// One of three is gone without a word: believed.
	step(snapshot("a", "b"), Report{Updated: 1, Deleted: 1, Commits: 1}, "a b")
	// A whole registry is gone without a word: not believed, until a person says so.
	step(snapshot("z"), Report{Created: 1, Updated: 1, Commits: 1, Held: []string{"datasets/resources/a.yaml", "datasets/resources/b.yaml"}, Doubt: true}, "a b z")
	if got := strings.Join(r.targets(), " "); got != "./resources/a.yaml ./resources/b.yaml ./resources/z.yaml" {
		t.Errorf("want what is held to be shown still, got %s", got)
	}
	accepted := snapshot("z")
	accepted.AcceptFall = 2
	step(accepted, Report{Updated: 1, Deleted: 2, Commits: 1}, "z")

	// The watcher has removed the only dataset itself: nothing to doubt.
	explained := snapshot()
	explained.Removed = []string{"z"}
	step(explained, Report{Updated: 1, Deleted: 1, Commits: 1}, "")

	if r.files["README.md"] != "hello" {
		t.Error("want other files of the repository to be left alone")
	}
}

func TestPublishKeeps(t *testing.T) {
	r := &repo{files: map[string]string{}}
	p := publisher(r)
	if _, err := p.Publish(t.Context(), snapshot("a", "b", "c", "d")); err != nil {
		t.Fatal(err)
	}
	r.files["datasets/resources/mine.yaml"] = "kind: Resource\n"
	r.files["datasets/resources/notes.txt"] = "notes"
	r.files["datasets/resources/broken.yaml"] = ":\n\t:"
	r.commits++

	incomplete := snapshot("a")
	incomplete.Complete = false
	got, err := p.Publish(t.Context(), incomplete)
	if err != nil {
		t.Fatal(err)
	}
	want := Report{
		Held:    []string{"datasets/resources/b.yaml", "datasets/resources/c.yaml", "datasets/resources/d.yaml"},
		Foreign: []string{"datasets/resources/broken.yaml", "datasets/resources/mine.yaml", "datasets/resources/notes.txt"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want nothing removed while the registry is in doubt; -want +got:\n%s", diff)
	}
	if _, err := p.Publish(t.Context(), snapshot("a", "b", "c")); err != nil {
		t.Fatal(err)
	}
	if got := r.entities(); got != "a b broken c mine" {
		t.Errorf("want files that others wrote to be left alone, got %s", got)
	}
}

func TestPublishConflicts(t *testing.T) {
	t.Run("SomebodyElseCommits", func(t *testing.T) {
		r := &repo{files: map[string]string{}}
		p := publisher(r)
		meddled := 0
		r.meddle = func() error {
			if meddled++; meddled <= 2 {
				r.files["datasets/resources/a.yaml"] = fmt.Sprint("somebody's ", meddled)
				r.commits++
			}
			return nil
		}
		got, err := p.Publish(t.Context(), snapshot("a"))
		if err != nil || got.Commits != 1 {
			t.Errorf("want one commit at the third attempt, got %+v, %v", got, err)
		}
	})
	t.Run("TheAnswerWasLost", func(t *testing.T) {
		r := &repo{files: map[string]string{}}
		p := publisher(r)
		r.meddle = func() error {
			files, err := layout.Files(snapshot("a").Datasets)
			if err != nil {
				return err
			}
			files[layout.LocationFile()], err = layout.Location([]string{"a"})
			for f, c := range files {
				r.files[f] = string(c)
			}
			r.commits++
			return err
		}
		if got, err := p.Publish(t.Context(), snapshot("a")); err != nil || got.Commits != 0 {
			t.Errorf("want a commit that was made already to be no error, got %+v, %v", got, err)
		}
	})
	t.Run("Forever", func(t *testing.T) {
		r := &repo{files: map[string]string{}, meddle: func() error { return gitea.ErrConflict }}
		if _, err := publisher(r).Publish(t.Context(), snapshot("a")); !errors.Is(err, gitea.ErrConflict) {
			t.Errorf("want an end, got %v", err)
		}
		if r.requests > 3*(conflicts+1) {
			t.Errorf("want at most %d attempts, got %d requests", conflicts+1, r.requests)
		}
	})
}

// However publications are cut off, at each commit the location names only
// files that are there, and the next publications finish the work.
func TestPublishAnything(t *testing.T) {
	name := rapid.Custom(func(t *rapid.T) string { return fmt.Sprint("d", rapid.IntRange(0, 250).Draw(t, "n")) })
	rapid.Check(t, func(t *rapid.T) {
		r := &repo{files: map[string]string{}}
		p := publisher(r)
		removed := []string{}
		before := map[string]bool{}
		for range rapid.IntRange(1, 4).Draw(t, "publications") {
			cut := rapid.IntRange(0, 4).Draw(t, "commits before the cut")
			r.meddle = func() error {
				if cut--; cut < 0 {
					return errors.New("cut")
				}
				return r.consistent()
			}
			names := rapid.SliceOfNDistinct(name, 0, 230, rapid.ID).Draw(t, "datasets")
			for n := range before {
				if !slices.Contains(names, n) {
					removed = append(removed, n)
				}
				delete(before, n)
			}
			for _, n := range names {
				before[n] = true
			}
			s := snapshot(names...)
			s.Removed = removed
			if _, err := p.Publish(context.Background(), s); err != nil && !strings.Contains(err.Error(), "cut") {
				t.Fatal(err)
			}
			if rapid.Bool().Draw(t, "restart") {
				p = publisher(r)
			}
		}
		r.meddle = r.consistent
		s := snapshot(sortedKeys(before)...)
		s.Removed = removed
		for range 2 {
			if _, err := p.Publish(context.Background(), s); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := r.entities(), strings.Join(slices.Sorted(maps.Keys(before)), " "); got != want {
			t.Fatalf("want %s, got %s", want, got)
		}
		commits := r.commits
		if got, err := p.Publish(context.Background(), s); err != nil || r.commits != commits || len(got.Held) > 0 {
			t.Fatalf("want nothing left to do, got %+v, %v", got, err)
		}
	})
}
