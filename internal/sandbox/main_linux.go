package sandbox

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sys/unix"

	"whisperops.io/functions/internal/gcsaccess"
	"whisperops.io/functions/internal/program"
)

// settings of the sandbox.
type settings struct {
	host         string
	port         int
	datasetPath  string
	datasetName  string
	outputBucket string
	access       gcsaccess.Access
	credentials  string
	timeout      time.Duration
	queue        time.Duration
	python       string
	memoryMi     int64
	tmp          string
	chartImages  string
	linkExpiry   time.Duration
	allowMissing bool
	debug        bool
}

// Main runs the sandbox until the process is told to end. It is also the launcher
// of the interpreter, under an argument that nobody types.
func Main() {
	if len(os.Args) == 3 && os.Args[1] == launchArgument {
		fmt.Fprintf(os.Stderr, "sandbox: %v\n", launchMain(os.Args[2]))
		os.Exit(1)
	}
	program.Main("sandbox", parse, func(ctx context.Context, s settings) error { return run(ctx, s, os.Stdout) })
}

// parse reads flags, whose defaults are what the environment says: the rendered
// Deployment sets only variables. It writes usage and errors to out.
func parse(args []string, env func(string) string, out io.Writer) (settings, error) {
	var s settings
	var errs []error
	number := func(name string, otherwise int64) int64 {
		v := env(name)
		if v == "" {
			return otherwise
		}
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			errs = append(errs, fmt.Errorf("invalid value %q of %s: it must be a whole number", v, name))
		}
		return n
	}
	word := func(name, otherwise string) string {
		if v := env(name); v != "" {
			return v
		}
		return otherwise
	}
	f := flag.NewFlagSet("sandbox", flag.ContinueOnError)
	f.SetOutput(out)
	f.StringVar(&s.host, "host", env("HOST"), "address to listen at; empty: all (env HOST)")
	f.IntVar(&s.port, "port", int(number("PORT", 8080)), "port of MCP at /mcp, and of /healthz, /readyz and /metrics (env PORT)")
	f.StringVar(&s.datasetPath, "dataset", env("DATASET_GCS_PATH"), "the CSV, gs://<bucket>/<object>, or the folder whose CSVs are one table, gs://<bucket>/<folder>/; STORAGE_EMULATOR_HOST is honoured (env DATASET_GCS_PATH)")
	f.StringVar(&s.datasetName, "dataset-name", env("DATASET_NAME"), "how the dataset is called (env DATASET_NAME)")
	f.StringVar(&s.access.BillingProject, "billing-project", env("DATASET_BILLING_PROJECT"), "Google Cloud project that pays for reading the dataset from a bucket with requester pays (env DATASET_BILLING_PROJECT)")
	f.StringVar(&s.outputBucket, "output-bucket", env("OUTPUT_BUCKET"), "bucket that charts are uploaded to, below charts/; empty: none (env OUTPUT_BUCKET)")
	f.StringVar(&s.credentials, "credentials", env("GOOGLE_APPLICATION_CREDENTIALS"), "file of the credential, which code must not be able to read (env GOOGLE_APPLICATION_CREDENTIALS)")
	f.DurationVar(&s.timeout, "timeout", time.Duration(number("EXECUTION_TIMEOUT_SECONDS", 240))*time.Second, "how long one run may take (env EXECUTION_TIMEOUT_SECONDS)")
	f.DurationVar(&s.queue, "queue-timeout", time.Duration(number("QUEUE_TIMEOUT_SECONDS", 45))*time.Second, "how long a call waits for its turn, and for the dataset; with --timeout it should stay below the caller's own (env QUEUE_TIMEOUT_SECONDS)")
	f.StringVar(&s.python, "python", word("PYTHON", "/usr/bin/python3"), "interpreter that has pandas (env PYTHON)")
	f.Int64Var(&s.memoryMi, "memory-limit-mi", number("MEMORY_LIMIT_MI", 0), "memory that server and runs may take in MiB, where no control group says less; 0: half of the machine's (env MEMORY_LIMIT_MI)")
	f.StringVar(&s.tmp, "tmp", os.TempDir(), "folder that may be written, for the dataset and the runs' files (env TMPDIR)")
	f.StringVar(&s.chartImages, "chart-images", word("CHART_IMAGES", imagesAlways), "when a chart's picture is part of the answer, beside its link: always, unlinked (only where there is no link), never; some clients hand pictures to the model as text, which costs tokens (env CHART_IMAGES)")
	f.DurationVar(&s.linkExpiry, "chart-link-expiry", time.Duration(number("CHART_LINK_EXPIRY_SECONDS", 7*24*60*60))*time.Second, "how long a chart's link works, at most 7 days (env CHART_LINK_EXPIRY_SECONDS)")
	f.BoolVar(&s.allowMissing, "allow-missing-walls", env("ALLOW_MISSING_WALLS") == "true", "run code although a wall around it is missing on this node (env ALLOW_MISSING_WALLS)")
	f.BoolVar(&s.debug, "debug", env("DEBUG") == "true", "log more (env DEBUG)")
	f.Usage = func() {
		fmt.Fprintln(out, "Usage of sandbox. What is no flag, as a command line can be read by everybody on the node: env DATASET_ENCRYPTION_KEY, the key in Base64 of an object that its uploader encrypted.")
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return s, err
	}
	// No flag: a command line can be read by everybody on the node.
	key, err := gcsaccess.ParseKey(env("DATASET_ENCRYPTION_KEY"))
	if err != nil {
		errs = append(errs, fmt.Errorf("invalid value of DATASET_ENCRYPTION_KEY: %w", err))
	}
	s.access.Key = key
	errs = append(errs, s.check(f.Args())...)
	for _, err := range errs {
		fmt.Fprintln(out, err)
	}
	return s, errors.Join(errs...)
}

func (s settings) check(rest []string) []error {
	var errs []error
	must := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	must(len(rest) == 0, "unexpected arguments %q: flags start with --", rest)
	if _, _, err := parsePath(s.datasetPath); err != nil {
		errs = append(errs, fmt.Errorf("%w (flag --dataset, env DATASET_GCS_PATH)", err))
	}
	must(s.port >= 0 && s.port <= 65535, "invalid value %d for flag --port: it must be from 0 to 65535", s.port)
	must(s.timeout >= time.Second && s.timeout <= time.Hour, "invalid value %s for flag --timeout (env EXECUTION_TIMEOUT_SECONDS): it must be from 1s to 1h", s.timeout)
	must(s.queue >= time.Second, "invalid value %s for flag --queue-timeout: it must be at least 1s", s.queue)
	must(s.memoryMi == 0 || s.memoryMi >= 256, "invalid value %d for flag --memory-limit-mi: it must be at least 256", s.memoryMi)
	must(s.linkExpiry > 0 && s.linkExpiry <= 7*24*time.Hour, "invalid value %s for flag --chart-link-expiry: it must be at most 168h", s.linkExpiry)
	must(s.chartImages == imagesAlways || s.chartImages == imagesUnlinked || s.chartImages == imagesNever, "invalid value %q for flag --chart-images: it must be always, unlinked or never", s.chartImages)
	return errs
}

func run(ctx context.Context, set settings, logs io.Writer) error {
	level := slog.LevelInfo
	if set.debug {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewJSONHandler(logs, &slog.HandlerOptions{Level: level}))
	budget := budgetOf("/", set.memoryMi*mebibyte)
	// Nobody of our own user may look into this process: /proc of a process that
	// can't be dumped is root's.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("cannot close the own memory to others: %w", err)
	}
	base, release, err := newBase(log, set.tmp)
	if err != nil {
		return err
	}
	defer release()
	s, err := newServer(ctx, log, set, base, budget)
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(set.host, strconv.Itoa(set.port)))
	if err != nil {
		return fmt.Errorf("cannot listen: %w", err)
	}
	log.Info("Starting", "version", version(), "address", listener.Addr().String(), "dataset", set.datasetPath, "timeout", set.timeout.String(),
		"memory-limit-mi", budget.Limit>>20, "memory-limit-from", budget.Source, "landlock-abi", s.runner.abi, "output-bucket", set.outputBucket)
	return s.serve(ctx, listener)
}

func newServer(ctx context.Context, log *slog.Logger, set settings, base string, budget memoryBudget) (*server, error) {
	r, err := newRunner(log, base, set.python, set.timeout, budget)
	if err != nil {
		return nil, err
	}
	clients, err := newBuckets(ctx, log, set.credentials)
	if err != nil {
		return nil, err
	}
	bucket, key, err := parsePath(set.datasetPath)
	if err != nil {
		return nil, err
	}
	s := &server{log: log, set: set, runner: r, slots: newSlots()}
	s.dataset = newDataset(ctx, log, &gcs{buckets: clients, bucket: bucket, key: key, access: set.access}, r.dataDir(), set.datasetPath, budget.Limit)
	s.charts = &gallery{log: log, bucket: set.outputBucket, expiry: set.linkExpiry, metrics: func() *metrics { return s.metrics }}
	if set.outputBucket != "" {
		s.charts.buckets = clients
	}
	return s, nil
}

// shutdownTimeout is how long runs may go on after SIGTERM; a kubelet gives 30 s.
const shutdownTimeout = 15 * time.Second

func (s *server) serve(ctx context.Context, listener net.Listener) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector())
	s.metrics = newMetrics(registry, s)
	mux := http.NewServeMux()
	mux.Handle("/mcp", s.mcp())
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/readyz", s.ready)
	h := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)}

	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var working sync.WaitGroup
	working.Go(func() { s.runner.keep(background) })
	working.Go(func() { reap(background) })
	working.Go(func() { s.dataset.keep(background) })
	working.Go(func() { s.tryWalls(background) })
	defer working.Wait()
	defer cancel()
	failed := make(chan error, 1)
	go func() { failed <- h.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("cannot serve: %w", err)
	case <-ctx.Done():
	}
	s.log.Info("Ending: runs may finish", "running", s.slots.taken.Load())
	late, stop := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer stop()
	if err := h.Shutdown(late); err != nil {
		s.log.Warn("Runs were cut off", "error", err)
		_ = h.Close() // what is cut off is cut off
	}
	return nil
}

// ready says whether code can be run.
func (s *server) ready(w http.ResponseWriter, _ *http.Request) {
	walls := s.walls.Load()
	f, problem := s.dataset.state()
	s.runner.mu.Lock()
	reason := s.runner.reason
	s.runner.mu.Unlock()
	var err error
	switch {
	case reason != nil:
		err = reason
	case walls == nil:
		err = errors.New("the walls are being tried")
	case walls.refusal(s.set.allowMissing) != nil:
		err = walls.refusal(s.set.allowMissing)
	case f == nil && problem != nil:
		err = problem
	case f == nil:
		err = errors.New("the dataset is being fetched")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

func version() string {
	if b, ok := debug.ReadBuildInfo(); ok {
		return b.Main.Version
	}
	return "unknown"
}
