package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// launchArgument makes this binary the launcher instead of the server.
const launchArgument = "launch-interpreter"

// A launch is what the launcher does: it is its second argument, as JSON.
type launch struct {
	User   int      `json:"user"` // to become, and its group; 0: stay who we are
	Paths  paths    `json:"paths"`
	Files  uint64   `json:"files"` // descriptors
	Python string   `json:"python"`
	Args   []string `json:"args"`
	Env    []string `json:"env"`
}

// launchMain puts up the outer walls and becomes Python. It returns only on an
// error. A wall that the kernel doesn't have is no error here: the server tries all
// of them afterwards, from the inside, and decides then.
func launchMain(argument string) error {
	runtime.LockOSThread() // walls are put around threads; this one becomes Python
	var l launch
	if err := json.Unmarshal([]byte(argument), &l); err != nil {
		return fmt.Errorf("cannot read what to launch: %w", err)
	}
	// If memory runs out in spite of all, Python goes first. Anybody may raise this.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("800"), 0) // kernels without it have nothing to say
	none := unix.Rlimit{}
	files := unix.Rlimit{Cur: l.Files, Max: l.Files}
	if err := errors.Join(unix.Setrlimit(unix.RLIMIT_CORE, &none), unix.Setrlimit(unix.RLIMIT_NOFILE, &files)); err != nil {
		return fmt.Errorf("cannot set limits: %w", err)
	}
	if l.User != 0 {
		if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(l.User), syscall.Setuid(l.User)); err != nil {
			return fmt.Errorf("cannot become user %d: %w", l.User, err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("cannot give up privileges for good: %w", err)
	}
	if err := l.Paths.restrict(); err != nil {
		return fmt.Errorf("cannot use Landlock: %w", err)
	}
	program, err := outerFilter()
	if err != nil {
		return err
	}
	if err := loadFilter(raw(program)); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return fmt.Errorf("cannot use seccomp: %w", err)
	}
	return fmt.Errorf("cannot start %s: %w", l.Python, syscall.Exec(l.Python, append([]string{l.Python}, l.Args...), l.Env)) //nolint:gosec // whoever starts the server chooses the interpreter
}

func loadFilter(program []byte) error {
	f := unix.SockFprog{Len: uint16(len(program) / 8), Filter: (*unix.SockFilter)(unsafe.Pointer(&program[0]))} //nolint:gosec // the kernel's own limit is 4096; it copies what we point at
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&f)), 0, 0)         //nolint:gosec // prctl takes an address
}
