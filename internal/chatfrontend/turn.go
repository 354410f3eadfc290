package chatfrontend

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"whisperops.io/functions/internal/chatfrontend/markdown"
	"whisperops.io/functions/internal/chatfrontend/transcript"
)

const (
	// paintEvery is the shortest time between two renderings of a growing answer.
	paintEvery = 120 * time.Millisecond
	// silence is how long a planner may send nothing before its stream counts as lost.
	// A run in the sandbox may take four minutes, of which kagent tells nothing.
	silence = 10 * time.Minute
	// resumeFor is how long a lost stream is looked for: a planner that was killed is back
	// within it, or not at all.
	resumeFor = 90 * time.Second
)

// A TurnState is how far a question has come.
type TurnState string

// The states of a turn.
const (
	TurnWorking TurnState = "working"
	TurnAsking  TurnState = "asking"
	TurnDone    TurnState = "done"
	TurnStopped TurnState = "stopped"
	TurnFailed  TurnState = "failed"
)

// A Problem is why a question has no answer, for a person.
type Problem struct {
	// Code is 402 when the budget is exhausted, else 503.
	Code int `json:"code"`
	// Down names what failed: budget, planner or answer.
	Down    string `json:"down,omitempty"`
	Message string `json:"message"`
	Detail  string `json:"detail,omitempty"`
	Money   *Money `json:"money,omitempty"`
}

// A Step is a transcript's step as the page shows it.
type Step struct {
	ID      string              `json:"id"`
	Kind    transcript.StepKind `json:"kind"`
	Tool    string              `json:"tool,omitempty"`
	Request string              `json:"request,omitempty"`
	Code    string              `json:"code,omitempty"`
	HTML    string              `json:"html,omitempty"`
	Done    bool                `json:"done"`
	Failed  bool                `json:"failed,omitempty"`
}

// A View is what a page shows of a turn. It is replaced, never changed.
type View struct {
	ID       string          `json:"id"`
	Question string          `json:"question"`
	State    TurnState       `json:"state"`
	Started  time.Time       `json:"started"`
	Ended    *time.Time      `json:"ended,omitempty"`
	Steps    []Step          `json:"steps"`
	Blocks   []string        `json:"blocks"` // HTML
	Notice   string          `json:"notice,omitempty"`
	Ask      *transcript.Ask `json:"ask,omitempty"`
	Problem  *Problem        `json:"problem,omitempty"`
	Markdown string          `json:"markdown,omitempty"` // the answer, once it is complete
}

// A turn is one question and its answer.
type turn struct {
	conversation *conversation
	log          *slog.Logger

	mu      sync.Mutex
	view    View
	version int
	changed chan struct{} // closed at the next change
	stop    func()        // ends the run; nil when none is
	stopped bool          // a person said so
	pending *transcript.Transcript
}

func newTurn(c *conversation, question string, log *slog.Logger, now time.Time) *turn {
	return &turn{
		conversation: c,
		log:          log,
		view:         View{ID: newID(), Question: question, State: TurnWorking, Started: now, Steps: []Step{}, Blocks: []string{}},
		changed:      make(chan struct{}),
	}
}

// look returns the view, and a channel that is closed when there is a newer one.
func (t *turn) look() (View, int, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.view, t.version, t.changed
}

func (t *turn) change(f func(v *View)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(&t.view)
	t.version++
	close(t.changed)
	t.changed = make(chan struct{})
}

// A runner answers questions.
type runner struct {
	planner  *planner
	budget   func(context.Context) (Money, error)
	pictures *fetcher
	metrics  *metrics
	timeout  time.Duration
	now      func() time.Time
}

// An exchange is the answering of one turn, from a question or an answer to a question back.
type exchange struct {
	*runner

	turn *turn
	conn *connection
	ts   *transcript.Transcript

	painted  time.Time
	painting time.Duration
	dirty    bool
}

// answer sees a turn through to its end. The stream is the server's: it goes on
// whoever watches.
func (r *runner) answer(ctx context.Context, t *turn, conn *connection, m *a2a.Message) {
	ctx, cancel := context.WithTimeout(withUser(ctx, t.conversation.user), r.timeout)
	defer cancel()
	t.mu.Lock()
	t.stop = cancel
	stopped := t.stopped
	ts := t.pending
	t.mu.Unlock()
	if stopped {
		cancel()
	}
	if ts == nil {
		ts = &transcript.Transcript{}
	}
	ts.State, ts.Ask = transcript.Working, nil
	x := &exchange{runner: r, turn: t, conn: conn, ts: ts}
	started := r.now()
	err := x.follow(ctx, conn.send(ctx, m))
	for lost := r.now(); err == nil && ts.State == transcript.Working && !ts.Endless && ctx.Err() == nil; {
		// The stream ended and the task did not: only a state that is final ends a turn.
		err = x.resume(ctx, lost)
	}
	x.end(ctx, err)
	r.metrics.answers.WithLabelValues(x.outcome()).Inc()
	r.metrics.seconds.Observe(r.now().Sub(started).Seconds())
}

func (x *exchange) outcome() string {
	v, _, _ := x.turn.look()
	if v.Problem != nil && v.Problem.Code == 402 {
		return "budget"
	}
	return string(v.State)
}

// An item is what a stream yields.
type item struct {
	event a2a.Event
	err   error
}

// channel hands a stream on until it ends, breaks, or ctx does; the channel is closed
// then.
func channel(ctx context.Context, events iter.Seq2[a2a.Event, error]) <-chan item {
	items := make(chan item)
	go func() {
		defer close(items)
		defer func() {
			// What comes from outside goes through code of others.
			if p := recover(); p != nil {
				select {
				case items <- item{err: notA2AError{fmt.Sprintf("the planner's answer can't be read: %v", p)}}:
				case <-ctx.Done():
				}
			}
		}()
		for e, err := range events {
			select {
			case items <- item{e, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return items
}

// follow takes in a stream until it ends. Its error is one after which trying again
// is of no use; a stream that broke is none.
func (x *exchange) follow(ctx context.Context, events iter.Seq2[a2a.Event, error]) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	items := channel(ctx, events)
	paint := time.NewTimer(time.Hour)
	defer paint.Stop()
	quiet := time.NewTimer(silence)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-quiet.C:
			return nil
		case <-paint.C:
			x.paint() //nolint:contextcheck // pictures are fetched beyond the end of an answer
		case i, open := <-items:
			if !open {
				return nil
			}
			if i.err != nil {
				x.turn.log.Debug("Stream of the planner broke", "error", i.err)
				if overran(ctx) {
					return errOverrun
				}
				if x.ts.TaskID == "" && cutOff(i.err) {
					return said("the agent stopped in the middle of a word")
				}
				if hopeless(i.err) || x.ts.TaskID == "" {
					return i.err
				}
				return nil
			}
			quiet.Reset(silence)
			x.ts.Apply(i.event)
			if x.ts.Endless || x.ts.State != transcript.Working {
				return nil
			}
			if !x.dirty {
				x.dirty = true
				// A long answer takes long to render: it is rendered less often.
				paint.Reset(max(0, max(paintEvery, 5*x.painting)-x.now().Sub(x.painted)))
			}
		}
	}
}

// resume looks for a task whose stream broke, and follows it on.
func (x *exchange) resume(ctx context.Context, lost time.Time) error {
	if x.ts.TaskID == "" {
		return said("the agent ended its answer before it began")
	}
	x.turn.change(func(v *View) { v.Notice = "The connection to the agent was lost. Looking for the answer…" })
	for wait := 200 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		streamed, over, err := x.rejoin(ctx)
		if over {
			return err
		}
		if streamed > wait {
			lost = x.now()
		}
		if money, err := x.budget(ctx); err == nil && money.Exhausted {
			return said("the agent was stopped")
		}
		if x.now().Sub(lost) > resumeFor {
			return said("the agent went away in the middle of the answer and did not come back")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// rejoin finds the task and follows it for as long as its stream lasts. It says whether
// there is nothing more to look for, and why; err is nil while there is.
func (x *exchange) rejoin(ctx context.Context) (streamed time.Duration, over bool, err error) {
	conn, err := x.planner.connect(ctx)
	if err != nil {
		return 0, false, nil //nolint:nilerr // it is away, and may come back
	}
	x.conn = conn
	task, err := conn.task(ctx, x.ts.TaskID)
	switch {
	case errors.Is(err, a2a.ErrTaskNotFound):
		return 0, true, said("the agent was restarted and has lost the question")
	case err != nil:
		return 0, false, nil //nolint:nilerr // as above
	}
	x.ts.Apply(task)
	x.paint() //nolint:contextcheck // pictures are fetched beyond the end of an answer
	if x.ts.State != transcript.Working {
		return 0, true, nil
	}
	x.turn.change(func(v *View) { v.Notice = "" })
	before := x.now()
	err = x.follow(ctx, conn.resume(ctx, x.ts.TaskID))
	if err != nil && !errors.Is(err, a2a.ErrUnsupportedOperation) && !errors.Is(err, a2a.ErrMethodNotFound) {
		return 0, true, err
	}
	return x.now().Sub(before), x.ts.State != transcript.Working || x.ts.Endless || ctx.Err() != nil, nil
}

// redact takes out of an agent's error what such errors carry along: addresses with
// keys in them, and keys.
func redact(s string) string {
	s = addresses.ReplaceAllString(s, "[address]")
	return secrets.ReplaceAllString(s, "$1=[left out]")
}

var (
	addresses = regexp.MustCompile(`(?i)\b[a-z][a-z0-9+.-]*://[^\s"'<>)\]]+`)
	secrets   = regexp.MustCompile(`(?i)\b((?:api[-_]?)?key|token|secret|password|signature|authorization|bearer)["']?(?:\s*[:=]\s*|\s+)["']?[A-Za-z0-9+/_.~-]{8,}`)
)

// said is an error in words for the person.
type said string

func (s said) Error() string { return string(s) }

// end says how the turn ended.
func (x *exchange) end(ctx context.Context, err error) {
	x.turn.mu.Lock()
	stopped := x.turn.stopped
	x.turn.stop = nil
	x.turn.mu.Unlock()

	now, notice, state := x.now(), "", TurnFailed
	var problem *Problem
	switch {
	case x.ts.State == transcript.Done && x.ts.Answer() == "" && len(x.ts.Pictures) == 0:
		problem = &Problem{Code: 503, Down: "answer", Message: "The agent ended without a word. Ask again, or in another way."}
	case x.ts.State == transcript.Done:
		state = TurnDone
	case x.ts.State == transcript.Asking && !stopped:
		state = TurnAsking
	case x.ts.State == transcript.Canceled, stopped:
		state, notice = TurnStopped, "Stopped."
		if x.ts.State != transcript.Canceled {
			notice = x.tell(ctx)
		}
	case x.ts.Endless:
		x.tell(ctx)
		problem = &Problem{Code: 503, Down: "answer", Message: fmt.Sprintf("The agent took %d steps without coming to an answer, so it was stopped. Ask in a simpler way, or for a part of it.", transcript.MaxSteps)}
	case x.ts.State == transcript.Failed:
		problem = &Problem{Code: 503, Down: "answer", Message: "The agent could not answer.", Detail: redact(x.ts.Problem)}
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		x.tell(ctx)
		problem = &Problem{Code: 503, Down: "answer", Message: fmt.Sprintf("The agent had no answer after %s, so it was stopped.", x.timeout)}
	case ctx.Err() != nil:
		problem = &Problem{Code: 503, Down: "page", Message: "The server of this page was stopped while the agent answered. Ask again."}
	case err != nil && hopeless(err):
		problem = &Problem{Code: 503, Down: "planner", Message: "The agent's answer could not be read.", Detail: unreadable(err)}
	case errors.As(err, new(said)):
		problem = &Problem{Code: 503, Down: "planner", Message: sentence(err.Error())}
	case err != nil && x.ts.TaskID == "":
		problem = &Problem{Code: 503, Down: "planner", Message: cantReach, Detail: sentence(unreachable(err))}
	default:
		problem = &Problem{Code: 503, Down: "planner", Message: "The agent ended its answer too early."}
	}
	if problem != nil && ctx.Err() == nil {
		// Was it the money? Only the budget itself can say so.
		if m, err := x.budget(ctx); err == nil && m.Exhausted {
			problem = &Problem{Code: 402, Down: "budget", Message: "The agent's budget was used up while it answered.", Detail: problem.Detail, Money: &m}
		}
		x.turn.log.Info("Answer failed", "down", problem.Down, "error", err, "detail", problem.Detail)
	}
	if x.ts.Cut {
		notice = strings.TrimSpace(notice + " The answer was longer than this page shows; the rest was left out.")
	}
	x.draw(func(v *View) { //nolint:contextcheck // pictures are fetched beyond the end of an answer
		v.State, v.Ended, v.Notice, v.Problem, v.Ask = state, &now, notice, problem, nil
		if state == TurnAsking {
			v.Ask = x.ts.Ask
		}
		v.Markdown = x.ts.Answer()
	}, state)
	x.turn.mu.Lock()
	x.turn.pending = nil
	if state == TurnAsking {
		x.turn.pending = x.ts
	}
	x.turn.mu.Unlock()
}

// tell has the agent stop, and says what became of it.
func (x *exchange) tell(ctx context.Context) string {
	if x.ts.TaskID == "" {
		return "Stopped before the agent began."
	}
	ctx = withUser(context.WithoutCancel(ctx), x.turn.conversation.user)
	task, err := x.conn.cancel(ctx, x.ts.TaskID)
	switch {
	case err == nil && task.Status.State == a2a.TaskStateCompleted:
		return "Stopped; the agent had just finished."
	case err == nil:
		return "Stopped."
	case errors.Is(err, a2a.ErrTaskNotCancelable), errors.Is(err, a2a.ErrTaskNotFound):
		return "Stopped; the agent had already ended."
	default:
		x.turn.log.Info("Cannot stop the agent", "error", err)
		return "Stopped here. The agent could not be told to stop, so it may go on for a moment, and cost."
	}
}

func (x *exchange) paint() { x.draw(func(*View) {}, TurnWorking) }

// draw renders the transcript into the view.
func (x *exchange) draw(more func(*View), state TurnState) {
	begun := x.now()
	c := x.turn.conversation
	for _, p := range x.ts.Pictures {
		c.pictures.keep(p.ID, p.Data)
	}
	used := map[string]bool{}
	var inSteps []string
	resolve := func(note func(path string)) markdown.Pictures {
		return func(address, _ string) (string, bool) {
			path, ok := x.pictures.resolve(c, address)
			if ok {
				note(path)
			}
			return path, ok
		}
	}
	answer := x.ts.Answer()
	if state == TurnWorking {
		answer = unfinished(answer)
	}
	blocks := markdown.Blocks(answer, resolve(func(p string) { used[p] = true }))
	steps := make([]Step, 0, len(x.ts.Steps))
	for _, s := range x.ts.Steps {
		md := s.Result
		if s.Kind == transcript.Remark {
			md = s.Remark
		}
		if s.Kind == transcript.Python || s.Kind == transcript.Dataset {
			md = asOutput(md)
		}
		steps = append(steps, Step{
			ID: s.ID, Kind: s.Kind, Tool: s.Tool, Request: s.Request, Code: s.Code, Done: s.Done, Failed: s.Failed,
			HTML: strings.Join(markdown.Blocks(md, resolve(func(p string) { inSteps = append(inSteps, p) })), "\n"),
		})
	}
	if state != TurnWorking {
		// A chart that the planner forgot to pass on is still the person's.
		for _, p := range x.ts.Pictures {
			inSteps = append(inSteps, c.picturePath(p.ID))
		}
		for _, p := range inSteps {
			if !used[p] {
				used[p] = true
				blocks = append(blocks, `<p><img src="`+p+`" alt="Chart"></p>`)
			}
		}
	}
	x.turn.change(func(v *View) {
		v.Blocks, v.Steps = blocks, steps
		more(v)
	})
	x.conversation().grown(x.now())
	x.painted, x.dirty = x.now(), false
	x.painting = x.painted.Sub(begun)
}

func (x *exchange) conversation() *conversation { return x.turn.conversation }

// asOutput shows what a program printed as it printed it.
func asOutput(s string) string {
	if strings.TrimSpace(s) == "" {
		return ""
	}
	fence := "```"
	for strings.Contains(s, fence) {
		fence += "`"
	}
	return fence + "text\n" + s + "\n" + fence
}

// unfinished takes off a link or picture that is not complete yet, and completes what
// is bold or code: half of it would be shown as signs.
func unfinished(s string) string {
	if i := strings.LastIndex(s, "]("); i >= 0 && !strings.ContainsAny(s[i:], ")\n") {
		if j := strings.LastIndexByte(s[:i], '['); j >= 0 {
			s = strings.TrimSuffix(s[:j], "!")
		}
	}
	paragraph := s[strings.LastIndex(s, "\n")+1:]
	for _, mark := range []string{"`", "**"} {
		if !strings.HasPrefix(paragraph, "```") && strings.Count(paragraph, mark)%2 == 1 {
			if before, ok0 := strings.CutSuffix(s, mark); ok0 {
				s = before
			} else {
				s = strings.TrimRight(s, " ") + mark
			}
		}
	}
	return s
}

const cantReach = "The agent can't be reached."

func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// question is the message that asks something new.
func question(c *conversation, text string) *a2a.Message {
	m := a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart(text))
	m.ContextID = c.context
	return m
}

// reply is the message that answers a question of the agent's. For kagent it is a
// decision, for others a text.
func reply(t *transcript.Transcript, answers [][]string, approve bool) *a2a.Message {
	var part *a2a.Part
	switch {
	case t.Ask.Confirmation && t.Ask.Approve == "":
		list := make([]any, 0, len(t.Ask.Questions))
		for i := range t.Ask.Questions {
			given := []any{}
			if i < len(answers) {
				for _, a := range answers[i] {
					given = append(given, a)
				}
			}
			list = append(list, map[string]any{"answer": given})
		}
		part = a2a.NewDataPart(map[string]any{"decision_type": "approve", "ask_user_answers": list})
	case t.Ask.Confirmation:
		decision := map[string]any{"decision_type": "reject"}
		if approve {
			decision["decision_type"] = "approve"
		}
		part = a2a.NewDataPart(decision)
	default:
		var all []string
		for _, a := range answers {
			all = append(all, strings.Join(a, ", "))
		}
		part = a2a.NewTextPart(strings.Join(slices.DeleteFunc(all, func(s string) bool { return s == "" }), "\n"))
	}
	m := a2a.NewMessage(a2a.MessageRoleUser, part)
	m.TaskID, m.ContextID = t.TaskID, t.ContextID
	return m
}
