package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A server answers MCP.
type server struct {
	log     *slog.Logger
	set     settings
	runner  *runner
	dataset *dataset
	charts  *gallery
	metrics *metrics
	slots   *slots

	walls atomic.Pointer[walls] // nil until they have been tried

	requests sync.Map // contexts of HTTP requests, by number
	number   atomic.Int64
	last     atomic.Int64 // generation that the last answer was about
}

// codeLimit is how long code may be.
const codeLimit = 256 << 10

type codeInput struct {
	Code string `json:"code" jsonschema:"Python source to run; the file's path is os.environ[\"DATASET_PATH\"]; print what you want to see"`
}

type noInput struct{}

// handler serves MCP at /mcp. It is stateless: whatever request arrives is
// answered without a session, so that a restart leaves no client with a dead one.
func (s *server) mcp() http.Handler {
	m := mcp.NewServer(&mcp.Implementation{Name: "whisperops-sandbox", Version: version()}, &mcp.ServerOptions{
		Instructions: "Runs Python with pandas over one CSV. Ask describe_dataset first.",
	})
	m.AddReceivingMiddleware(s.recover)
	mcp.AddTool(m, &mcp.Tool{
		Name:        "execute_python",
		Description: executeDescription(s.set.timeout),
		Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true, OpenWorldHint: new(false)},
	}, s.execute)
	mcp.AddTool(m, &mcp.Tool{
		Name:        "describe_dataset",
		Description: "Says what the dataset holds: columns with their types, missing values and examples, rows, size, generation, and how to read it within the memory limit. Ask this before the first calculation.",
		Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true, OpenWorldHint: new(false)},
	}, s.describe)
	inner := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return m }, &mcp.StreamableHTTPOptions{
		Stateless: true,
		// Requests come under a Service's name, over loopback too where a pod has an
		// address there. A browser on that machine can't do harm: it has no cookie here.
		DisableLocalhostProtection: true,
		Logger:                     slog.New(slog.DiscardHandler),
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The SDK does not tell a tool that its caller has gone.
		id := strconv.FormatInt(s.number.Add(1), 10)
		r.Header.Set(requestHeader, id)
		s.requests.Store(id, r.Context())
		defer s.requests.Delete(id)
		inner.ServeHTTP(w, r)
	})
}

const requestHeader = "X-Sandbox-Request"

// recover makes a panic an answer: it would end the process, and with it every run.
func (s *server) recover(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (_ mcp.Result, err error) {
		defer func() {
			if p := recover(); p != nil {
				s.log.Error("A handler panicked", "method", method, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				err = errors.New("internal error of the sandbox")
			}
		}()
		return next(ctx, method, req)
	}
}

// caller returns a context that ends when the caller is gone.
func (s *server) caller(ctx context.Context, req *mcp.CallToolRequest) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := func() bool { return true }
	if req.Extra != nil {
		if c, ok := s.requests.Load(req.Extra.Header.Get(requestHeader)); ok {
			stop = context.AfterFunc(c.(context.Context), func() { cancel(errCallerGone) }) //nolint:forcetypeassert // we stored it
		}
	}
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

var errCallerGone = errors.New("the caller is gone")

func (s *server) execute(ctx context.Context, req *mcp.CallToolRequest, in codeInput) (*mcp.CallToolResult, any, error) {
	began := time.Now()
	ctx, done := s.caller(ctx, req)
	defer done()
	if len(in.Code) > codeLimit {
		return refusal(fmt.Sprintf("the code has %d bytes, and at most %d are taken: write a shorter script", len(in.Code), codeLimit)), nil, nil
	}
	if err := s.standing(ctx); err != nil {
		return refusal(err.Error()), nil, nil
	}
	ready, cancel := context.WithTimeoutCause(ctx, s.set.queue, errNotReady)
	defer cancel()
	f, free, err := s.dataset.use(ready)
	if err != nil {
		s.metrics.refused.WithLabelValues("dataset").Inc()
		return refusal(err.Error()), nil, nil
	}
	defer free()
	i, err := s.runner.interpreter(ready)
	if err != nil {
		s.metrics.refused.WithLabelValues("interpreter").Inc()
		return refusal("no code can be run: " + err.Error()), nil, nil
	}
	halves, memory := share(s.runner.budget.forRuns(i.resident), f.need())
	release, err := s.slots.take(ctx, halves, s.set.queue)
	if err != nil {
		s.metrics.refused.WithLabelValues("busy").Inc()
		return refusal(err.Error()), nil, nil
	}
	defer release()
	o, err := s.runner.run(ctx, job{
		Code: in.Code, Memory: memory, Timeout: s.set.timeout, Guard: f.guard(memory),
		Env: map[string]string{"DATASET_PATH": f.Path, "DATASET_NAME": s.set.datasetName},
	})
	if err != nil {
		s.metrics.refused.WithLabelValues("interpreter").Inc()
		return refusal("no code can be run: " + err.Error()), nil, nil
	}
	s.metrics.runs.WithLabelValues(string(o.Cause)).Inc()
	s.metrics.seconds.Observe(o.Wall.Seconds())
	s.metrics.peak.Observe(float64(o.MaxRSS))
	s.charts.publish(ctx, o.Charts)
	s.log.Info("Ran code", "cause", o.Cause, "exit", o.Exit, "wall-ms", o.Wall.Milliseconds(), "cpu-ms", o.CPU.Milliseconds(), "peak-mi", o.MaxRSS>>20,
		"stdout-bytes", o.Stdout.total, "stderr-bytes", o.Stderr.total, "charts", len(o.Charts), "queue-ms", time.Since(began).Milliseconds()-o.Wall.Milliseconds())
	previous := s.last.Swap(f.Generation)
	return s.answer(o, f, previous, memory), nil, nil
}

var errNotReady = errors.New("it takes longer than a question may wait")

// standing says whether code may be run: not while a wall is missing that keeps the
// credential, unless whoever runs the sandbox has said so.
func (s *server) standing(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.set.queue)
	defer cancel()
	for {
		if w := s.walls.Load(); w != nil {
			return w.refusal(s.set.allowMissing)
		}
		select {
		case <-ctx.Done():
			s.runner.mu.Lock()
			reason := s.runner.reason
			s.runner.mu.Unlock()
			return fmt.Errorf("no code can be run yet: %w", reason)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func refusal(text string) *mcp.CallToolResult {
	return &mcp.CallToolResult{IsError: true, Content: []mcp.Content{&mcp.TextContent{Text: text}}}
}

func (s *server) describe(ctx context.Context, req *mcp.CallToolRequest, _ noInput) (*mcp.CallToolResult, any, error) {
	ctx, done := s.caller(ctx, req)
	defer done()
	ctx, cancel := context.WithTimeoutCause(ctx, s.set.queue, errNotReady)
	defer cancel()
	f, free, err := s.dataset.use(ctx)
	if err != nil {
		s.metrics.refused.WithLabelValues("dataset").Inc()
		return refusal(err.Error()), nil, nil
	}
	defer free()
	s.last.Store(f.Generation)
	_, memory := share(s.runner.budget.forRuns(s.resident()), f.need())
	p, err := f.Profile.wait(ctx)
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: s.description(f, p, err, memory)}}}, nil, nil
}

// resident is what the waiting interpreter takes, or usually takes.
func (s *server) resident() int64 {
	s.runner.mu.Lock()
	defer s.runner.mu.Unlock()
	if i := s.runner.live; i != nil {
		return i.resident
	}
	return 100 * mebibyte
}
