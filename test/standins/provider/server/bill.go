package server

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"whisperops.io/functions/test/standins/provider/mind"
)

// A Usage is what one call costs, in tokens. The classes are disjoint.
type Usage struct {
	Input       int `json:"input"` // without what was cached
	CachedInput int `json:"cachedInput"`
	Output      int `json:"output"` // without thoughts
	Thoughts    int `json:"thoughts"`
}

func (u Usage) add(v Usage) Usage {
	return Usage{u.Input + v.Input, u.CachedInput + v.CachedInput, u.Output + v.Output, u.Thoughts + v.Thoughts}
}

// A Charge is one call on the bill.
type Charge struct {
	At       time.Time `json:"at"`
	Agent    string    `json:"agent"` // by its prompt; empty for other callers
	Dialect  string    `json:"dialect"`
	Model    string    `json:"model"`
	Stream   bool      `json:"stream"`
	Question string    `json:"question"`
	Outcome  string    `json:"outcome"` // complete, or aborted by the client
	Usage    Usage     `json:"usage"`
}

// A Bill is what the provider wants to be paid for.
type Bill struct {
	Calls []Charge `json:"calls"`
	// Totals by agent and model.
	Totals map[string]map[string]Usage `json:"totals"`
}

// A book keeps the bill.
type book struct {
	mu    sync.Mutex
	calls []Charge
}

func (b *book) charge(c Charge) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls = append(b.calls, c)
}

// Bill returns all that was charged so far.
func (b *book) Bill() Bill {
	b.mu.Lock()
	defer b.mu.Unlock()
	bill := Bill{Calls: append([]Charge{}, b.calls...), Totals: map[string]map[string]Usage{}}
	for _, c := range b.calls {
		if bill.Totals[c.Agent] == nil {
			bill.Totals[c.Agent] = map[string]Usage{}
		}
		bill.Totals[c.Agent][c.Model] = bill.Totals[c.Agent][c.Model].add(c.Usage)
	}
	return bill
}

func (b *book) serve(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(b.Bill()) //nolint:errchkjson // a reader that went away
}

// tokens is about what tokenizers make of a text: four bytes each.
func tokens(s string) int { return (len(s) + 3) / 4 }

// smallestCache is the shortest beginning of a prompt that Gemini 2.5 caches by itself.
const smallestCache = 1024

// A cache knows which beginnings of prompts were seen.
type cache struct {
	mu   sync.Mutex
	seen map[string]bool
}

// prompt measures what a conversation costs to read.
func (c *cache) prompt(model string, conv mind.Conversation) Usage {
	var fixed strings.Builder
	fixed.WriteString(conv.System)
	for _, t := range conv.Tools {
		fixed.WriteString(t.Name)
	}
	rest := 0
	for _, m := range conv.Messages {
		rest += 4 + tokens(m.Text)
		for _, call := range m.Calls {
			args, _ := json.Marshal(call.Args) //nolint:errchkjson // it came from JSON
			rest += tokens(call.Name) + tokens(string(args))
		}
		for _, r := range m.Results {
			rest += tokens(r.Name) + tokens(r.Text)
		}
	}
	head := tokens(fixed.String()) + 30*len(conv.Tools)
	if head < smallestCache {
		return Usage{Input: head + rest}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil {
		c.seen = map[string]bool{}
	}
	key := model + "\x00" + fixed.String()
	if !c.seen[key] {
		c.seen[key] = true
		return Usage{Input: head + rest}
	}
	return Usage{Input: rest, CachedInput: head}
}

var agentName = regexp.MustCompile(`^You are ([a-z0-9-]+), an assistant|^You are the data analyst behind ([a-z0-9-]+)\.`)

// agentOf is the agent whose prompt it is.
func agentOf(system string) string {
	m := agentName.FindStringSubmatch(system)
	if m == nil {
		return ""
	}
	return m[1] + m[2]
}

// said measures a reply.
func said(r mind.Reply) Usage {
	u := Usage{Output: tokens(r.Text), Thoughts: 2 * tokens(r.Thought)}
	for _, c := range r.Calls {
		args, _ := json.Marshal(c.Args) //nolint:errchkjson // texts
		u.Output += tokens(c.Name) + tokens(string(args))
	}
	return u
}
