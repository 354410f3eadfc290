// Command bench measures what a station costs beside a function that does nothing on
// Crossplane's SDK and beside the stations of an earlier commit, as ratios within one run,
// because machines are noisy: size, memory, start, and one call's time and allocations.
//
// Each is a process of its own that answers over loopback gRPC, in turn; the client sends
// and takes bytes. The function that does nothing says what the station says.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"google.golang.org/protobuf/proto"

	"whisperops.io/functions/internal/errors"
	"whisperops.io/functions/test/page"
	"whisperops.io/functions/test/pipeline"
)

// options of a run.
type options struct {
	agent, bin, base, nothing string
	peer                      string
	rounds, calls             int
	maxSize                   float64
}

func main() {
	var o options
	flag.StringVar(&o.agent, "agent", "examples/agent-everything-ready", "story of an XDatasetAgent whose calls are measured")
	flag.StringVar(&o.bin, "bin", "_output/bin", "folder with the functions' binaries")
	flag.StringVar(&o.base, "base", "", "folder with the functions' binaries of an earlier commit; empty: compare with none")
	flag.StringVar(&o.nothing, "nothing", "_output/bin/nothing", "binary of the function that does nothing")
	flag.StringVar(&o.peer, "peer", "", "program of crossplane-contrib/function-go-templating, which is given the workloads as one template; empty: compare with none")
	flag.IntVar(&o.rounds, "rounds", 9, "rounds; the median counts")
	flag.IntVar(&o.calls, "calls", 100, "calls per round")
	flag.Float64Var(&o.maxSize, "max-size", 0, "measure sizes alone, and fail when one is above so much of the function that does nothing")
	file := flag.String("page", "", "Markdown file in which the table takes the place of the last one")
	commits := flag.String("commits", "", "what was compared, for the page")
	flag.Parse()
	if err := run(o, *file, *commits); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(o options, file, commits string) error {
	if o.maxSize > 0 {
		return sizes(o)
	}
	recorded, err := record(filepath.Join(pipeline.Root(), o.agent))
	if err != nil {
		return err
	}
	var rows []row
	for _, c := range recorded {
		r, err := measure(o, c)
		if err != nil {
			return errors.Wrapf(err, "cannot measure %s", c.step)
		}
		rows = append(rows, r)
	}
	text := table(o, rows, commits)
	if o.peer != "" {
		beside, err := besidePeer(o, recorded)
		if err != nil {
			return errors.Wrapf(err, "cannot measure %s", filepath.Base(o.peer))
		}
		text += beside
	}
	fmt.Print(text) //nolint:forbidigo // a program for people
	if file == "" {
		return nil
	}
	return page.Replace(file, "make bench", text)
}

// sizes compares the binaries on disk.
func sizes(o options) error {
	nothing, err := size(o.nothing)
	if err != nil {
		return err
	}
	bins, err := filepath.Glob(filepath.Join(o.bin, "function-*"))
	if err != nil || len(bins) == 0 {
		return errors.Errorf("no functions in %s: make build puts them there (%v)", o.bin, err)
	}
	var above []error
	for _, b := range bins {
		s, err := size(b)
		if err != nil {
			return err
		}
		fmt.Printf("%-34s %5.1f MB %5.2f\n", filepath.Base(b), s, s/nothing) //nolint:forbidigo // a program for people
		if s/nothing > o.maxSize {
			above = append(above, errors.Errorf("%s is %.2f of a function that does nothing, more than %.2f: test/architecture/testdata/linked.txt says what it links", filepath.Base(b), s/nothing, o.maxSize))
		}
	}
	return errors.Join(above...)
}

// A side is one of those that are compared.
type side struct{ size, idle, idleAnon, used, first, micros, worked, allocs float64 }

// A row is a station, and what it is compared with.
type row struct {
	step               string
	request, response  int // bytes
	now, base, nothing side
}

// measure compares one station.
func measure(o options, c *call) (row, error) {
	r := row{step: c.step}
	req, err := proto.Marshal(c.req)
	if err != nil {
		return r, err
	}
	rsp, err := proto.Marshal(c.rsp)
	if err != nil {
		return r, err
	}
	r.request, r.response = len(req), len(rsp)
	says := filepath.Join(os.TempDir(), fmt.Sprintf("bench-%d-%s", os.Getpid(), c.step))
	if err := os.WriteFile(says, rsp, 0o600); err != nil {
		return r, err
	}
	defer func() { _ = os.Remove(says) }()

	sides := []*side{&r.now, &r.nothing}
	commands := [][]string{{filepath.Join(o.bin, c.function)}, {o.nothing, "--response", says}}
	if o.base != "" {
		sides, commands = append(sides, &r.base), append(commands, []string{filepath.Join(o.base, c.function)})
	}
	return r, inTurn(o, req, sides, commands)
}

// inTurn measures all sides, one after the other and again.
func inTurn(o options, req []byte, sides []*side, commands [][]string) error { //nolint:gocognit // rounds of rounds, one after the other
	servers := make([]*server, len(sides))
	defer func() {
		for _, s := range servers {
			if s != nil {
				s.stop()
			}
		}
	}()
	firsts, took, worked := make([][]float64, len(sides)), make([][]float64, len(sides)), make([][]float64, len(sides))
	for range o.rounds { // the last one stays
		for i, cmd := range commands {
			if servers[i] != nil {
				servers[i].stop()
			}
			s, err := start(cmd[0], cmd[1:]...)
			if err != nil {
				return err
			}
			servers[i] = s
			firsts[i] = append(firsts[i], float64(s.first.Microseconds())/1000)
		}
	}
	for i, s := range servers {
		var err error
		if sides[i].size, err = size(commands[i][0]); err != nil {
			return err
		}
		if sides[i].idle, sides[i].idleAnon, err = s.resident(); err != nil {
			return err
		}
	}
	for round := range o.rounds + 1 {
		for i, s := range servers {
			t, w, err := s.calls(req, o.calls)
			if err != nil {
				return err
			}
			if round == 0 {
				continue // connections and caches warm up
			}
			took[i], worked[i] = append(took[i], t), append(worked[i], w)
		}
	}
	for i, s := range servers {
		var err error
		if _, _, err = s.calls(req, max(0, 1000-(o.rounds+1)*o.calls)); err != nil {
			return err
		}
		if sides[i].used, _, err = s.resident(); err != nil {
			return err
		}
		if sides[i].allocs, err = s.allocations(req, o.calls); err != nil {
			return err
		}
		sides[i].first, sides[i].micros, sides[i].worked = median(firsts[i]), median(took[i]), median(worked[i])
	}
	return nil
}

// size of a file in MB.
func size(file string) (float64, error) {
	i, err := os.Stat(file)
	if err != nil {
		return 0, err
	}
	return float64(i.Size()) / 1e6, nil
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}
