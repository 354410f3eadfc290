// Package portal runs what stands around the suite, all real programs as plain
// processes: Gitea, which holds the orders; Argo CD's controllers and repository server,
// which deliver them; and Backstage's backend with its order form on a page of its own.
// They work on a control plane that runs already: make portal does it on the one of
// make up.
package portal

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"whisperops.io/functions/hack/controlplane"
)

// Organisation holds the orders' repositories, agent-<name> each.
const Organisation = "agents"

// Catalog is the repository into which the dataset-watcher writes its entities.
const Catalog = "platform/catalog"

// Options of a portal.
type Options struct {
	// Dir holds all state; it is made.
	Dir string
	// Checkout is the root of the checkout whose templates and manifests are used.
	Checkout string
	// Kubeconfig of the control plane's administrator.
	Kubeconfig string
	// Tools as tools.mk names them: GITEA, GITEA_FILES, ARGOCD, ARGOCD_FILES, BACKSTAGE.
	Tools controlplane.Tools
	// Ledger is the program of that name.
	Ledger string
	// BaseDomain and ProjectID are baked into the form.
	BaseDomain, ProjectID string
	// Entities are files with more entities for Backstage's catalog.
	Entities []string
	// Log gets a line for each thing that takes noticeable time.
	Log func(format string, args ...any)
}

// Access is what it takes to use a portal.
type Access struct {
	Gitea *controlplane.Gitea
	// URL of the page with the form; its login is Gitea's.
	URL string
	// Backend is the URL of Backstage's backend, and Token is what it takes.
	Backend, Token string
	// Ledger is the program, and LedgerEnv its environment: that of its own
	// ServiceAccount.
	Ledger    string
	LedgerEnv []string
	// Dir holds the programs' state; logs and pids are below it.
	Dir string
}

// Recall reads what Remember wrote.
func Recall(file string) (*Access, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	a := &Access{}
	return a, json.Unmarshal(data, a) //nolint:musttag // nobody else reads or writes the file
}

// Remember writes into a file what it takes to use the portal.
func (a *Access) Remember(file string) error {
	data, err := json.Marshal(a) //nolint:musttag // as Recall
	if err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o600)
}

// A Portal is a running portal.
type Portal struct {
	*controlplane.Processes

	Access

	// Kubernetes is the control plane, as its administrator.
	Kubernetes *controlplane.Client

	o    Options
	page *http.Server
}

// Start runs everything, in the order in which one needs the other. On an error
// nothing keeps running. Stop ends it all.
func Start(ctx context.Context, o Options) (*Portal, error) {
	if err := o.Tools.Need("BACKSTAGE"); err != nil {
		return nil, err
	}
	return start(ctx, o, []string{"redis-server", "git", "node"}, func(p *Portal) []step {
		return []step{{"Gitea", p.gitea}, {"Argo CD", p.argoCD}, {"the delivery of orders", p.orders}, {"the ledger's rights", p.ledger}, {"Backstage", p.backstage}, {"the page", p.serve}}
	})
}

// StartDelivery runs Gitea and Argo CD alone, which delivers nothing yet.
func StartDelivery(ctx context.Context, o Options) (*Portal, error) {
	return start(ctx, o, []string{"redis-server", "git"}, func(p *Portal) []step {
		return []step{{"Gitea", p.gitea}, {"Argo CD", p.argoCD}}
	})
}

// A step starts one thing.
type step struct {
	name string
	run  func(context.Context) error
}

func start(ctx context.Context, o Options, programs []string, steps func(*Portal) []step) (_ *Portal, err error) {
	if err := o.Tools.Need("GITEA", "GITEA_FILES", "ARGOCD", "ARGOCD_FILES"); err != nil {
		return nil, err
	}
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("cannot find %s in the PATH (Debian: apt-get install redis-server postgresql git nodejs; Node 20 or later): %w", program, err)
		}
	}
	p := &Portal{o: o, Access: Access{Token: rand.Text(), Ledger: o.Ledger, Dir: o.Dir}}
	if p.Processes, err = controlplane.NewProcesses(o.Dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.Stop()
		}
	}()
	cfg, err := clientcmd.BuildConfigFromFlags("", o.Kubeconfig)
	if err != nil {
		return nil, err
	}
	if p.Kubernetes, err = controlplane.NewClient(cfg); err != nil {
		return nil, err
	}
	for _, s := range steps(p) {
		began := time.Now()
		if err := s.run(ctx); err != nil {
			return nil, fmt.Errorf("cannot start %s: %w", s.name, err)
		}
		o.Log("%s ready after %s", s.name, time.Since(began).Round(10*time.Millisecond))
	}
	return p, nil
}

// StartForm runs Backstage and the page alone, without a Gitea and a cluster: what the
// form takes and what becomes of it can be seen, and nothing published.
func StartForm(ctx context.Context, o Options) (_ *Portal, err error) {
	if err := o.Tools.Need("BACKSTAGE"); err != nil {
		return nil, err
	}
	p := &Portal{o: o, Access: Access{Token: rand.Text(), Dir: o.Dir, Gitea: &controlplane.Gitea{URL: "http://127.0.0.1:9", User: "portal", Password: rand.Text()}}}
	if p.Processes, err = controlplane.NewProcesses(o.Dir); err != nil {
		return nil, err
	}
	if err = p.backstage(ctx); err == nil {
		err = p.serve(ctx)
	}
	if err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

// Stop ends every process.
func (p *Portal) Stop() {
	if p.page != nil {
		_ = p.page.Close() // nothing more to serve
	}
	p.StopAll()
}

func (p *Portal) file(parts ...string) string {
	return filepath.Join(append([]string{p.o.Dir}, parts...)...)
}

func (p *Portal) checkout(parts ...string) string {
	return filepath.Join(append([]string{p.o.Checkout}, parts...)...)
}

// gitea runs Gitea, with the organisations of the orders and of the platform.
func (p *Portal) gitea(ctx context.Context) (err error) {
	if p.Gitea, err = p.StartGitea(ctx, controlplane.GiteaOptions{
		Binary: p.o.Tools["GITEA"], Files: p.o.Tools["GITEA_FILES"], Dir: p.file("gitea"), User: "portal", Respawn: true,
	}); err != nil {
		return err
	}
	for _, org := range []string{Organisation, filepath.Dir(Catalog)} {
		if err := p.Gitea.Do(ctx, http.MethodPost, "/orgs", map[string]any{"username": org}, nil); err != nil {
			return err
		}
	}
	if err := p.Gitea.Do(ctx, http.MethodPost, "/orgs/"+filepath.Dir(Catalog)+"/repos", map[string]any{"name": filepath.Base(Catalog), "default_branch": "main", "auto_init": true}, nil); err != nil {
		return err
	}
	return errors.Join(os.WriteFile(p.GiteaTokenFile(), []byte(p.Gitea.Token), 0o600), os.WriteFile(p.file("backstage-token"), []byte(p.Token), 0o600))
}

// GiteaTokenFile holds the token of Gitea's administrator.
func (p *Portal) GiteaTokenFile() string { return p.file("gitea-token") }

// ledger gives the ledger the identity that package/portal/rbac.yaml describes: what it
// may not do there fails here, too.
func (p *Portal) ledger(ctx context.Context) error {
	objs, err := controlplane.DecodeFiles(p.checkout("package", "portal", "rbac.yaml"))
	if err != nil {
		return err
	}
	if err := p.Kubernetes.ApplyYAML(ctx, "{apiVersion: v1, kind: Namespace, metadata: {name: backstage}}"); err != nil {
		return err
	}
	if err := p.Kubernetes.Apply(ctx, objs...); err != nil {
		return err
	}
	token, err := p.Kubernetes.Token(ctx, "backstage", "whisperops-ledger")
	if err != nil {
		return err
	}
	file, err := p.KubeconfigOf("ledger", token)
	p.LedgerEnv = []string{"KUBECONFIG=" + file, "GITEA_URL=" + p.Gitea.URL, "GITEA_TOKEN_FILE=" + p.GiteaTokenFile(), "BACKSTAGE_TOKEN_FILE=" + p.file("backstage-token")}
	if within := os.Getenv("LEDGER_PUSH_WITHIN"); within != "" { // a test that kills programs is less patient than people
		p.LedgerEnv = append(p.LedgerEnv, "LEDGER_PUSH_WITHIN="+within)
	}
	return err
}

// KubeconfigOf writes a kubeconfig for whoever a token is of, and returns its file.
func (p *Portal) KubeconfigOf(name, token string) (string, error) {
	cfg, err := clientcmd.LoadFromFile(p.o.Kubeconfig)
	if err != nil {
		return "", err
	}
	for name := range cfg.AuthInfos {
		cfg.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: token}
	}
	file := p.file(name + ".kubeconfig")
	return file, clientcmd.WriteToFile(*cfg, file)
}

// Watch runs the dataset-watcher on a bucket of a storage emulator, with Gitea as its
// catalog. No other may run.
func (p *Portal) Watch(ctx context.Context, program, bucket, storage string) error {
	_, err := p.Run(ctx, controlplane.Command{
		Name: "dataset-watcher", Path: program, Respawn: true,
		Args: []string{
			"--bucket", bucket, "--interval", "2s", "--leader-elect=false", "--namespace", controlplane.Namespace, "--metrics-address", "0", "--health-address", "0",
			"--git-url", p.Gitea.URL, "--git-repository", Catalog, "--git-token-file", p.GiteaTokenFile(),
		},
		Env: []string{"KUBECONFIG=" + p.o.Kubeconfig, "HOME=" + p.o.Dir, "STORAGE_EMULATOR_HOST=" + storage},
	})
	return err
}
