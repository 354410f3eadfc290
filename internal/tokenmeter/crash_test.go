package tokenmeter

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"whisperops.io/functions/internal/tokenmeter/fakeprovider"
	"whisperops.io/functions/internal/tokenmeter/usage"
)

// TestACrashKeepsWhatWasKnown: of a stream in whose middle the process dies, what the
// provider had said by then counts as estimated, at the prices of the time, and the call
// is named all the same: it goes on at the provider's.
func TestACrashKeepsWhatWasKnown(t *testing.T) {
	plan := usage.Tokens{usage.Input: 1001, usage.CachedInput: 502, usage.Output: 300}
	input := usage.Tokens{usage.Input: 1001, usage.CachedInput: 502}
	for name, c := range map[string]struct {
		reason string
		ask    ask
		want   usage.Tokens // of the input
		output bool         // some of it is known
	}{
		"Gemini":    {"Every event has the figures up to it.", asks[1], input, true},
		"Anthropic": {"The first event has the input; its output is a placeholder.", asks[10], input, false},
		"OpenAI":    {"There are no figures before the last event.", asks[5], usage.Tokens{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(f *Flags) { f.Limits.NoteTime = 0 })
			res, err := w.post(t.Context(), c.ask, &fakeprovider.Plan{Agent: "housing-bot", Model: c.ask.model, Tokens: plan, Events: 6, HoldAfter: 4})
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close() //nolint:errcheck // it is left
			<-w.provider.Held()
			defer w.provider.Release()
			// What the meter has read is with its caller, and then with the journal.
			if _, err := res.Body.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			known := func() uint64 {
				var sum uint64
				for _, o := range w.openCalls(t) {
					sum += tokensOf(o.Known)
				}
				return sum
			}
			until(t, func() bool { return known() >= c.want.Sum() && len(w.openCalls(t)) == 1 })

			next := w.after(t)
			var got usage.Tokens
			counted, _ := next.meter.journal.Snapshot()
			for k, tokens := range counted {
				if tokens.Sum() > 0 && k.Outcome != outcomeEstimated {
					t.Errorf("%s\n%v counts as %s", c.reason, tokens, k.Outcome)
				}
				got = got.Plus(tokens)
			}
			output := got[usage.Output]
			got[usage.Output] = 0
			if got != c.want || (output > 0) != c.output || output >= plan[usage.Output] {
				t.Errorf("%s\nafter the crash %v and %d of output are counted, want %v and output: %v", c.reason, got, output, c.want, c.output)
			}
			if spent := next.meter.journal.Spent("housing-bot"); (spent > 0) != (c.want.Sum() > 0) {
				t.Errorf("%s\nthe agent spent %s USD", c.reason, dollars(spent))
			}
			named := 0.0
			for k, v := range next.shown(t) {
				if strings.HasPrefix(k, "whisperops_meter_uncounted_calls_total") && strings.Contains(k, "reason=crash") {
					named += v
				}
			}
			if named != 1 {
				t.Errorf("%s\n%v calls are named, want 1", c.reason, named)
			}
		})
	}
}

// TestACrashAfterTheLastFigures: a caller may have what it wants before the provider
// ends its answer. What is counted then is counted once, though the process dies before
// the end, and though the journal had been told of less before.
func TestACrashAfterTheLastFigures(t *testing.T) {
	w := newWorld(t, func(f *Flags) { f.Limits.NoteTime = 0 })
	rt, _ := parseRoute(http.MethodPost, mustURL(asks[1].path))
	c := &call{meter: w.meter, id: 1, route: rt, asked: rt.model, began: time.Now(), reader: usage.NewReader(usage.Gemini, "")}
	if err := w.meter.begin(c); err != nil {
		t.Fatal(err)
	}
	say := func(event string) {
		t.Helper()
		if _, err := c.reader.Write([]byte("data: " + event + "\n\n")); err != nil {
			t.Fatal(err)
		}
		c.progress()
	}
	say(`{"candidates":[{"content":{}}],"modelVersion":"gemini-3.8-flash","usageMetadata":{"promptTokenCount":1000,"candidatesTokenCount":10,"totalTokenCount":1010}}`)
	until(t, func() bool {
		open := w.openCalls(t)
		return len(open) == 1 && tokensOf(open[0].Known) == 1010
	})
	say(`{"candidates":[{"finishReason":"STOP"}],"modelVersion":"gemini-3.8-flash","usageMetadata":{"promptTokenCount":1000,"candidatesTokenCount":30,"totalTokenCount":1030}}`)
	next := w.after(t)
	if got := next.total()[fakeprovider.Line{Agent: "housing-bot", Model: "gemini-3.8-flash"}]; got.Sum() != 1030 {
		t.Errorf("after the crash %v are counted, want 1030 tokens", got)
	}
	if got, want := next.meter.journal.Spent("housing-bot"), w.meter.journal.Spent("housing-bot"); got != want || got == 0 {
		t.Errorf("after the crash %s USD are spent, want %s", dollars(got), dollars(want))
	}
}

// after is the meter that finds what kill -9 would leave of this one now.
func (w *world) after(t *testing.T) *Server {
	t.Helper()
	dir := t.TempDir()
	if err := w.meter.journal.db.View(func(tx *bbolt.Tx) error { return tx.CopyFile(filepath.Join(dir, "tokens.db"), 0o600) }); err != nil {
		t.Fatal(err)
	}
	return newServer(t, w.upstream.URL, func(f *Flags) { f.Journal = dir })
}

// openCalls are those of which the journal doesn't know the end.
func (w *world) openCalls(t *testing.T) []openCall {
	t.Helper()
	j := &Journal{tokens: map[Key]usage.Tokens{}, spent: map[string]USD{}, hard: map[string]USD{}}
	dir := t.TempDir()
	if err := w.meter.journal.db.View(func(tx *bbolt.Tx) error { return tx.CopyFile(filepath.Join(dir, "tokens.db"), 0o600) }); err != nil {
		t.Fatal(err)
	}
	if err := j.load(filepath.Join(dir, "tokens.db")); err != nil {
		t.Fatal(err)
	}
	if err := j.db.Close(); err != nil {
		t.Fatal(err)
	}
	return j.crash
}
