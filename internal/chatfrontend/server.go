package chatfrontend

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"whisperops.io/functions/internal/chatfrontend/transcript"
)

//go:embed page
var pageFiles embed.FS

const (
	// maxQuestion bounds a question, in bytes.
	maxQuestion = 16 << 10
	// maxAtOnce bounds the questions of one person that are answered at the same time, so
	// that nobody takes all the room.
	maxAtOnce = 5
	maxBody   = 64 << 10
	// keepAlive is how often a stream without news says so: proxies close what is silent
	// for a minute.
	keepAlive = 15 * time.Second
	// writeTimeout is how long a page may take to take in one event.
	writeTimeout = 30 * time.Second
	// csp: the page loads from here alone, runs its one script, and that can put only
	// into the page what the server rendered.
	csp = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types server"
)

// An Agent is what the page says of the agent it belongs to.
type Agent struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Dataset     string `json:"dataset"`
}

type server struct {
	agent      Agent
	contact    string // who can raise the budget; empty: the order's owner
	readBudget *budgetReader
	planner    *planner
	runner     *runner
	store      *store
	auth       authenticator
	metrics    *metrics
	log        *slog.Logger
	now        func() time.Time
	keepAlive  time.Duration
	limit      int // questions answered at once

	cancel  context.CancelFunc
	ctx     context.Context //nolint:containedctx // answers outlive the requests that ask for them
	running sync.WaitGroup
	slots   chan struct{}

	page    *template.Template
	assets  map[string]asset
	closing chan struct{}
}

type asset struct {
	data       []byte
	kind, etag string
}

// routes is the whole site.
func (s *server) routes() (http.Handler, error) {
	if err := s.load(); err != nil {
		return nil, err
	}
	s.slots = make(chan struct{}, s.limit)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", ok)
	mux.HandleFunc("GET /readyz", s.ready)
	mux.HandleFunc("GET /assets/{name}", s.serveAsset)
	mux.HandleFunc("GET /favicon.ico", http.NotFound)
	s.auth.routes(mux)
	own := func(pattern string, h http.HandlerFunc) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			p, ok := s.auth.person(w, r)
			if ok {
				h(w, r.WithContext(context.WithValue(r.Context(), personKey{}, p)))
			}
		})
	}
	own("GET /{$}", s.servePage)
	own("GET /c/{conversation}", s.servePage)
	own("GET /api/state", s.serveState)
	own("GET /api/conversations/{conversation}", s.serveConversation)
	own("DELETE /api/conversations/{conversation}", s.forget)
	own("GET /api/conversations/{conversation}/pictures/{picture}", s.servePicture)
	own("POST /api/conversations/{conversation}/turns", s.ask)
	own("GET /api/conversations/{conversation}/turns/{turn}/events", s.watch)
	own("POST /api/conversations/{conversation}/turns/{turn}/stop", s.stop)
	own("POST /api/conversations/{conversation}/turns/{turn}/answer", s.reply)
	return headers(http.NewCrossOriginProtection().Handler(mux)), nil
}

func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", csp)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func (s *server) load() error {
	t, err := template.ParseFS(pageFiles, "page/index.html")
	if err != nil {
		return fmt.Errorf("cannot read the page: %w", err)
	}
	s.page, s.assets = t, map[string]asset{}
	kinds := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	return fs.WalkDir(pageFiles, "page", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".html") {
			return err
		}
		b, err := pageFiles.ReadFile(path)
		sum := sha256.Sum256(b)
		s.assets[d.Name()] = asset{data: b, kind: kinds[path[strings.LastIndexByte(path, '.'):]], etag: `"` + hex.EncodeToString(sum[:8]) + `"`}
		return err
	})
}

func ok(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") }

func (s *server) ready(w http.ResponseWriter, r *http.Request) {
	select {
	case <-s.closing:
		http.Error(w, "stopping", http.StatusServiceUnavailable)
	default:
		ok(w, r)
	}
}

func (s *server) serveAsset(w http.ResponseWriter, r *http.Request) {
	a, found := s.assets[r.PathValue("name")]
	if !found {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", a.kind)
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", a.etag)
	if r.Header.Get("If-None-Match") == a.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = w.Write(a.data)
}

// money is the one GET of the budget that a request makes.
func (s *server) money(ctx context.Context) (Money, error) {
	b, err := s.readBudget.read(ctx)
	switch {
	case err == nil:
		s.metrics.budget.WithLabelValues("ok").Inc()
	case errors.Is(err, errNoBudget):
		s.metrics.budget.WithLabelValues("missing").Inc()
		return Money{}, err
	default:
		s.metrics.budget.WithLabelValues("error").Inc()
		if ctx.Err() == nil {
			s.log.Info("Cannot read budget", "error", err)
		}
		return Money{}, err
	}
	return money(b, s.agent.Name, s.contact, s.now()), nil
}

// verdict says why no question can be asked now, or nil.
func (s *server) verdict(m Money, err error) *Problem {
	switch {
	case errors.Is(err, errNoBudget):
		return &Problem{Code: http.StatusServiceUnavailable, Down: "budget",
			Message: "The agent has no budget yet.", Detail: "It is being made, or was removed. This page looks again by itself."}
	case err != nil:
		return &Problem{Code: http.StatusServiceUnavailable, Down: "budget",
			Message: "The agent's budget can't be read at the moment.", Detail: "Without it no question is passed on. This says nothing about the money; this page looks again by itself."}
	case m.Exhausted:
		return &Problem{Code: http.StatusPaymentRequired, Down: "budget", Message: "The agent's budget is used up.", Money: &m}
	}
	return nil
}

// A Page is what the template shows.
type Page struct {
	Agent   Agent
	Problem *Problem
	Person  string
	Open    bool
	SignOut string // path; empty where one can't
}

func (s *server) servePage(w http.ResponseWriter, r *http.Request) {
	p := Page{Agent: s.agent, Person: personOf(r.Context()).Name, Open: s.auth.describe() == "open"}
	if s.auth.describe() == "oidc" {
		p.SignOut = signOutPath
	}
	p.Problem = s.verdict(s.money(r.Context()))
	status := http.StatusOK
	if p.Problem != nil {
		status = p.Problem.Code
	}
	var buf bytes.Buffer
	if err := s.page.Execute(&buf, p); err != nil {
		s.log.Error("Cannot render page", "error", err)
		http.Error(w, "cannot render the page", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "10")
	}
	w.WriteHeader(status)
	_, _ = w.Write(buf.Bytes())
}

// A State is what a page asks for when it opens, and when somebody comes back to it.
type State struct {
	Agent         Agent     `json:"agent"`
	Person        string    `json:"person,omitempty"`
	Money         *Money    `json:"money,omitempty"`
	Problem       *Problem  `json:"problem,omitempty"`
	Conversations []Summary `json:"conversations"`
}

// A Summary is a line of the list of conversations.
type Summary struct {
	ID      string    `json:"id"`
	Title   string    `json:"title"`
	Used    time.Time `json:"used"`
	Running bool      `json:"running,omitempty"`
}

func (s *server) serveState(w http.ResponseWriter, r *http.Request) {
	person := personOf(r.Context())
	out := State{Agent: s.agent, Person: person.Name, Conversations: []Summary{}}
	m, err := s.money(r.Context())
	if err == nil {
		out.Money = &m
	}
	out.Problem = s.verdict(m, err)
	for _, c := range s.store.list(person.Key) {
		running := c.running() != nil
		c.mu.Lock()
		if len(c.turns) > 0 {
			out.Conversations = append(out.Conversations, Summary{ID: c.id, Title: c.title, Used: c.used, Running: running})
		}
		c.mu.Unlock()
	}
	answer(w, http.StatusOK, out)
}

// A Conversation is one as a page shows it.
type Conversation struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	Turns []View `json:"turns"`
}

func (s *server) serveConversation(w http.ResponseWriter, r *http.Request) {
	c := s.conversation(w, r)
	if c == nil {
		return
	}
	c.mu.Lock()
	out := Conversation{ID: c.id, Title: c.title, Turns: []View{}}
	turns := slices.Clone(c.turns)
	c.mu.Unlock()
	for _, t := range turns {
		v, _, _ := t.look()
		out.Turns = append(out.Turns, v)
	}
	answer(w, http.StatusOK, out)
}

// conversation finds the one that the path names, if it is the person's own.
func (s *server) conversation(w http.ResponseWriter, r *http.Request) *conversation {
	c := s.store.get(personOf(r.Context()).Key, r.PathValue("conversation"))
	if c == nil {
		refuse(w, r, http.StatusNotFound, Problem{Code: http.StatusNotFound, Down: "conversation",
			Message: "This conversation is not here any more.", Detail: "Conversations are kept in memory for a while, and end when this page's server is restarted."})
	}
	return c
}

func (s *server) forget(w http.ResponseWriter, r *http.Request) {
	c := s.conversation(w, r)
	if c == nil {
		return
	}
	if t := c.running(); t != nil {
		s.halt(t)
	}
	s.store.remove(c)
	w.WriteHeader(http.StatusNoContent)
}

func (s *server) servePicture(w http.ResponseWriter, r *http.Request) {
	c := s.conversation(w, r)
	if c == nil {
		return
	}
	p := c.pictures.get(r.PathValue("picture"))
	if p == nil {
		http.NotFound(w, r)
		return
	}
	select {
	case <-p.ready:
	case <-r.Context().Done():
		return
	}
	if p.data == nil {
		http.Error(w, "the picture could not be had", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", p.kind)
	w.Header().Set("Content-Disposition", `inline; filename="chart.`+strings.TrimPrefix(p.kind, "image/")+`"`)
	w.Header().Set("Cache-Control", "private, max-age=86400, immutable")
	_, _ = w.Write(p.data)
}

// A Question is what a page sends to ask.
type Question struct {
	Question string `json:"question"`
}

// Asked is the answer to it: where the answer grows.
type Asked struct {
	Conversation string `json:"conversation"`
	Turn         View   `json:"turn"`
}

// ask takes a question in. It has looked at the money and at the planner before it says
// yes, so that a no has a status of its own.
func (s *server) ask(w http.ResponseWriter, r *http.Request) {
	q := Question{}
	if !decode(w, r, &q) {
		return
	}
	q.Question = strings.TrimSpace(strings.ToValidUTF8(q.Question, "\uFFFD"))
	switch {
	case q.Question == "":
		refuse(w, r, http.StatusBadRequest, Problem{Code: http.StatusBadRequest, Message: "The question is empty."})
		return
	case len(q.Question) > maxQuestion:
		refuse(w, r, http.StatusRequestEntityTooLarge, Problem{Code: http.StatusRequestEntityTooLarge, Message: fmt.Sprintf("The question is too long: it has %d characters, of which %d fit.", utf8.RuneCountInString(q.Question), maxQuestion)})
		return
	}
	var c *conversation
	isNew := r.PathValue("conversation") == "new"
	if !isNew {
		if c = s.conversation(w, r); c == nil {
			return
		}
		if t := c.running(); t != nil {
			s.busy(w, r)
			return
		}
	}
	if n := s.store.answering(personOf(r.Context()).Key); n >= maxAtOnce {
		refuse(w, r, http.StatusTooManyRequests, Problem{Code: http.StatusTooManyRequests, Message: fmt.Sprintf("The agent is answering %d questions of yours already.", n)})
		return
	}
	conn, done := s.admit(w, r)
	if conn == nil {
		return
	}
	now := s.now()
	if isNew {
		c = s.store.create(personOf(r.Context()).Key, now)
	}
	t := newTurn(c, q.Question, s.log.With("conversation", c.id[:6]), now)
	c.mu.Lock()
	full := len(c.turns) >= maxTurns
	taken := !full && slices.ContainsFunc(c.turns, func(o *turn) bool { v, _, _ := o.look(); return v.State == TurnWorking })
	if !full && !taken {
		if c.title == "" {
			c.title = title(q.Question)
		}
		// A question that is left unanswered is over when another is asked.
		for _, o := range c.turns {
			if v, _, _ := o.look(); v.State == TurnAsking {
				o.change(func(v *View) { v.State, v.Ask, v.Notice = TurnStopped, nil, "Left unanswered." })
			}
		}
		c.turns, c.used = append(c.turns, t), now
	}
	c.mu.Unlock()
	switch {
	case full:
		done()
		refuse(w, r, http.StatusConflict, Problem{Code: http.StatusConflict, Message: "This conversation is full. Begin a new one."})
		return
	case taken:
		done()
		s.busy(w, r)
		return
	}
	s.start(t, conn, question(c, q.Question), done)
	v, _, _ := t.look()
	answer(w, http.StatusAccepted, Asked{Conversation: c.id, Turn: v})
}

func (s *server) busy(w http.ResponseWriter, r *http.Request) {
	refuse(w, r, http.StatusConflict, Problem{Code: http.StatusConflict, Down: "conversation", Message: "The agent is still answering in this conversation."})
}

// admit checks what a question needs: money, a planner, room. It has answered when it
// returns nil; else done gives the room back.
func (s *server) admit(w http.ResponseWriter, r *http.Request) (conn *connection, done func()) {
	no := func(p Problem) (*connection, func()) {
		s.metrics.refused.WithLabelValues(strconv.Itoa(p.Code)).Inc()
		refuse(w, r, p.Code, p)
		return nil, nil
	}
	if p := s.verdict(s.money(r.Context())); p != nil {
		return no(*p)
	}
	select {
	case s.slots <- struct{}{}:
	default:
		return no(Problem{Code: http.StatusServiceUnavailable, Down: "page", Message: "Too many questions are being answered at the moment. Try again in a minute."})
	}
	conn, err := s.planner.connect(r.Context())
	if err != nil {
		<-s.slots
		s.log.Info("Planner can't be reached", "error", err)
		return no(Problem{Code: http.StatusServiceUnavailable, Down: "planner", Message: cantReach, Detail: sentence(unreachable(err))})
	}
	return conn, func() { <-s.slots }
}

func (s *server) start(t *turn, conn *connection, m *a2a.Message, done func()) {
	s.metrics.running.Inc()
	s.running.Go(func() {
		defer done()
		defer s.metrics.running.Dec()
		s.runner.answer(s.ctx, t, conn, m)
		s.store.trim()
	})
}

func (s *server) findTurn(w http.ResponseWriter, r *http.Request) *turn {
	c := s.conversation(w, r)
	if c == nil {
		return nil
	}
	t := c.turn(r.PathValue("turn"))
	if t == nil {
		refuse(w, r, http.StatusNotFound, Problem{Code: http.StatusNotFound, Down: "conversation", Message: "This question is not here any more."})
	}
	return t
}

// stop ends an answer. The watchers see what became of it.
func (s *server) stop(w http.ResponseWriter, r *http.Request) {
	if t := s.findTurn(w, r); t != nil {
		s.halt(t)
		w.WriteHeader(http.StatusNoContent)
	}
}

func (s *server) halt(t *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch t.view.State {
	case TurnWorking:
		t.stopped = true
		if t.stop != nil {
			t.stop()
		}
	case TurnAsking:
		t.view.State, t.view.Ask, t.view.Notice = TurnStopped, nil, "Stopped."
		t.version++
		close(t.changed)
		t.changed = make(chan struct{})
	default: // it has ended
	}
}

// A Reply answers what the agent asked back.
type Reply struct {
	Answers [][]string `json:"answers"` // one list for each question
	Approve bool       `json:"approve"` // where the agent wants a yes or no
}

func (s *server) reply(w http.ResponseWriter, r *http.Request) {
	t := s.findTurn(w, r)
	if t == nil {
		return
	}
	in := Reply{}
	if !decode(w, r, &in) {
		return
	}
	conn, done := s.admit(w, r)
	if conn == nil {
		return
	}
	t.mu.Lock()
	pending := t.pending
	if t.view.State != TurnAsking || pending == nil || pending.Ask == nil {
		t.mu.Unlock()
		done()
		refuse(w, r, http.StatusConflict, Problem{Code: http.StatusConflict, Down: "conversation", Message: "The agent is not waiting for an answer any more."})
		return
	}
	m := reply(pending, in.Answers, in.Approve)
	// What was asked and answered stays to be read.
	pending.Steps = append(pending.Steps, transcript.Asked(pending.Ask, in.Answers, in.Approve))
	t.view.State, t.view.Ask, t.view.Ended, t.stopped = TurnWorking, nil, nil, false
	t.version++
	close(t.changed)
	t.changed = make(chan struct{})
	v := t.view
	t.mu.Unlock()
	s.start(t, conn, m, done)
	answer(w, http.StatusAccepted, Asked{Conversation: t.conversation.id, Turn: v})
}

// A Patch is what changed of a view since a page last saw it.
type Patch struct {
	State   TurnState       `json:"state"`
	Elapsed int64           `json:"elapsedMs"`
	From    int             `json:"from"`   // blocks from here on are replaced
	Blocks  []string        `json:"blocks"` // HTML
	Steps   []Step          `json:"steps"`  // those that are new or changed
	Order   int             `json:"order"`  // how many steps there are
	Notice  string          `json:"notice"`
	Ask     *transcript.Ask `json:"ask"`
	Problem *Problem        `json:"problem"`
	Text    string          `json:"markdown,omitempty"`
}

// watch streams an answer to a page: first all of it, then what changes. A page that
// comes back gets it anew, and one that is slow gets fewer and larger pieces.
func (s *server) watch(w http.ResponseWriter, r *http.Request) {
	t := s.findTurn(w, r)
	if t == nil {
		return
	}
	s.metrics.streams.Inc()
	defer s.metrics.streams.Dec()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	rc := http.NewResponseController(w)
	send := func(format string, args ...any) bool {
		_ = rc.SetWriteDeadline(time.Now().Add(writeTimeout)) // some writers have none
		_, err := fmt.Fprintf(w, format, args...)
		return err == nil && rc.Flush() == nil
	}
	if !send("retry: 1500\n\n") {
		return
	}
	seen := View{}
	quiet := time.NewTicker(s.keepAlive)
	defer quiet.Stop()
	for {
		v, version, changed := t.look()
		b, err := json.Marshal(patch(seen, v, s.now()))
		if err != nil || !send("id: %d\ndata: %s\n\n", version, b) {
			return
		}
		if seen = v; v.State != TurnWorking {
			send("event: end\ndata: {}\n\n")
			return
		}
		quiet.Reset(s.keepAlive)
	wait:
		for {
			select {
			case <-changed:
				break wait
			case <-quiet.C:
				if !send(": still working\n\n") {
					return
				}
			case <-r.Context().Done():
				return
			}
		}
	}
}

func patch(seen, v View, now time.Time) Patch {
	p := Patch{State: v.State, Notice: v.Notice, Ask: v.Ask, Problem: v.Problem, Text: v.Markdown, Order: len(v.Steps), Steps: []Step{}}
	end := now
	if v.Ended != nil {
		end = *v.Ended
	}
	p.Elapsed = end.Sub(v.Started).Milliseconds()
	for p.From < len(v.Blocks) && p.From < len(seen.Blocks) && v.Blocks[p.From] == seen.Blocks[p.From] {
		p.From++
	}
	p.Blocks = v.Blocks[p.From:]
	for i, s := range v.Steps {
		if i >= len(seen.Steps) || seen.Steps[i] != s {
			p.Steps = append(p.Steps, s)
		}
	}
	return p
}

func title(q string) string {
	q = strings.Join(strings.Fields(q), " ")
	if utf8.RuneCountInString(q) <= 80 {
		return q
	}
	return string([]rune(q)[:79]) + "…"
}

func decode(w http.ResponseWriter, r *http.Request, into any) bool {
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); kind != "application/json" {
		refuse(w, r, http.StatusUnsupportedMediaType, Problem{Code: http.StatusUnsupportedMediaType, Message: "Want a body of type application/json."})
		return false
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	if err := d.Decode(into); err != nil {
		code, tooLarge := http.StatusBadRequest, (*http.MaxBytesError)(nil)
		if errors.As(err, &tooLarge) {
			code = http.StatusRequestEntityTooLarge
		}
		refuse(w, r, code, Problem{Code: code, Message: "The request can't be read: it is too long, or no JSON."})
		return false
	}
	return true
}

func answer(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "cannot write the answer", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b)
}

// refuse answers with a problem: as JSON to the page's script, in words to a person.
func refuse(w http.ResponseWriter, r *http.Request, status int, p Problem) {
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "10")
	}
	if strings.HasPrefix(r.URL.Path, "/api/") {
		answer(w, status, p)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintf(w, "%s %s\n", p.Message, p.Detail)
}
