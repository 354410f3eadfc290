package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"google.golang.org/adk/v2/agent"
	"google.golang.org/adk/v2/agent/llmagent"
	"google.golang.org/adk/v2/model"
	"google.golang.org/adk/v2/model/gemini"
	"google.golang.org/adk/v2/tool"
	"google.golang.org/adk/v2/tool/functiontool"
	"google.golang.org/adk/v2/tool/mcptoolset"
	"google.golang.org/genai"
)

// build makes the agent of its configuration.
func build(ctx context.Context, app string, c config) (agent.Agent, error) {
	llm, err := llm(ctx, c)
	if err != nil {
		return nil, err
	}
	ask, err := askUser()
	if err != nil {
		return nil, err
	}
	tools := []tool.Tool{ask}
	for _, r := range c.RemoteAgents {
		t, err := remote(r.Name, r.Description, r.URL) //nolint:contextcheck // each call of it has its own
		if err != nil {
			return nil, err
		}
		tools = append(tools, t)
	}
	var sets []tool.Toolset
	for _, t := range c.HTTPTools {
		wait := time.Duration(t.Params.Timeout * float64(time.Second))
		set, err := mcptoolset.New(mcptoolset.Config{Transport: &mcp.StreamableClientTransport{
			Endpoint: t.Params.URL, HTTPClient: &http.Client{Timeout: wait}, DisableStandaloneSSE: true,
		}})
		if err != nil {
			return nil, err
		}
		sets = append(sets, tool.FilterToolset(set, tool.StringPredicate(t.Tools)))
	}
	return llmagent.New(llmagent.Config{
		Name: app, Description: c.Description, Model: llm, Tools: tools, Toolsets: sets,
		InstructionProvider: func(agent.ReadonlyContext) (string, error) { return c.Instruction, nil },
		OnToolErrorCallbacks: []llmagent.OnToolErrorCallback{
			// A tool that fails is something to tell the model, not the end of a turn.
			func(_ agent.Context, _ tool.Tool, _ map[string]any, err error) (map[string]any, error) {
				return map[string]any{"error": err.Error()}, nil
			},
		},
	})
}

// llm calls the model where the environment says.
func llm(ctx context.Context, c config) (model.LLM, error) {
	switch c.Model.Type {
	case "gemini":
		key := os.Getenv("GOOGLE_API_KEY")
		if key == "" {
			key = os.Getenv("GEMINI_API_KEY")
		}
		if key == "" {
			return nil, errors.New("gemini model requires GOOGLE_API_KEY or GEMINI_API_KEY environment variable")
		}
		return gemini.NewModel(ctx, c.Model.Model, &genai.ClientConfig{APIKey: key, Backend: genai.BackendGeminiAPI})
	case "gemini_vertex_ai":
		return gemini.NewModel(ctx, c.Model.Model, &genai.ClientConfig{
			Backend: genai.BackendVertexAI, Project: os.Getenv("GOOGLE_CLOUD_PROJECT"), Location: os.Getenv("GOOGLE_CLOUD_LOCATION"),
		})
	case "openai":
		key := os.Getenv("OPENAI_API_KEY")
		if key == "" {
			return nil, errors.New("OPENAI_API_KEY environment variable is not set")
		}
		return &chat{model: c.Model.Model, key: key, base: strings.TrimSuffix(c.Model.BaseURL, "/")}, nil
	}
	return nil, fmt.Errorf("unsupported model type: %s", c.Model.Type)
}

// askUser is the tool that kagent gives to every agent: it ends the turn, and the
// person's answer begins the next one.
func askUser() (tool.Tool, error) {
	type question struct {
		Questions []struct {
			Question string   `json:"question"`
			Choices  []string `json:"choices,omitempty"`
		} `json:"questions"`
	}
	return functiontool.New(functiontool.Config{Name: "ask_user", Description: "Ask the user one or more questions and wait for the answers."},
		func(ctx agent.Context, in question) (map[string]any, error) {
			if c := ctx.ToolConfirmation(); c != nil {
				return map[string]any{"answers": c.Payload}, nil
			}
			if err := ctx.RequestConfirmation("Questions for the user", map[string]any{"questions": in.Questions}); err != nil {
				return nil, err
			}
			return map[string]any{"status": "pending"}, nil
		})
}
