// Package process runs the programs that a test measures: servers of others and
// binaries of ours, each on an address of its own, none outliving the test.
package process

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is longer than anything here takes on a machine that does something
// else, too.
const patience = 90 * time.Second

// Until polls a condition, ten times a second for 90 s; what it waits for, and the
// last error, are told when it never comes true.
func Until(t *testing.T, what string, ok func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ok()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waited %s for %s: %v", patience, what, err)
		case <-tick.C:
		}
	}
}

// FreeAddress is one on loopback ("127.0.0.1:34567") at which nobody listens.
func FreeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// A Process is a program of a test.
type Process struct {
	// Name is what messages call it.
	Name string

	path string
	args []string
	log  *os.File
	cmd  *exec.Cmd
}

// Run starts a program that ends with the test. The end of its log, standard output
// and error in one, is part of the test's when that fails.
func Run(t *testing.T, name, path string, args ...string) *Process {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	p := &Process{Name: name, path: path, args: args, log: log}
	p.Start(t)
	t.Cleanup(func() {
		p.Kill()
		if b, err := os.ReadFile(log.Name()); t.Failed() && err == nil {
			t.Logf("log of %s %s:\n%s", name, strings.Join(args, " "), b[max(0, len(b)-4000):])
		}
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// Start starts the program again after it was killed.
func (p *Process) Start(t *testing.T) {
	t.Helper()
	p.cmd = exec.Command(p.path, p.args...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // a test that runs into its timeout cleans nothing up
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("cannot start %s: %v", p.Name, err)
	}
}

// Kill kills the program with SIGKILL, and waits until it is gone.
func (p *Process) Kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill() // it may have ended by itself
		_ = p.cmd.Wait()         // which says that it was killed
	}
}
