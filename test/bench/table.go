package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// table writes a run down in Markdown.
func table(o options, rows []row, commits string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s (%d processors), %s. %s. %d rounds of %d calls.\n\n", time.Now().UTC().Format("2006-01-02 15:04"), processor(), runtime.NumCPU(), runtime.Version(), commits, o.rounds, o.calls)
	fmt.Fprintln(&b, "Beside a function that does nothing on the SDK and gives the same response to the same request:")
	fmt.Fprintln(&b)
	against(&b, rows, func(r row) side { return r.nothing })
	if o.base != "" {
		fmt.Fprintln(&b, "\nBeside the same station of the earlier commit:")
		fmt.Fprintln(&b)
		against(&b, rows, func(r row) side { return r.base })
	}
	return b.String()
}

// against writes what each station costs, and all together, as ratios to what other returns.
func against(b *strings.Builder, rows []row, other func(row) side) {
	fmt.Fprintln(b, "| Station | request, response KiB | binary MB | idle MiB | after 1,000 calls MiB | to the first answer ms | one call µs | its processor time µs | its allocations |")
	fmt.Fprintln(b, "|---|---|---|---|---|---|---|---|---|")
	var all, others side
	for _, r := range rows {
		line(b, r.step, fmt.Sprintf("%.0f, %.0f", float64(r.request)/1024, float64(r.response)/1024), r.now, other(r))
		all, others = all.plus(r.now), others.plus(other(r))
	}
	line(b, fmt.Sprintf("all %d", len(rows)), "", all, others)
}

func line(b *strings.Builder, step, bytes string, a, o side) {
	fmt.Fprintf(b, "| %s | %s |", step, bytes)
	for _, v := range [][2]float64{{a.size, o.size}, {a.idle, o.idle}, {a.used, o.used}, {a.first, o.first}, {a.micros, o.micros}, {a.worked, o.worked}, {a.allocs, o.allocs}} {
		format := " %.0f of %.0f: **%.2f** |"
		if v[0] < 100 {
			format = " %.1f of %.1f: **%.2f** |"
		}
		fmt.Fprintf(b, format, v[0], v[1], v[0]/v[1])
	}
	fmt.Fprintln(b)
}

func (s side) plus(o side) side {
	return side{
		s.size + o.size, s.idle + o.idle, s.idleAnon + o.idleAnon, s.used + o.used,
		s.first + o.first, s.micros + o.micros, s.worked + o.worked, s.allocs + o.allocs,
	}
}

func processor() string {
	b, _ := os.ReadFile("/proc/cpuinfo") // where there is none it isn't named
	_, rest, _ := strings.Cut(string(b), "model name")
	name, _, _ := strings.Cut(strings.TrimLeft(rest, "\t :"), "\n")
	return strings.TrimSpace(runtime.GOOS + " " + runtime.GOARCH + " " + name)
}
