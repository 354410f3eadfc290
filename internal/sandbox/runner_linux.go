package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// How a run ended.
type cause string

const (
	causeDone     cause = "done"     // exit status 0
	causeFailed   cause = "failed"   // an exception, or another exit status
	causeTimeout  cause = "timeout"  // the wall clock
	causeCPU      cause = "cpu"      // too much of the processors
	causeMemory   cause = "memory"   // the kernel ended it for memory
	causeOutput   cause = "output"   // printed too much
	causeDisk     cause = "disk"     // wrote too much
	causeSignal   cause = "signal"   // by another signal: a crash in native code
	causeCanceled cause = "canceled" // whoever asked is gone, or the server ends
	causeBroken   cause = "broken"   // our own doing: a wall or an interpreter failed
)

var causes = []cause{causeDone, causeFailed, causeTimeout, causeCPU, causeMemory, causeOutput, causeDisk, causeSignal, causeCanceled, causeBroken}

// An outcome is what is left of a run.
type outcome struct {
	Cause    cause
	Exit     int            // status, where it was an exit
	Signal   syscall.Signal // where it was a signal
	Stdout   *clip
	Stderr   *clip
	Wall     time.Duration
	CPU      time.Duration
	MaxRSS   int64 // bytes
	Charts   []chart
	LeftOver []string // files that were saved and are no charts, by name
}

// Bounds of one run.
const (
	outputLimit    = 16 << 20  // bytes on one stream; then the run is ended
	fileLimit      = 64 << 20  // bytes in one file
	filesLimit     = 256 << 20 // bytes in all files
	fileCountLimit = 4096

	stdoutHead, stdoutTail = 8 << 10, 6 << 10
	stderrHead, stderrTail = 1 << 10, 5 << 10
)

// A runner runs code, each time in a process of its own.
type runner struct {
	log    *slog.Logger
	base   string // folder of all that is written: data, runs, home
	python string
	user   int // that code runs as, where the server is root; else 0
	abi    int // of Landlock
	paths  paths

	timeout time.Duration
	budget  memoryBudget

	mu     sync.Mutex
	live   *interpreter  // nil while there is none
	ready  chan struct{} // closed while live is not nil
	reason error         // why there is none
	count  int64
}

func newRunner(log *slog.Logger, base, python string, timeout time.Duration, b memoryBudget) (*runner, error) {
	r := &runner{log: log, base: base, python: python, abi: landlockABI(), timeout: timeout, budget: b, ready: make(chan struct{}), reason: errors.New("the interpreter is starting")}
	if os.Geteuid() == 0 {
		r.user = nobody
	}
	for _, d := range []string{"data", "runs", "home"} {
		if err := os.MkdirAll(filepath.Join(base, d), 0o711); err != nil { //nolint:gosec // another user must be able to pass
			return nil, fmt.Errorf("cannot make the folder of %s: %w", d, err)
		}
	}
	if r.user != 0 {
		for _, d := range []string{"runs", "home"} {
			if err := os.Chown(filepath.Join(base, d), r.user, r.user); err != nil {
				return nil, fmt.Errorf("cannot hand a folder to user %d: %w", r.user, err)
			}
		}
	}
	return r, nil
}

// nobody is the user "nonroot" of the usual minimal images.
const nobody = 65532

// keep holds an interpreter ready until ctx ends.
func (r *runner) keep(ctx context.Context) {
	wait := time.Second
	for ctx.Err() == nil {
		i, err := r.start(ctx)
		if err != nil {
			r.mu.Lock()
			r.reason = err
			r.mu.Unlock()
			r.log.Error("Cannot start the interpreter", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
			wait = min(2*wait, 30*time.Second)
			continue
		}
		wait = time.Second
		r.mu.Lock()
		r.live, r.reason = i, nil
		close(r.ready)
		r.mu.Unlock()
		r.log.Info("Interpreter waits", "pid", i.pid, "versions", i.versions, "resident-mi", i.resident>>20)
		select {
		case <-i.gone:
			r.log.Warn("Interpreter is gone; starting another", "said", i.said.String())
		case <-ctx.Done():
			i.stop()
			<-i.gone
		}
		r.mu.Lock()
		r.live, r.ready, r.reason = nil, make(chan struct{}), errors.New("the interpreter is starting again")
		r.mu.Unlock()
	}
}

func (r *runner) start(ctx context.Context) (*interpreter, error) {
	p, err := r.interpreterPaths(ctx)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.paths = p
	r.mu.Unlock()
	home := filepath.Join(r.base, "home")
	return startInterpreter(ctx, r.log, launch{
		User:   r.user,
		Paths:  p.with([]string{filepath.Join(r.base, "data")}, []string{filepath.Join(r.base, "runs"), home}),
		Files:  childFiles,
		Python: r.python,
		Args:   []string{"-I", "-B", "-X", "utf8", "-c", zygoteSource},
		Env:    environ(r.environment(home)),
	}, "/")
}

// interpreterPaths asks the interpreter where it lives.
func (r *runner) interpreterPaths(ctx context.Context) (paths, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, r.python, "-I", "-S", "-c", "import sys; print(sys.prefix, sys.base_prefix, sys.exec_prefix, sep='\\n')") //nolint:gosec // whoever starts the server chooses the interpreter
	cmd.Env, cmd.Dir = []string{"LANG=C.UTF-8"}, "/"
	out, err := cmd.Output()
	if err != nil {
		return paths{}, fmt.Errorf("cannot run %s: %w; install Debian's python3-pandas and python3-matplotlib, or set PYTHON to an interpreter that has pandas", r.python, err)
	}
	own, err := pythonPaths(string(out))
	if err != nil {
		return paths{}, err
	}
	return system.with(own, nil), nil
}

// environment of Python, written from nothing: the server's own holds the path of
// the credentials, and whatever a platform adds.
func (r *runner) environment(home string) map[string]string {
	return map[string]string{
		"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": "UTC",
		"HOME": home, "TMPDIR": home, "MPLCONFIGDIR": home, "XDG_CACHE_HOME": home, "MPLBACKEND": "Agg",
		// One thread each: another would cost 135 MiB of address space, and a
		// process that has threads can't be forked safely.
		"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMEXPR_MAX_THREADS": "1", "ARROW_NUM_THREADS": "1",
	}
}

func environ(m map[string]string) []string {
	env := make([]string, 0, len(m))
	for k, v := range m {
		env = append(env, k+"="+v)
	}
	return env
}

// interpreter waits until one is ready.
func (r *runner) interpreter(ctx context.Context) (*interpreter, error) {
	for {
		r.mu.Lock()
		i, ready, reason := r.live, r.ready, r.reason
		r.mu.Unlock()
		if i != nil {
			return i, nil
		}
		select {
		case <-ready:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w (%w)", reason, context.Cause(ctx))
		}
	}
}

// A job is what to run, and with what.
type job struct {
	Code    string
	Env     map[string]string // added to the interpreter's
	Guard   *guard
	Memory  int64 // bytes that the run may take beyond the waiting interpreter's
	Timeout time.Duration
}

// run runs a job. An error means that it didn't begin.
func (r *runner) run(ctx context.Context, j job) (_ outcome, err error) {
	i, err := r.interpreter(ctx)
	if err != nil {
		return outcome{}, err
	}
	dir, err := r.folder(j.Code)
	if err != nil {
		return outcome{}, err
	}
	defer func() {
		if e := removeAll(dir); e != nil {
			r.log.Error("Cannot remove the folder of a run", "folder", dir, "error", e)
		}
	}()
	env := r.environment(dir)
	maps.Copy(env, j.Env)
	r.mu.Lock()
	allowed := r.paths.with([]string{filepath.Join(r.base, "data")}, []string{dir})
	r.mu.Unlock()
	plan, filter, err := innerWalls(allowed, r.abi)
	if err != nil {
		return outcome{}, err
	}
	req := request{
		Dir: dir, Env: env, Landlock: plan, Seccomp: filter, Guard: j.Guard,
		Limits: limits{Files: childFiles, FileBytes: fileLimit, CPUSeconds: int64(j.Timeout/time.Second) + 1, AddressSpace: i.size + j.Memory},
	}
	o := r.watch(ctx, i, req, j.Timeout)
	if o.Cause != causeBroken && o.Cause != causeCanceled {
		o.Charts, o.LeftOver = collect(dir)
	}
	return o, nil
}

// folder makes the folder of a run with its code in it.
func (r *runner) folder(code string) (string, error) {
	r.mu.Lock()
	r.count++
	dir := filepath.Join(r.base, "runs", strconv.FormatInt(r.count, 10))
	r.mu.Unlock()
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("cannot make the folder of a run: %w", err)
	}
	file := filepath.Join(dir, "main.py")
	err := os.WriteFile(file, []byte(code), 0o600)
	if err == nil && r.user != 0 {
		err = errors.Join(os.Chown(file, r.user, r.user), os.Chown(dir, r.user, r.user))
	}
	if err != nil {
		return "", fmt.Errorf("cannot write the code of a run: %w", err)
	}
	return dir, nil
}

// watch begins a run and ends it when it passes a bound.
func (r *runner) watch(ctx context.Context, i *interpreter, req request, timeout time.Duration) outcome {
	o := outcome{Stdout: newClip(stdoutHead, stdoutTail), Stderr: newClip(stderrHead, stderrTail)}
	began := time.Now()
	outR, outW, err := os.Pipe()
	if err != nil {
		return broken(o, fmt.Errorf("cannot make a pipe: %w", err))
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		_ = errors.Join(outR.Close(), outW.Close()) // nothing was written
		return broken(o, fmt.Errorf("cannot make a pipe: %w", err))
	}
	var end sync.Once
	why := causeDone
	var p *process
	stop := func(c cause) {
		end.Do(func() {
			why = c
			i.kill(p)
		})
	}
	kills := oomKills()
	p, err = i.fork(req, outW, errW)
	if err != nil {
		_ = errors.Join(outR.Close(), errR.Close()) // nothing was written
		return broken(o, err)
	}
	var pouring sync.WaitGroup
	for c, f := range map[*clip]*os.File{o.Stdout: outR, o.Stderr: errR} {
		pouring.Go(func() { pour(c, f, outputLimit, func() { stop(causeOutput) }) })
	}
	end2 := r.await(ctx, i, p, req.Dir, timeout, stop)
	o.Wall = time.Since(began)
	// What wrote is gone; a descriptor that somebody still held would keep us here.
	late := time.Now().Add(2 * time.Second)
	_ = errors.Join(outR.SetReadDeadline(late), errR.SetReadDeadline(late)) // pipes can
	pouring.Wait()
	_ = errors.Join(outR.Close(), errR.Close()) // they were read to the end
	end.Do(func() {})                           // from here on why is ours
	o.CPU, o.MaxRSS = end2.cpu, end2.maxRSS
	o.Cause, o.Exit, o.Signal = judge(why, end2, oomKills() > kills)
	return o
}

func broken(o outcome, err error) outcome {
	o.Cause = causeBroken
	_, _ = o.Stderr.Write([]byte(err.Error()))
	return o
}

// await returns when the run has ended, which it sees to.
func (r *runner) await(ctx context.Context, i *interpreter, p *process, dir string, timeout time.Duration, stop func(cause)) exited {
	fork := time.NewTimer(forkTimeout)
	defer fork.Stop()
	select {
	case <-p.started:
	case e := <-p.ended:
		return e
	case <-fork.C:
		r.log.Error("The interpreter does not answer; ending it")
		i.stop()
		return <-p.ended
	}
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	look := time.NewTicker(250 * time.Millisecond)
	defer look.Stop()
	killed := make(<-chan time.Time)
	end := func(c cause) {
		stop(c)
		killed = time.After(10 * time.Second)
	}
	done := ctx.Done()
	for {
		select {
		case e := <-p.ended:
			return e
		case <-deadline.C:
			end(causeTimeout)
		case <-done:
			end(causeCanceled)
			done = nil
		case <-look.C:
			if tooMuch(dir) {
				end(causeDisk)
			}
		case <-killed:
			r.log.Error("A run does not end; ending its interpreter", "pid", p.pid)
			i.stop()
			return <-p.ended
		}
	}
}

// judge says how a run ended.
func judge(why cause, e exited, oom bool) (cause, int, syscall.Signal) {
	s := e.status
	switch {
	case e.lost && why == causeDone:
		if oom {
			return causeMemory, 0, syscall.SIGKILL
		}
		return causeBroken, 0, 0
	case why != causeDone:
		return why, 0, syscall.SIGKILL
	case s.Exited() && s.ExitStatus() == 0:
		return causeDone, 0, 0
	case s.Exited() && s.ExitStatus() == setupFailed:
		return causeBroken, setupFailed, 0
	case s.Exited():
		return causeFailed, s.ExitStatus(), 0
	case s.Signal() == syscall.SIGXCPU:
		return causeCPU, 0, s.Signal()
	case s.Signal() == syscall.SIGKILL:
		// Nobody else may end it; past the CPU limit the kernel kills too, but then it
		// has asked with SIGXCPU a second before.
		return causeMemory, 0, s.Signal()
	default:
		return causeSignal, 0, s.Signal()
	}
}

// setupFailed is zygote.py's SETUP_FAILED.
const setupFailed = 125

// tooMuch says whether a run's files are more than it may have.
func tooMuch(dir string) bool {
	var bytes int64
	count := 0
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // it has just been removed, or hides itself: what can be seen counts
		}
		count++
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			if s, ok := info.Sys().(*syscall.Stat_t); ok {
				bytes += s.Blocks * 512
			}
		}
		if bytes > filesLimit || count > fileCountLimit {
			return fs.SkipAll
		}
		return nil
	})
	return err == nil && (bytes > filesLimit || count > fileCountLimit)
}

// removeAll removes a folder whose owner may have made parts of it unreadable.
func removeAll(dir string) error {
	err := os.RemoveAll(dir)
	for range 100 { // folders in folders
		if err == nil {
			return nil
		}
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, _ error) error { // what it can't do shows below
			if d != nil && d.IsDir() {
				_ = os.Chmod(path, 0o700) //nolint:gosec // a folder needs x
			}
			return nil
		})
		err = os.RemoveAll(dir)
	}
	return err
}

// removeStale removes what servers left in tmp that ended without a word: the
// folder outlives a container in its pod, and a dataset may be large.
func removeStale(log *slog.Logger, tmp string) {
	old, err := filepath.Glob(filepath.Join(tmp, basePrefix+"*"))
	if err != nil {
		return // a pattern of ours
	}
	for _, dir := range old {
		lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR, 0) //nolint:gosec // our own folder
		if err != nil {
			continue
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			log.Info("Removing what an earlier server left", "folder", dir, "error", removeAll(dir))
		}
		_ = lock.Close()
	}
}

const (
	basePrefix = "whisperops-sandbox-"
	lockFile   = "lock"
)

// newBase makes the folder of all that is written, and holds it until release.
func newBase(log *slog.Logger, tmp string) (base string, release func(), err error) {
	removeStale(log, tmp)
	base, err = os.MkdirTemp(tmp, basePrefix)
	if err != nil {
		return "", nil, fmt.Errorf("cannot make a folder to work in: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(base, lockFile), os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // our own folder
	if err == nil {
		err = errors.Join(syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB), os.Chmod(base, 0o711), //nolint:gosec // another user must be able to pass
			os.WriteFile(filepath.Join(base, canaryFile), []byte("nobody reads this\n"), 0o600))
	}
	if err != nil {
		return "", nil, fmt.Errorf("cannot make a folder to work in: %w", err)
	}
	return base, func() {
		if err := removeAll(base); err != nil {
			log.Error("Cannot remove the folder that was worked in", "folder", base, "error", err)
		}
		_ = lock.Close() // it is gone
	}, nil
}

// canaryFile is what the probe must not be able to read.
const canaryFile = "canary"

// oomKills counts the processes that the kernel ended in this container for
// memory. It is 0 where that can't be told.
func oomKills() int64 {
	for _, f := range []string{"/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"} {
		b, err := os.ReadFile(f) //nolint:gosec // of the kernel
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			if v, ok := strings.CutPrefix(line, "oom_kill "); ok {
				n, _ := strconv.ParseInt(strings.TrimSpace(v), 10, 64) // 0 where it is none
				return n
			}
		}
	}
	return 0
}

func (r *runner) dataDir() string { return filepath.Join(r.base, "data") }
