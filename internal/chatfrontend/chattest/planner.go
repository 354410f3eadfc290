// Package chattest plays what stands around a chat page: a planner that speaks A2A
// 0.3 as kagent's Go runtime v0.10.0-rc3 was seen to (partial chunks, then the whole
// text, then the same as an artifact; the worker's call and answer, nothing of what
// the worker did), and an API server that has one XAgentBudget.
package chattest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
)

// A Planner answers each question by a script.
type Planner struct {
	*httptest.Server

	// Script plays one task. It runs once for each message; what it sends after the task
	// has ended is lost.
	Script func(*Task)

	mu       sync.Mutex
	tasks    map[string]*Task
	messages []Message
	next     int
	raw      http.HandlerFunc
	refuse   map[string]int // JSON-RPC error codes by method
}

// A Message is what arrived.
type Message struct {
	User, ContextID, TaskID, Text string
	Data                          map[string]any
}

// New starts a planner.
func New(script func(*Task)) *Planner {
	p := &Planner{Script: script, tasks: map[string]*Task{}, refuse: map[string]int{}}
	p.Server = httptest.NewServer(http.HandlerFunc(p.serve))
	return p
}

// Messages are all that arrived so far.
func (p *Planner) Messages() []Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Message(nil), p.messages...)
}

// Task returns the task that began as the n-th, from 0.
func (p *Planner) Task(n int) *Task {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tasks[fmt.Sprintf("task-%d", n+1)]
}

// Refuse has a method answer with a JSON-RPC error.
func (p *Planner) Refuse(method string, code int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse[method] = code
}

// Raw has every call but the card's answered by h; nil ends that.
func (p *Planner) Raw(h http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.raw = h
}

// Forget loses all tasks, as a planner does that is restarted.
func (p *Planner) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.tasks)
}

type call struct {
	ID     any    `json:"id"`
	Method string `json:"method"`
	Params struct {
		ID      string `json:"id"`
		Message struct {
			ContextID string `json:"contextId"`
			TaskID    string `json:"taskId"`
			Parts     []struct {
				Kind string         `json:"kind"`
				Text string         `json:"text"`
				Data map[string]any `json:"data"`
			} `json:"parts"`
		} `json:"message"`
	} `json:"params"`
}

func (p *Planner) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/.well-known/agent-card.json" {
		_ = json.NewEncoder(w).Encode(map[string]any{ //nolint:errchkjson // plain values
			"name": "planner", "description": "", "version": "1", "protocolVersion": "0.3.0", "url": "http://planner.agent-a:8080",
			"preferredTransport": "JSONRPC", "capabilities": map[string]any{"streaming": true},
			"defaultInputModes": []string{"text"}, "defaultOutputModes": []string{"text"}, "skills": []any{},
		})
		return
	}
	p.mu.Lock()
	raw := p.raw
	p.mu.Unlock()
	if raw != nil {
		raw(w, r)
		return
	}
	c := call{}
	if err := json.NewDecoder(r.Body).Decode(&c); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	code := p.refuse[c.Method]
	task := p.tasks[c.Params.ID]
	p.mu.Unlock()
	switch {
	case code != 0:
		reply(w, c.ID, nil, code)
	case c.Method == "message/stream":
		p.send(w, r, c)
	case c.Method == "tasks/get" && task != nil:
		reply(w, c.ID, task.snapshot(), 0)
	case c.Method == "tasks/resubscribe" && task != nil:
		task.stream(w, r, c.ID, false)
	case c.Method == "tasks/cancel" && task != nil:
		task.end("canceled", nil)
		reply(w, c.ID, task.snapshot(), 0)
	case strings.HasPrefix(c.Method, "tasks/"):
		reply(w, c.ID, nil, -32001)
	default:
		reply(w, c.ID, nil, -32601)
	}
}

func reply(w http.ResponseWriter, id, result any, code int) {
	// a2a-go v0.3 sets no Content-Type; net/http takes JSON for plain text.
	out := map[string]any{"jsonrpc": "2.0", "id": id}
	if code != 0 {
		// As a2a-go v0.3, which kagent's Go runtime is built on, says it.
		out["error"] = map[string]any{"code": code, "message": "refused", "data": map[string]any{"error": "refused"}}
	} else {
		out["result"] = result
	}
	_ = json.NewEncoder(w).Encode(out) //nolint:errchkjson // plain values
}

func (p *Planner) send(w http.ResponseWriter, r *http.Request, c call) {
	m := Message{User: r.Header.Get("X-User-Id"), ContextID: c.Params.Message.ContextID, TaskID: c.Params.Message.TaskID}
	for _, part := range c.Params.Message.Parts {
		m.Text += part.Text
		if part.Data != nil {
			m.Data = part.Data
		}
	}
	p.mu.Lock()
	p.messages = append(p.messages, m)
	task := p.tasks[m.TaskID]
	if task == nil {
		p.next++
		task = &Task{ID: fmt.Sprintf("task-%d", p.next), ContextID: m.ContextID, changed: make(chan struct{}), Canceled: make(chan struct{})}
		p.tasks[task.ID] = task
	}
	p.mu.Unlock()
	task.mu.Lock()
	task.Message, task.state, task.ended = m, "working", false
	task.mu.Unlock()
	task.event(task.status("submitted", map[string]any{"kind": "message", "messageId": "q", "role": "user", "parts": []any{map[string]any{"kind": "text", "text": m.Text}}}, nil, false))
	task.event(task.status("working", nil, nil, false))
	go p.Script(task)
	task.stream(w, r, c.ID, true)
}

// A Task is one answer in the making.
type Task struct {
	ID, ContextID string
	Message       Message
	Canceled      chan struct{} // closed when the client cancels

	mu        sync.Mutex
	state     string
	ended     bool
	log       []map[string]any
	from      int // where the present message's events begin
	history   []any
	artifacts []any
	message   any
	changed   chan struct{}
	cut       int // streams to break
	torn      bool
	seq       int
}

// Break ends all streams of the task without a word.
func (t *Task) Break() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cut++
	close(t.changed)
	t.changed = make(chan struct{})
}

// BreakInWord ends all streams of the task in the middle of an event, as the death of a
// planner does.
func (t *Task) BreakInWord() {
	t.mu.Lock()
	t.torn = true
	t.mu.Unlock()
	t.Break()
}

func (t *Task) event(e map[string]any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.log = append(t.log, e)
	close(t.changed)
	t.changed = make(chan struct{})
}

func (t *Task) status(state string, message any, meta map[string]any, final bool) map[string]any {
	s := map[string]any{"state": state}
	if message != nil {
		s["message"] = message
	}
	e := map[string]any{"kind": "status-update", "taskId": t.ID, "contextId": t.ContextID, "final": final, "status": s}
	if meta != nil {
		e["metadata"] = meta
	}
	return e
}

func (t *Task) agent(meta map[string]any, parts ...any) map[string]any {
	t.mu.Lock()
	t.seq++
	id := fmt.Sprintf("%s-%d", t.ID, t.seq)
	t.mu.Unlock()
	return map[string]any{"kind": "message", "messageId": id, "role": "agent", "parts": parts, "metadata": meta, "taskId": t.ID, "contextId": t.ContextID}
}

// Text is a part.
func Text(s string) map[string]any { return map[string]any{"kind": "text", "text": s} }

// Partial sends a chunk of text.
func (t *Task) Partial(s string) {
	meta := map[string]any{"adk_partial": true}
	t.event(t.status("working", t.agent(meta, Text(s)), meta, false))
}

// Whole sends a complete message.
func (t *Task) Whole(parts ...any) {
	m := t.agent(map[string]any{}, parts...)
	t.mu.Lock()
	t.history = append(t.history, m)
	t.mu.Unlock()
	t.event(t.status("working", m, nil, false))
}

// Call sends a tool's call.
func Call(id, name string, args map[string]any) map[string]any {
	return map[string]any{"kind": "data", "data": map[string]any{"id": id, "name": name, "args": args}, "metadata": map[string]any{"adk_type": "function_call"}}
}

// Response is what a tool answered.
func Response(id, name string, response any) map[string]any {
	return map[string]any{"kind": "data", "data": map[string]any{"id": id, "name": name, "response": response}, "metadata": map[string]any{"adk_type": "function_response"}}
}

// Answer says s piece by piece, then whole, then as an artifact, and completes the task.
func (t *Task) Answer(s string) {
	for part := range strings.SplitAfterSeq(s, " ") {
		t.Partial(part)
	}
	t.Complete(s)
}

// Complete says s as a whole and completes the task.
func (t *Task) Complete(s string) {
	t.Whole(Text(s))
	a := map[string]any{"artifactId": "a-" + t.ID, "parts": []any{Text(s)}}
	t.mu.Lock()
	t.artifacts = []any{a}
	t.mu.Unlock()
	t.event(map[string]any{"kind": "artifact-update", "taskId": t.ID, "contextId": t.ContextID, "lastChunk": true, "artifact": a})
	t.end("completed", nil)
}

// Fail ends the task with the agent's words.
func (t *Task) Fail(s string) { t.end("failed", t.agent(nil, Text(s))) }

// AskUser ends the stream with questions for the person, as kagent's ask_user does.
func (t *Task) AskUser(questions ...any) {
	t.end("input-required", t.agent(nil, map[string]any{
		"kind":     "data",
		"metadata": map[string]any{"adk_type": "function_call", "adk_is_long_running": true},
		"data": map[string]any{
			"id": "confirm-1", "name": "adk_request_confirmation",
			"args": map[string]any{
				"originalFunctionCall": map[string]any{"id": "ask-1", "name": "ask_user", "args": map[string]any{"questions": questions}},
				"toolConfirmation":     map[string]any{"hint": "", "confirmed": false},
			},
		},
	}))
}

func (t *Task) end(state string, message any) {
	t.mu.Lock()
	if t.ended {
		t.mu.Unlock()
		return
	}
	t.state, t.ended, t.message = state, true, message
	if state == "canceled" {
		close(t.Canceled)
	}
	t.mu.Unlock()
	t.event(t.status(state, message, nil, true))
}

func (t *Task) snapshot() map[string]any {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := map[string]any{"state": t.state}
	if t.message != nil {
		s["message"] = t.message
	}
	return map[string]any{"kind": "task", "id": t.ID, "contextId": t.ContextID, "status": s, "history": t.history, "artifacts": t.artifacts}
}

// stream sends events: those of this message from its beginning, or only new ones, as
// kagent's resubscribe does.
func (t *Task) stream(w http.ResponseWriter, r *http.Request, id any, all bool) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	f, _ := w.(http.Flusher)
	f.Flush()
	t.mu.Lock()
	at, cut := t.from, t.cut
	if !all {
		at = len(t.log)
	}
	t.mu.Unlock()
	for {
		t.mu.Lock()
		events, changed, ended, broken, torn := t.log[at:], t.changed, t.ended, t.cut > cut, t.torn
		at = len(t.log)
		if ended {
			t.from = at
		}
		t.mu.Unlock()
		if broken {
			if torn {
				fmt.Fprint(w, `data: {"jsonrpc":"2.0","id":"1","resu`)
			}
			return
		}
		for _, e := range events {
			b, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": id, "result": e}) //nolint:errchkjson // plain values
			fmt.Fprintf(w, "data: %s\n\n", b)
			f.Flush()
			if e["final"] == true {
				return
			}
		}
		if ended && len(events) == 0 {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}
