package sandbox

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

//go:embed zygote.py
var zygoteSource string

// startTimeout is how long an interpreter may take to import pandas; a busy node
// with a cold disk was seen to need most of a minute.
const startTimeout = 3 * time.Minute

// childFiles is how many files a run may have open.
const childFiles = 256

// An interpreter is the Python process that waits, and what it has forked.
type interpreter struct {
	versions map[string]string // of Python and libraries, once ready
	pid      int
	size     int64 // bytes of address space, before any run
	resident int64 // bytes of memory that it takes

	conn *net.UnixConn
	cmd  *exec.Cmd
	said *tail
	gone chan struct{} // closed when it has ended

	mu   sync.Mutex
	runs map[int64]*process
	last int64
}

// A process is one run.
type process struct {
	started chan int    // its pid, once
	ended   chan exited // how it ended, once
	pid     int         // 0 before it has started
	done    bool        // it has been waited for: its pid may be somebody else's
}

type exited struct {
	status syscall.WaitStatus
	maxRSS int64 // bytes
	cpu    time.Duration
	lost   bool // with its interpreter
}

// A request is what zygote.py needs for one run.
type request struct {
	ID       int64             `json:"id"`
	Dir      string            `json:"dir"`
	Env      map[string]string `json:"env"`
	Limits   limits            `json:"limits"`
	Landlock *landlockPlan     `json:"landlock"`
	Seccomp  string            `json:"seccomp"`
	Guard    *guard            `json:"guard"`
}

type limits struct {
	Files        int   `json:"files"`
	FileBytes    int64 `json:"fileBytes"`
	CPUSeconds   int64 `json:"cpuSeconds"`
	AddressSpace int64 `json:"addressSpace"`
}

// startInterpreter returns when pandas is imported.
func startInterpreter(ctx context.Context, log *slog.Logger, l launch, dir string) (_ *interpreter, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot make a socket: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "control"), os.NewFile(uintptr(pair[1]), "control")
	defer theirs.Close() //nolint:errcheck // it lives on in the child
	conn, err := net.FileConn(ours)
	_ = ours.Close() // conn has its own copy
	if err != nil {
		return nil, fmt.Errorf("cannot use a socket: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("cannot find the own binary: %w", err)
	}
	argument, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	i := &interpreter{conn: conn.(*net.UnixConn), said: &tail{limit: 4096}, gone: make(chan struct{}), runs: map[int64]*process{}} //nolint:forcetypeassert // a Unix socket
	cmd := exec.Command(self, launchArgument, string(argument))                                                                    //nolint:gosec,noctx // ourselves; it ends with the server
	cmd.Dir, cmd.Env, cmd.ExtraFiles = dir, []string{}, []*os.File{theirs}
	cmd.Stdout, cmd.Stderr = i.said, i.said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		_ = i.conn.Close()
		return nil, fmt.Errorf("cannot start %s: %w", self, err)
	}
	i.cmd, i.pid = cmd, cmd.Process.Pid
	go i.wait(log)
	defer func() {
		if err != nil {
			i.stop()
		}
	}()
	if err := i.awaitReady(ctx); err != nil {
		return nil, err
	}
	i.size, i.resident = memoryOf(i.pid)
	go i.listen()
	return i, nil
}

// awaitReady reads the first message.
func (i *interpreter) awaitReady(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = i.conn.SetReadDeadline(time.Now()) })
	defer stop()
	_ = i.conn.SetReadDeadline(time.Now().Add(startTimeout)) // a socket that refuses this refuses the read too
	buffer := make([]byte, 1<<16)
	n, err := i.conn.Read(buffer)
	if err != nil || n == 0 {
		select {
		case <-i.gone:
		case <-time.After(time.Second):
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("cannot start the interpreter: it ended before it was ready: %s", strings.TrimSpace(i.said.String()))
	}
	var first struct {
		Ready  map[string]string `json:"ready"`
		Failed string            `json:"failed"`
	}
	if err := json.Unmarshal(buffer[:n], &first); err != nil {
		return fmt.Errorf("cannot understand the interpreter: %w", err)
	}
	if first.Failed != "" {
		return fmt.Errorf("cannot import what code needs: %s; install Debian's python3-pandas and python3-matplotlib, or set PYTHON to an interpreter that has pandas", first.Failed)
	}
	i.versions = first.Ready
	return i.conn.SetReadDeadline(time.Time{})
}

// wait reaps the interpreter. What it had forked has ended with it.
func (i *interpreter) wait(log *slog.Logger) {
	err := i.cmd.Wait()
	_ = i.conn.Close()
	i.mu.Lock()
	for id, p := range i.runs {
		p.done = true
		p.ended <- exited{lost: true}
		delete(i.runs, id)
	}
	close(i.gone)
	i.mu.Unlock()
	log.Debug("Interpreter ended", "pid", i.pid, "error", err, "said", i.said.String())
}

func (i *interpreter) listen() {
	buffer := make([]byte, 1<<16)
	for {
		n, err := i.conn.Read(buffer)
		if err != nil || n == 0 {
			i.stop()
			return
		}
		var m struct {
			ID     int64   `json:"id"`
			PID    int     `json:"pid"`
			Status *uint32 `json:"status"`
			MaxRSS int64   `json:"maxrss"`
			CPU    float64 `json:"cpu"`
		}
		if err := json.Unmarshal(bytes.TrimSpace(buffer[:n]), &m); err != nil {
			i.stop()
			return
		}
		i.mu.Lock()
		if p := i.runs[m.ID]; p != nil {
			if m.PID != 0 {
				p.pid = m.PID
				p.started <- m.PID
			}
			if m.Status != nil {
				p.done = true
				p.ended <- exited{status: syscall.WaitStatus(*m.Status), maxRSS: m.MaxRSS << 10, cpu: time.Duration(m.CPU * float64(time.Second))}
				delete(i.runs, m.ID)
			}
		}
		i.mu.Unlock()
	}
}

// fork begins a run. The two files are its output, and closed here.
func (i *interpreter) fork(r request, out, errs *os.File) (*process, error) {
	defer out.Close()  //nolint:errcheck // the run has its own
	defer errs.Close() //nolint:errcheck // the run has its own
	p := &process{started: make(chan int, 1), ended: make(chan exited, 1)}
	i.mu.Lock()
	defer i.mu.Unlock()
	select {
	case <-i.gone:
		return nil, errors.New("the interpreter has ended")
	default:
	}
	i.last++
	r.ID = i.last
	message, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	i.runs[r.ID] = p
	rights := unix.UnixRights(int(out.Fd()), int(errs.Fd()))
	_ = i.conn.SetWriteDeadline(time.Now().Add(forkTimeout)) // a socket that refuses this refuses the write too
	if _, _, err := i.conn.WriteMsgUnix(message, rights, nil); err != nil {
		delete(i.runs, r.ID)
		return nil, fmt.Errorf("cannot reach the interpreter: %w", err)
	}
	return p, nil
}

// forkTimeout is how long the interpreter may take to fork.
const forkTimeout = 20 * time.Second

// kill ends a run and whatever is in its process group.
func (i *interpreter) kill(p *process) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if p.pid > 0 && !p.done {
		_ = syscall.Kill(-p.pid, syscall.SIGKILL) // before setsid there is no such group
		_ = syscall.Kill(p.pid, syscall.SIGKILL)  // it has just ended: then nothing is left to do
	}
}

// stop ends the interpreter and with it every run.
func (i *interpreter) stop() { _ = syscall.Kill(i.pid, syscall.SIGKILL) }

// memoryOf returns a process' address space and resident memory in bytes.
func memoryOf(pid int) (size, resident int64) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "statm"))
	if err != nil {
		return 0, 0
	}
	var pages [2]int64
	if _, err := fmt.Sscan(string(b), &pages[0], &pages[1]); err != nil {
		return 0, 0
	}
	return pages[0] * int64(os.Getpagesize()), pages[1] * int64(os.Getpagesize())
}

// innerWalls are the walls of one run that may write dir and read the dataset.
func innerWalls(p paths, abi int) (plan *landlockPlan, filter string, err error) {
	program, err := innerFilter()
	if err != nil {
		return nil, "", err
	}
	return p.plan(abi), base64.StdEncoding.EncodeToString(raw(program)), nil
}
