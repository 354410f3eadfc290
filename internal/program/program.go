// Package program is how the programs beside the functions begin and end.
package program

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// ErrUsage is an error of the command line that has been written to the user already.
var ErrUsage = errors.New("wrong usage")

// Parser reads a program's settings from its arguments and its environment. It writes
// usage and what is wrong to out. Any error of its own is a wrong usage.
type Parser[S any] func(args []string, env func(string) string, out io.Writer) (S, error)

// Main reads a program's settings and runs it until it ends or the process is told to
// (SIGINT, SIGTERM; a second signal kills it). The exit status is 0, 2 for a wrong
// usage, 1 for any other error, which is written to standard error.
func Main[S any](name string, parse Parser[S], run func(context.Context, S) error) {
	os.Exit(status(name, os.Stderr, func(ctx context.Context) error {
		s, err := parse(os.Args[1:], os.Getenv, os.Stderr)
		switch {
		case errors.Is(err, flag.ErrHelp):
			return nil
		case err != nil:
			return ErrUsage
		}
		return run(ctx, s)
	}))
}

func status(name string, out io.Writer, run func(context.Context) error) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the second signal is the system's to handle
	err := run(ctx)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, ErrUsage):
		return 2
	}
	fmt.Fprintf(out, "%s: %v\n", name, err)
	return 1
}
