package sandbox

import (
	"bytes"
	"context"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// reap waits for orphans: as the first process of a container, or as the one that
// asked for them, the server gets every process whose parent has ended. It never
// touches an interpreter, for which os/exec waits itself.
func reap(ctx context.Context) {
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) // as PID 1 it is that anyway
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	defer signal.Stop(children)
	again := time.NewTicker(10 * time.Second)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-children:
		case <-again.C:
		}
		for orphan := nextZombie(); orphan > 0; orphan = nextZombie() {
			var status syscall.WaitStatus
			_, _ = syscall.Wait4(orphan, &status, syscall.WNOHANG, nil) // it is a zombie: this doesn't fail or wait
		}
	}
}

// nextZombie returns a child that has ended and that nobody waits for, or 0. Runs
// have a session of their own; what os/exec starts stays in ours.
func nextZombie() int {
	own, err := unix.Getsid(0)
	if err != nil {
		return 0
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		// pid (any name) state ppid pgrp session
		_, rest, ok := strings.Cut(string(b[max(0, bytes.LastIndexByte(b, ')')):]), ") ")
		fields := strings.Fields(rest)
		if ok && len(fields) > 3 && fields[0] == "Z" && fields[1] == strconv.Itoa(os.Getpid()) && fields[3] != strconv.Itoa(own) {
			return pid
		}
	}
	return 0
}
