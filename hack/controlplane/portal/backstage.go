package portal

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"whisperops.io/functions/hack/controlplane"
)

// backstage runs PostgreSQL and Backstage's backend, with the baked templates and the
// ledger's action.
func (p *Portal) backstage(ctx context.Context) error {
	database, err := p.postgres(ctx)
	if err != nil {
		return err
	}
	port, err := controlplane.FreePort()
	if err != nil {
		return err
	}
	p.Backend = fmt.Sprintf("http://127.0.0.1:%d", port)
	p.LedgerEnv = append(p.LedgerEnv, "BACKSTAGE_URL="+p.Backend)
	if err := p.bake(ctx); err != nil {
		return err
	}
	dir := p.Backstage()
	// Node looks for modules, and Backstage for a package.json, from where a file lies.
	if out, err := exec.CommandContext(ctx, "cp", "-R", p.checkout("hack", "portal", "backend")+"/.", p.checkout("package", "portal", "ledger-action"), dir).CombinedOutput(); err != nil {
		return fmt.Errorf("cannot copy the backend: %w: %s", err, out)
	}
	if err := os.Symlink(filepath.Join(p.o.Tools["BACKSTAGE"], "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		return err
	}
	templates, err := filepath.Glob(filepath.Join(dir, "templates", "*", "template.yaml"))
	if err != nil {
		return err
	}
	config, err := json.Marshal(p.config(port, database, templates)) // JSON is YAML
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "app-config.yaml"), config, 0o600); err != nil {
		return err
	}
	_, err = p.Run(ctx, controlplane.Command{
		Name: "backstage", Path: "node", Args: []string{filepath.Join(dir, "index.js"), "--config", filepath.Join(dir, "app-config.yaml")}, Dir: dir, Within: 5 * time.Minute, Respawn: true,
		Env:   append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "NODE_ENV=production", "LEDGER=" + p.o.Ledger}, p.LedgerEnv...),
		Ready: p.backstageReady,
	})
	return err
}

// backstageReady gives up on a backend that could not start: its process goes on, and is
// never ready.
func (p *Portal) backstageReady(ctx context.Context) error {
	err := p.Do(ctx, http.MethodGet, "/.backstage/health/v1/readiness", nil, nil)
	if err == nil {
		return nil
	}
	b := p.Process("backstage")
	log, _ := os.ReadFile(b.LogFile()) // what there is
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, "Backend startup failed") {
			return controlplane.Never(errors.New(line))
		}
	}
	return err
}

// Backstage is the folder of the backend; the baked templates are in templates below it.
func (p *Portal) Backstage() string { return p.file("backstage") }

// bake writes the templates for this portal.
func (p *Portal) bake(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, p.checkout("package", "portal", "bake.sh"), p.file("backstage", "templates"),
		"BASE_DOMAIN="+p.o.BaseDomain, "PROJECT_ID="+p.o.ProjectID, "GITEA_URL="+p.Gitea.URL, "GRAFANA_URL=http://grafana.invalid")
	if err := os.MkdirAll(p.file("backstage"), 0o700); err != nil {
		return err
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

type object = map[string]any

func (p *Portal) config(port int, database object, templates []string) object {
	host := strings.TrimPrefix(p.Gitea.URL, "http://")
	locations := []object{{
		"type": "url", "target": p.Gitea.URL + "/" + Catalog + "/src/branch/main/datasets/catalog-info.yaml",
		"rules": []object{{"allow": []string{"Location", "Resource"}}},
	}}
	for _, t := range templates {
		locations = append(locations, object{"type": "file", "target": t, "rules": []object{{"allow": []string{"Template"}}}})
	}
	for _, e := range p.o.Entities {
		locations = append(locations, object{"type": "file", "target": e, "rules": []object{{"allow": []string{"Component", "Resource"}}}})
	}
	return object{
		"app":          object{"title": "whisperops", "baseUrl": p.Backend},
		"organization": object{"name": "whisperops"},
		"backend": object{
			"baseUrl": p.Backend, "listen": object{"host": "127.0.0.1", "port": port}, "database": database,
			"auth":    object{"externalAccess": []object{{"type": "static", "options": object{"token": p.Token, "subject": "portal"}}}},
			"reading": object{"allow": []object{{"host": host}}},
		},
		"integrations": object{"gitea": []object{{"host": host, "baseUrl": p.Gitea.URL, "username": p.Gitea.User, "password": p.Gitea.Password}}},
		"catalog": object{
			// An upload is to be in the picker within a minute.
			"processingInterval": object{"seconds": 10},
			"rules":              []object{{"allow": []string{"Component", "System", "Resource", "Location", "Group"}}},
			"locations":          locations,
		},
	}
}

// postgres runs a database of Debian's PostgreSQL, and returns how Backstage reaches it.
func (p *Portal) postgres(ctx context.Context) (object, error) {
	bin := "" // in the PATH, or where Debian puts it
	if _, err := exec.LookPath("initdb"); err != nil {
		found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
		if err != nil || len(found) == 0 {
			return nil, errors.New("cannot find PostgreSQL (Debian: apt-get install postgresql)")
		}
		bin = filepath.Dir(found[len(found)-1])
	}
	port, err := controlplane.FreePort()
	if err != nil {
		return nil, err
	}
	password := rand.Text()
	secret, data := p.file("postgres-password"), p.file("postgres")
	if err := errors.Join(os.WriteFile(secret, []byte(password), 0o600), os.MkdirAll(data, 0o700)); err != nil {
		return nil, err
	}
	path, args := unprivileged(filepath.Join(bin, "initdb"), "-D", data, "-U", "backstage", "--auth=scram-sha-256", "--pwfile="+secret, "--no-sync", "--encoding=UTF8", "--locale=C")
	if out, err := exec.CommandContext(ctx, path, args...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("cannot make a database: %w: %s", err, out)
	}
	path, args = unprivileged(filepath.Join(bin, "postgres"), "-D", data, "-p", strconv.Itoa(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off")
	if _, err := p.Run(ctx, controlplane.Command{Name: "postgres", Path: path, Args: args, Ready: controlplane.Listening(fmt.Sprintf("127.0.0.1:%d", port))}); err != nil {
		return nil, err
	}
	// On a machine that does much else the first connections take longer than a minute, and a
	// backend that has waited in vain stays as it is.
	patient := object{"acquireConnectionTimeout": 5 * time.Minute / time.Millisecond}
	return object{"client": "pg", "knexConfig": patient, "connection": object{"host": "127.0.0.1", "port": port, "user": "backstage", "password": password}}, nil
}

// unprivileged returns a command line that runs a program as somebody who is not root,
// because PostgreSQL refuses to run as root. The files stay the present user's.
func unprivileged(program string, args ...string) (string, []string) {
	if os.Geteuid() != 0 {
		return program, args
	}
	return "unshare", append([]string{"--user", "--map-user=1000", "--map-group=1000", "--kill-child", "--fork", program}, args...)
}

// Do sends a request to Backstage's backend.
func (a *Access) Do(ctx context.Context, method, path string, body, into any) error {
	return controlplane.DoJSON(ctx, method, a.Backend+path, "Bearer "+a.Token, body, into)
}

// serve serves the page with the form, and Backstage's API below it, to who knows the
// login: the page then needs no sign-in of Backstage's own.
func (p *Portal) serve(ctx context.Context) error {
	backend, err := url.Parse(p.Backend)
	if err != nil {
		return err
	}
	api := &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(backend)
		r.Out.Header.Set("Authorization", "Bearer "+p.Token)
	}}
	files := http.FileServer(http.Dir(filepath.Join(p.o.Tools["BACKSTAGE"], "page")))
	mux := http.NewServeMux()
	mux.Handle("/api/", api)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/assets/") { // a route of the page's own
			r.URL.Path = "/"
		}
		files.ServeHTTP(w, r)
	})
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	p.URL = "http://" + l.Addr().String()
	p.page = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != p.Gitea.User || password != p.Gitea.Password {
			w.Header().Set("WWW-Authenticate", `Basic realm="portal"`)
			http.Error(w, "log in", http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	})}
	go p.page.Serve(l) //nolint:errcheck // it ends with Close
	return nil
}
