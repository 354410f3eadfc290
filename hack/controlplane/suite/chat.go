package suite

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// A Chat is one person at an agent's chat page, as its script talks with it.
type Chat struct {
	URL    string
	client *http.Client
}

// An Answer is what became of a question.
type Answer struct {
	State    string // done, failed, stopped, asking
	Markdown string
	HTML     string
	Problem  *Refusal
}

// A Refusal is why a question has no answer.
type Refusal struct { //nolint:errname // as the page calls it
	Code    int    `json:"code"`
	Down    string `json:"down"`
	Message string `json:"message"`
	Detail  string `json:"detail"`
}

func (r *Refusal) Error() string { return fmt.Sprintf("%d %s %s", r.Code, r.Message, r.Detail) }

// Chat opens an agent's page.
func (s *Suite) Chat(ctx context.Context, agent string) (*Chat, error) {
	svc, err := s.Get(ctx, "v1", "Service", "agent-"+agent, "chat-frontend")
	if err != nil {
		return nil, err
	}
	ip, _, _ := unstructured.NestedString(svc.Object, "spec", "clusterIP")
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	c := &Chat{URL: "http://" + ip + ":3000", client: &http.Client{Jar: jar}}
	rsp, err := c.do(ctx, http.MethodGet, "/", nil)
	if err != nil {
		return nil, err
	}
	return c, rsp.Body.Close()
}

func (c *Chat) do(ctx context.Context, method, path string, body any) (*http.Response, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, c.URL+path, bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	return c.client.Do(req)
}

// Get reads something of the page: its status, its type and its body.
func (c *Chat) Get(ctx context.Context, path string) (status int, kind string, body []byte, err error) {
	rsp, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return 0, "", nil, err
	}
	body, err = io.ReadAll(rsp.Body)
	return rsp.StatusCode, rsp.Header.Get("Content-Type"), body, errors.Join(err, rsp.Body.Close())
}

// Ask asks in a new conversation and waits for the answer. What the page refuses is
// a *Refusal. Grows, which may be nil, is called whenever the answer has grown.
func (c *Chat) Ask(ctx context.Context, question string, grows func(html string)) (Answer, error) {
	rsp, err := c.do(ctx, http.MethodPost, "/api/conversations/new/turns", map[string]string{"question": question})
	if err != nil {
		return Answer{}, err
	}
	b, err := io.ReadAll(rsp.Body)
	if err := errors.Join(err, rsp.Body.Close()); err != nil {
		return Answer{}, err
	}
	if rsp.StatusCode != http.StatusAccepted {
		r := &Refusal{Code: rsp.StatusCode}
		if err := json.Unmarshal(b, r); err != nil {
			return Answer{}, fmt.Errorf("%s: %s", rsp.Status, b)
		}
		return Answer{}, r
	}
	var asked struct {
		Conversation string `json:"conversation"`
		Turn         struct {
			ID string `json:"id"`
		} `json:"turn"`
	}
	if err := json.Unmarshal(b, &asked); err != nil {
		return Answer{}, err
	}
	rsp, err = c.do(ctx, http.MethodGet, "/api/conversations/"+asked.Conversation+"/turns/"+asked.Turn.ID+"/events", nil)
	if err != nil {
		return Answer{}, err
	}
	defer rsp.Body.Close() //nolint:errcheck // a reader
	return follow(rsp.Body, grows)
}

// follow reads an answer as it grows.
func follow(r io.Reader, grows func(string)) (Answer, error) {
	var a Answer
	var blocks []string
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		if lines.Text() == "event: end" {
			return a, nil
		}
		data, is := strings.CutPrefix(lines.Text(), "data: ")
		if !is {
			continue
		}
		var p struct {
			State   string   `json:"state"`
			From    int      `json:"from"`
			Blocks  []string `json:"blocks"`
			Problem *Refusal `json:"problem"`
			Text    string   `json:"markdown"`
		}
		if err := json.Unmarshal([]byte(data), &p); err != nil {
			return a, err
		}
		blocks = append(blocks[:min(p.From, len(blocks))], p.Blocks...)
		a = Answer{State: p.State, Markdown: p.Text, HTML: strings.Join(blocks, "\n"), Problem: p.Problem}
		if grows != nil && len(blocks) > 0 {
			grows(a.HTML)
		}
	}
	return a, errors.Join(errors.New("the page's stream ended in the middle of an answer"), lines.Err())
}

// A Used is what a model was billed for, in tokens, disjoint.
type Used struct {
	Input       int `json:"input"`
	CachedInput int `json:"cachedInput"`
	Output      int `json:"output"`
	Thoughts    int `json:"thoughts"`
}

// A Charge is one call on the fake provider's bill.
type Charge struct {
	Agent   string `json:"agent"`
	Model   string `json:"model"`
	Outcome string `json:"outcome"` // complete, or how it ended early
	Usage   Used   `json:"usage"`
}

type bill struct {
	Calls  []Charge                   `json:"calls"`
	Totals map[string]map[string]Used `json:"totals"`
}

func (s *Suite) bill(ctx context.Context) (bill, error) {
	var all bill
	b, err := get(ctx, s.Provider+"/bill")
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	return all, err
}

// Bill is what the fake provider wants to be paid for an agent, by model.
func (s *Suite) Bill(ctx context.Context, agent string) (map[string]Used, error) {
	all, err := s.bill(ctx)
	return all.Totals[agent], err
}

// Charges are the calls on that bill.
func (s *Suite) Charges(ctx context.Context, agent string) ([]Charge, error) {
	all, err := s.bill(ctx)
	return slices.DeleteFunc(all.Calls, func(c Charge) bool { return c.Agent != agent }), err
}

// Behave makes the fake provider behave: a list as its package server describes it.
func (s *Suite) Behave(ctx context.Context, list string) error {
	_, err := do(ctx, http.MethodPost, s.Provider+"/behave", []byte(list))
	return err
}
