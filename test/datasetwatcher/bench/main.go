// Command bench measures what the dataset watcher costs with many objects: time,
// memory and requests of the first pass, and of one that finds nothing to do. Run
// it with make bench-watcher.
package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"whisperops.io/functions/hack/controlplane"
	"whisperops.io/functions/test/datasetwatcher/world"
)

// patience is longer than a first pass takes.
const patience = 5 * time.Minute

func main() {
	objects := flag.Int("objects", 1000, "CSVs in the bucket")
	idle := flag.Int("idle", 5, "idle passes to measure")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *objects, *idle)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, objects, idle int) error {
	dir, err := os.MkdirTemp("", "bench-watcher-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // the system clears its temporary folder
	w, err := world.Start(ctx, world.Options{Dir: dir, Gitea: true, Log: func(string, ...any) {}})
	if err != nil {
		return err
	}
	defer w.Close()
	if err := fill(ctx, w, objects); err != nil {
		return err
	}

	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "%d objects\tFirst pass\tIdle pass\n", objects)
	began := time.Now()
	p, err := w.Watch(ctx, "watcher", "--interval", "5s")
	if err != nil {
		return err
	}
	first, err := passes(ctx, w, p, 1)
	if err != nil {
		return err
	}
	if err := everything(ctx, w, objects); err != nil {
		return err
	}
	inGit := time.Since(began)

	// A pass after the catalog is in line has nothing left to do.
	settled, err := passes(ctx, w, p, first.passes+2)
	if err != nil {
		return err
	}
	last, err := passes(ctx, w, p, settled.passes+idle)
	if err != nil {
		return err
	}
	rest := last.since(settled)
	row := func(what string, of func(reading) string) {
		fmt.Fprintf(table, "%s\t%s\t%s\n", what, of(first), of(rest))
	}
	row("time of a pass", func(r reading) string { return fmt.Sprintf("%.2f s", r.seconds/float64(r.passes)) })
	row("requests to the bucket", func(r reading) string { return perPass(r.storage, r.passes) })
	row("writes in Kubernetes", func(r reading) string { return r.writes() })
	fmt.Fprintf(table, "requests to Gitea\t%d, with all after it\t%s\n", settled.git, perPass(rest.git, rest.passes))
	fmt.Fprintf(table, "commits\t%d, in Git %.0f s after the start\t%d\n", settled.commits, inGit.Seconds(), last.commits-settled.commits)
	fmt.Fprintf(table, "most memory\t%d MiB so far\t%d MiB in all\n", first.memory>>20, last.memory>>20)
	return table.Flush()
}

// fill uploads the objects, a few at a time.
func fill(ctx context.Context, w *world.World, objects int) error {
	rows := "longitude,latitude,median_house_value\n" + strings.Repeat("-122.23,37.88,452600\n", 200)
	numbers, errs := make(chan int), make(chan error, 8)
	wg := sync.WaitGroup{}
	for range cap(errs) {
		wg.Go(func() {
			for i := range numbers {
				if err := w.Upload(ctx, fmt.Sprintf("team-%02d/measurement_%04d.csv", i%20, i), rows); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	defer wg.Wait()
	defer close(numbers)
	for i := range objects {
		select {
		case numbers <- i:
		case err := <-errs:
			return err
		}
	}
	return nil
}

// everything waits until each object is an XDataset and an entity.
func everything(ctx context.Context, w *world.World, objects int) error {
	return controlplane.Eventually(ctx, patience, fmt.Sprintf("%d datasets in Git", objects), func(ctx context.Context) error {
		all, err := w.Datasets(ctx)
		if err != nil {
			return err
		}
		names, err := w.Gitea.Entities(ctx)
		if err != nil {
			return err
		}
		if n := len(strings.Fields(names)); len(all) != objects || n != objects {
			return fmt.Errorf("%d datasets, %d entities", len(all), n)
		}
		return nil
	})
}

// A reading is what passes have cost since the start of the watcher.
type reading struct {
	passes       int
	seconds      float64
	storage, git int
	commits      int
	memory       int64 // bytes, at most so far
	kubernetes   map[string]int
}

// passes waits until so many passes have ended, and reads the counters.
func passes(ctx context.Context, w *world.World, p *world.Watcher, n int) (reading, error) {
	r := reading{}
	err := controlplane.Eventually(ctx, patience, fmt.Sprintf("%d passes", n), func(ctx context.Context) error {
		m, err := p.Metrics(ctx)
		r.seconds, r.passes = m["dataset_watcher_pass_duration_seconds_sum"], int(m["dataset_watcher_pass_duration_seconds_count"])
		if err == nil && r.passes < n {
			err = fmt.Errorf("%d so far", r.passes)
		}
		return err
	})
	if err != nil {
		return r, err
	}
	requests, err := w.Requests()
	if err != nil {
		return r, err
	}
	r.storage, r.git, r.kubernetes = w.StoreGate.Requests(), w.GitGate.Requests(), world.Writes(requests)
	if r.commits, err = w.Gitea.Commits(ctx); err != nil && !strings.Contains(err.Error(), "409") { // an empty repository
		return r, err
	}
	r.memory, err = most(p.PID())
	return r, err
}

func (r reading) since(before reading) reading {
	d := reading{
		passes: r.passes - before.passes, seconds: r.seconds - before.seconds,
		storage: r.storage - before.storage, git: r.git - before.git, kubernetes: map[string]int{},
	}
	for what, n := range r.kubernetes {
		d.kubernetes[what] = n - before.kubernetes[what]
	}
	return d
}

func (r reading) writes() string {
	parts := []string{}
	for _, what := range slices.Sorted(maps.Keys(r.kubernetes)) {
		if n := r.kubernetes[what]; n > 0 {
			parts = append(parts, perPass(n, r.passes)+" "+what)
		}
	}
	return strings.Join(parts, ", ")
}

func perPass(n, passes int) string {
	return strconv.FormatFloat(float64(n)/float64(passes), 'f', -1, 64)
}

// most is the most memory a process has held, in bytes.
func most(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("process %d says nothing of its memory", pid)
}
