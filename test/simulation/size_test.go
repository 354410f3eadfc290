package simulation

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"whisperops.io/functions/test/crossplane"
)

// TestLedgerStaysSmall lives through a day of pods that live for three minutes,
// and through worlds with more and more series: all is counted exactly, and the
// status stays small.
func TestLedgerStaysSmall(t *testing.T) {
	t.Parallel()
	if testing.Short() || *seed != 0 {
		t.Skip("takes half a minute")
	}
	for _, c := range []struct {
		name    string
		world   *World
		cursors int // at most
	}{
		// Of 480 pods with up to 9 series each; 10 minutes of them are kept.
		{"24 h of 480 pods of 3 minutes, one after another", DayOfShortPods(1), 40},
		{"256 series alive all the time", ManySeries(1, 256), 256},
		{"320 series alive all the time, more than there are cursors", ManySeries(1, 320), 256},
	} {
		r, err := c.world.Run(t.Context(), true)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		t.Logf("| %s | %d looks | %d USD-cents counted exactly | at most %d cursors | largest status %d B |", c.name, r.Looks, int(r.SpentUSD*100), r.Cursors, r.Largest)
		if why := verdict(row{}, c.world, r, r); why != "" {
			t.Errorf("%s: %s", c.name, why)
		}
		if r.Cursors > c.cursors {
			t.Errorf("%s: %d cursors, want at most %d", c.name, r.Cursors, c.cursors)
		}
		if r.Exported.USD() == 0 {
			t.Errorf("%s: nothing was spent", c.name)
		}
	}
}

// TestNothingSpentNothingWritten looks again and again at worlds in which nothing
// is spent any more. Within a step of the time grid the whole response is the
// same bytes, and from look to look everything that is written is. A day of it
// is written once an hour.
func TestNothingSpentNothingWritten(t *testing.T) {
	t.Parallel()
	if *seed != 0 {
		t.Skip("one world is asked for")
	}
	for _, name := range []string{"never seen", "counters at 0", "spent before, and idle since", "exhausted"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAgent(t, nil)
			switch name {
			case "counters at 0":
				a.use(0)
			case "spent before, and idle since":
				a.use(1_000_000)
			case "exhausted":
				a.use(3_000_000)
			}
			writes, looks := 0, 0
			for range 2 * 24 * 12 {
				a.goOn(5 * time.Minute)
				before := a.status
				r := a.look(true)
				if looks++; looks > 24*12 && written(t, before) != written(t, a.status) {
					writes++
				}
				if ttl := time.Duration(r.TTLSeconds * float64(time.Second)); a.now.After(Epoch.Add(time.Hour)) && (ttl < time.Minute || ttl > 5*time.Minute) {
					t.Fatalf("an idle agent is looked at again in %s", ttl)
				}
			}
			if writes > 24 {
				t.Errorf("a day in which nothing happens wrote status %d times, want one an hour", writes)
			}

			for before := a.status; written(t, before) == written(t, a.status) && looks < 3*24*12; looks++ {
				before = a.status
				a.goOn(5 * time.Minute)
				a.look(true)
			}
			r := a.look(true)
			want := answer(t, r, false)
			a.now = a.now.Truncate(step).Add(16 * time.Second) // past the ingest delay: a step begins
			all := answer(t, a.look(true), true)
			for i := range 10 {
				a.now = a.now.Add(1400 * time.Millisecond)
				if got := answer(t, a.look(true), true); got != all {
					t.Fatalf("pass %d within one step answers\n%s\nthe first\n%s", i+1, got, all)
				}
			}
			for i := range 10 {
				a.goOn(5 * time.Minute)
				if got := answer(t, a.look(true), false); got != want {
					t.Fatalf("look %d would write\n%s\nthe first\n%s", i+1, got, want)
				}
			}
		})
	}
}

// answer is what a pipeline answers, as bytes: with the context, which dies with
// the reconcile, or without it.
func answer(t *testing.T, r *crossplane.Result, context bool) string {
	t.Helper()
	o := proto.MarshalOptions{Deterministic: true}
	messages := []proto.Message{r.Desired}
	if context {
		messages = append(messages, r.Context)
	}
	for _, c := range r.Conditions {
		messages = append(messages, c)
	}
	for _, m := range r.Results {
		messages = append(messages, m)
	}
	out := fmt.Sprintln("TTL", r.TTLSeconds)
	for _, m := range messages {
		b, err := o.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		out += fmt.Sprintf("%q\n", b)
	}
	return out
}
