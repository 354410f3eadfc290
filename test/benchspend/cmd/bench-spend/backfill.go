package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

const (
	export = 30 * time.Second // between two samples of a counter
	day    = 24 * time.Hour
)

// counters are the names under which agents export their tokens.
var counters = []string{"whisperops_tokens_input_total", "whisperops_tokens_cached_input_total", "whisperops_tokens_output_total"}

// An age of an agent whose measurements are compared.
type age struct {
	time.Duration

	words string
}

var ages = []age{{time.Hour, "1 hour"}, {day, "1 day"}, {30 * day, "30 days"}}

func (a age) agent() string { return "aged-" + strings.ReplaceAll(a.words, " ", "-") }

// A population is all agents and their counters. Each counter grows with every
// sample, but for those of agents at rest: they stopped an hour after they were born.
type population struct {
	end     time.Time // of what is backfilled, on the grid; later samples are scraped
	first   time.Time // of the looks at the agents of ages
	born    map[string]time.Time
	series  []*counter
	crowd   []string // the agents that are measured under load
	busy    []string // as many others, that use something all the time
	written int

	scraped net.Listener
	scrapes atomic.Int64
}

type counter struct {
	from   int64 // Unix milliseconds of its first sample
	until  int64 // that of the last sample that grew; 0: all do
	labels labels.Labels
	text   string // as it is exposed
	ref    storage.SeriesRef
}

// looks at each of the agents of ages, a minute apart.
const looks = 60

func newPopulation(now time.Time, agents int) (*population, error) {
	p := &population{end: now.Truncate(export), born: map[string]time.Time{}}
	p.first = p.end.Truncate(time.Minute).Add(-looks * time.Minute)
	for _, of := range ages {
		name := of.agent()
		p.born[name] = p.first.Add(-of.Duration)
		for _, model := range []string{"gemini-2.5-flash", "gemini-2.5-pro"} {
			p.add(name, model, p.born[name])
		}
	}
	for i := range agents {
		name := fmt.Sprintf("crowd-%04d", i)
		p.crowd = append(p.crowd, name)
		p.born[name] = p.end.Add(-day)
		p.add(name, "gemini-2.5-flash", p.born[name])
		if rests(i) {
			for _, c := range p.series[len(p.series)-len(counters):] {
				c.until = c.from + time.Hour.Milliseconds()
			}
		}
	}
	for i := range agents {
		name := fmt.Sprintf("busy-%04d", i)
		p.busy = append(p.busy, name)
		p.born[name] = p.end.Add(-day)
		p.add(name, "gemini-2.5-flash", p.born[name])
	}
	var err error
	p.scraped, err = net.Listen("tcp", "127.0.0.1:0")
	return p, err
}

// rests says whether an agent of the crowd is one of the 95 in a hundred that do nothing.
func rests(i int) bool { return i%20 != 0 }

func (p *population) add(agent, model string, born time.Time) {
	for _, name := range counters {
		p.series = append(p.series, &counter{
			from:   born.UnixMilli(),
			labels: labels.FromStrings("__name__", name, "agent_name", agent, "model", model, "namespace", "agent-"+agent, "pod", "planner-0"),
			text:   fmt.Sprintf("%s{agent_name=%q,model=%q,namespace=%q,pod=\"planner-0\"}", name, agent, model, "agent-"+agent),
		})
	}
}

// value of every counter at a time: input grows faster than cached input.
func (c *counter) value(at int64) float64 {
	if c.until > 0 {
		at = min(at, c.until)
	}
	per := map[string]float64{counters[0]: 900, counters[1]: 300, counters[2]: 50}[c.labels.Get("__name__")]
	return per * float64(1+(at-c.from)/export.Milliseconds())
}

// backfill writes a block for each day.
func (p *population) backfill(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	begin := p.end
	for _, b := range p.born {
		if b.Before(begin) {
			begin = b
		}
	}
	for from := begin.Truncate(day); !from.After(p.end); from = from.Add(day) {
		if err := p.block(ctx, dir, from); err != nil {
			return errors.Wrapf(err, "cannot write the block of %s", from.Format(time.DateOnly))
		}
	}
	return nil
}

func (p *population) block(ctx context.Context, dir string, from time.Time) error {
	w, err := tsdb.NewBlockWriter(slog.New(slog.DiscardHandler), dir, day.Milliseconds())
	if err != nil {
		return err
	}
	defer func() { _ = w.Close() }() // what it wrote is flushed
	for _, c := range p.series {
		c.ref = 0
	}
	n := 0
	for at := from; at.Before(from.Add(day)) && !at.After(p.end); at = at.Add(export) {
		app := w.Appender(ctx)
		t := at.UnixMilli()
		for _, c := range p.series {
			if t < c.from {
				continue
			}
			if c.ref, err = app.Append(c.ref, c.labels, t, c.value(t)); err != nil {
				return errors.Join(err, app.Rollback())
			}
			n++
		}
		if err := app.Commit(); err != nil {
			return err
		}
	}
	p.written += n
	if n == 0 {
		return nil
	}
	_, err = w.Flush(ctx)
	return err
}

// serve exposes all counters as they are now.
func (p *population) serve() {
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		now := time.Now().UnixMilli()
		last := ""
		for _, name := range counters {
			for _, c := range p.series {
				if n := c.labels.Get("__name__"); n == name {
					if n != last {
						fmt.Fprintf(w, "# TYPE %s counter\n", n)
						last = n
					}
					fmt.Fprintf(w, "%s %.0f\n", c.text, c.value(now))
				}
			}
		}
		p.scrapes.Add(1)
	})}
	_ = srv.Serve(p.scraped) // until the program ends
}
