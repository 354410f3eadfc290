package world

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/user"
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
	Repository string // <owner>/<name>
	TokenFile  string

	url, token string
}

const giteaUser = "watcher"

func (w *World) startGitea(ctx context.Context) error {
	binary, err := need("GITEA")
	if err != nil {
		return err
	}
	source, err := need("GITEA_SOURCE")
	if err != nil {
		return err
	}
	port, err := controlplane.FreePort()
	if err != nil {
		return err
	}
	me, err := user.Current()
	if err != nil {
		return err
	}
	dir := filepath.Join(w.Dir, "gitea")
	ini := filepath.Join(dir, "app.ini")
	g := &Gitea{Repository: giteaUser + "/catalog", TokenFile: filepath.Join(w.Dir, "git-token"), url: fmt.Sprintf("http://127.0.0.1:%d", port)}
	config := fmt.Sprintf(`
I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true
RUN_MODE = prod
RUN_USER = %s
WORK_PATH = %s
[server]
HTTP_ADDR = 127.0.0.1
HTTP_PORT = %d
ROOT_URL = %s/
STATIC_ROOT_PATH = %s
OFFLINE_MODE = true
DISABLE_SSH = true
[database]
DB_TYPE = sqlite3
PATH = %s
[security]
INSTALL_LOCK = true
[log]
LEVEL = warn
`, me.Username, dir, port, g.url, source, filepath.Join(dir, "gitea.db"))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(ini, []byte(config), 0o600); err != nil {
		return err
	}
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	admin := func(args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, binary, append([]string{"--config", ini}, args...)...)
		cmd.Env = env
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("cannot run gitea %s: %w: %s", args[0], err, stderr.String())
		}
		return strings.TrimSpace(string(out)), nil
	}
	if _, err := admin("migrate"); err != nil {
		return err
	}
	if _, err := admin("admin", "user", "create", "--username", giteaUser, "--random-password", "--email", "watcher@example.org", "--must-change-password=false"); err != nil {
		return err
	}
	token, err := admin("admin", "user", "generate-access-token", "--username", giteaUser, "--scopes", "write:repository,write:user", "--raw")
	if err != nil {
		return err
	}
	g.token = token[strings.LastIndexByte(token, '\n')+1:]
	if err := os.WriteFile(g.TokenFile, []byte(g.token+"\n"), 0o600); err != nil {
		return err
	}
	if _, err := w.Run(ctx, controlplane.Command{Name: "gitea", Path: binary, Args: []string{"--config", ini, "web"}, Env: env, Ready: answers(g.url + "/api/healthz")}); err != nil {
		return err
	}
	if w.GitGate, err = newGate(g.url); err != nil {
		return err
	}
	w.closers = append(w.closers, w.GitGate.Close)
	w.Gitea = g
	return g.do(ctx, http.MethodPost, "/user/repos", map[string]any{"name": "catalog", "default_branch": "main"}, nil)
}

func (g *Gitea) do(ctx context.Context, method, path string, body, into any) error {
	payload, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, g.url+"/api/v1"+path, bytes.NewReader(payload))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "token "+g.token)
	req.Header.Set("Content-Type", "application/json")
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer rsp.Body.Close() //nolint:errcheck // nothing is written
	data, err := io.ReadAll(rsp.Body)
	if err != nil {
		return err
	}
	if rsp.StatusCode > 299 {
		return fmt.Errorf("%s %s: %s: %s", method, path, rsp.Status, data)
	}
	if raw, ok := into.(*[]byte); ok {
		*raw = data
		return nil
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(data, into)
}

// File returns a file of the catalog's branch.
func (g *Gitea) File(ctx context.Context, file string) (string, error) {
	raw := []byte{}
	err := g.do(ctx, http.MethodGet, "/repos/"+g.Repository+"/raw/"+file+"?ref=main", nil, &raw)
	return string(raw), err
}

// Write commits a file past the gate, as a person does.
func (g *Gitea) Write(ctx context.Context, file, content string) error {
	at := struct {
		SHA string `json:"sha"`
	}{}
	method, body := http.MethodPost, map[string]any{"branch": "main", "message": "by hand", "content": []byte(content)}
	if err := g.do(ctx, http.MethodGet, "/repos/"+g.Repository+"/contents/"+file+"?ref=main", nil, &at); err == nil {
		method, body["sha"] = http.MethodPut, at.SHA
	}
	return g.do(ctx, method, "/repos/"+g.Repository+"/contents/"+file, body, nil)
}

// Commits returns how many commits the branch has.
func (g *Gitea) Commits(ctx context.Context) (int, error) {
	l := []struct{}{}
	err := g.do(ctx, http.MethodGet, "/repos/"+g.Repository+"/commits?sha=main&stat=false&verification=false&files=false&limit=50", nil, &l)
	return len(l), err
}

// Entities returns the names of the entities' files in order, and fails unless the
// location file lists exactly those.
func (g *Gitea) Entities(ctx context.Context) (string, error) {
	files := []struct {
		Name string `json:"name"`
	}{}
	names := []string{}
	err := g.do(ctx, http.MethodGet, "/repos/"+g.Repository+"/contents/datasets/resources?ref=main", nil, &files)
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
