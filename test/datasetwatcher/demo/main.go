// Command demo shows the dataset watcher at work: it boots an API server, a
// storage emulator, Gitea and the watcher, uploads three CSVs of different shapes,
// then adds, renames and removes some, and prints what kubectl says meanwhile. Run
// it with make demo-watcher.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"whisperops.io/functions/test/datasetwatcher/world"
)

// interval between two listings: long enough to see that nothing comes sooner.
const interval = 5 * time.Second

// patience is what an interval may take on a slow machine.
const patience = time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	d := demo{out: out}
	dir, err := os.MkdirTemp("", "demo-watcher-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // the system clears its temporary folder
	d.sayf("Booting etcd, an API server, a Google Cloud Storage emulator and Gitea ...")
	w, err := world.Start(ctx, world.Options{Dir: dir, Gitea: true, Log: func(string, ...any) {}})
	if err != nil {
		return err
	}
	defer w.Close()
	d.World = w
	for _, act := range []func(context.Context) error{d.upload, d.add, d.rename, d.remove, d.git} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	return nil
}

type demo struct {
	*world.World

	out io.Writer
}

func (d demo) sayf(format string, args ...any) { fmt.Fprintf(d.out, "\n# "+format+"\n", args...) }

// show prints what a command says, as a terminal would.
func (d demo) show(ctx context.Context, args ...string) error {
	out, err := d.Kubectl(ctx, args...)
	fmt.Fprintf(d.out, "\n$ kubectl %s\n%s", strings.Join(args, " "), out)
	return err
}

// seen waits for the datasets, says how long that took, and shows them.
func (d demo) seen(ctx context.Context, want string) error {
	took, err := d.Await(ctx, patience, want)
	if err != nil {
		return err
	}
	d.sayf("Seen after %s; the bucket is listed every %s.", took.Round(100*time.Millisecond), interval)
	return d.show(ctx, "get", "xds")
}

// Three CSVs of different shapes: many rows, few rows of text, one row of many columns.
func (d demo) upload(ctx context.Context) error {
	d.sayf("Three CSVs: 20,640 rows of numbers, 3 rows of text with semicolons, one row of 5,000 columns.")
	houses := strings.Builder{}
	houses.WriteString("longitude,latitude,housing_median_age,total_rooms,population,median_income,median_house_value\n")
	for i := range 20640 {
		fmt.Fprintf(&houses, "-%d.%02d,%d.%02d,%d,%d,%d,%d.%04d,%d\n", 114+i%10, i%100, 32+i%9, i%97, 1+i%52, 2+i%9000, 3+i%4000, i%15, i%9999, 14999+i*23%485000)
	}
	athletes := "Name;Sportart;Anmerkung\n\"Müller, Änne\";Rudern;\"sagt: \"\"geht wieder\"\"\"\nJosé;Fútbol;\n松本;柔道;回復\n"
	columns := make([]string, 5000)
	for i := range columns {
		columns[i] = fmt.Sprintf("sensor_%04d", i)
	}
	sensors := strings.Join(columns, ",") + "\n" + strings.Repeat("0,", len(columns)-1) + "0\n"
	for object, content := range map[string]string{
		"california_housing.csv": houses.String(), "Athlete_Recovery.csv": athletes, "plant 7/sensors-2026.csv": sensors,
	} {
		if err := d.Upload(ctx, object, content); err != nil {
			return err
		}
	}
	if _, err := d.Watch(ctx, "watcher", "--interval", interval.String()); err != nil {
		return err
	}
	return d.seen(ctx, "athlete-recovery california-housing plant-7-sensors-2026")
}

func (d demo) add(ctx context.Context) error {
	d.sayf("Added: iris.csv, and report.csv, which is the error page of a download.")
	if err := d.Upload(ctx, "iris.csv", "sepal_length,species\n5.1,setosa\n"); err != nil {
		return err
	}
	if err := d.Upload(ctx, "report.csv", "<!DOCTYPE html>\n<html><body>403 Forbidden</body></html>\n"); err != nil {
		return err
	}
	if err := d.seen(ctx, "athlete-recovery california-housing iris plant-7-sensors-2026 report*"); err != nil {
		return err
	}
	return d.show(ctx, "get", "xds", "report", "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].reason}: {.status.conditions[?(@.type=="Ready")].message}{"\n"}`)
}

func (d demo) rename(ctx context.Context) error {
	d.sayf("Renamed: Athlete_Recovery.csv is now athletes.csv.")
	if err := d.Rename(ctx, "Athlete_Recovery.csv", "athletes.csv"); err != nil {
		return err
	}
	return d.gone(ctx, "athlete-recovery* athletes california-housing iris plant-7-sensors-2026 report*",
		"athletes california-housing iris plant-7-sensors-2026 report*")
}

func (d demo) remove(ctx context.Context) error {
	d.sayf("Removed: iris.csv.")
	if err := d.Remove(ctx, "iris.csv"); err != nil {
		return err
	}
	return d.gone(ctx, "athletes california-housing iris* plant-7-sensors-2026 report*", left)
}

// left is what the bucket holds in the end.
const left = "athletes california-housing plant-7-sensors-2026 report*"

// gone shows that a dataset is not ready at the first listing that lacks its
// object, and removed at the second.
func (d demo) gone(ctx context.Context, first, second string) error {
	if err := d.seen(ctx, first); err != nil {
		return err
	}
	took, err := d.Await(ctx, patience, second)
	if err != nil {
		return err
	}
	d.sayf("Gone after %s more: a second listing has to agree.", took.Round(100*time.Millisecond))
	return d.show(ctx, "get", "xds")
}

func (d demo) git(ctx context.Context) error {
	if _, err := d.Gitea.AwaitEntities(ctx, patience, strings.ReplaceAll(left, "*", "")); err != nil {
		return err
	}
	file := "datasets/resources/california-housing.yaml"
	entity, err := d.Gitea.File(ctx, file)
	if err != nil {
		return err
	}
	location, err := d.Gitea.File(ctx, "datasets/catalog-info.yaml")
	if err != nil {
		return err
	}
	d.sayf("And in Git, for the order form: %s", file)
	fmt.Fprintf(d.out, "\n%s", entity)
	d.sayf("datasets/catalog-info.yaml lists them all:")
	fmt.Fprintf(d.out, "\n%s", location)
	d.sayf("What the watcher has to say of itself:")
	return d.show(ctx, "-n", world.Namespace, "describe", "configmap", world.Name)
}
