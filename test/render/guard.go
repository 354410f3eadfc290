package main

import (
	"io"
	"os"
	"os/exec"
	"syscall"

	"whisperops.io/functions/internal/errors"
)

// guardArgument makes this program the guard of another run of itself.
const guardArgument = "-guard"

// A guard is a process whose process group holds all that a run starts, and
// what those start: the CLI's engine too. It reads from a pipe that only the
// run holds open. However the run ends, a kill -9 included, the pipe ends
// with it, and the guard kills its group, itself included.
type guard struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
}

func startGuard() (*guard, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, errors.Wrap(err, "cannot find the path of this program")
	}
	g := &guard{cmd: exec.Command(self, guardArgument)}
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if g.pipe, err = g.cmd.StdinPipe(); err != nil {
		return nil, errors.Wrap(err, "cannot make a pipe")
	}
	return g, errors.Wrap(g.cmd.Start(), "cannot start the guard that ends this run's processes")
}

// watch puts a command that isn't started yet under guard.
func (g *guard) watch(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: g.cmd.Process.Pid}
}

// end ends everything under guard, and returns when the guard is gone.
func (g *guard) end() {
	_ = g.pipe.Close() // also the way out when it can't be closed: there is no other
	_ = g.cmd.Wait()   // it was killed, which is an error to Wait
}

// keepGuard is the guard's main.
func keepGuard() {
	_, _ = io.Copy(io.Discard, os.Stdin) // an error ends the watch as the pipe's end does
	_ = syscall.Kill(0, syscall.SIGKILL) // the whole group, and so this very process
}
