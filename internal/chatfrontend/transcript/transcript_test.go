package transcript

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	a2alegacy "github.com/a2aproject/a2a-go/a2a"
	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2acompat/a2av0"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func status(state a2a.TaskState, meta map[string]any, parts ...*a2a.Part) *a2a.TaskStatusUpdateEvent {
	e := &a2a.TaskStatusUpdateEvent{TaskID: "t", ContextID: "c", Metadata: meta, Status: a2a.TaskStatus{State: state}}
	if parts != nil {
		e.Status.Message = &a2a.Message{Role: a2a.MessageRoleAgent, Parts: parts}
	}
	return e
}

var part = map[string]any{"adk_partial": true}

func data(typ string, d map[string]any) *a2a.Part {
	p := a2a.NewDataPart(d)
	p.Metadata = map[string]any{"kagent_type": typ}
	return p
}

func update(appended, last bool, parts ...*a2a.Part) *a2a.TaskArtifactUpdateEvent {
	return &a2a.TaskArtifactUpdateEvent{TaskID: "t", ContextID: "c", Append: appended, LastChunk: last, Artifact: &a2a.Artifact{ID: "a", Parts: parts}}
}

var completed = status(a2a.TaskStateCompleted, nil)

func TestAnswers(t *testing.T) {
	text := a2a.NewTextPart
	for name, tc := range map[string]struct {
		reason string
		events []a2a.Event
		answer string
		state  State
		steps  int
	}{
		"Message": {
			reason: "An agent may answer without a task.",
			events: []a2a.Event{&a2a.Message{Role: a2a.MessageRoleAgent, Parts: a2a.ContentParts{text("hi")}}},
			answer: "hi", state: Done,
		},
		"Echo": {
			reason: "The question comes back as the message of the submitted task; it is no answer.",
			events: []a2a.Event{&a2a.TaskStatusUpdateEvent{Status: a2a.TaskStatus{State: a2a.TaskStateSubmitted, Message: &a2a.Message{Role: a2a.MessageRoleUser, Parts: a2a.ContentParts{text("q")}}}}},
			state:  Working,
		},
		"Chunks": {
			reason: "kagent sends chunks, the whole, and the whole as an artifact.",
			events: []a2a.Event{status(a2a.TaskStateWorking, part, text("The ")), status(a2a.TaskStateWorking, part, text("mean")), status(a2a.TaskStateWorking, nil, text("The mean")), update(false, true, text("The mean")), completed},
			answer: "The mean", state: Done,
		},
		"GrowingChunks": {
			reason: "Some chunks repeat all that came before.",
			events: []a2a.Event{status(a2a.TaskStateWorking, part, text("The mean ")), status(a2a.TaskStateWorking, part, text("The mean is ")), status(a2a.TaskStateWorking, part, text("The mean is 42"))},
			answer: "The mean is 42", state: Working,
		},
		"RepeatedWord": {
			reason: "A short chunk that begins as the answer did is no repetition.",
			events: []a2a.Event{status(a2a.TaskStateWorking, part, text("no ")), status(a2a.TaskStateWorking, part, text("no no"))}, //nolint:dupword // it is what the test is about
			answer: "no no no", state: Working,                                                                                      //nolint:dupword // as above
		},
		"WholeTwice": {
			reason: "A whole message that comes twice is one.",
			events: []a2a.Event{status(a2a.TaskStateWorking, nil, text("hi")), status(a2a.TaskStateWorking, nil, text("hi")), completed},
			answer: "hi", state: Done,
		},
		"AnswersBeforeTheWorker": {
			reason: "What the planner says before it has asked the worker is a remark, and no answer.",
			events: []a2a.Event{
				status(a2a.TaskStateWorking, part, text("It is 41.")),
				status(a2a.TaskStateWorking, nil, text("It is 41."), data("function_call", map[string]any{"id": "1", "name": "x__NS__worker", "args": map[string]any{"request": "r"}})),
				status(a2a.TaskStateWorking, nil, data("function_response", map[string]any{"id": "1", "name": "x__NS__worker", "response": map[string]any{"result": "42"}})),
				status(a2a.TaskStateWorking, nil, text("It is 42.")),
				update(false, true, text("It is 42.")), completed,
			},
			answer: "It is 42.", state: Done, steps: 2,
		},
		"RemarkOnly": {
			reason: "A planner that ends after a tool call has said what it said.",
			events: []a2a.Event{status(a2a.TaskStateWorking, nil, text("I ask."), data("function_call", map[string]any{"id": "1", "name": "worker"})), completed},
			answer: "I ask.", state: Done, steps: 2,
		},
		"Thoughts": {
			reason: "What a model thinks aloud is not for the page.",
			events: []a2a.Event{status(a2a.TaskStateWorking, nil, &a2a.Part{Content: a2a.Text("secret plan"), Metadata: map[string]any{"adk_thought": true}}, text("hi")), completed},
			answer: "hi", state: Done,
		},
		"ArtifactChunks": {
			reason: "Agents made with ADK stream artifacts; the last chunk of some is the whole once more.",
			events: []a2a.Event{update(false, false, text("The ")), update(true, false, text("mean")), update(true, true, text("The mean")), completed},
			answer: "The mean", state: Done,
		},
		"ArtifactLastChunkIsNew": {
			reason: "The last chunk of others is only the last.",
			events: []a2a.Event{update(false, false, text("The ")), update(true, true, text("mean")), completed},
			answer: "The mean", state: Done,
		},
		"TaskAtOnce": {
			reason: "A task that is fetched after a broken stream tells everything anew.",
			events: []a2a.Event{
				status(a2a.TaskStateWorking, part, text("The m")),
				&a2a.Task{ID: "t", ContextID: "c", Status: a2a.TaskStatus{State: a2a.TaskStateCompleted}, Artifacts: []*a2a.Artifact{{ID: "a", Parts: a2a.ContentParts{text("The mean")}}},
					History: []*a2a.Message{{Role: a2a.MessageRoleUser, Parts: a2a.ContentParts{text("q")}}, {Role: a2a.MessageRoleAgent, Metadata: part, Parts: a2a.ContentParts{text("The")}}, {Role: a2a.MessageRoleAgent, Parts: a2a.ContentParts{text("The mean")}}}},
			},
			answer: "The mean", state: Done,
		},
		"Failed":   {reason: "Its words are the problem, not the answer.", events: []a2a.Event{status(a2a.TaskStateFailed, nil, text("LLM error"))}, state: Failed},
		"Canceled": {reason: "As it was told.", events: []a2a.Event{status(a2a.TaskStateWorking, part, text("a")), status(a2a.TaskStateCanceled, nil)}, answer: "a", state: Canceled},
		"Nils":     {reason: "Nothing is not a crash.", events: []a2a.Event{nil, update(true, true), &a2a.TaskArtifactUpdateEvent{}, status(a2a.TaskStateWorking, nil, nil, a2a.NewDataPart(nil), a2a.NewDataPart("x"))}, state: Working},
	} {
		t.Run(name, func(t *testing.T) {
			ts := Transcript{}
			for _, e := range tc.events {
				ts.Apply(e)
			}
			if ts.Answer() != tc.answer || ts.State != tc.state || len(ts.Steps) != tc.steps {
				t.Errorf("got %q, %s, %d steps; want %q, %s, %d: %s", ts.Answer(), ts.State, len(ts.Steps), tc.answer, tc.state, tc.steps, tc.reason)
			}
		})
	}
}

func TestResults(t *testing.T) {
	for name, tc := range map[string]struct {
		response any
		result   string
		code     string
		failed   bool
	}{
		"GoRuntime":     {map[string]any{"result": "42", "subagent_session_id": "s"}, "42", "", false},
		"PythonRuntime": {map[string]any{"result": map[string]any{"result": "42"}}, "42", "", false},
		"Text":          {"42", "42", "", false},
		"WorkerDown":    {map[string]any{"error": "Remote agent 'worker' request failed: connection refused"}, "Remote agent 'worker' request failed: connection refused", "", true},
		"MCP":           {map[string]any{"content": []any{map[string]any{"type": "text", "text": "a"}, map[string]any{"type": "text", "text": "b"}}}, "a\nb", "", false},
		"MCPError":      {map[string]any{"content": []any{map[string]any{"type": "text", "text": "a"}}, "isError": true}, "a", "", true},
		"Other":         {map[string]any{"x": 1.0}, "```json\n{\n  \"x\": 1\n}\n```", "", false},
		"None":          {nil, "", "", false},
		"Code":          {"It is 42.\n\n```python\nprint(42)\n```\n\nDone.", "It is 42.\n\n\nDone.", "print(42)", false},
	} {
		t.Run(name, func(t *testing.T) {
			ts := Transcript{}
			ts.Apply(status(a2a.TaskStateWorking, nil, data("function_call", map[string]any{"id": "1", "name": "worker", "args": map[string]any{"request": "r"}})))
			ts.Apply(status(a2a.TaskStateWorking, nil, data("function_response", map[string]any{"id": "1", "name": "worker", "response": tc.response})))
			s := ts.Steps[0]
			if s.Result != tc.result || s.Code != tc.code || s.Failed != tc.failed || !s.Done || s.Request != "r" || s.Kind != Analyst {
				t.Errorf("got %+v", s)
			}
		})
	}
}

// The stories are streams as kagent sends them, one event a line.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.jsonl")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			ts := Transcript{}
			for line := range strings.Lines(string(b)) {
				ts.Apply(event(t, []byte(line)))
			}
			got, err := json.MarshalIndent(map[string]any{"answer": ts.Answer(), "state": ts.State, "steps": ts.Steps, "ask": ts.Ask, "problem": ts.Problem}, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden := strings.TrimSuffix(f, ".jsonl") + ".want.json"
			if os.Getenv("UPDATE") != "" {
				if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(got)+"\n"); d != "" {
				t.Errorf("UPDATE=1 rewrites it: %s", d)
			}
		})
	}
}

func event(t interface {
	Helper()
	Fatal(args ...any)
}, line []byte,
) a2a.Event {
	t.Helper()
	e, err := a2alegacy.UnmarshalEventJSON(line)
	if err != nil {
		t.Fatal(err)
	}
	v1, err := a2av0.ToV1Event(e)
	if err != nil {
		t.Fatal(err)
	}
	return v1
}

// However a text is cut into chunks, the answer is the text.
func TestChunking(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		whole := rapid.StringMatching(`[a-z ]{1,200}`).Draw(t, "text")
		growing := rapid.Bool().Draw(t, "growing")
		ts := Transcript{}
		for rest, soFar := whole, ""; rest != ""; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "chunk")
			soFar += rest[:n]
			chunk := rest[:n]
			if growing {
				chunk = soFar
			}
			ts.Apply(status(a2a.TaskStateWorking, part, a2a.NewTextPart(chunk)))
			rest = rest[n:]
		}
		ts.Apply(status(a2a.TaskStateWorking, nil, a2a.NewTextPart(whole)))
		if rapid.Bool().Draw(t, "artifact") {
			ts.Apply(update(false, true, a2a.NewTextPart(whole)))
		}
		ts.Apply(completed)
		if want := strings.TrimSpace(whole); ts.Answer() != want || ts.State != Done || len(ts.Steps) != 0 {
			t.Fatalf("got %q, want %q (%d steps)", ts.Answer(), want, len(ts.Steps))
		}
	})
}

// No sequence of events panics, or keeps more than the limits.
func FuzzApply(f *testing.F) {
	files, err := filepath.Glob("testdata/*.jsonl")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ts := Transcript{}
		for line := range strings.Lines(string(b)) {
			legacy, err := a2alegacy.UnmarshalEventJSON([]byte(line))
			if err != nil {
				continue
			}
			e, err := a2av0.ToV1Event(legacy)
			if err != nil {
				continue
			}
			ts.Apply(e)
			if len(ts.Steps) > MaxSteps || len(ts.Answer()) > MaxText || len(ts.Pictures) > MaxPictures {
				t.Fatalf("more is kept than may be")
			}
		}
	})
}
