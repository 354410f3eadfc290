package program

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"syscall"
	"testing"
)

func TestStatus(t *testing.T) {
	for _, tc := range []struct {
		reason string
		err    error
		status int
		says   string
	}{
		{reason: "It ended by itself.", status: 0},
		{reason: "Help was asked for, and given.", err: flag.ErrHelp, status: 0},
		{reason: "What is wrong was said while parsing: not twice.", err: fmt.Errorf("bucket: %w", ErrUsage), status: 2},
		{reason: "A person reads who failed and why.", err: errors.New("port 80 is taken"), status: 1, says: "meter: port 80 is taken\n"},
	} {
		var out bytes.Buffer
		if got := status("meter", &out, func(context.Context) error { return tc.err }); got != tc.status || out.String() != tc.says {
			t.Errorf("%s\ngot %d %q, want %d %q", tc.reason, got, out.String(), tc.status, tc.says)
		}
	}
}

// A program that is told to end does so by its context, not by dying.
func TestSignal(t *testing.T) {
	got := status("meter", os.Stderr, func(ctx context.Context) error {
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	})
	if got != 0 {
		t.Errorf("status %d", got)
	}
}
