package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"

	"whisperops.io/functions/internal/errors"
)

// A server is a function that runs as a process of its own.
type server struct {
	cmd     *exec.Cmd
	conn    *grpc.ClientConn
	metrics string
	first   time.Duration // from its start to its first answer
}

// start starts a function's binary, and returns it when it has answered for the first time.
func start(bin string, args ...string) (*server, error) {
	metrics, err := freeAddress()
	if err != nil {
		return nil, err
	}
	s, err := startPlain(bin, append([]string{"--metrics-address", metrics}, args...)...)
	if err != nil {
		return nil, err
	}
	s.metrics = metrics
	return s, nil
}

// startPlain starts a function that knows the SDK's own flags alone.
func startPlain(bin string, args ...string) (*server, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	s := &server{cmd: exec.Command(bin, append([]string{"--insecure", "--address", address}, args...)...)}
	s.cmd.Stderr = os.Stderr
	began := time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	for !listens(address) {
		if time.Since(began) > time.Minute {
			s.stop()
			return nil, errors.Errorf("%s doesn't listen", filepath.Base(bin))
		}
		time.Sleep(200 * time.Microsecond) // gRPC would wait for a second before it tries again
	}
	s.conn, err = grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20), grpc.WaitForReady(true), grpc.ForceCodecV2(raw{})))
	if err != nil {
		s.stop()
		return nil, err
	}
	if _, err := s.call(nil); err != nil {
		s.stop()
		return nil, err
	}
	s.first = time.Since(began)
	return s, nil
}

func listens(address string) bool {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return false
	}
	return c.Close() == nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (s *server) stop() {
	if s.conn != nil {
		_ = s.conn.Close()
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// call asks with an encoded request, and returns the encoded answer.
func (s *server) call(req []byte) (rsp []byte, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err = s.conn.Invoke(ctx, fnv1.FunctionRunnerService_RunFunction_FullMethodName, req, &rsp)
	return rsp, err
}

// calls asks so many times, and returns for one call how long it took, and how much of a
// processor the server had for it.
func (s *server) calls(req []byte, n int) (took, worked float64, err error) {
	before, err := s.worked()
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	for range n {
		if _, err := s.call(req); err != nil {
			return 0, 0, err
		}
	}
	all := time.Since(began)
	after, err := s.worked()
	return float64(all.Microseconds()) / float64(n), (after - before) / float64(n), err
}

// worked returns the microseconds that all threads of the server ran.
func (s *server) worked() (float64, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", s.cmd.Process.Pid))
	if err != nil || len(files) == 0 {
		return 0, errors.Errorf("processor time is read from /proc, which only Linux has: %v", err)
	}
	var all float64
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return 0, err
		}
		ran, _, _ := strings.Cut(string(b), " ")
		ns, err := strconv.ParseFloat(ran, 64)
		if err != nil {
			return 0, err
		}
		all += ns / 1000
	}
	return all, nil
}

// resident returns the MiB of memory that the server has, and how much of it isn't its file.
func (s *server) resident() (all, anonymous float64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	kib := func(key string) float64 {
		_, rest, _ := strings.Cut(string(b), key+":")
		n, err := strconv.ParseFloat(strings.Fields(rest + " x")[0], 64)
		if err != nil {
			return 0
		}
		return n
	}
	return kib("VmRSS") / 1024, kib("RssAnon") / 1024, nil
}

// allocations returns how many objects one call of a request allocates.
func (s *server) allocations(req []byte, n int) (float64, error) {
	var counted [3]float64
	for i := range counted {
		if i == 2 { // between the first two only the counting itself was counted
			if _, _, err := s.calls(req, n); err != nil {
				return 0, err
			}
		}
		var err error
		if counted[i], err = s.mallocs(); err != nil {
			return 0, err
		}
	}
	return ((counted[2] - counted[1]) - (counted[1] - counted[0])) / float64(n), nil
}

func (s *server) mallocs() (float64, error) {
	rsp, err := http.Get("http://" + s.metrics + "/metrics")
	if err != nil {
		return 0, err
	}
	defer func() { _ = rsp.Body.Close() }()
	b, err := io.ReadAll(rsp.Body)
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(b) {
		if n, is := bytes.CutPrefix(line, []byte("go_memstats_mallocs_total ")); is {
			return strconv.ParseFloat(string(bytes.TrimSpace(n)), 64)
		}
	}
	return 0, errors.New("its metrics don't tell what it allocates")
}

// raw is the codec of a client that sends and takes bytes, so that only the server's work is
// measured.
type raw struct{}

// Name says that it is protobuf.
func (raw) Name() string { return "proto" }

// Marshal sends bytes.
func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil //nolint:forcetypeassert // call sends nothing else
}

// Unmarshal takes bytes.
func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize() //nolint:forcetypeassert // call takes nothing else
	return nil
}
