// Package transcript reads what a planner sends over A2A, event by event, and keeps
// what a person should see of it: the answer so far, the steps that led to it, a
// question back.
//
// It is plain Go: events in, a transcript out. What real planners send was read and
// run: kagent's two runtimes (v0.9.12, v0.10.0-rc3) put everything into the messages of
// status updates, each chunk of text flagged as partial, then the whole text once
// more, then the same as an artifact; agents made with Google's ADK put it into
// artifacts. Nothing of what the worker does arrives, only that it was called and
// what it answered.
package transcript

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// Limits of what is kept of one answer. A person reads a few thousand characters; the
// rest is an agent gone wrong.
const (
	MaxText     = 200_000 // bytes of an answer
	MaxSteps    = 60      // tool calls and remarks
	MaxDetail   = 20_000  // bytes of a step's code, request or result
	MaxPictures = 12
	MaxPicture  = 5 << 20 // bytes
)

// A State says how far an answer has come.
type State string

// The states of a transcript.
const (
	Working  State = "working"
	Asking   State = "asking"   // the agent asks the person back
	Done     State = "done"     // the answer is complete
	Canceled State = "canceled" // the agent has stopped, as it was told to
	Failed   State = "failed"
)

// A Step is something the agent did on its way to the answer.
type Step struct {
	ID      string
	Kind    StepKind
	Tool    string // the tool's name; empty for a remark
	Request string // what the tool was asked, plain text
	Code    string // Python that was run
	Result  string // what the tool answered, Markdown
	Remark  string // what the agent said before it went on, Markdown
	Done    bool
	Failed  bool
}

// A StepKind is what a step is.
type StepKind string

// The kinds of steps.
const (
	Analyst StepKind = "analyst" // the worker was asked
	Python  StepKind = "python"  // code was run
	Dataset StepKind = "dataset" // the dataset was described
	Tool    StepKind = "tool"    // another tool was called
	Remark  StepKind = "remark"
	// Answered: the agent asked the person, who answered.
	Answered StepKind = "answered"
)

// A Question is one that the agent asks the person.
type Question struct {
	Text     string   `json:"text"`
	Choices  []string `json:"choices,omitempty"`
	Multiple bool     `json:"multiple,omitempty"`
}

// An Ask is what the agent waits for.
type Ask struct {
	// Questions to answer; empty where the agent wants a yes or no to Approve.
	Questions []Question `json:"questions,omitempty"`
	// Approve names what the agent wants to do and may not without a yes.
	Approve string `json:"approve,omitempty"`
	// Confirmation says that the answer is kagent's decision rather than a text.
	Confirmation bool `json:"-"`
}

// A Picture came with the answer itself.
type Picture struct {
	ID   string // of its content
	Name string
	Data []byte
}

// A Transcript is what is known of one answer. The zero value waits for the first event.
type Transcript struct {
	State     State
	TaskID    a2a.TaskID
	ContextID string
	Steps     []Step
	Ask       *Ask
	Problem   string // why it failed, in the agent's words
	Pictures  []Picture
	Cut       bool // the answer was longer than MaxText
	Endless   bool // the agent made more than MaxSteps steps

	segment   strings.Builder // of status messages: what the agent is saying now
	closed    bool            // the segment is complete
	artifacts []artifact
	calls     map[string]int // id of a call: index of its step
}

type artifact struct {
	id   a2a.ArtifactID
	text strings.Builder
}

// Answer is the answer so far, as Markdown.
func (t *Transcript) Answer() string {
	for _, a := range slices.Backward(t.artifacts) {
		if s := strings.TrimSpace(a.text.String()); s != "" {
			return s
		}
	}
	if s := strings.TrimSpace(t.segment.String()); s != "" {
		return s
	}
	if t.State == Done || t.State == Asking {
		// The agent stopped after a tool call: its last remark is all there is.
		for _, s := range slices.Backward(t.Steps) {
			if s.Kind == Remark {
				return s.Remark
			}
		}
	}
	return ""
}

// Apply takes in the next event.
func (t *Transcript) Apply(e a2a.Event) {
	if t.State == "" {
		t.State = Working
	}
	if e == nil {
		return
	}
	if info := e.TaskInfo(); info.ContextID != "" {
		t.ContextID = info.ContextID
	}
	switch e := e.(type) {
	case *a2a.Message:
		// An agent without tasks answers with one message.
		t.parts(e.Parts, false)
		t.closed, t.State = true, Done
	case *a2a.Task:
		t.task(e)
	case *a2a.TaskStatusUpdateEvent:
		t.TaskID = e.TaskID
		t.status(e.Status, partial(e.Metadata))
	case *a2a.TaskArtifactUpdateEvent:
		t.TaskID = e.TaskID
		t.artifact(e.Artifact, e.Append, e.LastChunk)
	}
	if t.State != Working {
		t.finish()
	}
}

// task takes in a task as a whole: the first event of some agents, and what is fetched
// after a stream broke. What was known is told anew.
func (t *Transcript) task(task *a2a.Task) {
	t.TaskID = task.ID
	if len(task.History) > 0 || len(task.Artifacts) > 0 {
		t.Steps, t.calls, t.artifacts, t.Ask = nil, nil, nil, nil
		t.segment.Reset()
		t.closed = false
	}
	for _, m := range task.History {
		if m != nil && m.Role == a2a.MessageRoleAgent && !partial(m.Metadata) {
			t.parts(m.Parts, false)
		}
	}
	for _, a := range task.Artifacts {
		t.artifact(a, false, true)
	}
	t.status(task.Status, false)
}

func (t *Transcript) status(s a2a.TaskStatus, part bool) {
	message := s.Message
	if message != nil && message.Role == a2a.MessageRoleUser {
		message = nil // the question comes back as an echo
	}
	if message != nil {
		part = part || partial(message.Metadata)
	}
	switch s.State {
	case a2a.TaskStateFailed, a2a.TaskStateRejected, a2a.TaskStateAuthRequired:
		t.State = Failed
		t.Problem = problem(s.State, message)
	case a2a.TaskStateCanceled:
		t.State = Canceled
	case a2a.TaskStateInputRequired:
		t.ask(message, part)
	case a2a.TaskStateCompleted:
		if message != nil {
			t.parts(message.Parts, part)
		}
		t.State = Done
	default:
		if message != nil {
			t.parts(message.Parts, part)
		}
		if t.State == Asking {
			t.State, t.Ask = Working, nil // it was answered
		}
	}
}

func problem(s a2a.TaskState, m *a2a.Message) string {
	if m != nil {
		var texts []string
		for _, p := range m.Parts {
			if p != nil && p.Text() != "" {
				texts = append(texts, p.Text())
			}
		}
		if len(texts) > 0 {
			return clip(strings.Join(texts, "\n"), 2000)
		}
	}
	switch s {
	case a2a.TaskStateRejected:
		return "the agent refused the question"
	case a2a.TaskStateAuthRequired:
		return "the agent wants an authorization that this page can't give"
	default:
		return "the agent gave no reason"
	}
}

// artifact takes in a part of a result, or all of it.
func (t *Transcript) artifact(a *a2a.Artifact, appended, last bool) {
	if a == nil {
		return
	}
	i := slices.IndexFunc(t.artifacts, func(k artifact) bool { return k.id == a.ID })
	if i < 0 {
		if len(t.artifacts) >= MaxSteps {
			t.Endless = true
			return
		}
		t.artifacts = append(t.artifacts, artifact{id: a.ID})
		i = len(t.artifacts) - 1
	}
	text := t.others(a.Parts)
	known := &t.artifacts[i].text
	// The last chunk of some agents is the whole once more.
	if !appended || (last && known.Len() > 0 && strings.HasPrefix(text, known.String())) {
		known.Reset()
	}
	t.add(known, text)
}

// parts takes in an agent's message: a chunk of one, or a whole one.
func (t *Transcript) parts(parts a2a.ContentParts, part bool) {
	if said := text(parts); said != "" {
		t.say(said, part)
	}
	t.others(parts)
}

// say adds to what the agent is saying. A whole message takes the place of the chunks
// that came before it; chunks that repeat all so far do, too.
func (t *Transcript) say(said string, part bool) {
	soFar := t.segment.String()
	if t.closed {
		if said == soFar {
			return
		}
		t.remark()
	} else if !part || (len(soFar) >= 8 && len(said) > len(soFar) && strings.HasPrefix(said, soFar)) {
		t.segment.Reset()
	}
	t.add(&t.segment, said)
	t.closed = !part
}

// remark makes what the agent has said a step: it goes on.
func (t *Transcript) remark() {
	if s := strings.TrimSpace(t.segment.String()); s != "" {
		t.step(Step{ID: "remark-" + digest(s+strconv.Itoa(len(t.Steps))), Kind: Remark, Remark: clip(s, MaxDetail), Done: true})
	}
	t.segment.Reset()
	t.closed = false
}

func (t *Transcript) add(b *strings.Builder, s string) {
	if room := MaxText - b.Len(); len(s) > room {
		s = strings.ToValidUTF8(s[:max(room, 0)], "")
		t.Cut = true
	}
	b.WriteString(s)
}

func (t *Transcript) step(s Step) int {
	if len(t.Steps) >= MaxSteps {
		t.Endless = true
		return -1
	}
	t.Steps = append(t.Steps, s)
	return len(t.Steps) - 1
}

// finish closes what is still open when the agent has stopped.
func (t *Transcript) finish() {
	for i := range t.Steps {
		if !t.Steps[i].Done && t.State != Asking {
			t.Steps[i].Done = true
		}
	}
	if t.State == Done {
		t.Ask = nil
	}
}

// text is what the parts say. What a model thinks aloud is none of it.
func text(parts a2a.ContentParts) string {
	var b strings.Builder
	for _, p := range parts {
		switch {
		case p == nil || is(p.Metadata, "thought"):
		case p.URL() != "" && strings.HasPrefix(p.MediaType, "image/"):
			b.WriteString(link(p.Filename, string(p.URL())))
		default:
			b.WriteString(p.Text())
		}
	}
	return b.String()
}

// others takes in calls, their results and pictures, and returns the text.
func (t *Transcript) others(parts a2a.ContentParts) string {
	for _, p := range parts {
		if p == nil {
			continue
		}
		switch c := p.Content.(type) {
		case a2a.Data:
			if data, ok := c.Value.(map[string]any); ok {
				t.data(data, p.Metadata)
			}
		case a2a.Raw:
			t.picture(p.Filename, c)
		}
	}
	return text(parts)
}

// link is a picture's address as Markdown.
func link(name, address string) string {
	return "\n\n![" + strings.NewReplacer("[", "", "]", "", "\n", " ").Replace(name) + "](<" + strings.NewReplacer("<", "%3C", ">", "%3E", "\n", "").Replace(address) + ">)\n\n"
}

func (t *Transcript) picture(name string, data []byte) {
	if len(data) == 0 || len(data) > MaxPicture || len(t.Pictures) >= MaxPictures {
		return
	}
	id := digest(string(data))
	if !slices.ContainsFunc(t.Pictures, func(p Picture) bool { return p.ID == id }) {
		t.Pictures = append(t.Pictures, Picture{ID: id, Name: name, Data: data})
	}
}

// data takes in a structured part: a call, or what came of one.
func (t *Transcript) data(data, meta map[string]any) {
	switch value(meta, "type") {
	case "function_call":
		name := str(data["name"])
		if name == "" || name == confirmation || name == askTool {
			return // that is for ask
		}
		t.call(str(data["id"]), name, object(data["args"]))
	case "function_response":
		name := str(data["name"])
		if name == confirmation || name == askTool {
			return
		}
		t.response(str(data["id"]), name, data["response"])
	case "executable_code":
		t.call("", pythonTool, map[string]any{"code": str(data["code"])})
	case "code_execution_result":
		t.response("", pythonTool, map[string]any{"result": str(data["output"])})
	}
}

const (
	confirmation = "adk_request_confirmation"
	askTool      = "ask_user"
	pythonTool   = "execute_python"
)

func kind(tool string) StepKind {
	switch {
	case tool == pythonTool:
		return Python
	case tool == "describe_dataset":
		return Dataset
	case tool == "worker" || strings.HasSuffix(tool, "__worker"):
		return Analyst
	default:
		return Tool
	}
}

func (t *Transcript) call(id, name string, args map[string]any) {
	if id == "" {
		b, _ := json.Marshal(args) //nolint:errchkjson // args came out of JSON
		id = name + "-" + digest(string(b))
	}
	if _, known := t.calls[id]; known {
		return // artifacts tell it once more
	}
	t.remark()
	s := Step{ID: "call-" + digest(id), Kind: kind(name), Tool: name}
	switch {
	case str(args["code"]) != "":
		s.Code = clip(str(args["code"]), MaxDetail)
	case str(args["request"]) != "":
		s.Request = clip(str(args["request"]), MaxDetail)
	case len(args) > 0:
		b, _ := json.MarshalIndent(args, "", "  ") //nolint:errchkjson // args came out of JSON
		s.Request = clip(string(b), MaxDetail)
	}
	if i := t.step(s); i >= 0 {
		if t.calls == nil {
			t.calls = map[string]int{}
		}
		t.calls[id] = i
	}
}

func (t *Transcript) response(id, name string, response any) {
	i, ok := t.calls[id]
	if !ok {
		// No id: the oldest call of that name without a result.
		i = slices.IndexFunc(t.Steps, func(s Step) bool { return s.Tool == name && !s.Done })
		if i < 0 {
			return
		}
	}
	s := &t.Steps[i]
	if s.Done {
		return
	}
	result, failed := t.result(response)
	if pending(response) {
		return // it waits for the person
	}
	if s.Code == "" {
		s.Code, result = splitCode(result)
	}
	s.Result, s.Done, s.Failed = clip(result, MaxDetail), true, failed
}

func pending(response any) bool { return str(object(response)["status"]) == "pending" }

// result finds what a tool said in the shapes in which runtimes hand it on.
func (t *Transcript) result(v any) (said string, failed bool) {
	switch r := v.(type) {
	case string:
		return r, false
	case map[string]any:
		if content, ok := r["content"].([]any); ok {
			return t.content(content), is(r, "isError") || r["isError"] == true
		}
		if e := str(r["error"]); e != "" {
			return e, true
		}
		for _, k := range []string{"result", "output", "text"} {
			if inner, ok := r[k]; ok {
				return t.result(inner)
			}
		}
	}
	if v == nil {
		return "", false
	}
	b, _ := json.MarshalIndent(v, "", "  ") //nolint:errchkjson // v came out of JSON
	return "```json\n" + string(b) + "\n```", false
}

// content reads an MCP result.
func (t *Transcript) content(items []any) string {
	var texts []string
	for _, item := range items {
		c := object(item)
		switch str(c["type"]) {
		case "text":
			texts = append(texts, str(c["text"]))
		case "image":
			if data, err := base64.StdEncoding.DecodeString(str(c["data"])); err == nil {
				t.picture("", data)
			}
		}
	}
	return strings.Join(texts, "\n")
}

var fence = regexp.MustCompile("(?ms)^```(?:python|py)[ \t]*\n(.*?)^```[ \t]*$\n?") //nolint:gocritic // each ^ is the beginning of a line

// splitCode takes the code that the worker quotes out of its answer.
func splitCode(s string) (code, rest string) {
	var found []string
	for _, m := range fence.FindAllStringSubmatch(s, -1) {
		found = append(found, strings.TrimRight(m[1], "\n"))
	}
	if len(found) == 0 {
		return "", s
	}
	return clip(strings.Join(found, "\n\n"), MaxDetail), strings.TrimSpace(fence.ReplaceAllString(s, ""))
}

// ask reads what the agent waits for.
func (t *Transcript) ask(m *a2a.Message, part bool) {
	t.State = Asking
	ask := &Ask{}
	if m != nil {
		for _, p := range m.Parts {
			if p == nil {
				continue
			}
			data := object(p.Data())
			if str(data["name"]) == confirmation {
				ask.Confirmation = true
				original(object(object(data["args"])["originalFunctionCall"]), object(object(data["args"])["toolConfirmation"]), ask)
			}
		}
	}
	if !ask.Confirmation {
		// Plain A2A: the message is the question.
		q := ""
		if m != nil {
			t.parts(m.Parts, part)
			q = strings.TrimSpace(text(m.Parts))
		}
		if q == "" {
			q = "The agent needs to know more before it goes on."
		} else if strings.TrimSpace(t.segment.String()) == q {
			t.segment.Reset() // it stands in the question
		}
		ask.Questions = []Question{{Text: clip(q, MaxDetail)}}
	} else if len(ask.Questions) == 0 && ask.Approve == "" {
		ask.Questions = []Question{{Text: "The agent needs to know more before it goes on."}}
	}
	// A final event without its message must not wipe out what the one before asked.
	if t.Ask == nil || ask.Confirmation {
		t.Ask = ask
	}
}

// original reads the call that waits for a person: the agent's own questions, those
// of the worker behind it, or a tool that wants a yes.
func original(call, conf map[string]any, ask *Ask) {
	args := object(call["args"])
	if str(call["name"]) == askTool {
		list, _ := args["questions"].([]any)
		for _, q := range list[:min(len(list), 20)] {
			o := object(q)
			question := Question{Text: clip(str(o["question"]), MaxDetail), Multiple: o["multiple"] == true}
			choices, _ := o["choices"].([]any)
			for _, c := range choices[:min(len(choices), 50)] {
				if s := str(c); s != "" {
					question.Choices = append(question.Choices, clip(s, 500))
				}
			}
			if question.Text != "" || len(question.Choices) > 0 {
				ask.Questions = append(ask.Questions, question)
			}
		}
		return
	}
	parts, _ := object(conf["payload"])["hitl_parts"].([]any)
	for _, p := range parts {
		original(object(object(p)["originalFunctionCall"]), nil, ask)
	}
	if len(parts) == 0 && str(call["name"]) != "" {
		b, _ := json.Marshal(args) //nolint:errchkjson // args came out of JSON
		ask.Approve = clip(str(call["name"])+" "+string(b), 2000)
	}
}

// partial says whether an event is a chunk that a whole message will follow.
func partial(meta map[string]any) bool { return is(meta, "partial") || is(meta, "adk_partial") }

// is reads a flag under ADK's key, or kagent's.
func is(meta map[string]any, key string) bool {
	return meta["adk_"+key] == true || meta["kagent_"+key] == true
}

func value(meta map[string]any, key string) string {
	if s := str(meta["adk_"+key]); s != "" {
		return s
	}
	return str(meta["kagent_"+key])
}

func str(v any) string { s, _ := v.(string); return s }

func object(v any) map[string]any { m, _ := v.(map[string]any); return m }

func digest(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:8])
}

// clip keeps the beginning and the end of what is too long.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	head, tail := s[:limit*3/4], s[len(s)-limit/4:]
	return strings.ToValidUTF8(head, "") + fmt.Sprintf("\n\n[%d characters left out]\n\n", len(s)-limit) + strings.ToValidUTF8(tail, "")
}

// Asked is the step that keeps what the agent asked and the person answered.
func Asked(a *Ask, answers [][]string, approve bool) Step {
	var b strings.Builder
	if a.Approve != "" && len(a.Questions) == 0 {
		verdict := "no"
		if approve {
			verdict = "yes"
		}
		fmt.Fprintf(&b, "%s: %s", a.Approve, verdict)
	}
	for i, q := range a.Questions {
		given := ""
		if i < len(answers) {
			given = strings.Join(answers[i], ", ")
		}
		fmt.Fprintf(&b, "%s\n%s\n", q.Text, given)
	}
	s := clip(strings.TrimSpace(b.String()), MaxDetail)
	return Step{ID: "asked-" + digest(s), Kind: Answered, Request: s, Done: true}
}
