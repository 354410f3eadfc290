// Command render renders the stories of examples/ with the Crossplane CLI and
// its real engine: it serves the functions on this machine, shows what each
// order becomes, writes the YAML to files, and compares it with what the story
// wants. `make render` builds what it needs and runs it.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"sigs.k8s.io/yaml"

	"whisperops.io/functions/internal/errors"
	"whisperops.io/functions/test/examples"
)

// Exit codes: something differs from what is wanted, and nothing could be said.
const (
	exitDiffers = 1
	exitFailed  = 2
)

type options struct {
	root       string
	bin        string // folder of the functions' programs
	out        string // folder for what is rendered
	crossplane string // the CLI
	core       string // Crossplane itself, the CLI's engine
	example    string // the only story to render, or ""
	serve      bool   // serve the functions until stopped, and render nothing
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == guardArgument {
		keepGuard()
		return
	}
	var o options
	flag.StringVar(&o.root, "root", ".", "folder of the repository")
	flag.StringVar(&o.bin, "bin", "_output/bin", "folder of the functions' programs")
	flag.StringVar(&o.out, "out", "_output/render", "folder for what is rendered")
	flag.StringVar(&o.crossplane, "crossplane", "", "the Crossplane CLI, v2.5 or later")
	flag.StringVar(&o.core, "core", "", "the crossplane binary, v2.4 or later, that the CLI renders with")
	flag.StringVar(&o.example, "example", "", "the only story to render")
	flag.BoolVar(&o.serve, "serve", false, "serve the functions until stopped, for rendering by hand")
	flag.Parse()

	// Stopped by a signal, this program ends what it started before it goes.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	code, err := run(ctx, o, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "render:", err)
	}
	os.Exit(code)
}

func run(ctx context.Context, o options, out io.Writer) (code int, err error) {
	stories, err := selected(o)
	if err != nil {
		return exitFailed, err
	}
	file := filepath.Join(o.root, "examples", "functions.yaml")
	functions, err := readFunctions(file)
	if err != nil {
		return exitFailed, err
	}
	if err := checkFree(functions, file); err != nil {
		return exitFailed, err
	}
	g, err := startGuard()
	if err != nil {
		return exitFailed, err
	}
	defer g.end()
	var logs *os.File
	st := &stage{}
	if o.serve {
		logs = os.Stderr
	} else if st, err = play(functions); err != nil {
		return exitFailed, err
	}
	servers, err := serve(ctx, g, functions, o.bin, logs)
	if err != nil {
		return exitFailed, err
	}
	if o.serve {
		return waitServing(ctx, servers, file, out)
	}

	var failed []string
	for _, s := range stories {
		if err := alive(servers); err != nil {
			return exitFailed, err
		}
		ok, err := renderStory(ctx, o, g, st, s, out)
		if ctx.Err() != nil {
			return exitFailed, errors.New("stopped")
		}
		if err != nil {
			return exitFailed, errors.Wrapf(err, "cannot render %s", s.Name)
		}
		if !ok {
			failed = append(failed, s.Name)
		}
	}
	if len(failed) > 0 {
		return exitDiffers, errors.Errorf("%d of %d stories came out differently: %s", len(failed), len(stories), strings.Join(failed, ", "))
	}
	fmt.Fprintf(out, "Stories rendered: %d, all as wanted\n", len(stories))
	return 0, nil
}

// selected returns the stories to render.
func selected(o options) ([]*examples.Story, error) {
	if o.serve {
		return nil, nil
	}
	if err := executable("the Crossplane CLI", o.crossplane); err != nil {
		return nil, err
	}
	if err := executable("the crossplane binary", o.core); err != nil {
		return nil, err
	}
	all, err := examples.All(filepath.Join(o.root, "examples"))
	if err != nil {
		return nil, err
	}
	if o.example == "" {
		return all, nil
	}
	var names []string
	for _, s := range all {
		if s.Name == o.example {
			return []*examples.Story{s}, nil
		}
		names = append(names, s.Name)
	}
	return nil, errors.Errorf("there is no story %q; there are: %s", o.example, strings.Join(names, ", "))
}

// waitServing serves until a signal comes or a function ends.
func waitServing(ctx context.Context, servers []*server, file string, out io.Writer) (int, error) {
	for _, s := range servers {
		fmt.Fprintf(out, "%s\t%s\n", s.address, s.name)
	}
	fmt.Fprintf(out, "Serving the functions of %s until stopped (Ctrl-C).\n", file)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return 0, nil
		case <-tick.C:
			if err := alive(servers); err != nil {
				return exitFailed, err
			}
		}
	}
}

// renderStory renders, shows and writes one story. It returns whether what came
// out is what the story wants.
func renderStory(ctx context.Context, o options, g *guard, st *stage, s *examples.Story, out io.Writer) (bool, error) {
	dir := filepath.Join(o.out, s.Name)
	if err := os.RemoveAll(dir); err != nil {
		return false, errors.Wrap(err, "cannot clear the last rendering")
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return false, errors.Wrap(err, "cannot make a folder for the rendering")
	}
	fmt.Fprintf(out, "\n=== %s: %s %s\n", s.Name, s.Kind(), s.XRName())
	composition, err := prepare(o, st, s, dir, out)
	if err != nil {
		return false, err
	}
	r, err := callCLI(ctx, o, g, s, composition, out)
	if err != nil {
		return false, err
	}
	show(out, s, r)
	if err := write(dir, s, r); err != nil {
		return false, err
	}
	fmt.Fprintf(out, "YAML: %s\n", dir)
	refused, err := s.Refused(o.root, r)
	if err != nil {
		return false, err
	}
	if len(refused) > 0 {
		fmt.Fprintf(out, "REFUSED: the API server would not take this status, and Crossplane write no condition, no Ready and no Synced:\n  %s\n", strings.Join(refused, "\n  "))
		return false, nil
	}
	return compare(s, r, out)
}

// prepare lets the stage play the story, and returns the file of the Composition
// to render it with: a copy in dir if the story sets inputs.
func prepare(o options, st *stage, s *examples.Story, dir string, out io.Writer) (string, error) {
	st.playing.Store(s.Prometheus)
	if s.Prometheus != nil {
		fmt.Fprintf(out, "The story plays at %s: fetch-spend and decide have that clock, and Prometheus answers at %s what %s holds.\n",
			s.Prometheus.Now.Format(time.RFC3339), st.url, filepath.Join(s.Dir, "prometheus.yaml"))
	}
	original := s.Composition(o.root)
	text, changed, err := s.WithInputs(original)
	if err != nil || !changed {
		return original, err
	}
	file := filepath.Join(dir, "composition.yaml")
	fmt.Fprintf(out, "%s is copied to %s, with the story's inputs.\n", original, file)
	return file, errors.Wrap(os.WriteFile(file, text, 0o600), "cannot write Composition")
}

// callCLI renders a story with the Crossplane CLI.
func callCLI(ctx context.Context, o options, g *guard, s *examples.Story, composition string, out io.Writer) (*examples.Rendering, error) {
	args := []string{
		"composition", "render", filepath.Join(s.Dir, "xr.yaml"), composition, filepath.Join(o.root, "examples", "functions.yaml"),
		"--crossplane-binary=" + o.core, "--xrd=" + s.XRD(o.root), "--include-function-results", "--include-context", "--timeout=30s",
	}
	if len(s.Observed) > 0 {
		args = append(args, "--observed-resources="+filepath.Join(s.Dir, "observed.yaml"))
	}
	if len(s.Required) > 0 {
		args = append(args, "--required-resources="+filepath.Join(s.Dir, "required.yaml"))
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, o.crossplane, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second // once stopped, what the CLI started may still hold its output; the guard ends that
	g.watch(cmd)
	fmt.Fprintf(out, "$ crossplane %s\n\n", strings.Join(args, " "))
	err := cmd.Run()
	return examples.FromCLI(stdout.Bytes(), stderr.Bytes(), err != nil)
}

// compare says whether what came out is what the story wants.
func compare(s *examples.Story, r *examples.Rendering, out io.Writer) (bool, error) {
	if lost := s.Lost(r); len(lost) > 0 {
		fmt.Fprintf(out, "LOST: this would delete %s\n", strings.Join(lost, ", "))
		return false, nil
	}
	want := s.Want
	if r.Fatal != "" {
		// The CLI prints no conditions then; the test in process compares them.
		want.Conditions = nil
	}
	diff, err := examples.Diff(want, r.Outcome(want.Shows))
	if err != nil {
		return false, err
	}
	file := filepath.Join(s.Dir, "want.yaml")
	if diff != "" {
		fmt.Fprintf(out, "DIFFERS from %s (-want +got; make examples-update accepts it):\n%s\n", file, diff)
		return false, nil
	}
	fmt.Fprintf(out, "As wanted in %s\n", file)
	return true, nil
}

// write writes a rendering, one file for the XR, each part, and what else came
// out.
func write(dir string, s *examples.Story, r *examples.Rendering) error {
	if r.Fatal != "" {
		return nil
	}
	xr := maps.Clone(s.XR)
	xr["status"] = r.XR["status"] // instead of the order's own, which the run replaces
	files := map[string]any{"xr": xr, "context": r.Context}
	for name, p := range r.Parts {
		files[name] = p
	}
	if len(r.Events) > 0 {
		files["events"] = r.Events
	}
	for name, content := range files {
		y, err := yaml.Marshal(content)
		if err != nil {
			return errors.Wrapf(err, "cannot write %s", name)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".yaml"), y, 0o600); err != nil {
			return errors.Wrapf(err, "cannot write %s", name)
		}
	}
	return nil
}
