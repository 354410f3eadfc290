package datasetwatcher

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"runtime/debug"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/zap/zapcore"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlzap "sigs.k8s.io/controller-runtime/pkg/log/zap"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"whisperops.io/functions/internal/datasetwatcher/catalog"
	"whisperops.io/functions/internal/datasetwatcher/registry"
	"whisperops.io/functions/internal/gcsaccess"
	"whisperops.io/functions/internal/gitea"
	"whisperops.io/functions/internal/program"
)

// Flags of the dataset watcher.
type Flags struct {
	Bucket         string
	Prefix         string
	Folders        []string
	Interval       time.Duration
	ListingTimeout time.Duration
	RemoveAfter    int
	MaxFallPercent float64

	Name      string
	Namespace string

	BillingProject string
	KeyFile        string
	Notifications  string

	GitURL        string
	GitRepository string
	GitBranch     string
	GitFolder     string
	GitTokenFile  string
	GitRate       float64
	CatalogOwner  string

	LeaderElect    bool
	MetricsAddress string
	HealthAddress  string
	KubeQPS        float64
	Debug          bool
}

// Main runs the dataset watcher until the process is told to end.
func Main() { program.Main("dataset-watcher", Parse, run) }

// Parse reads the flags from args. It writes usage and errors to out.
func Parse(args []string, env func(string) string, out io.Writer) (Flags, error) {
	var f Flags
	fs := flag.NewFlagSet("dataset-watcher", flag.ContinueOnError)
	fs.SetOutput(out)
	fs.StringVar(&f.Bucket, "bucket", "", "name of the Google Cloud Storage bucket that holds the datasets; STORAGE_EMULATOR_HOST is honoured")
	fs.StringVar(&f.Prefix, "prefix", "", "look only at objects whose names begin so")
	fs.Func("folders", "folders whose CSVs are one dataset each, with commas between them: exports/sales,daily/*; * stands for one part of a path. A folder is one too where an object in it has the metadata dataset=folder", func(v string) error {
		for folder := range strings.SplitSeq(v, ",") {
			f.Folders = append(f.Folders, strings.Trim(strings.TrimSpace(folder), "/"))
		}
		return nil
	})
	fs.StringVar(&f.Notifications, "notifications", "", "Pub/Sub subscription to which the bucket publishes its changes, projects/<project>/subscriptions/<name>; a change is seen within seconds then, and --interval is 10m unless it is set; PUBSUB_EMULATOR_HOST is honoured")
	fs.StringVar(&f.BillingProject, "billing-project", "", "Google Cloud project that pays for requests to a bucket with requester pays")
	fs.StringVar(&f.KeyFile, "encryption-key-file", "", "file with the key, 32 bytes in base64, of objects that their uploader encrypted with a key of its own; it is read once")
	fs.DurationVar(&f.Interval, "interval", 30*time.Second, "time between two listings of the bucket, give or take a tenth")
	fs.DurationVar(&f.ListingTimeout, "listing-timeout", 2*time.Minute, "how long one listing may take before it counts as failed")
	fs.IntVar(&f.RemoveAfter, "remove-after", 2, "complete listings in a row that must lack an object before its dataset is removed")
	fs.Float64Var(&f.MaxFallPercent, "max-fall-percent", 50, "share of the registry that may go missing at once and still be believed")
	fs.StringVar(&f.Name, "name", "dataset-watcher", "name of this watcher: of its lease, its ConfigMap, and the label on what it made; two watchers of two buckets need two names")
	fs.StringVar(&f.Namespace, "namespace", env("POD_NAMESPACE"), "namespace of the lease and of the ConfigMap (env POD_NAMESPACE)")
	fs.StringVar(&f.GitURL, "git-url", "", "address of the Gitea that holds the catalog, https://<host>; empty: no catalog is written")
	fs.StringVar(&f.GitRepository, "git-repository", "", "repository of the catalog, <owner>/<name>")
	fs.StringVar(&f.GitBranch, "git-branch", "main", "branch that Backstage reads")
	fs.StringVar(&f.GitFolder, "git-folder", "datasets", "folder of the catalog's location file; the folder resources below it belongs to the watcher alone")
	fs.StringVar(&f.GitTokenFile, "git-token-file", "/etc/dataset-watcher/git/token", "file with a Gitea token that may write the repository; it is read at every request")
	fs.Float64Var(&f.GitRate, "git-requests-per-second", 5, "requests to Gitea per second at most")
	fs.StringVar(&f.CatalogOwner, "catalog-owner", "group:default/platform", "Backstage entity that owns the datasets")
	fs.BoolVar(&f.LeaderElect, "leader-elect", true, "let one of several replicas work; without it there must be only one")
	fs.StringVar(&f.MetricsAddress, "metrics-address", ":8080", "address at which to serve /metrics; 0 serves none")
	fs.StringVar(&f.HealthAddress, "health-address", ":8081", "address at which to serve /healthz and /readyz; 0 serves none")
	fs.Float64Var(&f.KubeQPS, "kube-requests-per-second", 100, "requests to the API server per second at most")
	fs.BoolVar(&f.Debug, "debug", false, "log every write, not only what came and went")
	if err := fs.Parse(args); err != nil {
		return f, err
	}
	if err := f.check(fs.Args()); err != nil {
		fmt.Fprintln(out, err)
		return f, err
	}
	f.GitFolder = strings.Trim(f.GitFolder, "/")
	if f.Notifications != "" {
		interval := 10 * time.Minute
		fs.Visit(func(s *flag.Flag) {
			if s.Name == "interval" {
				interval = f.Interval
			}
		})
		f.Interval = interval
	}
	return f, nil
}

func (f Flags) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q: flags start with --", rest[0])
	case f.Bucket == "" || strings.ContainsAny(f.Bucket, "/:"):
		return fmt.Errorf("invalid value %q for flag --bucket: it must be the bare name of a bucket, without gs://", f.Bucket)
	case f.wrongFolder() != "":
		return fmt.Errorf("invalid value for flag --folders: %s", f.wrongFolder())
	case f.Notifications != "" && !subscriptionName.MatchString(f.Notifications):
		return fmt.Errorf("invalid value %q for flag --notifications: it must be projects/<project>/subscriptions/<name>", f.Notifications)
	case f.Interval < time.Second:
		return fmt.Errorf("invalid value %s for flag --interval: it must be at least 1s", f.Interval)
	case f.ListingTimeout < time.Second:
		return fmt.Errorf("invalid value %s for flag --listing-timeout: it must be at least 1s", f.ListingTimeout)
	case f.RemoveAfter < 1:
		return fmt.Errorf("invalid value %d for flag --remove-after: it must be at least 1", f.RemoveAfter)
	case !(f.MaxFallPercent >= 0 && f.MaxFallPercent <= 100): // so that NaN is refused too
		return fmt.Errorf("invalid value %g for flag --max-fall-percent: it must be from 0 to 100", f.MaxFallPercent)
	case len(validation.IsDNS1123Label(f.Name)) > 0:
		return fmt.Errorf("invalid value %q for flag --name: it must be an RFC 1123 label", f.Name)
	case f.Namespace == "":
		return errors.New("flag --namespace is empty: set it, or POD_NAMESPACE, to the namespace of the lease and of the ConfigMap")
	case !(f.GitRate > 0) || !(f.KubeQPS > 0):
		return errors.New("invalid rate: --git-requests-per-second and --kube-requests-per-second must be more than 0")
	case otherForge(f.GitURL) != "":
		return fmt.Errorf("invalid value %q for flag --git-url: the catalog is written by Gitea's API, which %s does not speak; use a Gitea, or leave the flag out and mirror what another watcher wrote", f.GitURL, otherForge(f.GitURL))
	case f.GitURL != "" && f.GitTokenFile == "":
		return errors.New("flag --git-token-file is empty: Gitea lets nobody write without a token")
	}
	return nil
}

// wrongFolder says what is wrong with one of the folders, or "".
func (f Flags) wrongFolder() string {
	for _, folder := range f.Folders {
		literal, _, _ := strings.Cut(folder+"/", "*")
		switch _, err := path.Match(folder, ""); {
		case folder == "":
			return "a folder has no name; the whole bucket can't be one dataset"
		case err != nil:
			return fmt.Sprintf("%q is no pattern: * stands for a part of a path, ? for a character, [ab] for one of some; a backslash takes their meaning away", folder)
		case strings.HasSuffix(folder, ".csv"):
			return fmt.Sprintf("%q is a CSV and no folder", folder)
		case !strings.HasPrefix(literal, f.Prefix) && !strings.HasPrefix(f.Prefix, literal):
			return fmt.Sprintf("%q does not begin with the value %q of flag --prefix, so that nothing in it is looked at", folder, f.Prefix)
		}
	}
	return ""
}

// otherForge returns the name of a forge that is known not to be a Gitea, or "".
func otherForge(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	for domain, name := range map[string]string{
		"github.com": "GitHub", "githubusercontent.com": "GitHub", "ghe.com": "GitHub", "gitlab.com": "GitLab", "bitbucket.org": "Bitbucket",
		"dev.azure.com": "Azure DevOps", "visualstudio.com": "Azure DevOps", "source.developers.google.com": "Cloud Source Repositories",
	} {
		if host == domain || strings.HasSuffix(host, "."+domain) {
			return name
		}
	}
	if strings.HasPrefix(host, "git-codecommit.") && strings.HasSuffix(host, ".amazonaws.com") {
		return "AWS CodeCommit" // anything else of that domain may be somebody's Gitea
	}
	return ""
}

func run(ctx context.Context, f Flags) error {
	level := zapcore.InfoLevel
	if f.Debug {
		level = zapcore.DebugLevel
	}
	log := ctrlzap.New(ctrlzap.Level(level))
	ctrl.SetLogger(log)
	klog.SetLogger(log.WithName("client-go"))
	cfg, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("cannot find the API server: %w", err)
	}
	cfg.QPS, cfg.Burst = float32(f.KubeQPS), int(2*f.KubeQPS)+1
	cfg.Timeout = 30 * time.Second
	cfg.UserAgent = "whisperops-dataset-watcher"
	scheme, err := newScheme()
	if err != nil {
		return err
	}
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme:                        scheme,
		Metrics:                       metricsserver.Options{BindAddress: f.MetricsAddress},
		HealthProbeBindAddress:        f.HealthAddress,
		LeaderElection:                f.LeaderElect,
		LeaderElectionID:              f.Name,
		LeaderElectionNamespace:       f.Namespace,
		LeaderElectionReleaseOnCancel: true,
	})
	if err != nil {
		return fmt.Errorf("cannot make the manager: %w", err)
	}
	w, err := newWatcher(ctx, f, cfg, mgr, log)
	if err != nil {
		return err
	}
	if err := errors.Join(mgr.Add(w), mgr.AddHealthzCheck("passes", w.alive), mgr.AddReadyzCheck("listing", w.ready)); err != nil {
		return fmt.Errorf("cannot set up the manager: %w", err)
	}
	log.Info("Starting", "version", version(), "bucket", f.Bucket, "prefix", f.Prefix, "interval", f.Interval.String(), "catalog", f.GitRepository)
	return mgr.Start(ctx)
}

// access is what reading the bucket takes beside a grant.
func (f Flags) access() (gcsaccess.Access, error) {
	a := gcsaccess.Access{BillingProject: f.BillingProject}
	if f.KeyFile == "" {
		return a, nil
	}
	text, err := os.ReadFile(f.KeyFile)
	if err != nil {
		return a, fmt.Errorf("cannot read the file of flag --encryption-key-file: %w", err)
	}
	if a.Key, err = gcsaccess.ParseKey(string(text)); err == nil && a.Key == nil {
		err = errors.New("the file is empty")
	}
	if err != nil {
		return a, fmt.Errorf("flag --encryption-key-file: %w", err)
	}
	return a, nil
}

func newWatcher(ctx context.Context, f Flags, cfg *rest.Config, mgr ctrl.Manager, log logr.Logger) (*watcher, error) {
	c, err := client.New(cfg, client.Options{Scheme: mgr.GetScheme()})
	if err != nil {
		return nil, fmt.Errorf("cannot make a client of the API server: %w", err)
	}
	access, err := f.access()
	if err != nil {
		return nil, err
	}
	bucket, err := newGCS(ctx, f.Bucket, f.Prefix, access)
	if err != nil {
		return nil, err
	}
	var changes *notifications
	if f.Notifications != "" {
		if changes, err = newNotifications(ctx, f.Notifications, log); err != nil {
			return nil, err
		}
	}
	publisher, err := newPublisher(f)
	if err != nil {
		return nil, err
	}
	m := newMetrics(ctrlmetrics.Registry)
	return &watcher{
		settings:       f.settings(),
		sizes:          &sizes{},
		interval:       f.Interval,
		listingTimeout: f.ListingTimeout,
		passTimeout:    passTimeout,
		bucket:         bucket,
		notifications:  changes,
		cluster:        &cluster{Client: c, metrics: m},
		journal:        &journal{client: c, key: client.ObjectKey{Namespace: f.Namespace, Name: f.Name}},
		publisher:      publisher,
		events:         mgr.GetEventRecorder(f.Name),
		metrics:        m,
		log:            log,
		now:            time.Now,
		snapshots:      make(chan catalog.Snapshot, 1),
	}, nil
}

func (f Flags) settings() registry.Settings {
	return registry.Settings{
		Bucket: f.Bucket, Prefix: f.Prefix, Folders: f.Folders, Name: f.Name, RemoveAfter: f.RemoveAfter, MaxFall: f.MaxFallPercent / 100,
		StatusObject: fmt.Sprintf("-n %s configmap %s", f.Namespace, f.Name),
	}
}

// newPublisher returns nil where no catalog is wanted.
func newPublisher(f Flags) (*catalog.Publisher, error) {
	if f.GitURL == "" {
		return nil, nil //nolint:nilnil // no publisher is a choice and no failure
	}
	token := func() (string, error) {
		b, err := os.ReadFile(f.GitTokenFile)
		return strings.TrimSpace(string(b)), err
	}
	g, err := gitea.New(f.GitURL, f.GitRepository, f.GitBranch, token, f.GitRate)
	if err != nil {
		return nil, err
	}
	return &catalog.Publisher{
		Layout:     catalog.Layout{Folder: f.GitFolder, Name: f.Name, Owner: f.CatalogOwner},
		Repository: g,
		MaxFall:    f.MaxFallPercent / 100,
	}, nil
}

func version() string {
	if b, ok := debug.ReadBuildInfo(); ok {
		return b.Main.Version
	}
	return "unknown"
}
