package main

import (
	"bytes"
	"context"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"whisperops.io/functions/internal/errors"
	"whisperops.io/functions/test/crossplane"
)

// Annotations by which the CLI finds a function that it doesn't run itself.
const (
	runtimeAnnotation = "render.crossplane.io/runtime"
	targetAnnotation  = "render.crossplane.io/runtime-development-target"
)

// startTimeout is how long a function may take until it listens; one of ours
// takes a tenth of a second.
const startTimeout = 30 * time.Second

// standIns are the programs that take the place of a function whose image can't
// be had everywhere, with what each is told beside its address.
var standIns = map[string][]string{
	autoReady:                      {"autoready"},
	"function-go-templating":       {"steps", "--as=function-go-templating"},
	"function-sequencer":           {"steps", "--as=function-sequencer"},
	"function-deletion-protection": {"steps", "--as=function-deletion-protection"},
}

// autoReady may be the real program: the environment's AUTO_READY names it.
const autoReady = "function-auto-ready"

// readFunctions returns the addresses of a functions.yaml by function.
func readFunctions(file string) (map[string]string, error) {
	docs, err := crossplane.ReadDocuments(file)
	if err != nil {
		return nil, errors.Wrap(err, "cannot read functions")
	}
	out := map[string]string{}
	for _, d := range docs {
		meta, _ := d["metadata"].(map[string]any)
		name, _ := meta["name"].(string)
		address := crossplane.Annotation(d, targetAnnotation)
		if name == "" || address == "" || crossplane.Annotation(d, runtimeAnnotation) != "Development" {
			return nil, errors.Errorf("cannot use Function %q of %s: it needs the annotations %s: Development and %s: <host>:<port>", name, file, runtimeAnnotation, targetAnnotation)
		}
		for other, a := range out {
			if a == address {
				return nil, errors.Errorf("cannot use %s: %s and %s have the same address %s", file, other, name, a)
			}
		}
		out[name] = address
	}
	if len(out) == 0 {
		return nil, errors.Errorf("cannot use %s: it names no Function", file)
	}
	return out, nil
}

// checkFree says which addresses are taken. A function that could not listen
// there would leave the CLI talking to a stranger.
func checkFree(functions map[string]string, file string) error {
	var taken []string
	for _, name := range slices.Sorted(maps.Keys(functions)) {
		l, err := net.Listen("tcp", functions[name])
		if err != nil {
			taken = append(taken, errors.Wrap(err, name).Error())
			continue
		}
		if err := l.Close(); err != nil {
			return errors.Wrap(err, "cannot give back an address")
		}
	}
	if len(taken) == 0 {
		return nil
	}
	return errors.Errorf("cannot serve the functions at the addresses in %s:\n  %s\nAnother make render or make render-serve may be running; otherwise change the addresses there", file, strings.Join(taken, "\n  "))
}

// A server is a function's running process.
type server struct {
	name    string
	address string
	cmd     *exec.Cmd
	log     bytes.Buffer  // what it wrote; to be read after ended
	ended   chan struct{} // closed when the process is gone
}

// serve starts the program of every function at its address, and returns when
// all of them listen. Their logs go to a file, or if there is none they are kept.
func serve(ctx context.Context, g *guard, functions map[string]string, bin string, logs *os.File) ([]*server, error) {
	servers := make([]*server, 0, len(functions))
	for _, name := range slices.Sorted(maps.Keys(functions)) {
		s, err := start(g, name, functions[name], bin, logs)
		if err != nil {
			return servers, err
		}
		servers = append(servers, s)
	}
	errs := make([]error, len(servers))
	var wg sync.WaitGroup
	for i, s := range servers {
		wg.Go(func() { errs[i] = s.listening(ctx) })
	}
	wg.Wait()
	return servers, errors.Join(errs...)
}

func start(g *guard, name, address, bin string, logs *os.File) (*server, error) {
	program := []string{name}
	if p, ok := standIns[name]; ok {
		program = p
	}
	s := &server{name: name, address: address, ended: make(chan struct{})}
	path, args := filepath.Join(bin, program[0]), []string{"--insecure", "--address", address, "--metrics-address", ""}
	if theirs := os.Getenv("AUTO_READY"); name == autoReady && theirs != "" {
		path, args = theirs, args[:3] // it serves no metrics, and knows no flag for them
	}
	s.cmd = exec.Command(path, append(args, program[1:]...)...)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if logs != nil {
		s.cmd.Stdout, s.cmd.Stderr = logs, logs
	}
	g.watch(s.cmd)
	if err := s.cmd.Start(); err != nil {
		return nil, errors.Wrapf(err, "cannot start %s", name)
	}
	go func() {
		_ = s.cmd.Wait() // it is killed at the end; before that, listening tells
		close(s.ended)
	}()
	return s, nil
}

// listening returns when the function takes connections.
func (s *server) listening(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-s.ended:
			return errors.Errorf("%s ended instead of serving %s: %s", s.name, s.address, strings.TrimSpace(s.log.String()))
		case <-ctx.Done():
			return errors.Wrapf(ctx.Err(), "%s does not listen at %s", s.name, s.address)
		case <-tick.C:
		}
	}
}

// alive says which function has ended, if one has: the CLI would wait for it in
// vain.
func alive(servers []*server) error {
	for _, s := range servers {
		select {
		case <-s.ended:
			return errors.Errorf("%s has ended: %s", s.name, strings.TrimSpace(s.log.String()))
		default:
		}
	}
	return nil
}

// executable says early that a program isn't there.
func executable(what, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return errors.Wrapf(err, "cannot use %s", what)
	}
	if info.IsDir() || info.Mode()&0o111 == 0 {
		return errors.Errorf("cannot use %s: %s is not a program", what, path)
	}
	return nil
}
