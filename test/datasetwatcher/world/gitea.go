package world

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"whisperops.io/functions/hack/controlplane"
)

// Gitea is a running Gitea with an empty repository.
type Gitea struct {
	*controlplane.Gitea

	Repository string // <owner>/<name>
	TokenFile  string
}

const giteaUser = "watcher"

func (w *World) startGitea(ctx context.Context) error {
	binary, err := need("GITEA")
	if err != nil {
		return err
	}
	files, err := need("GITEA_FILES")
	if err != nil {
		return err
	}
	g := &Gitea{Repository: giteaUser + "/catalog", TokenFile: filepath.Join(w.Dir, "git-token")}
	if g.Gitea, err = w.StartGitea(ctx, controlplane.GiteaOptions{Binary: binary, Files: files, Dir: filepath.Join(w.Dir, "gitea"), User: giteaUser}); err != nil {
		return err
	}
	if err := os.WriteFile(g.TokenFile, []byte(g.Token+"\n"), 0o600); err != nil {
		return err
	}
	if w.GitGate, err = newGate(g.URL); err != nil {
		return err
	}
	w.closers = append(w.closers, w.GitGate.Close)
	w.Gitea = g
	return g.Do(ctx, http.MethodPost, "/user/repos", map[string]any{"name": "catalog", "default_branch": "main"}, nil)
}

// File returns a file of the catalog's branch.
func (g *Gitea) File(ctx context.Context, file string) (string, error) {
	raw := []byte{}
	err := g.Do(ctx, http.MethodGet, "/repos/"+g.Repository+"/raw/"+file+"?ref=main", nil, &raw)
	return string(raw), err
}

// Write commits a file past the gate, as a person does.
func (g *Gitea) Write(ctx context.Context, file, content string) error {
	at := struct {
		SHA string `json:"sha"`
	}{}
	method, body := http.MethodPost, map[string]any{"branch": "main", "message": "by hand", "content": []byte(content)}
	if err := g.Do(ctx, http.MethodGet, "/repos/"+g.Repository+"/contents/"+file+"?ref=main", nil, &at); err == nil {
		method, body["sha"] = http.MethodPut, at.SHA
	}
	return g.Do(ctx, method, "/repos/"+g.Repository+"/contents/"+file, body, nil)
}

// HalfCommit puts a file into the repository behind Gitea's back. In an empty one it looks
// as after a first commit whose caller left in its middle: the file is there, and Gitea
// takes the repository for empty.
func (w *World) HalfCommit(ctx context.Context, file, content string) error {
	dir := filepath.Join(w.Dir, "gitea", "data", "gitea-repositories", w.Gitea.Repository+".git")
	git := func(stdin string, args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, "git", args...)
		cmd.Stdin = strings.NewReader(stdin)
		cmd.Env = append(os.Environ(), "GIT_DIR="+dir, "GIT_INDEX_FILE="+filepath.Join(w.Dir, "half-commit"),
			"GIT_AUTHOR_NAME=watcher", "GIT_AUTHOR_EMAIL=watcher@example.org", "GIT_COMMITTER_NAME=watcher", "GIT_COMMITTER_EMAIL=watcher@example.org")
		out, err := cmd.CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("cannot run git %s: %w: %s", args[0], err, out)
		}
		return strings.TrimSpace(string(out)), nil
	}
	blob, err := git(content, "hash-object", "-w", "--stdin")
	if err != nil {
		return err
	}
	if _, err := git("", "update-index", "--add", "--cacheinfo", "100644,"+blob+","+file); err != nil {
		return err
	}
	tree, err := git("", "write-tree")
	if err != nil {
		return err
	}
	commit, err := git("", "commit-tree", "-m", "half", tree)
	if err != nil {
		return err
	}
	_, err = git("", "update-ref", "refs/heads/main", commit)
	return err
}

// Commits returns how many commits the branch has.
func (g *Gitea) Commits(ctx context.Context) (int, error) {
	l := []struct{}{}
	err := g.Do(ctx, http.MethodGet, "/repos/"+g.Repository+"/commits?sha=main&stat=false&verification=false&files=false&limit=50", nil, &l)
	return len(l), err
}

// Entities returns the names of the entities' files in order, and fails unless the
// location file lists exactly those.
func (g *Gitea) Entities(ctx context.Context) (string, error) {
	files := []struct {
		Name string `json:"name"`
	}{}
	names := []string{}
	err := g.Do(ctx, http.MethodGet, "/repos/"+g.Repository+"/contents/datasets/resources?ref=main", nil, &files)
	if err != nil && !strings.Contains(err.Error(), "404") { // a folder without files is none
		return "", err
	}
	for _, f := range files {
		names = append(names, strings.TrimSuffix(f.Name, ".yaml"))
	}
	slices.Sort(names)
	location, err := g.File(ctx, "datasets/catalog-info.yaml")
	if err != nil {
		return "", err
	}
	l := struct {
		Spec struct {
			Targets []string `json:"targets"`
		} `json:"spec"`
	}{}
	if err := yaml.Unmarshal([]byte(location), &l); err != nil {
		return "", err
	}
	listed := []string{}
	for _, t := range l.Spec.Targets {
		listed = append(listed, strings.TrimSuffix(path.Base(t), ".yaml"))
	}
	if !slices.Equal(names, listed) {
		return "", fmt.Errorf("the location lists %s, the folder holds %s", listed, names)
	}
	return strings.Join(names, " "), nil
}

// AwaitEntities waits until Entities returns what is wanted, and how long that took.
func (g *Gitea) AwaitEntities(ctx context.Context, within time.Duration, want string) (time.Duration, error) {
	began := time.Now()
	err := controlplane.Eventually(ctx, within, "the entities to be "+want, func(ctx context.Context) error {
		got, err := g.Entities(ctx)
		if err == nil && got != want {
			err = fmt.Errorf("they are %s", got)
		}
		return err
	})
	return time.Since(began), err
}
