package e2e

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"whisperops.io/functions/hack/controlplane"
	"whisperops.io/functions/hack/controlplane/suite"
)

// The agents whose pods run. All others have Deployments without processes.
const (
	asked = "asked-bot"
	other = "other-bot"
)

// patient is what an answer may take: some calls of a model, and Python.
const patient = 2 * time.Minute

// figures reads a column of the shipped dataset, with a parser of this test's own.
func figures(t *testing.T, w *world, column string, fits func(get func(string) string) bool) []float64 {
	t.Helper()
	f, err := os.Open(filepath.Join(w.root, "test", "standins", "datasets", housing+".csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // a reader
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var out []float64
	for _, r := range rows[1:] {
		get := func(name string) string { return r[slices.Index(rows[0], name)] }
		if v, err := strconv.ParseFloat(get(column), 64); err == nil && (fits == nil || fits(get)) {
			out = append(out, v)
		}
	}
	return out
}

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// page opens the chat page of an agent that runs.
func (w *world) page(t *testing.T, agent string) *suite.Chat {
	t.Helper()
	if !w.Runs() {
		const nobody = "nobody runs the sandbox: it needs a Python with pandas (Debian: python3-pandas python3-matplotlib)"
		if os.Getenv("SANDBOX_TEST_PANDAS") == "required" {
			t.Fatal(nobody)
		}
		t.Skip(nobody)
	}
	w.agent(t, agent)
	if err := w.WaitForAgent(t.Context(), 2*time.Minute, agent); err != nil {
		t.Fatal(err)
	}
	c, err := w.Chat(t.Context(), agent)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// answer asks and expects an answer.
func answer(t *testing.T, c *suite.Chat, question string) suite.Answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	began := time.Now()
	a, err := c.Ask(ctx, question, nil)
	if err != nil {
		t.Fatalf("%s: %v", question, err)
	}
	if a.State != "done" {
		t.Fatalf("%s: it is %s: %+v\n%s", question, a.State, a.Problem, a.Markdown)
	}
	t.Logf("%s %s\n%s", question, time.Since(began).Round(100*time.Millisecond), a.Markdown)
	return a
}

// firstAnswer asks until there is an answer, as people do when something has just come
// up.
func firstAnswer(t *testing.T, c *suite.Chat, question string) suite.Answer {
	t.Helper()
	var a suite.Answer
	if err := controlplane.Eventually(t.Context(), patient, "an answer to "+question, func(ctx context.Context) error {
		var err error
		if a, err = c.Ask(ctx, question, nil); err == nil && a.State != "done" {
			err = fmt.Errorf("it is %s: %+v", a.State, a.Problem) //nolint:errorlint // there may be none
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return a
}

// says expects a figure in an answer, as people write it.
func says(t *testing.T, a suite.Answer, figures ...float64) {
	t.Helper()
	plain := strings.ReplaceAll(a.Markdown, ",", "")
	for _, f := range figures {
		if want := strconv.FormatFloat(math.Round(f*100)/100, 'f', -1, 64); !strings.Contains(plain, want) {
			t.Errorf("want the figure %s in:\n%s", want, a.Markdown)
		}
	}
}

var picture = regexp.MustCompile(`/api/conversations/[^"]+/pictures/[^"]+`)

// An agent answers questions with the right figures, draws, and what it costs is what
// the provider wants to be paid.
func questionAndAnswer(t *testing.T, w *world) {
	c := w.page(t, asked)
	// An agent whose parts were just made is rolled once more when its sandbox has
	// told its tools, and a question may fall into that. People ask again.
	firstAnswer(t, c, "How many rows are there?")
	value := figures(t, w, "median_house_value", nil)
	says(t, answer(t, c, "What is the average median house value?"), mean(value))
	rich := figures(t, w, "median_house_value", func(get func(string) string) bool {
		v, err := strconv.ParseFloat(get("median_income"), 64)
		return err == nil && v > 6
	})
	says(t, answer(t, c, "How many districts have a median income above 6?"), float64(len(rich)))
	a := answer(t, c, "Show me a histogram of the median house value")
	says(t, a, mean(value), slices.Max(value))
	path := picture.FindString(a.HTML)
	if path == "" {
		t.Fatalf("want a picture, got:\n%s", a.HTML)
	}
	if status, kind, png, err := c.Get(t.Context(), path); err != nil || status != http.StatusOK || kind != "image/png" || len(png) < 1000 {
		t.Errorf("want a picture at %s, got %d, %s, %d bytes, %v", path, status, kind, len(png), err)
	}
	w.paid(t, asked)
}

// paid waits until a budget says what the provider's bill does, by the price table.
func (w *world) paid(t *testing.T, agent string) {
	t.Helper()
	if err := controlplane.Eventually(t.Context(), heard, "the budget of "+agent+" to agree with the provider's bill", func(ctx context.Context) error {
		want, err := w.billed(ctx, agent)
		if err != nil {
			return err
		}
		b, err := w.Get(ctx, suite.API, "XAgentBudget", "agent-"+agent, agent)
		if err != nil {
			return err
		}
		if got, _, _ := unstructured.NestedFloat64(b.Object, "status", "spentUsd"); want == 0 || math.Abs(got-want) > 0.00005+1e-9 {
			return fmt.Errorf("spentUsd is %v, the bill %v", got, want)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	usd, err := w.billed(t.Context(), agent)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s has spent %.6f USD by the provider's bill", agent, usd)
}

// billed is the provider's bill for an agent in US dollars.
func (w *world) billed(ctx context.Context, agent string) (float64, error) {
	used, err := w.Bill(ctx, agent)
	if err != nil {
		return 0, err
	}
	text, err := w.table(ctx)
	if err != nil {
		return 0, err
	}
	usd := 0.0
	for model, u := range used {
		in, cached, out, err := price(text, model)
		if err != nil {
			return 0, err
		}
		usd += (float64(u.Input)*in + float64(u.CachedInput)*cached + float64(u.Output+u.Thoughts)*out) / 1e6
	}
	return usd, nil
}

// table is the price table's text.
func (w *world) table(ctx context.Context) (string, error) {
	m, err := w.Get(ctx, "v1", "ConfigMap", controlplane.Namespace, "whisperops-pricing")
	if err != nil {
		return "", err
	}
	text, _, err := unstructured.NestedString(m.Object, "data", "prices.yaml")
	return text, err
}

// price reads a model's prices in US dollars per million tokens out of the table. The
// test reads them by itself, so that an error in the product's reading shows.
func price(table, model string) (in, cached, out float64, err error) {
	var t struct {
		Models map[string]any `json:"models"`
	}
	if err := yaml.Unmarshal([]byte(table), &t); err != nil {
		return 0, 0, 0, err
	}
	row, isMap := t.Models[model].(map[string]any)
	if rows, isList := row["rows"].([]any); isList && len(rows) == 1 { // a model without a change of price
		row, isMap = rows[0].(map[string]any)
	}
	if !isMap {
		return 0, 0, 0, fmt.Errorf("no price of %s in:\n%s", model, table)
	}
	read := func(name string) float64 {
		v, perr := strconv.ParseFloat(fmt.Sprint(row[name]), 64)
		err = errors.Join(err, perr)
		return v
	}
	return read("input"), read("cachedInput"), read("output"), err
}

// An agent can't reach another one's sandbox, and can reach its own.
func apart(t *testing.T, w *world) {
	for _, a := range []string{asked, other} {
		w.page(t, a)
	}
	for _, d := range []string{"planner", "worker", "chat-frontend", "sandbox"} {
		for _, to := range []string{"sandbox", "worker"} {
			if err := w.Node.Dial(t.Context(), "agent-"+asked, d, to+".agent-"+other+".svc:8080"); err == nil || !strings.Contains(err.Error(), "NetworkPolicy") {
				t.Errorf("want %s of %s refused at the %s of %s, got %v", d, asked, to, other, err)
			}
		}
	}
	if err := w.Node.Dial(t.Context(), "agent-"+asked, "worker", "sandbox.agent-"+asked+".svc:8080"); err != nil {
		t.Errorf("a worker must reach its own sandbox: %v", err)
	}
	if err := w.Node.Dial(t.Context(), "agent-"+asked, "worker", "token-meter.whisperops-system.svc:8080"); err != nil {
		t.Errorf("a worker must reach the token-meter: %v", err)
	}
	// The sandbox's pod may reach the token-meter, too: all pods of an agent have one
	// NetworkPolicy (docs/design/0008-one-network-policy.md). Generated code can't: internal/sandbox tests its walls.
}

// A dataset that is replaced answers anew, without a restart.
func datasetReplaced(t *testing.T, w *world) {
	c := w.page(t, other)
	before := figures(t, w, "median_house_value", nil)
	says(t, answer(t, c, "How many rows are there?"), float64(len(before)))
	file := filepath.Join(w.root, "test", "standins", "datasets", housing+".csv")
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfterN(string(old), "\n", 102)
	if err := w.Upload(t.Context(), datasets, housing+".csv", []byte(strings.Join(lines[:101], ""))); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.Upload(context.WithoutCancel(t.Context()), datasets, housing+".csv", old); err != nil {
			t.Error(err)
		}
	}()
	// A sandbox believes for some seconds that the generation that it has is the newest,
	// and an agent whose dataset became another may be rolled meanwhile.
	if err := controlplane.Eventually(t.Context(), patient, "the new generation to be noticed", func(ctx context.Context) error {
		a, err := c.Ask(ctx, "How many rows are there now?", nil)
		if err == nil && (a.State != "done" || !strings.Contains(a.Markdown, "**100**")) {
			err = fmt.Errorf("it is %s: %+v\n%s", a.State, a.Problem, a.Markdown) //nolint:errorlint // as above
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	says(t, answer(t, c, "What is the average median house value?"), mean(before[:100]))
}

// A sandbox that is killed in a run fails that run in words, and is back for the next.
func sandboxKilled(t *testing.T, w *world) {
	c := w.page(t, other)
	sandbox := w.Node.Pod("agent-"+other, "sandbox")
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		// The worker's second call is the one that the code comes with.
		_ = controlplane.Eventually(t.Context(), time.Minute, "the run to begin", func(context.Context) error {
			if !strings.Contains(sandbox.LogTail(50), "Ran code") {
				return errors.New("not yet")
			}
			return nil
		})
		sandbox.Crash()
	}()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	if err := w.Behave(t.Context(), `[{"match":"killed","chunkDelayMs":150}]`); err != nil {
		t.Fatal(err)
	}
	a, err := c.Ask(ctx, "What is the median of the total rooms, while the sandbox is killed?", nil)
	if err != nil {
		t.Fatal(err)
	}
	<-killed
	t.Logf("with the sandbox killed: %s\n%s %+v", a.State, a.Markdown, a.Problem)
	if a.State == "done" && strings.TrimSpace(a.Markdown) == "" {
		t.Error("want words, got an empty answer")
	}
	if err := w.Behave(t.Context(), `[]`); err != nil {
		t.Fatal(err)
	}
	if err := w.WaitForAgent(t.Context(), time.Minute, other); err != nil {
		t.Fatal(err)
	}
	says(t, answer(t, c, "What is the largest population?"), slices.Max(figures(t, w, "population", nil)))
}

// A planner that is killed in a stream leaves no page waiting for ever, and is back
// for the next question.
func plannerKilled(t *testing.T, w *world) {
	c := w.page(t, other)
	if err := w.Behave(t.Context(), `[{"match":"slowly","chunkDelayMs":300}]`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patient)
	defer cancel()
	began := time.Now()
	killed := false
	a, err := c.Ask(ctx, "Tell me slowly which columns there are", func(string) {
		if !killed {
			killed = true
			w.Node.Pod("agent-"+other, "planner").Crash()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if !killed || a.State != "failed" || a.Problem == nil || a.Problem.Code == http.StatusPaymentRequired {
		t.Errorf("want a failure in words that says nothing about money, got killed=%v %s %+v", killed, a.State, a.Problem)
	}
	t.Logf("the page gave up after %s: %+v", time.Since(began).Round(time.Second), a.Problem)
	if err := w.Behave(t.Context(), `[]`); err != nil {
		t.Fatal(err)
	}
	if err := w.WaitForAgent(t.Context(), time.Minute, other); err != nil {
		t.Fatal(err)
	}
	says(t, answer(t, c, "How many rows are there?"), float64(len(figures(t, w, "population", nil))))
}

// A model that answers with rubbish harms nobody: the person is told in words, the page
// and the other agent go on, and what it cost is what the provider wants.
func modelRubbish(t *testing.T, w *world) {
	c := w.page(t, other)
	neighbour := w.page(t, asked)
	rows := float64(len(figures(t, w, "population", nil)))
	w.setBudget(t, other, 500) // 10 MB of words cost some 24 USD
	w.seeBudget(t, heard, "the budget to be raised", other, field(float64(500), "status", "decidedBudgetUsd"))
	for name, tc := range map[string]struct {
		why, behaviour string
		state          string // of the answer; empty: any
		says           string // of answer, problem and detail together
	}{
		"Text":    {"What is no JSON can't be read by any client.", `"rubbish":"text"`, "failed", ""},
		"Huge":    {"An answer of 10 MB is cut, not kept.", `"rubbish":"huge"`, "", ""},
		"Tools":   {"A planner that calls its worker whatever it hears is stopped, and told to stop.", `"rubbish":"tools"`, "failed", "without coming to an answer"},
		"Cut":     {"A stream that breaks for ever is no answer.", `"rubbish":"cut"`, "", ""},
		"Silence": {"An answer without a word is not shown as one.", `"rubbish":"silence"`, "failed", "without a word"},
		"Refused": {"A request that the provider refuses isn't sent again and again.", `"status":400`, "failed", ""},
		"Down":    {"A provider that is down may be asked again, but not for ever.", `"status":503`, "failed", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if err := w.Behave(t.Context(), fmt.Sprintf(`[{"match":"oddly",%s}]`, tc.behaviour)); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*patient)
			defer cancel()
			began := time.Now()
			a, err := c.Ask(ctx, "Tell me oddly how many rows there are", nil)
			if err != nil {
				t.Fatalf("%s: %v", tc.why, err)
			}
			told := a.Markdown
			if a.Problem != nil {
				told += a.Problem.Message + " " + a.Problem.Detail
			}
			t.Logf("%s after %s: %.300s %+v", a.State, time.Since(began).Round(time.Second), a.Markdown, a.Problem)
			if strings.TrimSpace(told) == "" || len(a.HTML) > 1<<20 || !strings.Contains(told, tc.says) || tc.state != "" && a.State != tc.state {
				t.Errorf("%s: want %s and words (%s), got %s, %d bytes of HTML: %.500s", tc.why, tc.state, tc.says, a.State, len(a.HTML), told)
			}
			if a.Problem != nil && a.Problem.Code == http.StatusPaymentRequired {
				t.Errorf("a model's rubbish is told to be a matter of money: %+v", a.Problem)
			}
			says(t, answer(t, neighbour, "How many rows are there?"), rows)
		})
	}
	if err := w.Behave(t.Context(), `[]`); err != nil {
		t.Fatal(err)
	}
	says(t, answer(t, c, "How many rows are there?"), rows)
	w.paid(t, other)
}

// Money that runs out while an answer streams: the answer ends, the next question is
// refused with a sentence, a raise lets it go on, and no token is lost or counted twice.
func budgetEmptied(t *testing.T, w *world) {
	c := w.page(t, asked)
	if err := w.Behave(t.Context(), `[{"match":"slowly","chunkDelayMs":200}]`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patient)
	defer cancel()
	cut := false
	a, err := c.Ask(ctx, "Tell me slowly which columns there are", func(string) {
		if !cut {
			cut = true
			w.setBudget(t, asked, 0.0001)
		}
	})
	t.Logf("cut in a stream: %s %+v %v", a.State, a.Problem, err)
	if err := w.Behave(t.Context(), `[]`); err != nil {
		t.Fatal(err)
	}
	w.seeBudget(t, heard, "the budget to be exhausted", asked, exhausted)
	_, err = c.Ask(t.Context(), "How many rows are there?", nil)
	var no *suite.Refusal
	if !errors.As(err, &no) || no.Code != http.StatusPaymentRequired || !strings.Contains(no.Message, "budget") {
		t.Fatalf("want 402 with a sentence, got %v", err)
	}
	w.replicas(t, 30*time.Second, asked, 0)
	for _, d := range []string{"planner", "worker"} { // not only told to stop
		w.see(t, 30*time.Second, d+" of "+asked+" without a pod", "Deployment", "agent-"+asked, d, field(nil, "status", "readyReplicas"))
	}
	w.setBudget(t, asked, 5)
	w.seeBudget(t, heard, "the budget to run again", asked, running)
	if err := w.WaitForAgent(t.Context(), time.Minute, asked); err != nil {
		t.Fatal(err)
	}
	says(t, answer(t, c, "How many rows are there?"), float64(len(figures(t, w, "population", nil))))
	w.paid(t, asked)
}
