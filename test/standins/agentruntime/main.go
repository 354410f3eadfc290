// Command agentruntime plays the Go runtime of kagent v0.10, whose image can't be
// had: it is built on the same kits (ADK v2.1, a2a-go v0.3), reads the Secret that
// kagent's controller makes of an Agent, speaks A2A 0.3 at / and serves a card,
// calls its model through the base URL that its environment names, another agent as
// a tool, and an MCP server.
//
// What was seen of the real one and is played here: one A2A context for a remote
// agent per process and so one session of it per user, however many conversations
// there are; the user taken from the header x-user-id, else from the conversation;
// the whole prompt as a skill in the public card; a tool ask_user that ends a turn in
// input-required; an error of the model that fails the task; /metrics answered with 200
// and nothing that Prometheus can read; no start without a credential.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/a2aproject/a2a-go/a2a"
	"github.com/a2aproject/a2a-go/a2asrv"
	"google.golang.org/adk/v2/agent"
	"google.golang.org/adk/v2/runner"
	"google.golang.org/adk/v2/server/adka2a" //nolint:staticcheck // kagent speaks A2A 0.3, as this does
	"google.golang.org/adk/v2/session"
	"google.golang.org/genai"
)

func main() {
	host := flag.String("host", "", "address at which to listen; empty: all")
	port := flag.String("port", "8080", "port")
	dir := flag.String("filepath", "/config", "folder with config.json and agent-card.json")
	flag.Parse()
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := serve(ctx, net.JoinHostPort(*host, *port), *dir)
	stop()
	if err != nil {
		slog.Error("agent runtime failed", "error", err)
		os.Exit(1)
	}
}

// A config is what kagent's controller makes of an Agent.
type config struct {
	Model struct {
		Type    string `json:"type"`
		Model   string `json:"model"`
		BaseURL string `json:"base_url"`
	} `json:"model"`
	Description string `json:"description"`
	Instruction string `json:"instruction"`
	Stream      bool   `json:"stream"`
	HTTPTools   []struct {
		Params struct {
			URL     string  `json:"url"`
			Timeout float64 `json:"timeout"` // seconds
		} `json:"params"`
		Tools []string `json:"tools"`
	} `json:"http_tools"`
	RemoteAgents []struct {
		Name        string `json:"name"`
		URL         string `json:"url"`
		Description string `json:"description"`
	} `json:"remote_agents"`
}

func read(dir, file string, into any) error {
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("cannot read %s: %w", file, err)
	}
	return nil
}

func serve(ctx context.Context, address, dir string) error {
	var c config
	if err := read(dir, "config.json", &c); err != nil {
		return err
	}
	var card a2a.AgentCard
	if err := read(dir, "agent-card.json", &card); err != nil {
		return err
	}
	app := strings.ReplaceAll(os.Getenv("KAGENT_NAMESPACE")+"__NS__"+os.Getenv("KAGENT_NAME"), "-", "_")
	root, err := build(ctx, app, c)
	if err != nil {
		return err
	}
	card.ProtocolVersion, card.PreferredTransport = "0.3", a2a.TransportProtocolJSONRPC
	card.Capabilities = a2a.AgentCapabilities{Streaming: c.Stream, StateTransitionHistory: true}
	card.Skills = append(card.Skills, a2a.AgentSkill{ID: app, Name: "model", Description: strings.ReplaceAll(c.Instruction, "You ", "I "), Tags: []string{"llm"}})
	run := agent.RunConfig{}
	if c.Stream {
		run.StreamingMode = agent.StreamingModeSSE
	}
	executor := adka2a.NewExecutor(adka2a.ExecutorConfig{
		RunnerConfig:       runner.Config{AppName: app, Agent: root, SessionService: session.InMemoryService()},
		RunConfig:          run,
		GenAIPartConverter: withoutEmpty,
	})
	mux := http.NewServeMux()
	for _, p := range []string{"/health", "/healthz"} {
		mux.HandleFunc(p, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("OK")) }) // a courtesy
	}
	mux.Handle(a2asrv.WellKnownAgentCardPath, a2asrv.NewStaticAgentCardHandler(&card))
	mux.Handle("/", a2asrv.NewJSONRPCHandler(a2asrv.NewHandler(executor, a2asrv.WithCallInterceptor(&whose{}))))
	srv := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		<-ctx.Done()
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = srv.Shutdown(late) // what is open then is cut
	}()
	slog.Info("agent runtime listens", "address", address, "app", app, "model", c.Model.Model)
	if err := srv.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-ended // answers that are being given are given to their end
	return nil
}

// whose takes the user from a header, which anybody can send.
type whose struct {
	a2asrv.PassthroughCallInterceptor
}

func (*whose) Before(ctx context.Context, call *a2asrv.CallContext, _ *a2asrv.Request) (context.Context, error) {
	if ids, sent := call.RequestMeta().Get("x-user-id"); sent && len(ids) > 0 && ids[0] != "" {
		call.User = &a2asrv.AuthenticatedUser{UserName: ids[0]}
	}
	return ctx, nil
}

// withoutEmpty drops the parts that ADK adds to end a stream.
func withoutEmpty(_ context.Context, e *session.Event, part *genai.Part) (a2a.Part, error) {
	var long []string
	if e != nil {
		long = e.LongRunningToolIDs
	}
	p, err := adka2a.ToA2APart(part, long)
	if err != nil {
		return nil, err
	}
	if d, isData := p.(a2a.DataPart); isData && len(d.Data) == 0 && len(d.Metadata) == 0 {
		return nil, nil //nolint:nilnil // ADK's way to drop a part
	}
	return p, nil
}
