package controlplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Command says how to run a process.
type Command struct {
	Name string // also the name of its log and pid files
	Path string
	Args []string
	Env  []string // replaces the environment; nil keeps PATH and HOME only
	Dir  string   // working folder; empty: the present one
	// Ready reports nil once the process does its work. It is called until it does.
	Ready func(context.Context) error
	// Within is how long Ready may take; zero means three minutes.
	Within time.Duration
	// Respawn starts the process again, after a second, when it ends by itself, as
	// a kubelet would. What Stop and Kill ended stays down.
	Respawn bool
}

// A Process is a program that runs, ran, or was killed, and can be run again.
type Process struct {
	Command

	dir  string
	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
	down bool // somebody wants it down
}

// Processes are what one stack has started, in that order.
type Processes struct {
	dir string
	mu  sync.Mutex
	all []*Process
}

// NewProcesses returns processes that keep logs and pids below a folder, which is made.
func NewProcesses(dir string) (*Processes, error) {
	for _, d := range []string{"logs", "pids"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return nil, err
		}
	}
	return &Processes{dir: dir}, nil
}

// Run starts a process and waits until it is ready.
func (ps *Processes) Run(ctx context.Context, c Command) (*Process, error) {
	p := &Process{Command: c, dir: ps.dir}
	ps.mu.Lock()
	for _, o := range ps.all {
		if o.Name == c.Name {
			ps.mu.Unlock()
			return nil, fmt.Errorf("cannot start %s: a process of that name was started before; restart that one", c.Name)
		}
	}
	ps.all = append(ps.all, p)
	ps.mu.Unlock()
	return p, p.Start(ctx)
}

// Process returns the process of that name, or nil.
func (ps *Processes) Process(name string) *Process {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, p := range ps.all {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// AllProcesses returns all processes in the order of their start.
func (ps *Processes) AllProcesses() []*Process {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return append([]*Process(nil), ps.all...)
}

// grace is how long a process may take to end before it is killed. The API
// server otherwise waits a minute for the watches of clients.
const grace = 5 * time.Second

// StopAll ends every process, the last started first.
func (ps *Processes) StopAll() {
	all := ps.AllProcesses()
	for _, p := range slices.Backward(all) {
		p.setDown(true)
		p.Signal(syscall.SIGCONT)
		p.Signal(syscall.SIGTERM)
	}
	deadline := time.Now().Add(grace)
	for _, p := range slices.Backward(all) {
		p.end(time.Until(deadline))
	}
}

// Start runs the process, after Stop or Kill again, and waits until it is ready.
func (p *Process) Start(ctx context.Context) error {
	if p.Alive() {
		return fmt.Errorf("cannot start %s: it runs", p.Name)
	}
	p.setDown(false)
	if err := p.spawn(); err != nil {
		return err
	}
	if p.Ready == nil {
		return nil
	}
	within := p.Within
	if within == 0 {
		within = patience
	}
	return Eventually(ctx, within, p.Name+" to become ready", func(ctx context.Context) error {
		if !p.Alive() && !p.Respawn {
			return Never(fmt.Errorf("%s ended; its log %s says:\n%s", p.Name, p.LogFile(), p.LogTail(20)))
		}
		return p.Ready(ctx)
	})
}

func (p *Process) setDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

// spawn runs the program once.
func (p *Process) spawn() error {
	log, err := os.OpenFile(p.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // the process has its own descriptor
	cmd := exec.Command(p.Path, p.Args...)
	cmd.Env = p.Env
	if cmd.Env == nil {
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
	}
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, p.Dir
	if err := start(cmd); err != nil {
		return fmt.Errorf("cannot start %s: %w", p.Name, err)
	}
	done := make(chan struct{})
	p.mu.Lock()
	p.cmd, p.done = cmd, done
	p.mu.Unlock()
	go func() {
		// How it ended is in ProcessState, and why in its log.
		_ = cmd.Wait()
		close(done)
		if p.Respawn {
			time.Sleep(time.Second)
			p.respawn(cmd)
		}
	}()
	return os.WriteFile(filepath.Join(p.dir, "pids", p.Name), fmt.Appendf(nil, "%d %s\n", cmd.Process.Pid, StartTime(cmd.Process.Pid)), 0o600)
}

// respawn runs the program again if nobody else did or wants it down.
func (p *Process) respawn(ended *exec.Cmd) {
	p.mu.Lock()
	wanted := !p.down && p.cmd == ended
	p.mu.Unlock()
	if !wanted {
		return
	}
	if err := p.spawn(); err != nil {
		fmt.Fprintf(os.Stderr, "cannot start %s again: %v\n", p.Name, err)
	}
}

// Alive says whether the process runs.
func (p *Process) Alive() bool {
	p.mu.Lock()
	done := p.done
	p.mu.Unlock()
	if done == nil {
		return false
	}
	select {
	case <-done:
		return false
	default:
		return true
	}
}

// Signal sends a signal to a running process. SIGSTOP pauses it, SIGCONT lets it run on.
func (p *Process) Signal(sig syscall.Signal) {
	if p.Alive() {
		_ = p.cmd.Process.Signal(sig) // it may have ended meanwhile, which is no failure
	}
}

// PID is the process id, 0 when it never ran.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Kill ends the process as a crash would.
func (p *Process) Kill() {
	p.setDown(true)
	p.end(0)
}

// Crash ends the process as a crash would, and leaves it to be started again by
// itself, if it is one that is.
func (p *Process) Crash() { p.Signal(syscall.SIGKILL) }

// Stop asks the process to end, and kills it when it does not.
func (p *Process) Stop() {
	p.setDown(true)
	p.Signal(syscall.SIGCONT)
	p.Signal(syscall.SIGTERM)
	p.end(grace)
}

// Restart stops the process and starts it.
func (p *Process) Restart(ctx context.Context) error {
	p.Stop()
	return p.Start(ctx)
}

func (p *Process) end(wait time.Duration) {
	p.mu.Lock()
	done := p.done
	p.mu.Unlock()
	if done == nil {
		return
	}
	if wait > 0 {
		select {
		case <-done:
		case <-time.After(wait):
		}
	}
	p.Signal(syscall.SIGKILL)
	<-done
	_ = os.Remove(filepath.Join(p.dir, "pids", p.Name)) // a stale file is harmless: the start time in it no longer matches
}

// LogFile is where the process writes what it has to say.
func (p *Process) LogFile() string { return filepath.Join(p.dir, "logs", p.Name+".log") }

// LogTail returns the last n lines of the log.
func (p *Process) LogTail(n int) string {
	b, err := os.ReadFile(p.LogFile())
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimRight(b, "\n"), []byte("\n"))
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return string(bytes.Join(lines, []byte("\n")))
}

// starter is a thread that lives as long as this process. A child can be told
// to die with its parent, but the kernel takes the parent's thread for the
// parent, and Go ends threads as it likes.
var starter = sync.OnceValue(func() chan func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

func start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	err := make(chan error)
	starter() <- func() { err <- cmd.Start() }
	return <-err
}

// StartTime is when the kernel started a process, in its own units: with the
// pid it names a process for good, as a pid alone does not. It is empty for a
// process that ended.
func StartTime(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// Field 22, counted behind the command, which is in brackets and may hold spaces.
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 20 || f[0] == "Z" { // ended, and nobody has asked how
		return ""
	}
	return f[19]
}

// errNever in the chain of an error that Eventually gets makes it give up at once.
var errNever = errors.New("")

// Never wraps an error that waiting can't heal.
func Never(err error) error { return fmt.Errorf("%w%w", errNever, err) }

// Eventually calls f until it returns nil. After the given time, or on an error
// wrapped by Never, it returns the last error, and what it waited for.
func Eventually(ctx context.Context, within time.Duration, what string, f func(context.Context) error) error {
	deadline, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	pause := 20 * time.Millisecond
	var last error
	for {
		err := f(deadline)
		if err == nil {
			return nil
		}
		if deadline.Err() != nil && last != nil {
			err = last // that time ran out within a look is not what was seen
		}
		last = err
		if errors.Is(err, errNever) {
			return fmt.Errorf("cannot wait for %s: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("interrupted while waiting for %s: %w", what, err)
		case <-deadline.Done():
			return fmt.Errorf("gave up after %s waiting for %s: %w", within, what, err)
		case <-time.After(pause):
		}
		pause = min(pause*3/2, 250*time.Millisecond)
	}
}

// FreePort returns a loopback port that was free a moment ago.
func FreePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("cannot find a free loopback port: %w", err)
	}
	defer l.Close() //nolint:errcheck // nothing was written to it
	a, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return 0, fmt.Errorf("cannot read the port of %s", l.Addr())
	}
	return a.Port, nil
}

// Listening is the readiness of whatever listens at a TCP address.
func Listening(address string) func(context.Context) error {
	return func(ctx context.Context) error {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return c.Close()
	}
}
