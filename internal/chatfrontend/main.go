package chatfrontend

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"whisperops.io/functions/internal/program"
)

// Flags of the chat page's server. Each has an environment variable, because that is
// what the agent's Deployment sets.
type Flags struct {
	Agent     Agent
	Namespace string
	Planner   string
	Sandbox   string
	Bucket    string
	Contact   string

	Host        string
	Port        int
	MetricsPort int

	Auth       string
	UserHeader string
	OIDC       OIDC

	AnswerTimeout time.Duration
	MaxAnswers    int
	MaxMemoryMi   int
	Debug         bool

	planner, sandbox, storage *url.URL
}

// Main runs the server until the process is told to end.
func Main() { program.Main("chat-frontend", Parse, serve) }

// Parse reads the flags from args, and what they don't say from the environment. It
// writes usage and errors to out.
func Parse(args []string, env func(string) string, out io.Writer) (Flags, error) {
	var f Flags
	p := parser{FlagSet: flag.NewFlagSet("chat-frontend", flag.ContinueOnError), env: env}
	p.SetOutput(out)
	p.text(&f.Agent.Name, "agent-name", "AGENT_NAME", "", "name of the agent, and of its XAgentBudget")
	p.text(&f.Namespace, "agent-namespace", "AGENT_NAMESPACE", "", "namespace of the XAgentBudget; default agent-<agent-name>")
	p.text(&f.Agent.Description, "agent-description", "AGENT_DESCRIPTION", "", "what the agent is for, shown on the page")
	p.text(&f.Agent.Dataset, "dataset-display-name", "DATASET_DISPLAY_NAME", "", "name of the dataset, shown on the page")
	p.text(&f.Planner, "planner-url", "PLANNER_URL", "", "address of the planner, an A2A agent, for example http://planner.agent-a.svc:8080")
	p.text(&f.Sandbox, "sandbox-url", "SANDBOX_URL", "", "address of the sandbox, from which charts under /charts/ are fetched; default http://sandbox.<agent-namespace>.svc:8080, none for no such charts")
	p.text(&f.Bucket, "output-bucket", "OUTPUT_BUCKET", "", "bucket whose pictures an answer may link to; STORAGE_EMULATOR_HOST is honoured; empty: none")
	p.text(&f.Contact, "budget-contact", "BUDGET_CONTACT", "", "who can raise the budget, a sentence for the page; empty: the agent's order")
	p.text(&f.Host, "host", "HOST", "", "address to listen at; empty: all")
	p.number(&f.Port, "port", "PORT", 3000, "port of the page, /healthz and /readyz")
	p.number(&f.MetricsPort, "metrics-port", "METRICS_PORT", 9090, "port of /metrics; 0 serves none")
	p.text(&f.Auth, "auth", "AUTH", "open", "who may see the page: open (everybody who reaches it), proxy (a header of an authenticating proxy names the person), oidc (people sign in with an OpenID Connect issuer)")
	p.text(&f.UserHeader, "auth-header", "AUTH_HEADER", "X-Forwarded-Email", "header in which the proxy names the person; the proxy must overwrite what callers send")
	p.text(&f.OIDC.Issuer, "oidc-issuer-url", "OIDC_ISSUER_URL", "", "issuer that signs people in")
	p.text(&f.OIDC.ClientID, "oidc-client-id", "OIDC_CLIENT_ID", "", "this page's client id with the issuer")
	p.text(&f.OIDC.SecretFile, "oidc-client-secret-file", "OIDC_CLIENT_SECRET_FILE", "", "file with the client's secret; without one, and without env OIDC_CLIENT_SECRET: a public client, PKCE alone")
	f.OIDC.Secret = env("OIDC_CLIENT_SECRET")
	p.text(&f.OIDC.Redirect, "oidc-redirect-url", "OIDC_REDIRECT_URL", "", "https://<host of the page>/auth/callback; empty: by the host that the browser asked for")
	p.text(&f.OIDC.Allowed, "oidc-allowed", "OIDC_ALLOWED", "", "who may use the page, separated by commas: addresses, @domains, group:names; empty: everybody whom the issuer signs in")
	p.duration(&f.AnswerTimeout, "answer-timeout", "ANSWER_TIMEOUT", 30*time.Minute, "how long one answer may take")
	p.number(&f.MaxAnswers, "max-answers", "MAX_ANSWERS", 64, "questions that are answered at the same time at most")
	p.number(&f.MaxMemoryMi, "max-memory-mi", "MAX_MEMORY_MI", 192, "MiB of conversations to keep; what was used longest ago goes first")
	p.flag(&f.Debug, "debug", "DEBUG", "log more")
	err := p.Parse(args)
	if err == nil {
		err = f.check(p.Args(), p.err, env)
		if err != nil {
			fmt.Fprintln(out, err)
		}
	}
	return f, err
}

// A parser takes each flag's default from the environment.
type parser struct {
	*flag.FlagSet

	env func(string) string
	err error
}

func (p *parser) text(v *string, name, env, value, usage string) {
	if s := p.env(env); s != "" {
		value = s
	}
	p.StringVar(v, name, value, usage+" (env "+env+")")
}

func (p *parser) number(v *int, name, env string, value int, usage string) {
	if s := p.env(env); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			p.err = errors.Join(p.err, fmt.Errorf("invalid value %q of %s: want a number", s, env))
		}
		value = n
	}
	p.IntVar(v, name, value, usage+" (env "+env+")")
}

func (p *parser) duration(v *time.Duration, name, env string, value time.Duration, usage string) {
	if s := p.env(env); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			p.err = errors.Join(p.err, fmt.Errorf("invalid value %q of %s: want a duration such as 30m", s, env))
		}
		value = d
	}
	p.DurationVar(v, name, value, usage+" (env "+env+")")
}

func (p *parser) flag(v *bool, name, env, usage string) {
	value := false
	if s := p.env(env); s != "" {
		b, err := strconv.ParseBool(s)
		if err != nil {
			p.err = errors.Join(p.err, fmt.Errorf("invalid value %q of %s: want true or false", s, env))
		}
		value = b
	}
	p.BoolVar(v, name, value, usage+" (env "+env+")")
}

func (f *Flags) check(rest []string, env error, getenv func(string) string) error {
	if f.Namespace == "" {
		f.Namespace = "agent-" + f.Agent.Name
	}
	if f.Sandbox == "" {
		f.Sandbox = "http://sandbox." + f.Namespace + ".svc:8080"
	}
	var err error
	switch {
	case env != nil:
		return env
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q: flags start with --", rest[0])
	case f.Agent.Name == "":
		return errors.New("flag --agent-name is empty: set it, or AGENT_NAME, to the agent's name")
	case f.Port < 1 || f.Port > 65535 || f.MetricsPort < 0 || f.MetricsPort > 65535 || f.Port == f.MetricsPort:
		return fmt.Errorf("invalid ports %d and %d: want two different ones up to 65535", f.Port, f.MetricsPort)
	case f.Auth != "open" && f.Auth != "proxy" && f.Auth != "oidc":
		return fmt.Errorf("invalid value %q for flag --auth: want open, proxy or oidc", f.Auth)
	case f.Auth == "proxy" && f.UserHeader == "":
		return errors.New("flag --auth-header is empty: name the header in which the proxy names the person")
	case f.AnswerTimeout < time.Second || f.MaxAnswers < 1 || f.MaxMemoryMi < 1:
		return errors.New("invalid limit: --answer-timeout must be at least 1s, --max-answers and --max-memory-mi at least 1")
	}
	if f.Auth == "oidc" {
		if err := f.OIDC.check(); err != nil {
			return err
		}
	}
	if f.planner, err = address(f.Planner); err != nil {
		return fmt.Errorf("invalid value %q for flag --planner-url: %w", f.Planner, err)
	}
	if f.Sandbox != "none" {
		if f.sandbox, err = address(f.Sandbox); err != nil {
			return fmt.Errorf("invalid value %q for flag --sandbox-url: %w", f.Sandbox, err)
		}
	}
	if e := getenv("STORAGE_EMULATOR_HOST"); e != "" {
		if !strings.Contains(e, "://") {
			e = "http://" + e
		}
		if f.storage, err = address(e); err != nil {
			return fmt.Errorf("invalid value %q of STORAGE_EMULATOR_HOST: %w", e, err)
		}
		f.storage.Path = ""
	}
	return nil
}

func address(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, errors.New("want http://<host>:<port>")
	}
	return u, nil
}

func serve(ctx context.Context, f Flags) error {
	level := slog.LevelInfo
	if f.Debug {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	s, err := newServer(f, registry, log)
	if err != nil {
		return err
	}
	handler, err := s.routes()
	if err != nil {
		return err
	}
	page := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10}
	servers := map[*http.Server]int{page: f.Port}
	if f.MetricsPort != 0 {
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry}))
		servers[&http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}] = f.MetricsPort
	}
	failed := make(chan error, len(servers))
	for srv, port := range servers {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(f.Host, strconv.Itoa(port)))
		if err != nil {
			return fmt.Errorf("cannot listen: %w", err)
		}
		go func() { failed <- srv.Serve(l) }()
	}
	log.Info("Starting", "version", version(), "agent", f.Agent.Name, "planner", f.planner.Redacted(), "auth", s.auth.describe(), "port", f.Port)
	if s.auth.describe() == "open" {
		log.Info("Everybody who reaches this page may use it: put an authenticating proxy before it, or set --auth")
	}
	select {
	case err := <-failed:
		return fmt.Errorf("cannot serve: %w", err)
	case <-ctx.Done():
	}
	return s.shutdown(ctx, servers)
}

// grace is how long answers may go on after the process was told to end; a pod has
// 30 seconds.
const grace = 20 * time.Second

func (s *server) shutdown(ctx context.Context, servers map[*http.Server]int) error {
	s.log.Info("Stopping")
	close(s.closing)
	answered := make(chan struct{})
	go func() {
		s.running.Wait()
		close(answered)
	}()
	select {
	case <-answered:
	case <-time.After(grace):
	}
	s.cancel()
	s.running.Wait()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	var errs []error
	for srv := range servers {
		if err := srv.Shutdown(ctx); err != nil {
			errs = append(errs, srv.Close())
		}
	}
	return errors.Join(errs...)
}

func newServer(f Flags, registry prometheus.Registerer, log *slog.Logger) (*server, error) {
	budget, err := newBudgetReader(f.Namespace, f.Agent.Name)
	if err != nil {
		return nil, err
	}
	var auth authenticator = open{}
	switch f.Auth {
	case "proxy":
		auth = behindProxy{header: f.UserHeader}
	case "oidc":
		auth = newSignIn(f.OIDC, log, time.Now)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &server{
		agent: f.Agent, contact: f.Contact, readBudget: budget,
		planner: newPlanner(f.planner, transport()), store: newStore(f.MaxMemoryMi << 20),
		auth: auth, metrics: newMetrics(registry), log: log, now: time.Now, keepAlive: keepAlive, limit: f.MaxAnswers,
		ctx: ctx, cancel: cancel, closing: make(chan struct{}),
	}
	s.runner = &runner{
		planner: s.planner, budget: s.money, metrics: s.metrics, timeout: f.AnswerTimeout, now: time.Now,
		pictures: &fetcher{
			bucket: f.Bucket, storage: f.storage, sandbox: f.sandbox, log: log,
			http: &http.Client{Transport: transport(), CheckRedirect: noRedirect},
		},
	}
	return s, nil
}

// transport finds a host that is gone within seconds, and waits for its answers as
// long as they take.
func transport() http.RoundTripper {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
		IdleConnTimeout:     90 * time.Second,
		MaxIdleConnsPerHost: 16,
		ForceAttemptHTTP2:   true,
	}
}

func version() string {
	if b, ok := debug.ReadBuildInfo(); ok {
		return b.Main.Version
	}
	return "unknown"
}
