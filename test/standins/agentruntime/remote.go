package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/a2aproject/a2a-go/a2a"
	"github.com/a2aproject/a2a-go/a2aclient"
	"github.com/a2aproject/a2a-go/a2aclient/agentcard"
	"google.golang.org/adk/v2/agent"
	"google.golang.org/adk/v2/tool"
	"google.golang.org/adk/v2/tool/functiontool"
)

type userKey struct{}

// asUser tells the remote agent whom it works for.
type asUser struct {
	a2aclient.PassthroughInterceptor
}

func (asUser) Before(ctx context.Context, req *a2aclient.Request) (context.Context, error) {
	if id, has := ctx.Value(userKey{}).(string); has && id != "" {
		req.Meta.Append("x-user-id", id)
	}
	return ctx, nil
}

// remote is another agent as a tool. All conversations share one context of it.
func remote(name, description, url string) (tool.Tool, error) {
	shared := a2a.NewContextID()
	type input struct {
		Request string `json:"request"`
	}
	return functiontool.New(functiontool.Config{Name: name, Description: description}, func(ctx agent.Context, in input) (map[string]any, error) {
		text, err := call(ctx, url, shared, in.Request)
		if err != nil {
			return map[string]any{"error": fmt.Sprintf("Remote agent '%s' request failed: %v", name, err)}, nil
		}
		return map[string]any{"result": text, "subagent_session_id": shared}, nil
	})
}

func call(ctx agent.Context, url, contextID, request string) (string, error) {
	client := &http.Client{} // no timeout: a calculation may take minutes
	card, err := agentcard.NewResolver(client).Resolve(ctx, url)
	if err != nil {
		return "", err
	}
	meta := a2aclient.CallMeta{}
	meta.Append("x-kagent-source", "agent")
	c, err := a2aclient.NewFromCard(ctx, card, a2aclient.WithJSONRPCTransport(client), a2aclient.WithInterceptors(a2aclient.NewStaticCallMetaInjector(meta), asUser{}))
	if err != nil {
		return "", err
	}
	message := a2a.NewMessage(a2a.MessageRoleUser, a2a.TextPart{Text: request})
	message.ContextID = contextID
	result, err := c.SendMessage(context.WithValue(ctx, userKey{}, ctx.UserID()), &a2a.MessageSendParams{Message: message})
	if err != nil {
		return "", err
	}
	switch r := result.(type) {
	case *a2a.Message:
		return texts(r.Parts), nil
	case *a2a.Task:
		text := ""
		for _, a := range r.Artifacts {
			text += texts(a.Parts)
		}
		if text == "" && r.Status.Message != nil {
			text = texts(r.Status.Message.Parts)
		}
		if r.Status.State == a2a.TaskStateFailed {
			return "", fmt.Errorf("it failed: %s", text)
		}
		return text, nil
	}
	return "", fmt.Errorf("it returned no result")
}

func texts(parts a2a.ContentParts) string {
	var all []string
	for _, p := range parts {
		if t, isText := p.(a2a.TextPart); isText && t.Text != "" {
			all = append(all, t.Text)
		}
	}
	return strings.Join(all, "\n")
}
