package chatfrontend

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/chatfrontend/chattest"
)

const worker = "agent_housing_bot__NS__worker"

// answering says the same to every question.
func answering(t *chattest.Task) { t.Answer("ok") }

// waiting answers nothing until it is told to stop.
func waiting(t *chattest.Task) {
	t.Partial("Let me ")
	<-t.Canceled
}

func TestAnswer(t *testing.T) {
	s := newSite(t, func(t *chattest.Task) {
		t.Partial("I will ")
		t.Partial("ask.")
		t.Whole(chattest.Text("I will ask."), chattest.Call("1", worker, map[string]any{"request": "mean of price"}))
		t.Whole(chattest.Response("1", worker, map[string]any{"result": "It is 42.\n\n```python\nprint(42)\n```"}))
		t.Answer("The mean is **42**.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n")
	})
	v := s.visitor()
	a, got := v.answer("new", "What is the mean?")
	if got.State != TurnDone || got.Problem != nil {
		t.Fatalf("got %+v", got)
	}
	if !strings.Contains(got.text(), "The mean is <strong>42</strong>.") || !strings.Contains(got.text(), "<table>") || strings.Count(got.text(), "The mean") != 1 {
		t.Errorf("answer: %s", got.text())
	}
	if len(got.Steps) != 2 || got.Steps[0].HTML != "<p>I will ask.</p>" || got.Steps[1].Code != "print(42)" || got.Steps[1].HTML != "<p>It is 42.</p>" || got.Steps[1].Request != "mean of price" || !got.Steps[1].Done {
		t.Errorf("steps: %+v", got.Steps)
	}
	c := Conversation{}
	if v.send(http.MethodGet, "/api/conversations/"+a.Conversation, nil, &c); len(c.Turns) != 1 || c.Turns[0].State != TurnDone || c.Title != "What is the mean?" {
		t.Errorf("conversation: %+v", c)
	}
	// The next question belongs to the same conversation with the planner.
	v.answer(a.Conversation, "And the median?")
	m := s.planner.Messages()
	if len(m) != 2 || m[0].ContextID == "" || m[0].ContextID != m[1].ContextID || m[0].User == "" || m[0].User != m[1].User || m[1].Text != "And the median?" {
		t.Errorf("the planner got %+v", m)
	}
}

func TestBudgetDecides(t *testing.T) {
	yes, no, spent := true, false, 5.02
	for name, tc := range map[string]struct {
		reason string
		change func(*v1alpha1.XAgentBudget)
		status int
		want   int
	}{
		"Running": {"Money is left.", func(*v1alpha1.XAgentBudget) {}, 0, 200},
		"Exhausted": {"The one meaning of 402.", func(b *v1alpha1.XAgentBudget) {
			b.Status.Paused, b.Status.Cause, b.Status.SpentUSD = &yes, v1alpha1.CauseBudgetExhausted, &spent
		}, 0, 402},
		"OnlyCause":  {"Not paused: the pause is still to come, or lifted.", func(b *v1alpha1.XAgentBudget) { b.Status.Paused, b.Status.Cause = &no, v1alpha1.CauseBudgetExhausted }, 0, 200},
		"OnlyPaused": {"Paused for another reason is not the money.", func(b *v1alpha1.XAgentBudget) { b.Status.Paused, b.Status.Cause = &yes, v1alpha1.CauseAgentUnreachable }, 0, 200},
		"Overspent": {"Monitor-only measures and never cuts.", func(b *v1alpha1.XAgentBudget) {
			b.Status.SpentUSD, b.Spec.Enforcement = &spent, v1alpha1.EnforcementMonitorOnly
		}, 0, 200},
		"NeverMeasured": {"No status yet is not exhausted.", func(b *v1alpha1.XAgentBudget) { b.Status = v1alpha1.XAgentBudgetStatus{} }, 0, 200},
		"NoBudget":      {"An agent in the making has none.", nil, 404, 503},
		"Forbidden":     {"A lost role is not the money.", nil, 403, 503},
		"Down":          {"An API server that is down is not the money.", nil, 500, 503},
		"Busy":          {"Nor one that is busy.", nil, 429, 503},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, answering)
			if tc.change != nil {
				s.kube.Change(tc.change)
			}
			s.kube.Answer(tc.status)
			v := s.visitor()
			page := ""
			if got := v.send(http.MethodGet, "/", nil, &page); got != tc.want {
				t.Errorf("page: got %d, want %d: %s", got, tc.want, tc.reason)
			}
			if exhausted := strings.Contains(page, "budget is used up"); exhausted != (tc.want == 402) {
				t.Errorf("page says exhausted: %t", exhausted)
			}
			if got := s.kube.Gets(); got != 1 {
				t.Errorf("the page read the budget %d times, want 1", got)
			}
			want := tc.want
			if want == 200 {
				want = 202
			}
			body := ""
			if got := v.send(http.MethodPost, "/api/conversations/new/turns", Question{"hello"}, &body); got != want {
				t.Errorf("asking: got %d, want %d: %s", got, want, body)
			}
			if got := s.kube.Gets(); got != 2 {
				t.Errorf("page and question read the budget %d times, want 2", got)
			}
			if n := len(s.planner.Messages()); want != 202 && n != 0 {
				t.Errorf("%d messages reached the planner", n)
			}
		})
	}
}

func TestExhaustedPageSaysWhatToDo(t *testing.T) {
	s := newSite(t, answering, "BUDGET_CONTACT=Ask Ada of the platform team.")
	s.server.now = func() time.Time { return time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC) }
	s.kube.Exhaust()
	page := ""
	s.visitor().send(http.MethodGet, "/", nil, &page)
	for _, want := range []string{"$5.02 of $5.00 (monthly)", "Tuesday, 1 December 2026, 00:00 UTC", "Ask Ada of the platform team."} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	s.kube.Change(func(b *v1alpha1.XAgentBudget) { b.Spec.TimeZone = "America/New_York" })
	if s.visitor().send(http.MethodGet, "/", nil, &page); !strings.Contains(page, "Tuesday, 1 December 2026, 00:00 EST") {
		t.Error("the month does not begin in the budget's time zone")
	}
	s.kube.Change(func(b *v1alpha1.XAgentBudget) { b.Spec.Period = v1alpha1.PeriodLifetime })
	if s.visitor().send(http.MethodGet, "/", nil, &page); !strings.Contains(page, "Not by itself") {
		t.Error("a lifetime budget does not come back")
	}
}

// An order that was cut is decided on before its budget has the new sum: the page shows
// the sum that the decision was made for, and not money that is left.
func TestExhaustedByACut(t *testing.T) {
	s := newSite(t, answering)
	s.kube.Change(func(b *v1alpha1.XAgentBudget) {
		yes, spent, decided := true, 0.09, 0.01
		b.Spec.BudgetUSD = 5
		b.Status.Paused, b.Status.Cause, b.Status.SpentUSD, b.Status.DecidedBudgetUSD = &yes, v1alpha1.CauseBudgetExhausted, &spent, &decided
	})
	var p Problem
	if code := s.visitor().send(http.MethodPost, "/api/conversations/new/turns", Question{"hello"}, &p); code != 402 || p.Money == nil {
		t.Fatalf("got %d %+v", code, p)
	}
	if p.Money.BudgetUSD != 0.01 || *p.Money.LeftUSD != 0 || p.Money.Ratio != 1 {
		t.Errorf("want 0.09 spent of 0.01, got %+v", *p.Money)
	}
}

func TestPlannerDownIsNotTheMoney(t *testing.T) {
	s := newSite(t, answering)
	s.planner.Close()
	p := Problem{}
	if code := s.visitor().send(http.MethodPost, "/api/conversations/new/turns", Question{"hello"}, &p); code != 503 || p.Down != "planner" || !strings.Contains(p.Detail, "othing listens") {
		t.Errorf("got %d %+v", code, p)
	}
	if strings.Contains(p.Message+p.Detail, "127.0.0.1") {
		t.Errorf("an address reached the page: %+v", p)
	}
}

// Two people share the page, its server, the planner, and what the planner keeps per
// user id.
func TestTwoPeople(t *testing.T) {
	picture := "![c](data:image/png;base64," + base64.StdEncoding.EncodeToString(onePixel) + ")"
	memory := map[string]string{} // what the worker remembers, as kagent's does: by user id
	s := newSite(t, func(t *chattest.Task) {
		before := memory[t.Message.User]
		memory[t.Message.User] = t.Message.Text
		t.Answer("You asked: " + t.Message.Text + ". Before: " + before + ".\n\n" + picture)
	})
	ada, bob := s.visitor(), s.visitor()
	a, _ := ada.answer("new", "my salary is 1234")
	b, got := bob.answer("new", "hello")
	if strings.Contains(got.text(), "1234") {
		t.Errorf("Bob reads what Ada asked: %s", got.text())
	}
	if _, got := ada.answer("new", "a second conversation"); strings.Contains(got.text(), "1234") {
		t.Errorf("conversations of one person mix: %s", got.text())
	}
	seen := map[string]bool{}
	for _, m := range s.planner.Messages() {
		if m.User == "" || seen[m.User] || seen[m.ContextID] {
			t.Errorf("not a user and a context of its own: %+v", m)
		}
		seen[m.User], seen[m.ContextID] = true, true
	}
	pics := Conversation{}
	ada.send(http.MethodGet, "/api/conversations/"+a.Conversation, nil, &pics)
	src := regexp.MustCompile(`src="([^"]+)"`).FindStringSubmatch(pics.Turns[0].Blocks[1])
	if len(src) != 2 || ada.send(http.MethodGet, src[1], nil, nil) != 200 {
		t.Fatalf("Ada can't see her own picture: %v", pics.Turns[0].Blocks)
	}
	for method, paths := range map[string][]string{
		http.MethodGet:    {"/api/conversations/" + a.Conversation, a.path("events"), src[1]},
		http.MethodPost:   {"/api/conversations/" + a.Conversation + "/turns", a.path("stop"), a.path("answer")},
		http.MethodDelete: {"/api/conversations/" + a.Conversation},
	} {
		for _, path := range paths {
			body := ""
			if code := bob.send(method, path, Question{"hi"}, &body); code != 404 || strings.Contains(body, "1234") {
				t.Errorf("Bob: %s %s: %d %s", method, path, code, body)
			}
		}
	}
	state := State{}
	bob.send(http.MethodGet, "/api/state", nil, &state)
	if len(state.Conversations) != 1 || state.Conversations[0].ID != b.Conversation {
		t.Errorf("Bob's list: %+v", state.Conversations)
	}
}

func TestStop(t *testing.T) {
	s := newSite(t, waiting)
	v := s.visitor()
	a := v.ask("new", "forever")
	v.watch(a, func(w View) bool { return len(w.Blocks) > 0 })
	if code := v.send(http.MethodPost, "/api/conversations/"+a.Conversation+"/turns", Question{"more"}, nil); code != http.StatusConflict {
		t.Errorf("a second question at once: %d", code)
	}
	v.send(http.MethodPost, a.path("stop"), Reply{}, nil)
	if got := v.watch(a, nil); got.State != TurnStopped || got.Notice != "Stopped." || got.text() != "<p>Let me</p>" {
		t.Errorf("got %+v", got)
	}
	select {
	case <-s.planner.Task(0).Canceled:
	case <-time.After(10 * time.Second):
		t.Error("the planner was not told to stop")
	}
}

func TestStopThatTheAgentRefuses(t *testing.T) {
	s := newSite(t, func(t *chattest.Task) { t.Partial("on and on") })
	s.planner.Refuse("tasks/cancel", -32601)
	v := s.visitor()
	a := v.ask("new", "forever")
	v.watch(a, func(w View) bool { return len(w.Blocks) > 0 })
	v.send(http.MethodPost, a.path("stop"), Reply{}, nil)
	if got := v.watch(a, nil); got.State != TurnStopped || !strings.Contains(got.Notice, "could not be told") {
		t.Errorf("got %+v", got)
	}
}

// A stream that breaks is no end: the task is looked up, and followed on.
func TestStreamBreaks(t *testing.T) {
	for name, tc := range map[string]struct {
		refuse string
		after  bool // the task ends while nobody listens
		torn   bool // in the middle of an event
	}{
		"GoesOn": {}, "InAWord": {torn: true}, "EndedMeanwhile": {after: true}, "NoResubscribe": {refuse: "tasks/resubscribe"},
	} {
		t.Run(name, func(t *testing.T) {
			next := make(chan struct{})
			s := newSite(t, func(t *chattest.Task) {
				t.Partial("The mean ")
				<-next
				t.Answer("The mean is 42.")
			})
			if tc.refuse != "" {
				s.planner.Refuse(tc.refuse, -32004)
			}
			v := s.visitor()
			a := v.ask("new", "mean?")
			v.watch(a, func(w View) bool { return len(w.Blocks) > 0 })
			if tc.after {
				s.planner.Refuse("tasks/get", -32603)
			}
			if tc.torn {
				s.planner.Task(0).BreakInWord()
			} else {
				s.planner.Task(0).Break()
			}
			if !tc.after {
				v.watch(a, func(w View) bool { return w.Notice == "" })
			}
			close(next)
			if tc.after {
				s.planner.Refuse("tasks/get", 0)
			}
			if got := v.watch(a, nil); got.State != TurnDone || got.text() != "<p>The mean is 42.</p>" {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestPlannerRestarts(t *testing.T) {
	s := newSite(t, waiting)
	v := s.visitor()
	a := v.ask("new", "mean?")
	v.watch(a, func(w View) bool { return len(w.Blocks) > 0 })
	task := s.planner.Task(0)
	s.planner.Forget()
	task.Break()
	got := v.watch(a, nil)
	if got.State != TurnFailed || got.Problem == nil || got.Problem.Code != 503 || !strings.Contains(got.Problem.Message, "restarted") {
		t.Errorf("got %+v %+v", got, got.Problem)
	}
}

func TestBudgetEmptiedWhileAnswering(t *testing.T) {
	next := make(chan struct{})
	s := newSite(t, func(t *chattest.Task) {
		if t.Message.Text != "mean?" {
			t.Answer("42")
			return
		}
		t.Partial("Let me see")
		<-next
		t.Fail("LLM error: 429 budget")
	})
	v := s.visitor()
	a := v.ask("new", "mean?")
	v.watch(a, func(w View) bool { return len(w.Blocks) > 0 })
	s.kube.Exhaust()
	close(next)
	got := v.watch(a, nil)
	if got.State != TurnFailed || got.Problem.Code != 402 || got.Problem.Money == nil || *got.Problem.Money.SpentUSD != 5.02 {
		t.Fatalf("got %+v", got.Problem)
	}
	if code := v.send(http.MethodPost, "/api/conversations/"+a.Conversation+"/turns", Question{"again"}, nil); code != 402 {
		t.Errorf("asking without money: %d", code)
	}
	s.kube.Raise(10)
	if _, got := v.answer(a.Conversation, "again"); got.State != TurnDone {
		t.Errorf("after the raise: %+v", got)
	}
}

// Without an empty budget the same failure is the agent's.
func TestFailureIsNotTheMoney(t *testing.T) {
	s := newSite(t, func(t *chattest.Task) { t.Fail("LLM error: 429 budget exhausted") })
	_, got := s.visitor().answer("new", "mean?")
	if got.State != TurnFailed || got.Problem.Code != 503 || got.Problem.Detail != "LLM error: 429 budget exhausted" {
		t.Errorf("got %+v", got.Problem)
	}
}

func TestAgentAsksBack(t *testing.T) {
	s := newSite(t, func(t *chattest.Task) {
		if t.Message.Data == nil {
			t.AskUser(map[string]any{"question": "Which one?", "choices": []any{"mean", "median"}}, map[string]any{"question": "Why?"})
			return
		}
		t.Answer("Then it is 42.")
	})
	v := s.visitor()
	a, got := v.answer("new", "a typical price?")
	if got.State != TurnAsking || got.Ask == nil || len(got.Ask.Questions) != 2 || got.Ask.Questions[0].Text != "Which one?" || !slices.Equal(got.Ask.Questions[0].Choices, []string{"mean", "median"}) {
		t.Fatalf("got %+v", got)
	}
	if code := v.send(http.MethodPost, a.path("answer"), Reply{Answers: [][]string{{"median"}, {"because"}}}, nil); code != http.StatusAccepted {
		t.Fatalf("answering: %d", code)
	}
	if got = v.watch(a, nil); got.State != TurnDone || got.text() != "<p>Then it is 42.</p>" || got.Steps[0].Kind != "answered" {
		t.Errorf("got %+v", got)
	}
	m := s.planner.Messages()[1]
	if m.TaskID != "task-1" || m.Data["decision_type"] != "approve" || fmt.Sprint(m.Data["ask_user_answers"]) != "[map[answer:[median]] map[answer:[because]]]" {
		t.Errorf("the planner got %+v", m)
	}
	if code := v.send(http.MethodPost, a.path("answer"), Reply{}, nil); code != http.StatusConflict {
		t.Errorf("answering twice: %d", code)
	}
}

// Whatever a planner sends, the person gets a word, and the page lives.
func TestBadPlanners(t *testing.T) {
	event := func(w io.Writer, s string) {
		fmt.Fprintf(w, "data: {\"jsonrpc\":\"2.0\",\"id\":\"1\",\"result\":%s}\n\n", s)
	}
	sse := func(f func(w http.ResponseWriter)) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			f(w)
		}
	}
	status := func(text string) string {
		return fmt.Sprintf(`{"kind":"status-update","taskId":"t","contextId":"c","final":false,"status":{"state":"working","message":{"kind":"message","messageId":"m","role":"agent","parts":[{"kind":"text","text":%q}]}}}`, text)
	}
	for name, tc := range map[string]struct {
		h    http.HandlerFunc
		says string
	}{
		"HTML": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>nginx</html>") }, "could not be read"},
		"500":  {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "boom", http.StatusInternalServerError) }, "can't be reached"},
		"Redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://example.com/", http.StatusFound)
		}, "can't be reached"},
		"Nothing":    {sse(func(http.ResponseWriter) {}), "before it began"},
		"NoJSON":     {sse(func(w http.ResponseWriter) { fmt.Fprint(w, "data: hello\n\n") }), "could not be read"},
		"NoEvent":    {sse(func(w http.ResponseWriter) { event(w, `{"kind":"weather"}`) }), "could not be read"},
		"Null":       {sse(func(w http.ResponseWriter) { event(w, `null`) }), "could not be read"},
		"WrongTypes": {sse(func(w http.ResponseWriter) { event(w, `{"kind":"status-update","status":42}`) }), "could not be read"},
		"Refusal": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"jsonrpc":"2.0","id":"1","error":{"code":-32603,"message":"no"}}`)
		}, "could not be read"},
		"StopsInWord": {sse(func(w http.ResponseWriter) {
			event(w, status("The me"))
			fmt.Fprint(w, `data: {"jsonrpc":"2.0","id":"1","resu`)
		}), "has lost the question"},
		"StopsInFirstWord": {sse(func(w http.ResponseWriter) { fmt.Fprint(w, `data: {"jsonrpc":"2.0","id":"1","resu`) }), "stopped in the middle of a word"},
		"HugeEvent":        {sse(func(w http.ResponseWriter) { event(w, status(strings.Repeat("a", 11<<20))) }), "could not be read"},
		"Silence": {sse(func(w http.ResponseWriter) {
			event(w, `{"kind":"status-update","taskId":"t","contextId":"c","final":true,"status":{"state":"completed"}}`)
		}), "without a word"},
		"EndlessStream": {sse(func(w http.ResponseWriter) {
			for range 20 {
				event(w, status(strings.Repeat("b", 8<<20)))
			}
		}), "more than an answer can hold"},
		"EndlessCalls": {sse(func(w http.ResponseWriter) {
			for i := range 1000 {
				event(w, fmt.Sprintf(`{"kind":"status-update","taskId":"t","contextId":"c","final":false,"status":{"state":"working","message":{"kind":"message","messageId":"m","role":"agent","parts":[{"kind":"data","data":{"id":"%d","name":"execute_python","args":{"code":"1"}},"metadata":{"adk_type":"function_call"}}]}}}`, i))
			}
		}), "without coming to an answer"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, answering)
			s.planner.Raw(func(w http.ResponseWriter, r *http.Request) {
				if b, _ := io.ReadAll(r.Body); strings.Contains(string(b), `"tasks/`) {
					w.Header().Set("Content-Type", "application/json")
					fmt.Fprint(w, `{"jsonrpc":"2.0","id":"1","error":{"code":-32001,"message":"no such task"}}`)
					return
				}
				tc.h(w, r)
			})
			v := s.visitor()
			a, got := v.answer("new", "mean?")
			if got.State != TurnFailed || got.Problem == nil || got.Problem.Code != 503 || !strings.Contains(got.Problem.Message+" "+got.Problem.Detail, tc.says) {
				t.Errorf("got %s %+v", got.State, got.Problem)
			}
			if strings.Contains(got.Problem.Message+got.Problem.Detail, "://") {
				t.Errorf("an address reaches the page: %+v", got.Problem)
			}
			if len(got.text()) > 1<<20 {
				t.Errorf("the page gets %d bytes", len(got.text()))
			}
			s.planner.Raw(nil)
			if _, got := v.answer(a.Conversation, "again"); got.State != TurnDone {
				t.Errorf("afterwards: %+v", got)
			}
		})
	}
}

// An answer of 10 MB in small pieces is cut, and said to be.
func TestLongAnswer(t *testing.T) {
	s := newSite(t, func(t *chattest.Task) {
		for range 1000 {
			t.Partial(strings.Repeat("word ", 2000) + "\n\n")
		}
		t.Complete("The end of " + strings.Repeat("word ", 60000))
	})
	_, got := s.visitor().answer("new", "everything")
	if got.State != TurnDone || !strings.Contains(got.Notice, "longer than this page shows") || len(got.text()) > 300_000 {
		t.Errorf("got %s, %q, %d bytes", got.State, got.Notice, len(got.text()))
	}
}

func TestStreamKeepsAlive(t *testing.T) {
	s := newSite(t, waiting)
	s.server.keepAlive = 10 * time.Millisecond
	v := s.visitor()
	a := v.ask("new", "mean?")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+a.path("events"), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	rsp, err := v.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer rsp.Body.Close() //nolint:errcheck // it was only read
	if rsp.Header.Get("X-Accel-Buffering") != "no" || rsp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers: %v", rsp.Header)
	}
	seen, buf := "", make([]byte, 4096)
	for strings.Count(seen, ": still working") < 3 {
		n, err := rsp.Body.Read(buf)
		if seen += string(buf[:n]); err != nil {
			t.Fatalf("%q: %v", seen, err)
		}
	}
}

// A page that goes away and comes back sees the same answer, and a second page does, too.
func TestComingBack(t *testing.T) {
	next := make(chan struct{})
	s := newSite(t, func(t *chattest.Task) {
		t.Partial("first ")
		<-next
		t.Answer("first second")
	})
	v := s.visitor()
	a := v.ask("new", "mean?")
	began := func(w View) bool { return strings.Contains(w.text(), "first") }
	v.watch(a, began)
	v.watch(a, began) // it left, and comes back in the middle
	close(next)
	if got := v.watch(a, nil); got.text() != "<p>first second</p>" {
		t.Errorf("got %+v", got)
	}
	if got := v.watch(a, nil); got.text() != "<p>first second</p>" {
		t.Errorf("after the end: %+v", got)
	}
}

func TestHeaders(t *testing.T) {
	s := newSite(t, answering)
	for _, path := range []string{"/", "/assets/app.js", "/api/state", "/nothing"} {
		rsp, err := http.Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = rsp.Body.Close()
		policy := rsp.Header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || rsp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", path, rsp.Header)
		}
	}
	page := ""
	s.visitor().send(http.MethodGet, "/", nil, &page)
	for what, re := range map[string]string{"inline script": `<script(?:>|[^>]*[^>"]>)[^<]`, "inline style": `<style|\sstyle=`, "inline handler": `\son[a-z]+=`, "foreign address": `(?:src|href)="(?:https?:)?//`} {
		if m := regexp.MustCompile(re).FindString(page); m != "" {
			t.Errorf("the page has an %s: %q", what, m)
		}
	}
}

func TestForeignRequests(t *testing.T) {
	s := newSite(t, answering)
	v := s.visitor()
	v.header.Set("Sec-Fetch-Site", "cross-site")
	body := ""
	if code := v.send(http.MethodPost, "/api/conversations/new/turns", Question{"hi"}, &body); code != http.StatusForbidden {
		t.Errorf("another site may ask: %d", code)
	}
	v.header = http.Header{}
	for want, q := range map[int]string{400: "  \n ", 413: strings.Repeat("a", maxQuestion+1)} {
		if code := v.send(http.MethodPost, "/api/conversations/new/turns", Question{q}, &body); code != want {
			t.Errorf("a question of %d bytes: %d, want %d", len(q), code, want)
		}
	}
	if code := v.send(http.MethodPost, "/api/conversations/new/turns", map[string]string{"question": strings.Repeat("a", maxBody)}, &body); code != 413 {
		t.Errorf("a huge body: %d", code)
	}
	if code := v.send(http.MethodPost, "/api/conversations/new/turns", nil, &body); code != 415 {
		t.Errorf("no JSON: %d", code)
	}
	if n := len(s.planner.Messages()); n != 0 {
		t.Errorf("%d messages reached the planner", n)
	}
}

func TestBehindProxy(t *testing.T) {
	s := newSite(t, answering, "AUTH=proxy", "AUTH_HEADER=X-Auth-Request-Email")
	v := s.visitor()
	body := ""
	if code := v.send(http.MethodGet, "/", nil, &body); code != 401 {
		t.Errorf("without the header: %d", code)
	}
	v.header["X-Auth-Request-Email"] = []string{"ada@example.org", "eve@example.org"}
	if code := v.send(http.MethodGet, "/api/state", nil, &body); code != 401 {
		t.Errorf("with two of it: %d", code)
	}
	v.header.Set("X-Auth-Request-Email", "ada@example.org")
	a, _ := v.answer("new", "hi")
	state := State{}
	other := s.visitor() // another browser of the same person
	other.header.Set("X-Auth-Request-Email", "Ada@example.org")
	if other.send(http.MethodGet, "/api/state", nil, &state); state.Person != "Ada@example.org" || len(state.Conversations) != 1 {
		t.Errorf("state: %+v", state)
	}
	eve := s.visitor()
	eve.header.Set("X-Auth-Request-Email", "eve@example.org")
	if code := eve.send(http.MethodGet, "/api/conversations/"+a.Conversation, nil, &body); code != 404 {
		t.Errorf("Eve: %d", code)
	}
}

// A page that nobody asks anything on holds no connection, and no goroutine.
func TestIdlePagesCostNothing(t *testing.T) {
	s := newSite(t, answering)
	tr := &http.Transport{DisableKeepAlives: true}
	load := func() {
		v := s.visitor()
		v.http.Transport = tr
		for _, path := range []string{"/", "/assets/app.css", "/assets/app.js", "/api/state"} {
			if code := v.send(http.MethodGet, path, nil, nil); code != 200 {
				t.Fatalf("%s: %d", path, code)
			}
		}
	}
	load()
	before := runtime.NumGoroutine()
	for range 1000 {
		load()
	}
	deadline := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > before+5 && time.Now().Before(deadline) {
		runtime.Gosched()
	}
	if now := runtime.NumGoroutine(); now > before+5 {
		t.Errorf("1000 idle pages keep %d goroutines", now-before)
	}
	if n := len(s.server.store.all); n != 0 {
		t.Errorf("they keep %d conversations", n)
	}
}

func TestStoreForgets(t *testing.T) {
	now := time.Now()
	st := newStore(10 * (perTurn + 1000))
	var first, last *conversation
	for i := range 40 {
		c := st.create(fmt.Sprint("person-", i%20), now.Add(time.Duration(i)*time.Second))
		tn := newTurn(c, strings.Repeat("q", 1000), nil, now)
		tn.view.State = TurnDone
		if i == 0 {
			first, tn.view.State = c, TurnWorking
		}
		c.turns, last = append(c.turns, tn), c
	}
	st.trim()
	if n := len(st.all); n < 9 || n > 12 {
		t.Errorf("%d conversations are kept, want about 10", n)
	}
	if st.get(first.owner, first.id) == nil {
		t.Error("a conversation was dropped in the middle of an answer")
	}
	if st.get(last.owner, last.id) == nil {
		t.Error("the youngest was dropped")
	}
}

func TestUnfinished(t *testing.T) {
	for in, want := range map[string]string{
		"a **b":              "a **b**",
		"a **":               "a ",
		"a **b** c":          "a **b** c",
		"see [the chart](ht": "see ",
		"see ![c](ht":        "see ",
		"[a](b) c":           "[a](b) c",
		"run `x":             "run `x`",
		"**a**\n\nb **c ":    "**a**\n\nb **c**",
		"```python":          "```python",
		"":                   "",
	} {
		if got := unfinished(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		`Post "http://token-meter.whisperops-system.svc:8080/agents/a": connection refused`: `Post "[address]": connection refused`,
		"https://x.example/v1?key=AIzaSyA0123456789 failed":                                 "[address] failed",
		"API key: sk-0123456789abcdef is wrong":                                             "API key=[left out] is wrong",
		"Authorization: Bearer abcdefgh12345":                                               "Authorization: Bearer=[left out]",
		"LLM error: 429 RESOURCE_EXHAUSTED the token limit of 8192 was reached":             "LLM error: 429 RESOURCE_EXHAUSTED the token limit of 8192 was reached",
	} {
		if got := redact(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// One person can't take all the room.
func TestManyAtOnce(t *testing.T) {
	s := newSite(t, waiting)
	v := s.visitor()
	for range maxAtOnce {
		v.ask("new", "forever")
	}
	if code := v.send(http.MethodPost, "/api/conversations/new/turns", Question{"one more"}, nil); code != http.StatusTooManyRequests {
		t.Errorf("got %d", code)
	}
	s.visitor().ask("new", "somebody else's")
}
