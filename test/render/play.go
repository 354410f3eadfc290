package main

import (
	"maps"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/grpc"

	"whisperops.io/functions/internal/errors"
	"whisperops.io/functions/test/examples"
)

// A stage plays what a budget's story recorded: a Prometheus that answers as
// recorded, and the functions that read a clock with the clock of the record.
// They are the stations' own code, served by this program at the addresses
// that functions.yaml gives them; the other functions are their own processes.
type stage struct {
	playing atomic.Pointer[examples.Recording]
	url     string // of Prometheus
}

// play takes the functions that read a clock out of functions, and serves them
// until this program ends.
func play(functions map[string]string) (*stage, error) {
	s := &stage{}
	web := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if rec := s.playing.Load(); rec != nil {
			rec.Handler().ServeHTTP(w, r)
			return
		}
		http.Error(w, "no story is played", http.StatusServiceUnavailable)
	})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Wrap(err, "cannot play Prometheus")
	}
	s.url = "http://" + l.Addr().String()
	go web.Serve(l) //nolint:errcheck // it ends when this program does

	clocked := examples.WithClock(logging.NewNopLogger(), s.now, func() string { return s.url })
	for _, name := range slices.Sorted(maps.Keys(clocked)) {
		address, ok := functions[name]
		if !ok {
			continue
		}
		delete(functions, name)
		l, err := net.Listen("tcp", address)
		if err != nil {
			return s, errors.Wrapf(err, "cannot serve %s", name)
		}
		srv := grpc.NewServer()
		fnv1.RegisterFunctionRunnerServiceServer(srv, clocked[name])
		go srv.Serve(l) //nolint:errcheck // as above
	}
	return s, nil
}

// now is the time at which the story plays.
func (s *stage) now() time.Time {
	if rec := s.playing.Load(); rec != nil {
		return rec.Now
	}
	return time.Now()
}
