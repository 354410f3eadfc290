package controlplane

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
)

// GiteaOptions say how a Gitea is run.
type GiteaOptions struct {
	Binary string // built with SQLite
	Files  string // folder of templates, options and public, which travel in Gitea's module
	Dir    string // for all state; it is made
	User   string // its one administrator
	// Respawn starts it again when it ends by itself.
	Respawn bool
}

// Gitea is a running Gitea with one administrator.
type Gitea struct {
	URL, User, Password string
	// Token of the administrator, for everything.
	Token string
}

const giteaConfig = `
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
`

// StartGitea runs a Gitea on a free loopback port.
func (ps *Processes) StartGitea(ctx context.Context, o GiteaOptions) (*Gitea, error) {
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	me, err := user.Current()
	if err != nil {
		return nil, err
	}
	g := &Gitea{URL: fmt.Sprintf("http://127.0.0.1:%d", port), User: o.User, Password: rand.Text()}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	ini := filepath.Join(o.Dir, "app.ini")
	config := fmt.Sprintf(giteaConfig, me.Username, o.Dir, port, g.URL, o.Files, filepath.Join(o.Dir, "gitea.db"))
	if err := os.WriteFile(ini, []byte(config), 0o600); err != nil {
		return nil, err
	}
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + o.Dir}
	admin := func(args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, o.Binary, append([]string{"--config", ini}, args...)...)
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
		return nil, err
	}
	if _, err := admin("admin", "user", "create", "--admin", "--username", g.User, "--password", g.Password, "--email", g.User+"@example.org", "--must-change-password=false"); err != nil {
		return nil, err
	}
	token, err := admin("admin", "user", "generate-access-token", "--username", g.User, "--scopes", "all", "--raw")
	if err != nil {
		return nil, err
	}
	g.Token = token[strings.LastIndexByte(token, '\n')+1:]
	_, err = ps.Run(ctx, Command{Name: "gitea", Path: o.Binary, Args: []string{"--config", ini, "web"}, Env: env, Respawn: o.Respawn, Ready: ok(g.URL + "/api/healthz")})
	return g, err
}

// Do sends a request to Gitea's API, as DoJSON does.
func (g *Gitea) Do(ctx context.Context, method, path string, body, into any) error {
	return DoJSON(ctx, method, g.URL+"/api/v1"+path, "token "+g.Token, body, into)
}

// DoJSON sends a request with a body in JSON, and refuses an answer that is not a
// success. The answer goes into a value, or as it is into a *[]byte, or nowhere if that
// is nil.
func DoJSON(ctx context.Context, method, url, authorization string, body, into any) error {
	payload, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if body == nil {
		payload = nil
	}
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(payload))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", authorization)
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
		return fmt.Errorf("%s %s: %s: %s", req.Method, req.URL.Path, rsp.Status, data)
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
