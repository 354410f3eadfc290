package mind

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A Conversation is what a model is asked to go on with.
type Conversation struct {
	System   string
	Messages []Message
	Tools    []Tool
}

// A Tool that the model may call, with the names of its parameters.
type Tool struct {
	Name   string
	Params []string
}

// A Message of a person, of the model itself, or of tools.
type Message struct {
	Model   bool
	Text    string
	Calls   []Call
	Results []Result
}

// A Call of a tool.
type Call struct {
	ID, Name string
	Args     map[string]any
}

// A Result of a call; its text is all that the tool said.
type Result struct {
	ID, Name, Text string
	Failed         bool
}

// A Reply is what the model says: thoughts, and text or calls.
type Reply struct {
	Thought, Text string
	Calls         []Call
}

const (
	python   = "execute_python"
	describe = "describe_dataset"
)

// Think answers a conversation. The same one always gets the same answer.
func Think(c Conversation) Reply {
	t := turn(c.Messages)
	switch {
	case c.tool(python).Name != "":
		return worker(c, t)
	case c.colleague().Name != "":
		return planner(c, t)
	}
	return Reply{Text: "I have no tools here, so I can't calculate anything. You wrote: " + shorten(t.question, 200)}
}

func (c Conversation) tool(name string) Tool {
	for _, t := range c.Tools {
		if t.Name == name || strings.HasSuffix(t.Name, "_"+name) {
			return t
		}
	}
	return Tool{}
}

// colleague is the tool that is another agent: kagent calls it NAMESPACE__NS__NAME.
func (c Conversation) colleague() Tool {
	for _, t := range c.Tools {
		if strings.Contains(t.Name, "__NS__") || t.Name == "worker" {
			return t
		}
	}
	return Tool{}
}

// What happened since the last thing that a person said.
type happened struct {
	question string
	calls    []Call
	results  []Result
}

func turn(messages []Message) happened {
	var h happened
	for _, m := range messages {
		if !m.Model && m.Text != "" && len(m.Results) == 0 {
			h = happened{question: m.Text}
			continue
		}
		h.calls = append(h.calls, m.Calls...)
		h.results = append(h.results, m.Results...)
	}
	return h
}

var smallTalk = regexp.MustCompile(`(?i)^\W*(hi|hello|hey|good (morning|day|evening)|thanks?( you)?( very much| a lot)?|thank you|bye|who are you|what can you do|help|how are you)\b[^,.;:]{0,25}$`)

// planner talks with people and lets the worker calculate.
func planner(c Conversation, h happened) Reply {
	if len(h.results) > 0 {
		r := h.results[len(h.results)-1]
		if r.Failed || strings.Contains(r.Text, "request failed") {
			return Reply{Text: "My colleague who calculates could not be reached, so I have no figure for you. Please ask again in a moment. (" + shorten(r.Text, 200) + ")"}
		}
		return Reply{Thought: "The worker has answered. I pass its figures on as they are.", Text: said(r.Text)}
	}
	if smallTalk.MatchString(strings.TrimSpace(h.question)) {
		return Reply{Text: fmt.Sprintf("Hello! I answer questions about the dataset %s. You could ask how many rows it has, which columns there are, or for the average of a column by another one.", datasetName(c.System))}
	}
	return Reply{
		Thought: "This needs a calculation, so the worker gets the question.",
		Calls:   []Call{{ID: "call-1", Name: c.colleague().Name, Args: map[string]any{param(c.colleague(), "request"): h.question}}},
	}
}

var quoted = regexp.MustCompile(`Name: "([^"]+)"`)

func datasetName(system string) string {
	if m := quoted.FindStringSubmatch(system); m != nil {
		return m[1]
	}
	return "of this page"
}

// param is the parameter that a text goes into.
func param(t Tool, usual string) string {
	if len(t.Params) == 0 || slices.Contains(t.Params, usual) {
		return usual
	}
	return t.Params[0]
}

// said is the text of an answer that came wrapped in JSON.
func said(s string) string {
	var m map[string]any
	if json.Unmarshal([]byte(s), &m) != nil {
		return s
	}
	for _, k := range []string{"result", "output", "response", "text"} {
		if t, isText := m[k].(string); isText {
			return t
		}
	}
	return s
}

// worker calculates.
func worker(c Conversation, h happened) Reply {
	run := func(thought, code string) Reply {
		t := c.tool(python)
		return Reply{Thought: thought, Calls: []Call{{ID: fmt.Sprintf("call-%d", len(h.calls)+1), Name: t.Name, Args: map[string]any{param(t, "code"): code}}}}
	}
	question := withoutPreamble(h.question)
	var columns []Column
	var values []Value
	runs := 0
	for _, call := range h.calls {
		if code, isText := call.Args[param(c.tool(python), "code")].(string); isText && !strings.Contains(code, looking) {
			runs++
		}
	}
	for _, r := range h.results {
		if columns == nil && !r.Failed {
			columns, values = looked(question, r.Text)
		}
	}
	switch asked := len(h.results); {
	case asked == 0 && c.tool(describe).Name != "":
		return Reply{Thought: "First I need to know the dataset.", Calls: []Call{{ID: "call-1", Name: c.tool(describe).Name, Args: map[string]any{}}}}
	case columns == nil && asked < 2:
		return run("I look at the columns, and for what the question names.", look(question))
	case columns == nil:
		return Reply{Text: "I could not read the dataset: " + reason(h.results[asked-1].Text)}
	}
	p := Understand(question, columns, values)
	if p.Job == Unclear {
		return Reply{Text: p.Why + "\n\nThe columns are " + list(columns) + ". I understand questions such as how many rows there are, and the average, total, largest or smallest of a column, by another one."}
	}
	last := h.results[len(h.results)-1]
	if runs == 0 {
		return run("A "+string(p.Job)+" question. I write the code.", Code(p, false))
	}
	if a, found := answer(last.Text); found {
		text := Explain(a, last.Text)
		if p.Hedge != "" {
			text = p.Hedge + "\n\n" + text
		}
		return Reply{Thought: "The code printed the figure. I explain it.", Text: text}
	}
	if runs == 1 {
		return run("It failed: "+reason(last.Text)+". I convert the values first.", Code(p, true))
	}
	return Reply{Text: "I could not calculate this. I tried the columns as they are, and converted to numbers and dates. The last error was: " + reason(last.Text)}
}

// looking is in the code of look, and in no other.
const looking = `print("COLUMNS "`

// withoutPreamble takes away what an agent runtime may put before a question.
func withoutPreamble(q string) string {
	if i := strings.LastIndex(q, "For context:"); i >= 0 {
		return strings.TrimSpace(q[i+len("For context:"):])
	}
	return q
}

func list(columns []Column) string {
	var names []string
	for _, c := range columns {
		names = append(names, c.Name)
	}
	if len(names) > 20 {
		names = append(names[:20], "...")
	}
	return strings.Join(names, ", ")
}

// reason is the last line of a traceback that says something.
func reason(s string) string {
	lines := strings.Split(strings.TrimSpace(strings.ReplaceAll(s, `\n`, "\n")), "\n")
	for _, l := range slices.Backward(lines) {
		if strings.Contains(l, "Error") || strings.Contains(l, "Exception") {
			return shorten(strings.Trim(strings.TrimSpace(l), `"{}`), 300)
		}
	}
	return shorten(lines[len(lines)-1], 300)
}

func shorten(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "..."
	}
	return s
}
