package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"whisperops.io/functions/test/standins/actors/controller"
)

// one worker of kagent's looks at all MCP servers: one that hangs holds up the
// others, for as long as its spec.timeout.
var one sync.Mutex

// server does kagent's work on a RemoteMCPServer: it really connects, and lists the
// tools. It returns what to try again.
func server(ctx context.Context, c *controller.Controller, o *unstructured.Unstructured) (later, err error) {
	controller.Set(o, o.GetGeneration(), "status", "observedGeneration")
	if !runs(o.GetNamespace()) {
		controller.SetCondition(o, "Accepted", "True", "Reconciled", "Remote MCP server configuration accepted")
		return nil, nil
	}
	one.Lock()
	defer one.Unlock()
	ctx, cancel := context.WithTimeout(ctx, timeout(o))
	defer cancel()
	tools, err := discover(ctx, c, controller.Text(o, "spec", "url"))
	if err != nil {
		controller.SetCondition(o, "Accepted", "False", "ReconcileFailed", fmt.Sprintf("failed to upsert tool server for remote mcp server %s/%s: %v", o.GetNamespace(), o.GetName(), err))
		return err, nil
	}
	controller.Set(o, tools, "status", "discoveredTools")
	controller.SetCondition(o, "Accepted", "True", "Reconciled", "Remote MCP server configuration accepted")
	return nil, nil
}

func timeout(o *unstructured.Unstructured) time.Duration {
	d, err := time.ParseDuration(controller.Text(o, "spec", "timeout"))
	if err != nil {
		return 30 * time.Second
	}
	return d
}

func discover(ctx context.Context, c *controller.Controller, url string) ([]any, error) {
	client := mcp.NewClient(&mcp.Implementation{Name: "kagent-controller", Version: "0.9.12"}, nil)
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint: url, HTTPClient: &http.Client{Transport: &http.Transport{DialContext: dial(c), DisableKeepAlives: true}}, DisableStandaloneSSE: true,
	}, nil)
	if err != nil {
		return nil, fmt.Errorf("failed to connect client for toolServer: %w", err)
	}
	defer session.Close() //nolint:errcheck // DELETE; a stateless server refuses it
	list, err := session.ListTools(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("failed to list tools: %w", err)
	}
	tools := []any{}
	for _, t := range list.Tools {
		tools = append(tools, map[string]any{"name": t.Name, "description": t.Description})
	}
	return tools, nil
}

// dial leads a Service's name to its address, as a cluster's DNS does.
func dial(c *controller.Controller) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		if part := strings.Split(host, "."); len(part) > 1 {
			s, err := c.Get(ctx, controller.Key{Resource: services, Namespace: part[1], Name: part[0]})
			if err != nil {
				return nil, err
			}
			host = controller.Text(s, "spec", "clusterIP")
		}
		return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(host, port))
	}
}
