// Command bench prints what a station costs beside doing nothing, as ratios
// within one run, because machines are noisy.
//
// Time and allocations: one call over loopback gRPC, beside a server that
// returns the very same response without doing anything. Size and resident
// memory: the station's binary beside a function that does nothing on the same
// SDK, after the same calls.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"whisperops.io/functions/internal/errors"
	"whisperops.io/functions/test/crossplane"
	"whisperops.io/functions/test/pipeline"
)

func main() {
	agent := flag.String("agent", "examples/agent-everything-ready", "story of an XDatasetAgent whose calls are measured")
	bins := flag.String("bin", "_output/bin", "folder with the functions' binaries and with nothing")
	rounds := flag.Int("rounds", 41, "rounds; the median is printed")
	calls := flag.Int("calls", 50, "calls per round")
	limitTime := flag.Float64("max-time", 0, "fail when a station's time ratio is above; 0: never")
	limitSize := flag.Float64("max-size", 0, "fail when a station's size or memory ratio is above; 0: never")
	flag.Parse()
	if err := run(*agent, *bins, *rounds, *calls, *limitTime, *limitSize); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// A call is what a station is asked and what it answers.
type call struct {
	step, function string
	fn             fnv1.FunctionRunnerServiceServer
	req            *fnv1.RunFunctionRequest
	rsp            *fnv1.RunFunctionResponse
}

func run(agent, bins string, rounds, calls int, limitTime, limitSize float64) error {
	recorded, err := record(filepath.Join(pipeline.Root(), agent))
	if err != nil {
		return err
	}
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(out, "station\trequest KiB\tresponse KiB\ttime µs\ttime ratio\tallocations\tallocation ratio\tsize MiB\tsize ratio\tmemory MiB\tmemory ratio\t")
	var over []string
	for _, c := range recorded {
		t, err := compare(c, rounds, calls)
		if err != nil {
			return errors.Wrapf(err, "cannot measure %s", c.step)
		}
		m, err := weigh(c, filepath.Join(pipeline.Root(), bins))
		if err != nil {
			return errors.Wrapf(err, "cannot weigh %s", c.step)
		}
		fmt.Fprintf(out, "%s\t%.1f\t%.1f\t%.0f\t%.2f\t%.0f\t%.2f\t%.1f\t%.2f\t%.1f\t%.2f\t\n", c.step,
			float64(proto.Size(c.req))/1024, float64(proto.Size(c.rsp))/1024,
			t.micros, t.timeRatio, t.allocs, t.allocRatio, m.sizeMiB, m.sizeRatio, m.rssMiB, m.rssRatio)
		if limitTime > 0 && t.timeRatio > limitTime {
			over = append(over, fmt.Sprintf("%s takes %.2f times as long as doing nothing", c.step, t.timeRatio))
		}
		if limitSize > 0 && (m.sizeRatio > limitSize || m.rssRatio > limitSize) {
			over = append(over, fmt.Sprintf("%s is %.2f times as large and resident %.2f times", c.step, m.sizeRatio, m.rssRatio))
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if len(over) > 0 {
		return errors.New(strings.Join(over, "; "))
	}
	return nil
}

// record runs a story through its pipeline and keeps each step's last request
// and response.
func record(dir string) ([]*call, error) {
	var xr map[string]any
	if ok, err := crossplane.ReadYAML(filepath.Join(dir, "xr.yaml"), &xr); err != nil || !ok {
		return nil, errors.Errorf("%s holds no story (%v)", dir, err)
	}
	composed, err := crossplane.ReadDocuments(filepath.Join(dir, "observed.yaml"))
	if err != nil {
		return nil, err
	}
	cluster, err := crossplane.ReadDocuments(filepath.Join(dir, "required.yaml"))
	if err != nil {
		return nil, err
	}
	observed, err := crossplane.Observed(xr, composed, nil)
	if err != nil {
		return nil, err
	}
	steps, err := pipeline.Agent(pipeline.All())
	if err != nil {
		return nil, err
	}
	var out []*call
	for i := range steps {
		if steps[i].Name == "ready" {
			continue
		}
		c := &call{step: steps[i].Name, function: "function-xda-" + steps[i].Name, fn: steps[i].Function}
		steps[i].Function = &recorder{call: c}
		out = append(out, c)
	}
	r, err := crossplane.Run(context.Background(), steps, observed, cluster, nil)
	if err != nil {
		return nil, err
	}
	if r.Fatal != "" {
		return nil, errors.New(r.Fatal)
	}
	return out, nil
}

type recorder struct {
	fnv1.UnimplementedFunctionRunnerServiceServer

	call *call
}

// RunFunction calls the station and keeps what was said.
func (r *recorder) RunFunction(ctx context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	r.call.req = proto.CloneOf(req)
	rsp, err := r.call.fn.RunFunction(ctx, req)
	r.call.rsp = proto.CloneOf(rsp)
	return rsp, err
}

// parrot returns one response whatever it is asked.
type parrot struct {
	fnv1.UnimplementedFunctionRunnerServiceServer

	rsp *fnv1.RunFunctionResponse
}

// RunFunction returns the one response.
func (p *parrot) RunFunction(context.Context, *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	return p.rsp, nil
}

type timing struct{ micros, timeRatio, allocs, allocRatio float64 }

// compare alternates batches of calls to the station and to a parrot.
func compare(c *call, rounds, calls int) (timing, error) {
	station, stopStation, err := serve(c.fn)
	if err != nil {
		return timing{}, err
	}
	defer stopStation()
	nothing, stopNothing, err := serve(&parrot{rsp: c.rsp})
	if err != nil {
		return timing{}, err
	}
	defer stopNothing()

	var micros, ratios, allocs, allocRatios []float64
	for i := range rounds + 2 {
		runtime.GC() // so that one side's garbage isn't the other side's time
		st, sa, err := batch(station, c.req, calls)
		if err != nil {
			return timing{}, err
		}
		runtime.GC()
		nt, na, err := batch(nothing, c.req, calls)
		if err != nil {
			return timing{}, err
		}
		if i < 2 {
			continue // connections and caches warm up
		}
		micros = append(micros, st)
		ratios = append(ratios, st/nt)
		allocs = append(allocs, sa)
		allocRatios = append(allocRatios, sa/na)
	}
	return timing{micros: median(micros), timeRatio: median(ratios), allocs: median(allocs), allocRatio: median(allocRatios)}, nil
}

// serve serves fn on a loopback port.
func serve(fn fnv1.FunctionRunnerServiceServer) (fnv1.FunctionRunnerServiceClient, func(), error) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	srv := grpc.NewServer(grpc.MaxRecvMsgSize(16 * 1024 * 1024))
	fnv1.RegisterFunctionRunnerServiceServer(srv, fn)
	go func() {
		if err := srv.Serve(lis); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	}()
	client, closeClient, err := dial(lis.Addr().String())
	if err != nil {
		srv.Stop()
		return nil, nil, err
	}
	return client, func() { closeClient(); srv.Stop() }, nil
}

func dial(address string) (fnv1.FunctionRunnerServiceClient, func(), error) {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16*1024*1024), grpc.WaitForReady(true)))
	if err != nil {
		return nil, nil, err
	}
	return fnv1.NewFunctionRunnerServiceClient(conn), func() { _ = conn.Close() }, nil
}

// batch returns microseconds and allocations per call.
func batch(client fnv1.FunctionRunnerServiceClient, req *fnv1.RunFunctionRequest, calls int) (micros, allocs float64, err error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	for range calls {
		if _, err := client.RunFunction(context.Background(), req); err != nil {
			return 0, 0, err
		}
	}
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	return float64(took.Microseconds()) / float64(calls), float64(after.Mallocs-before.Mallocs) / float64(calls), nil
}

type weight struct{ sizeMiB, sizeRatio, rssMiB, rssRatio float64 }

// weigh compares the station's binary with nothing's: on disk, and resident
// after the same calls.
func weigh(c *call, bins string) (weight, error) {
	station, nothing := filepath.Join(bins, c.function), filepath.Join(bins, "nothing")
	ss, err := os.Stat(station)
	if err != nil {
		return weight{}, err
	}
	ns, err := os.Stat(nothing)
	if err != nil {
		return weight{}, err
	}
	var rss, ratios []float64
	for range 5 {
		s, err := resident(station, c.req)
		if err != nil {
			return weight{}, err
		}
		n, err := resident(nothing, c.req)
		if err != nil {
			return weight{}, err
		}
		rss = append(rss, s)
		ratios = append(ratios, s/n)
	}
	return weight{
		sizeMiB: float64(ss.Size()) / (1 << 20), sizeRatio: float64(ss.Size()) / float64(ns.Size()),
		rssMiB: median(rss), rssRatio: median(ratios),
	}, nil
}

// resident returns the resident memory in MiB of a function that has answered.
func resident(bin string, req *fnv1.RunFunctionRequest) (float64, error) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	address := lis.Addr().String()
	if err := lis.Close(); err != nil {
		return 0, err
	}
	cmd := exec.Command(bin, "--insecure", "--address", address, "--metrics-address=")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	client, closeClient, err := dial(address)
	if err != nil {
		return 0, err
	}
	defer closeClient()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for range 200 {
		if _, err := client.RunFunction(ctx, req); err != nil {
			return 0, err
		}
	}
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid), "status"))
	if err != nil {
		return 0, errors.Wrap(err, "resident memory is read from /proc, which only Linux has")
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 64)
			return kib / 1024, err
		}
	}
	return 0, errors.New("/proc/self/status has no VmRSS")
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}
