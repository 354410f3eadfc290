package tokenmeter

import (
	"compress/gzip"
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/google/go-cmp/cmp"

	"whisperops.io/functions/internal/tokenmeter/fakeprovider"
	"whisperops.io/functions/internal/tokenmeter/usage"
)

// What other meters got wrong, a row each of the table in docs/token-meter.md, which
// also names the tests elsewhere that show a row.
var lessons = map[string]struct {
	lesson string
	run    func(t *testing.T)
}{
	"01-a-bound-ends-the-reading": {
		"What is read for nobody is bounded; past the bound what is known counts, and the call is named as one that may have cost more.",
		func(t *testing.T) {
			w := newWorld(t, func(f *Flags) { f.Limits.DrainCalls = 0 })
			plan := planOf(geminiStream, 9)
			plan.HoldAfter = 3
			w.leave(t, geminiStream, plan)
			w.ended(t)
			w.provider.Release()
			w.counts(t, partOf(plan, 3), `outcome=estimated`)
			w.metric(t, "whisperops_meter_uncounted_calls_total{agent_name=housing-bot,reason=left}", 1)
			w.metric(t, "whisperops_meter_drains_cut_off_total{bound=calls}", 1)
		},
	},
	"02-a-placeholder-is-no-figure": {
		"The output that stands at the beginning of Anthropic's streams is made up: a stream that ends there has cost its input.",
		func(t *testing.T) {
			w := newWorld(t)
			plan := planOf(messagesStream, 3)
			plan.BreakAfter = 1
			w.call(t, messagesStream, plan)
			w.counts(t, inputOf(plan), `outcome=reset`)
			w.metric(t, "whisperops_meter_uncounted_calls_total{agent_name=housing-bot,reason=reset}", 1)
		},
	},
	"03-an-early-end-costs": {
		"A stream that broke off has cost what it said so far.",
		func(t *testing.T) {
			w := newWorld(t)
			plan := planOf(geminiStream, 5)
			plan.BreakAfter = 2
			w.call(t, geminiStream, plan)
			w.counts(t, partOf(plan, 2), `outcome=reset`)
		},
	},
	"04-every-way-out-counts": {
		"However a call ends, it is counted once, and nothing of it stays open.",
		func(t *testing.T) {
			for way, change := range map[string]func(*fakeprovider.Plan){
				"complete": func(*fakeprovider.Plan) {},
				"broken":   func(p *fakeprovider.Plan) { p.BreakAfter = 1 },
				"no byte":  func(p *fakeprovider.Plan) { p.BreakAfter = -1 },
				"failed":   func(p *fakeprovider.Plan) { p.FailAfter = 2 },
				"refused":  func(p *fakeprovider.Plan) { p.Status, p.Tokens = 429, usage.Tokens{} },
			} {
				for _, a := range asks {
					w := newWorld(t)
					plan := planOf(a, 4)
					change(plan)
					w.call(t, a, plan)
					w.ended(t)
					calls := 0.0
					for k, v := range w.shown(t) {
						if strings.HasPrefix(k, "whisperops_meter_calls_total") {
							calls += v
						}
					}
					if calls != 1 {
						t.Errorf("%s, %s: %v calls", way, a.name, calls)
					}
				}
			}
		},
	},
	"06-who-loses-a-race-costs-too": {
		"Of two calls that were made for one answer both are billed, and so both are counted.",
		func(t *testing.T) {
			w := newWorld(t)
			slow, fast := planOf(geminiStream, 4), planOf(geminiStream, 2)
			slow.HoldAfter = 2
			w.leave(t, geminiStream, slow) // it lost
			w.call(t, geminiStream, fast)
			w.provider.Release()
			w.ended(t)
			w.billed(t)
			w.counts(t, slow.Tokens, `outcome=aborted`)
			w.counts(t, fast.Tokens, `outcome=complete`)
		},
	},
	"08-input-is-kept": {
		"The first event has the whole input; a caller that leaves after it has paid for that.",
		func(t *testing.T) {
			for _, a := range []ask{geminiStream, messagesStream} {
				w := newWorld(t, func(f *Flags) { f.Limits.DrainCalls = 0 })
				plan := planOf(a, 6)
				plan.Tokens[usage.Output], plan.Tokens[usage.Thoughts] = 0, 0
				plan.HoldAfter = 1
				w.leave(t, a, plan)
				w.ended(t)
				w.provider.Release()
				w.counts(t, plan.Tokens, `outcome=estimated`)
			}
		},
	},
	"09-only-known-encodings": {
		"What the meter can't unpack it doesn't let a provider send.",
		func(t *testing.T) {
			for ask, want := range map[string]string{"zstd, gzip;q=0.5, br": "gzip;q=0.5, br", "zstd": "", "*": "", "identity": "identity"} {
				if got := acceptable(ask); got != want {
					t.Errorf("of %q the provider hears %q, want %q", ask, got, want)
				}
			}
		},
	},
	"12-header-and-body-go-together": {
		"A packed answer arrives packed, and says so.",
		func(t *testing.T) {
			for encoding, unpack := range map[string]func(io.Reader) (io.Reader, error){
				"gzip": func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
				"br":   func(r io.Reader) (io.Reader, error) { return brotli.NewReader(r), nil },
			} {
				for _, a := range asks {
					w := newWorld(t)
					plan := planOf(a, 3)
					plan.Encoding = encoding
					res, err := w.post(t.Context(), a, plan)
					if err != nil {
						t.Fatal(err)
					}
					if got := res.Header.Get("Content-Encoding"); got != encoding {
						t.Errorf("%s: Content-Encoding is %q", a.name, got)
					}
					r, err := unpack(res.Body)
					if err != nil {
						t.Fatal(err)
					}
					if b, err := io.ReadAll(r); err != nil || len(b) == 0 {
						t.Errorf("%s: %v, %d bytes", a.name, err, len(b))
					}
					_ = res.Body.Close() // it was read
				}
			}
		},
	},
	"14-no-line-is-too-long": {
		"An event of many megabytes goes through and is read.",
		func(t *testing.T) {
			w := newWorld(t)
			for _, a := range []ask{geminiStream, messagesStream} {
				plan := planOf(a, 2)
				plan.Text = strings.Repeat("x", 3<<20)
				w.call(t, a, plan)
			}
			w.ended(t)
			w.billed(t)
		},
	},
	"17-a-reset-stays-a-reset": {
		"A caller must learn that an answer was cut off: it is not ended politely in the provider's name.",
		func(t *testing.T) {
			for _, a := range asks {
				if !strings.Contains(a.name, "sse") && !strings.Contains(a.name, "array") {
					continue
				}
				w := newWorld(t)
				plan := planOf(a, 5)
				plan.BreakAfter = 2
				res, err := w.post(t.Context(), a, plan)
				if err != nil {
					t.Fatal(err)
				}
				if b, err := io.ReadAll(res.Body); err == nil || strings.Contains(string(b), "[DONE]") {
					t.Errorf("%s: the caller saw a proper end: %s", a.name, b)
				}
				_ = res.Body.Close() // it was cut off
			}
		},
	},
	"18-final-figures-are-final": {
		"A connection that breaks after the last figures has broken nothing.",
		func(t *testing.T) {
			for _, a := range []ask{chatStream, messagesStream} {
				w := newWorld(t)
				plan := planOf(a, 3)
				plan.BreakAfter = map[string]int{chatStream.name: 4, messagesStream.name: 8}[a.name] // before [DONE], message_stop
				w.call(t, a, plan)
				w.counts(t, plan.Tokens, `outcome=complete`)
				w.metric(t, "whisperops_meter_uncounted_calls_total{agent_name=housing-bot,reason=reset}", 0)
			}
		},
	},
	"19-status-200-is-no-success": {
		"An error in the middle of a stream is one, and what was used before it counts.",
		func(t *testing.T) {
			for _, a := range []ask{geminiStream, geminiArray} {
				w := newWorld(t)
				plan := planOf(a, 4)
				plan.FailAfter = 3
				w.call(t, a, plan)
				w.counts(t, partOf(plan, 3), `outcome=error`)
			}
		},
	},
	"20-attempts-count": {
		"An attempt that failed after it had used tokens was billed, and so is the next.",
		func(t *testing.T) {
			w := newWorld(t)
			failed, next := planOf(geminiStream, 4), planOf(geminiStream, 4)
			failed.FailAfter = 2
			w.call(t, geminiStream, failed)
			w.call(t, geminiStream, next)
			w.ended(t)
			w.billed(t)
			w.counts(t, partOf(failed, 2), `outcome=error`)
			w.counts(t, next.Tokens, `outcome=complete`)
		},
	},
	"29-no-figures-no-tokens": {
		"The meter has no tokenizer: an answer without figures counts none, and is named.",
		func(t *testing.T) {
			w := answering(t, "application/json", "", `{"choices":[{"message":{"content":"a long answer"}}]}`)
			w.call(t, chatPlain, nil)
			w.counts(t, usage.Tokens{}, "outcome=")
			w.metric(t, "whisperops_meter_uncounted_calls_total{agent_name=housing-bot,reason=no_usage}", 1)
		},
	},
	"30-what-cannot-be-read-is-named": {
		"Bytes that are not what they say they are pass, and are counted as unread.",
		func(t *testing.T) {
			w := answering(t, "text/event-stream", "gzip", "data: {}\n\n")
			w.call(t, geminiStream, &fakeprovider.Plan{Encoding: "gzip"})
			w.ended(t)
			w.metric(t, "whisperops_meter_uncounted_calls_total{agent_name=housing-bot,reason=encoding}", 1)
			w.metric(t, "whisperops_meter_unread_documents_total{dialect=gemini}", 1)
		},
	},
	"31-a-prompt-is-no-bill": {
		"Whether a prompt is a long one is asked of each call by itself, never of what an agent used in all.",
		func(t *testing.T) {
			w := newWorld(t)
			table := "version: 2\nmodels:\n  gemini-3.8-flash: {input: \"2\", cachedInput: \"1\", output: \"9\", longContext: {above: 200000, input: \"4\", output: \"18\"}}\n"
			if err := w.meter.state.SetPrices(table); err != nil {
				t.Fatal(err)
			}
			for _, prompt := range []uint64{150_000, 150_000, 250_000} {
				w.call(t, geminiStream, &fakeprovider.Plan{Agent: "housing-bot", Model: "gemini-3.8-flash", Events: 4, Tokens: usage.Tokens{usage.Input: prompt}})
			}
			w.counts(t, usage.Tokens{usage.Input: 300_000}, "context=standard")
			w.counts(t, usage.Tokens{usage.Input: 250_000}, "context=long")
		},
	},
}

func TestLessons(t *testing.T) {
	for name, l := range lessons {
		t.Run(name, func(t *testing.T) {
			t.Log(l.lesson)
			l.run(t)
		})
	}
}

var (
	geminiStream, geminiArray = asks[1], asks[2]
	chatPlain, chatStream     = asks[4], asks[5]
	messagesStream            = asks[10]

	lessonRow  = regexp.MustCompile(`(?m)^\| (\d+) \| (.+) \| (.+) \|$`)
	lessonTest = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)(?:/([a-z0-9-]+))?`")
)

// TestLessonsAreInTheDocs: the table in the docs has all 31 rows, each with a test
// that exists or with why it can't happen, and names all lessons of above.
func TestLessonsAreInTheDocs(t *testing.T) {
	exists := map[string]bool{}
	for _, dir := range []string{".", "usage"} {
		files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok {
					exists[fn.Name.Name] = true
				}
			}
		}
	}
	doc, err := os.ReadFile("../../docs/token-meter.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(doc), "## What other meters got wrong\n")
	if !found {
		t.Fatal("docs/token-meter.md has no such table")
	}
	named, next := map[string]bool{}, 1
	for _, row := range lessonRow.FindAllStringSubmatch(table, -1) {
		if n, err := strconv.Atoi(row[1]); err != nil || n != next {
			t.Errorf("row %s comes where %d should", row[1], next)
		}
		next++
		tests := lessonTest.FindAllStringSubmatch(row[3], -1)
		if len(tests) == 0 && !strings.Contains(row[3], "can't happen") {
			t.Errorf("row %s names no test, and doesn't say why it can't happen", row[1])
		}
		for _, m := range tests {
			if !exists[m[1]] {
				t.Errorf("row %s names %s, which is none", row[1], m[1])
			}
			if m[1] == "TestLessons" {
				if _, ok := lessons[m[2]]; !ok || !strings.HasPrefix(m[2], fmt.Sprintf("%02s-", row[1])) {
					t.Errorf("row %s names lesson %q, which is none of it", row[1], m[2])
				}
				named[m[2]] = true
			}
		}
	}
	if next != 32 {
		t.Errorf("there are %d rows", next-1)
	}
	for name := range lessons {
		if !named[name] {
			t.Errorf("the docs don't name lesson %s", name)
		}
	}
}

// planOf a call in so many events, with tokens of all classes that the dialect has.
func planOf(a ask, events int) *fakeprovider.Plan {
	return &fakeprovider.Plan{Agent: "housing-bot", Model: a.model, Tokens: a.tokens(usage.Tokens{1001, 502, 103, 60, 120, 16}), Events: events}
}

// partOf is what Gemini has said after so many events.
func partOf(p *fakeprovider.Plan, events int) usage.Tokens {
	t := p.Tokens
	for _, c := range []usage.Class{usage.Output, usage.Thoughts} {
		t[c] = t[c] * uint64(events) / uint64(p.Events)
	}
	return t
}

func inputOf(p *fakeprovider.Plan) usage.Tokens {
	t := p.Tokens
	t[usage.Output], t[usage.Thoughts] = 0, 0
	return t
}

// answering is a world whose provider always says the same.
func answering(t *testing.T, kind, encoding, body string) *world {
	t.Helper()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		if encoding != "" {
			w.Header().Set("Content-Encoding", encoding)
		}
		io.WriteString(w, body) //nolint:errcheck // a test
	}))
	t.Cleanup(up.Close)
	s := newServer(t, up.URL)
	return &world{t: t, Server: s, front: front(t, s)}
}

// call makes a call and reads as much of the answer as there is.
func (w *world) call(t *testing.T, a ask, plan *fakeprovider.Plan) {
	t.Helper()
	res, err := w.post(t.Context(), a, plan)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, res.Body) //nolint:errcheck // resets are wanted
	_ = res.Body.Close()          // so they are here
}

// leave makes a call and leaves when its provider holds.
func (w *world) leave(t *testing.T, a ask, plan *fakeprovider.Plan) {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	res, err := w.post(ctx, a, plan)
	if err != nil {
		t.Fatal(err)
	}
	<-w.provider.Held()
	// All that was sent has arrived, and so passed the meter.
	if _, err := io.ReadFull(res.Body, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	leave()
	_ = res.Body.Close() // it was left
}

// ended waits until no call is open.
func (w *world) ended(t *testing.T) {
	t.Helper()
	until(t, func() bool { return w.shown(t)["whisperops_meter_open_calls{}"] == 0 })
}

// billed compares what is counted with the bill.
func (w *world) billed(t *testing.T) {
	t.Helper()
	if diff := cmp.Diff(w.provider.Bill(), w.total()); diff != "" {
		t.Errorf("-billed +counted: %s", diff)
	}
}

// counts compares the tokens in series with a label's value.
func (w *world) counts(t *testing.T, want usage.Tokens, label string) {
	t.Helper()
	w.ended(t)
	var got usage.Tokens
	for k, v := range w.shown(t) {
		if !strings.HasPrefix(k, "whisperops_tokens_total{") || !strings.Contains(k, label) {
			continue
		}
		for c := range usage.Classes {
			if strings.Contains(k, "class="+c.String()+",") {
				got[c] += uint64(v)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("series with %s: -want +got: %s\n%v", label, diff, w.shown(t))
	}
}

func (w *world) metric(t *testing.T, name string, want float64) {
	t.Helper()
	if got := w.shown(t)[name]; got != want {
		t.Errorf("%s is %v, want %v: %v", name, got, want, w.shown(t))
	}
}
