package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"whisperops.io/functions/test/standins/provider/mind"
)

// Options of a fake provider.
type Options struct {
	// Key that callers must show; empty takes everybody.
	Key string
	// ChunkDelay is the pause between two pieces of a stream.
	ChunkDelay time.Duration
}

// A Behaviour is something that goes wrong, or is slow.
type Behaviour struct {
	// Match is a part of the person's question, of the agent's name or of the
	// model's; empty matches all.
	Match string `json:"match"`
	// Times that it happens; 0 means for ever.
	Times int `json:"times"`
	// Status answers with an error of the dialect's own shape.
	Status int `json:"status"`
	// ChunkDelayMS is the pause between two pieces of a stream.
	ChunkDelayMS int `json:"chunkDelayMs"`
	// Rubbish instead of an answer: "text" (no JSON at all), "huge" (10 MB of
	// words), "tools" (calls a tool whatever it hears), "cut" (the connection breaks
	// after half of the pieces), "silence" (an answer without any content).
	Rubbish string `json:"rubbish"`

	happened int
}

// A Server is the provider.
type Server struct {
	book

	cache cache
	o     Options
	mux   *http.ServeMux

	mu         sync.Mutex
	behaviours []*Behaviour
}

// New returns a provider with an empty bill.
func New(o Options) *Server {
	s := &Server{o: o, mux: http.NewServeMux()}
	s.mux.HandleFunc("GET /bill", s.serve)
	s.mux.HandleFunc("POST /behave", s.behave)
	s.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") }) // a courtesy
	s.mux.HandleFunc("POST /", s.call)
	return s
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

func (s *Server) behave(w http.ResponseWriter, r *http.Request) {
	var list []*Behaviour
	if err := json.NewDecoder(r.Body).Decode(&list); err != nil {
		http.Error(w, fmt.Sprintf("cannot read behaviours: want a JSON list: %v", err), http.StatusBadRequest)
		return
	}
	s.Behave(list...)
}

// Behave sets what goes wrong from now on; nothing ends all of it.
func (s *Server) Behave(list ...*Behaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behaviours = list
}

// behaviour is what happens to a call.
func (s *Server) behaviour(texts ...string) Behaviour {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := strings.ToLower(strings.Join(texts, "\n"))
	for _, b := range s.behaviours {
		if strings.Contains(all, strings.ToLower(b.Match)) && (b.Times == 0 || b.happened < b.Times) {
			b.happened++
			return *b
		}
	}
	return Behaviour{}
}

// A dialect reads requests and writes answers as one provider does.
type dialect interface {
	// read returns the conversation and the model of a request.
	read(r *http.Request, body []byte) (request, error)
	// whole writes an answer at once.
	whole(q request, p piece) any
	// chunk writes a piece of a stream; the last has an end.
	chunk(q request, p piece) []any
	// failure is an error's body.
	failure(status int, message string) any
}

type request struct {
	conv   mind.Conversation
	model  string
	id     string
	stream bool
	array  bool // of a stream: a JSON array, not events
	usage  bool // of a stream: with a usage chunk (OpenAI)
}

// A piece of an answer. The usage is of all pieces so far.
type piece struct {
	text  string
	calls []mind.Call
	usage Usage
	first bool
	last  bool
}

// maxBody is what a request may have: pictures aside, more than any context window.
const maxBody = 32 << 20

func (s *Server) call(w http.ResponseWriter, r *http.Request) {
	d, name := dialectOf(r.URL.Path)
	if d == nil {
		http.Error(w, "404: this provider has no "+r.URL.Path, http.StatusNotFound)
		return
	}
	fail := func(status int, message string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(d.failure(status, message)) //nolint:errchkjson // a caller that went away
	}
	if !s.allowed(r) {
		fail(http.StatusUnauthorized, "API key not valid. Please pass a valid API key.")
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return // the caller went away
	}
	q, err := d.read(r, body)
	if err != nil {
		fail(http.StatusBadRequest, err.Error())
		return
	}
	question := lastQuestion(q.conv)
	b := s.behaviour(question, agentOf(q.conv.System), q.model)
	if b.Status != 0 {
		fail(b.Status, http.StatusText(b.Status)+", as asked for")
		return
	}
	reply := think(q.conv, b)
	c := Charge{At: time.Now().UTC(), Agent: agentOf(q.conv.System), Dialect: name, Model: q.model, Stream: q.stream, Question: question, Usage: s.cache.prompt(q.model, q.conv)}
	if b.Rubbish == "text" {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html><title>502</title>the load balancer has lost its way") // nobody reads it gladly
		return
	}
	if !q.stream {
		c.Usage, c.Outcome = c.Usage.add(said(reply)), "complete"
		w.Header().Set("Content-Type", "application/json")
		// A provider has done its work when it begins to write.
		s.charge(c)
		_ = json.NewEncoder(w).Encode(d.whole(q, piece{reply.Text, reply.Calls, c.Usage, true, true})) //nolint:errchkjson // as above
		return
	}
	s.stream(w, r, d, q, reply, b, c)
}

func lastQuestion(c mind.Conversation) string {
	q := ""
	for _, m := range c.Messages {
		if !m.Model && m.Text != "" {
			q = m.Text
		}
	}
	return q[:min(len(q), 300)]
}

// think answers, or says rubbish.
func think(c mind.Conversation, b Behaviour) mind.Reply {
	switch b.Rubbish {
	case "huge":
		return mind.Reply{Text: strings.Repeat("word ", 2<<20)}
	case "silence":
		return mind.Reply{}
	case "tools":
		if len(c.Tools) > 0 {
			return mind.Reply{Calls: []mind.Call{{ID: fmt.Sprintf("call-%d", len(c.Messages)), Name: c.Tools[len(c.Tools)-1].Name, Args: map[string]any{"code": "print(1)", "request": "again"}}}}
		}
	}
	return mind.Think(c)
}

func (s *Server) allowed(r *http.Request) bool {
	if s.o.Key == "" {
		return true
	}
	return r.Header.Get("X-Goog-Api-Key") == s.o.Key || r.Header.Get("Authorization") == "Bearer "+s.o.Key || r.URL.Query().Get("key") == s.o.Key
}

// pieces cuts a reply as models say it: some words at a time, calls whole.
func pieces(r mind.Reply, prompt Usage) []piece {
	var out []piece
	u := prompt.add(Usage{Thoughts: 2 * tokens(r.Thought)})
	const size = 24 // bytes; cut behind a rune
	text, told := r.Text, 0
	for text != "" {
		n := min(len(text), max(size, len(r.Text)/400))
		for n < len(text) && text[n]&0xC0 == 0x80 {
			n++
		}
		told += n
		v := u
		v.Output += tokens(r.Text[:told])
		out = append(out, piece{text: text[:n], usage: v})
		text = text[n:]
	}
	if len(r.Calls) > 0 || len(out) == 0 {
		out = append(out, piece{calls: r.Calls, usage: prompt.add(said(r))})
	}
	out[0].first, out[len(out)-1].last = true, true
	return out
}

// stream says a reply piece by piece, and charges what it got to say.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, d dialect, q request, reply mind.Reply, b Behaviour, c Charge) {
	delay := s.o.ChunkDelay
	if b.ChunkDelayMS > 0 {
		delay = time.Duration(b.ChunkDelayMS) * time.Millisecond
	}
	all := pieces(reply, c.Usage)
	c.Outcome = "complete"
	defer func() { s.charge(c) }()
	write := events(w, q.array)
	for i, p := range all {
		if i > 0 {
			if err := pause(r.Context(), delay); err != nil {
				c.Outcome = "aborted"
				return
			}
		}
		if b.Rubbish == "cut" && i >= (len(all)+1)/2 {
			c.Outcome = "cut"
			defer panic(http.ErrAbortHandler) //nolint:gocritic // after the charge, and the loop is left
			return
		}
		c.Usage = p.usage
		for _, v := range d.chunk(q, p) {
			if err := write(v, false); err != nil {
				c.Outcome = "aborted"
				return
			}
		}
	}
	if err := write(nil, true); err != nil {
		c.Outcome = "aborted"
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// events writes server-sent events, or the elements of a JSON array.
func events(w http.ResponseWriter, array bool) func(v any, end bool) error {
	began := false
	flush := http.NewResponseController(w).Flush
	if array {
		w.Header().Set("Content-Type", "application/json")
	} else {
		w.Header().Set("Content-Type", "text/event-stream")
	}
	return func(v any, end bool) error {
		var text string
		switch {
		case end && array:
			text = "]"
		case end:
			return nil
		case v == done:
			text = "data: [DONE]\n\n"
		default:
			b, err := json.Marshal(v)
			if err != nil {
				return err
			}
			text = "data: " + string(b) + "\r\n\r\n"
			if array {
				text = map[bool]string{false: "[", true: ",\r\n"}[began] + string(b)
			}
		}
		began = true
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
		return flush()
	}
}

// done ends a stream of OpenAI's.
var done any = struct{ done bool }{true}
