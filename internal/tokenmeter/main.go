package tokenmeter

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap/zapcore"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlzap "sigs.k8s.io/controller-runtime/pkg/log/zap"

	"whisperops.io/functions/internal/program"
)

// Flags of the token meter.
type Flags struct {
	Host        string
	Port        int
	MetricsPort int

	GeminiURL, GeminiKeyFile       string
	OpenAIURL, OpenAIKeyFile       string
	AnthropicURL, AnthropicKeyFile string

	VertexProject, VertexLocation, VertexURL, VertexCredentials string

	Journal        string
	PriceTable     string
	ConfirmCallers bool
	WithoutState   string
	Unknown        string
	Mode           string
	Namespace      string
	Name           string
	Peers          string
	HardWait       time.Duration
	LegacyMetrics  bool

	Limits       Limits
	LingerTime   time.Duration
	ShutdownTime time.Duration
	ScrapeTime   time.Duration
	Debug        bool
}

// Main runs the token meter until the process is told to end.
func Main() { program.Main("token-meter", Parse, run) }

// Parse reads the flags from args, and those that are not there from the
// environment: --host from HOST, --port from PORT, any other such as --openai-url
// from METER_OPENAI_URL. It writes usage and errors to out.
func Parse(args []string, env func(string) string, out io.Writer) (Flags, error) {
	var f Flags
	fs := flag.NewFlagSet("token-meter", flag.ContinueOnError)
	fs.SetOutput(out)
	fs.Usage = func() {
		fmt.Fprintln(out, "Usage of token-meter. A flag that isn't given is read from the environment: --host from HOST, --port from PORT, --openai-url from METER_OPENAI_URL, and so on.")
		fs.PrintDefaults()
	}
	fs.StringVar(&f.Host, "host", "", "address to listen on; empty: all of this machine's")
	fs.IntVar(&f.Port, "port", 8080, "port for the agents' calls; 0 takes any")
	fs.IntVar(&f.MetricsPort, "metrics-port", 9090, "port for /metrics, /healthz and /readyz; 0 takes any")

	fs.StringVar(&f.GeminiURL, "gemini-url", "", "Gemini API, https://generativelanguage.googleapis.com; empty: calls of the dialect gemini go to Vertex")
	fs.StringVar(&f.GeminiKeyFile, "gemini-key-file", "", "file with the key of the Gemini API; it is read again when it changes")
	fs.StringVar(&f.OpenAIURL, "openai-url", "", "OpenAI's API or one like it, https://api.openai.com; a path in it stands for /v1; empty: the dialect openai is refused")
	fs.StringVar(&f.OpenAIKeyFile, "openai-key-file", "", "file with its key")
	fs.StringVar(&f.AnthropicURL, "anthropic-url", "", "Anthropic's API, https://api.anthropic.com; empty: the dialect anthropic is refused")
	fs.StringVar(&f.AnthropicKeyFile, "anthropic-key-file", "", "file with its key")
	fs.StringVar(&f.VertexProject, "vertex-project", "", "project of Google Cloud in which Vertex is used; empty: there is no Vertex")
	fs.StringVar(&f.VertexLocation, "vertex-location", "global", "location of Vertex: global, us, eu or a region")
	fs.StringVar(&f.VertexURL, "vertex-url", "", "Vertex' address; empty: the location's")
	fs.StringVar(&f.VertexCredentials, "vertex-credentials", "adc", "adc: Workload Identity, or the key file that GOOGLE_APPLICATION_CREDENTIALS names; none: no credential, for a stand-in")

	fs.StringVar(&f.Journal, "journal", "/var/lib/token-meter", "folder in which the counters survive the process; empty: they don't")
	fs.StringVar(&f.PriceTable, "price-table", "crossplane-system/whisperops-pricing", "ConfigMap with the price table, <namespace>/<name>, key prices.yaml")
	fs.BoolVar(&f.ConfirmCallers, "confirm-callers", true, "refuse a caller whose address is none of a pod in the namespace of the agent it claims to be; false is for a laptop: any caller can spend any agent's money")
	fs.StringVar(&f.WithoutState, "without-state", "open", "what a meter does that never reached the API server: open lets calls through and counts them, closed refuses them")
	fs.StringVar(&f.Unknown, "unknown-paths", "refuse", "calls that can't be counted: refuse, or pass and count them as unmetered")
	fs.StringVar(&f.Mode, "mode", string(ModeSoft), "soft refuses calls once the budget is spent; hard reserves what a call can cost at most, and never passes it; the annotation "+ModeAnnotation+" of an XAgentBudget overrides it")
	fs.StringVar(&f.Namespace, "namespace", "whisperops-system", "namespace of the meter, and of the ConfigMaps by which its replicas share budgets")
	fs.StringVar(&f.Name, "replica", env("POD_NAME"), "name of this replica (env POD_NAME); empty: one that the journal keeps")
	fs.StringVar(&f.Peers, "peers", "", "host:port at whose addresses all replicas serve metrics, as a headless Service has it: they tell each other what they spent; empty: there is one replica")
	fs.DurationVar(&f.HardWait, "hard-wait", 10*time.Second, "how long a call may wait for money that other calls hold, in hard mode")
	fs.BoolVar(&f.LegacyMetrics, "legacy-metrics", true, "also show whisperops_tokens_input_total, _output_total and _cached_input_total")

	fs.Int64Var(&f.Limits.BodyBytes, "max-body-bytes", 32<<20, "how large a request may be")
	fs.IntVar(&f.Limits.DrainCalls, "drain-calls", 256, "answers, at once, that are read to their end though the caller has left")
	fs.Int64Var(&f.Limits.DrainBytes, "drain-bytes", 32<<20, "bytes of one such answer")
	fs.DurationVar(&f.Limits.DrainTime, "drain-time", 2*time.Minute, "time for one such answer, from when the caller left")
	fs.DurationVar(&f.Limits.CallTime, "call-time", 30*time.Minute, "time for any call")
	fs.DurationVar(&f.Limits.ConfirmWait, "confirm-wait", 2*time.Second, "how long a caller may wait for its pod to be seen")
	fs.IntVar(&f.Limits.ExtraModels, "unpriced-models", 8, "models without a price that an agent's tokens are counted under by name; those of any other are counted as model \"other\"")
	fs.Uint64Var(&f.Limits.MaxOutput, "hard-max-output", 8192, "tokens that an answer may have if the call doesn't say, in hard mode")
	fs.Uint64Var(&f.Limits.Overhead, "hard-overhead", 2048, "tokens that a provider may add to a prompt, in hard mode; all others are at most one for each byte of the request")
	fs.DurationVar(&f.LingerTime, "linger-time", 5*time.Second, "how long new calls are still served when the meter is told to end and says that it isn't ready: until nobody is sent to it any more")
	fs.DurationVar(&f.ShutdownTime, "shutdown-time", 4*time.Minute, "how long calls that are under way may then go on")
	fs.DurationVar(&f.ScrapeTime, "scrape-time", 40*time.Second, "how long the meter then waits for its counters to be read once more; 0: not at all")
	fs.BoolVar(&f.Debug, "debug", false, "log more")

	given := map[string]bool{}
	if err := fs.Parse(args); err != nil {
		return f, err
	}
	fs.Visit(func(fl *flag.Flag) { given[fl.Name] = true })
	var bad error
	fs.VisitAll(func(fl *flag.Flag) {
		name := strings.ToUpper(strings.ReplaceAll(fl.Name, "-", "_"))
		if fl.Name != "host" && fl.Name != "port" {
			name = "METER_" + name
		}
		if v := env(name); v != "" && !given[fl.Name] && bad == nil {
			if err := fs.Set(fl.Name, v); err != nil {
				bad = fmt.Errorf("invalid value %q of environment variable %s: %w", v, name, err)
			}
		}
	})
	if bad == nil {
		bad = f.check(fs.Args())
	}
	if bad != nil {
		fmt.Fprintln(out, bad)
		return f, bad
	}
	f.Limits.NoteTime = time.Second
	f.Limits.PassUnknown = f.Unknown == "pass"
	f.Limits.ClosedAtBirth = f.WithoutState == "closed"
	f.Limits.DefaultMode = Mode(f.Mode)
	return f, nil
}

func (f Flags) check(rest []string) error {
	oneOf := func(name, value string, allowed ...string) error {
		if slices.Contains(allowed, value) {
			return nil
		}
		return fmt.Errorf("invalid value %q for flag --%s: it must be %s", value, name, strings.Join(allowed, " or "))
	}
	if len(rest) > 0 {
		return fmt.Errorf("unexpected argument %q: flags start with --", rest[0])
	}
	if err := f.checkUpstreams(); err != nil {
		return err
	}
	ns, name, ok := strings.Cut(f.PriceTable, "/")
	if !ok || ns == "" || name == "" || strings.Contains(name, "/") {
		return fmt.Errorf("invalid value %q for flag --price-table: it must be <namespace>/<name>", f.PriceTable)
	}
	if f.Peers != "" {
		if _, _, err := net.SplitHostPort(f.Peers); err != nil {
			return fmt.Errorf("invalid value %q for flag --peers: it must be host:port", f.Peers)
		}
	}
	if err := f.checkNumbers(); err != nil {
		return err
	}
	return errors.Join(
		oneOf("without-state", f.WithoutState, "open", "closed"),
		oneOf("unknown-paths", f.Unknown, "refuse", "pass"),
		oneOf("mode", f.Mode, string(ModeSoft), string(ModeHard)),
		oneOf("vertex-credentials", f.VertexCredentials, "adc", "none"),
	)
}

func (f Flags) checkUpstreams() error {
	for _, u := range [][2]string{{"gemini-url", f.GeminiURL}, {"openai-url", f.OpenAIURL}, {"anthropic-url", f.AnthropicURL}, {"vertex-url", f.VertexURL}} {
		if p, err := url.Parse(u[1]); u[1] != "" && (err != nil || p.Host == "" || (p.Scheme != "http" && p.Scheme != "https") || p.User != nil || p.RawQuery != "") {
			return fmt.Errorf("invalid value for flag --%s: it must be an address such as https://api.openai.com, without user and query", u[0])
		}
	}
	if f.GeminiURL == "" && f.OpenAIURL == "" && f.AnthropicURL == "" && f.VertexProject == "" {
		return errors.New("there is no provider: set at least one of --gemini-url, --vertex-project, --openai-url and --anthropic-url")
	}
	return nil
}

func (f Flags) checkNumbers() error {
	l := f.Limits
	if f.Port < 0 || f.MetricsPort < 0 || l.BodyBytes < 1 || l.DrainCalls < 0 || l.DrainBytes < 0 || l.DrainTime < 0 || l.CallTime <= 0 || l.ConfirmWait < 0 || l.ExtraModels < 0 || l.MaxOutput < 1 || f.LingerTime < 0 || f.ShutdownTime < 0 || f.ScrapeTime < 0 {
		return errors.New("ports, sizes and times must not be negative, and --max-body-bytes, --call-time and --hard-max-output not 0")
	}
	return nil
}

// upstreams that the flags name. check has read their addresses.
func (f Flags) upstreams() Upstreams {
	up := func(address, file, header, prefix string) *Upstream {
		if address == "" {
			return nil
		}
		base, err := url.Parse(address)
		if err != nil {
			return nil
		}
		u := &Upstream{Base: base}
		if file != "" {
			u.Authorize = keyFile(file, header, prefix)
		}
		return u
	}
	all := Upstreams{
		Gemini:    up(f.GeminiURL, f.GeminiKeyFile, "X-Goog-Api-Key", ""),
		OpenAI:    up(f.OpenAIURL, f.OpenAIKeyFile, "Authorization", "Bearer "),
		Anthropic: up(f.AnthropicURL, f.AnthropicKeyFile, "X-Api-Key", ""),
	}
	if f.VertexProject != "" {
		address := f.VertexURL
		if address == "" {
			address = "https://" + VertexHost(f.VertexLocation)
		}
		all.Vertex = up(address, "", "", "")
		all.Vertex.Project, all.Vertex.Location = f.VertexProject, f.VertexLocation
		if f.VertexCredentials == "adc" {
			all.Vertex.Authorize = googleToken(tokenTime)
		}
	}
	return all
}

func (f Flags) tableKey() client.ObjectKey {
	ns, name, _ := strings.Cut(f.PriceTable, "/")
	return client.ObjectKey{Namespace: ns, Name: name}
}

func run(ctx context.Context, f Flags) error {
	level := zapcore.InfoLevel
	if f.Debug {
		level = zapcore.DebugLevel
	}
	log := ctrlzap.New(ctrlzap.Level(level))
	ctrl.SetLogger(log)
	klog.SetLogger(log.WithName("client-go"))
	s, err := NewServer(f, log) //nolint:contextcheck // to listen takes no time
	if err != nil {
		return err
	}
	cfg, err := ctrl.GetConfig()
	switch {
	case err == nil:
		cfg.UserAgent = "whisperops-token-meter"
		if err := s.Watch(ctx, cfg); err != nil {
			return fmt.Errorf("cannot watch the API server: %w", err)
		}
	case f.ConfirmCallers:
		return fmt.Errorf("cannot find the API server, which says who calls: %w", err)
	default:
		log.Info("There is no API server: no budget is known, and no call is refused")
	}
	log.Info("Starting", "version", buildVersion(), "mode", f.Mode, "calls", s.Address(), "metrics", s.MetricsAddress())
	return s.Run(ctx)
}

func buildVersion() string {
	if b, ok := debug.ReadBuildInfo(); ok {
		return b.Main.Version
	}
	return "unknown"
}

func listen(host string, port int) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(context.Background(), "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
}
