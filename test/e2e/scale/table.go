package scale

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Usage is what a process has used so far, and holds now.
type Usage struct {
	CPU time.Duration // user and system
	RSS int64         // bytes
}

// A Count is a reading of everything that only ever grows, and of memory.
type Count struct {
	At         time.Time
	Processes  map[string]Usage   // by process
	Reconciles map[string]float64 // by controller
	Calls      map[string]float64 // of functions, by function
	CallTime   time.Duration      // core's wait for them, all together
	Writes     map[string]int     // requests that could write, by who and what
	Changes    map[string]int     // that were really made, by resource
}

// A Size is what was measured with so many agents.
type Size struct {
	Agents, Added int
	Ready         time.Duration // from the first order added to the last one Ready

	// Before the first order was added, when all were Ready, and the beginning and
	// the end of a time in which nothing happened.
	Before, Grown, Idle, End Count
	DB                       int64 // bytes of etcd's file
}

// window is how long nothing happened.
func (s Size) window() time.Duration { return s.End.At.Sub(s.Idle.At) }

// perAgentHour is what n things in the idle window are per agent and hour.
func (s Size) perAgentHour(n float64) float64 {
	return n / float64(s.Agents) / s.window().Hours()
}

// cpu is what processes used between two counts.
func cpu(from, to Count, of func(process string) bool) time.Duration {
	var d time.Duration
	for p, u := range to.Processes {
		if of(p) {
			d += u.CPU - from.Processes[p].CPU
		}
	}
	return d
}

func rss(c Count, of func(string) bool) int64 {
	var n int64
	for p, u := range c.Processes {
		if of(p) {
			n += u.RSS
		}
	}
	return n
}

func anyone(string) bool            { return true }
func isFunction(p string) bool      { return strings.HasPrefix(p, "function-") }
func is(n string) func(string) bool { return func(p string) bool { return p == n } }

// grown is what grew of a map between two counts, all keys together.
func grown[N int | float64](from, to map[string]N) float64 {
	var d float64
	for k, n := range to {
		d += float64(n - from[k])
	}
	return d
}

// A figure is one line of the table: a number for each size, and how it may grow.
type figure struct {
	name   string
	of     func(Size) float64
	format string
	// perAgent: the number is one agent's already, so that it must not grow at all;
	// others may grow as the number of agents does.
	perAgent bool
}

var figures = []figure{
	{"all Ready after, s", func(s Size) float64 { return s.Ready.Seconds() }, "%.0f", false},
	{"seconds per added agent", func(s Size) float64 { return s.Ready.Seconds() / float64(s.Added) }, "%.2f", true},
	{"CPU seconds per added agent", func(s Size) float64 { return cpu(s.Before, s.Grown, anyone).Seconds() / float64(s.Added) }, "%.2f", true},
	{"of these the functions", func(s Size) float64 { return cpu(s.Before, s.Grown, isFunction).Seconds() / float64(s.Added) }, "%.3f", true},
	{"function calls per added agent", func(s Size) float64 { return grown(s.Before.Calls, s.Grown.Calls) / float64(s.Added) }, "%.0f", true},
	{"function calls per second while growing", func(s Size) float64 { return grown(s.Before.Calls, s.Grown.Calls) / s.Ready.Seconds() }, "%.1f", false},
	{"mean time of a call while growing, ms", func(s Size) float64 {
		return (s.Grown.CallTime - s.Before.CallTime).Seconds() * 1000 / grown(s.Before.Calls, s.Grown.Calls)
	}, "%.1f", true},
	{"idle: XR reconciles per agent and hour", func(s Size) float64 { return s.perAgentHour(composite(s)) }, "%.1f", true},
	{"idle: provider reconciles per agent and hour", func(s Size) float64 {
		return s.perAgentHour(grown(s.Idle.Reconciles, s.End.Reconciles) - composite(s))
	}, "%.0f", true},
	{"idle: function calls per second", func(s Size) float64 { return grown(s.Idle.Calls, s.End.Calls) / s.window().Seconds() }, "%.2f", false},
	{"idle: requests that could write, per agent and hour", func(s Size) float64 { return s.perAgentHour(grown(s.Idle.Writes, s.End.Writes)) }, "%.2f", true},
	{"idle: of an order and its parts changed, per agent and hour", func(s Size) float64 { return s.perAgentHour(grown(s.Idle.Changes, s.End.Changes)) }, "%.2f", true},
	{"idle: CPU, thousandths of a core", func(s Size) float64 { return 1000 * cpu(s.Idle, s.End, anyone).Seconds() / s.window().Seconds() }, "%.0f", false},
	{"idle: of these the functions", func(s Size) float64 { return 1000 * cpu(s.Idle, s.End, isFunction).Seconds() / s.window().Seconds() }, "%.1f", false},
	{"memory of all processes, MiB", func(s Size) float64 { return mib(rss(s.End, anyone)) }, "%.0f", false},
	{"of this the ten functions", func(s Size) float64 { return mib(rss(s.End, isFunction)) }, "%.0f", false},
	{"etcd's file, MiB", func(s Size) float64 { return mib(s.DB) }, "%.0f", false},
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// composite is how often orders and budgets were reconciled in the idle window.
func composite(s Size) float64 {
	var n float64
	for k, v := range s.End.Reconciles {
		if strings.Contains(k, "composite/") {
			n += v - s.Idle.Reconciles[k]
		}
	}
	return n
}

// Table is what was measured, in Markdown: the figures, and then each process.
func Table(sizes []Size) string {
	var b strings.Builder
	row := func(cells ...string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	head, line := []string{"agents"}, []string{"---"}
	for _, s := range sizes {
		head, line = append(head, strconv.Itoa(s.Agents)), append(line, "---:")
	}
	row(head...)
	row(line...)
	for _, f := range figures {
		cells := []string{f.name}
		for _, s := range sizes {
			cells = append(cells, fmt.Sprintf(f.format, f.of(s)))
		}
		row(cells...)
	}
	b.WriteString("\n")
	head[0] = "process: CPU seconds per added agent; idle, thousandths of a core; MiB"
	row(head...)
	row(line...)
	for _, p := range slices.Sorted(maps.Keys(sizes[len(sizes)-1].End.Processes)) {
		cells := []string{p}
		for _, s := range sizes {
			cells = append(cells, fmt.Sprintf("%.2f; %.0f; %.0f", cpu(s.Before, s.Grown, is(p)).Seconds()/float64(s.Added),
				1000*cpu(s.Idle, s.End, is(p)).Seconds()/s.window().Seconds(), mib(s.End.Processes[p].RSS)))
		}
		row(cells...)
	}
	return b.String()
}

// tolerated is by how much a figure may grow more than the agents do: what is
// measured on a shared machine is never the same twice.
const tolerated = 1.5

// Faster names the figures that grow faster than the number of agents.
func Faster(sizes []Size) []string {
	var out []string
	for _, f := range figures {
		for i := 1; i < len(sizes); i++ {
			was, now := f.of(sizes[i-1]), f.of(sizes[i])
			may := was
			if !f.perAgent {
				may *= float64(sizes[i].Agents) / float64(sizes[i-1].Agents)
			}
			if now > may*tolerated && was > 0 {
				out = append(out, fmt.Sprintf("%s: "+f.format+" with %d agents, "+f.format+" with %d", f.name, was, sizes[i-1].Agents, now, sizes[i].Agents))
			}
		}
	}
	return out
}

// Grown lists what grew between two counts, the most first.
func Grown(from, to map[string]int) string {
	n := map[string]int{}
	for k, v := range to {
		if d := v - from[k]; d > 0 {
			n[k] = d
		}
	}
	var b strings.Builder
	for _, k := range slices.SortedFunc(maps.Keys(n), func(x, y string) int { return cmp.Or(n[y]-n[x], strings.Compare(x, y)) }) {
		fmt.Fprintf(&b, "%6d  %s\n", n[k], k)
	}
	return b.String()
}
