// Command up starts two checkouts by turns, each with `make up`, and writes how long each
// took to its first order's being Ready. Both were started once before: what is measured is
// the second run, which builds nothing.
//
//	go run ./test/bench/up -base ../earlier -now . -rounds 3
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/errors"
)

func main() {
	base, now := flag.String("base", "", "a checkout of the earlier commit"), flag.String("now", ".", "a checkout of this one")
	rounds := flag.Int("rounds", 3, "how often each is started")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := compare(ctx, *base, *now, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "up:", err)
		stop()
		os.Exit(1)
	}
}

// A run is one start.
type run struct {
	whole time.Duration // of make up
	order time.Duration // from the first order's creation to its being Ready, by the API server's clock, in whole seconds
}

// compare writes a Markdown table.
func compare(ctx context.Context, base, now string, rounds int) error {
	for _, dir := range []string{base, now} {
		if _, err := start(ctx, dir); err != nil {
			return errors.Wrapf(err, "first run in %s", dir)
		}
	}
	fmt.Println("| Run | `make up`, second run, s | its first order to Ready, s |\n|---|---|---|")
	for n := range rounds {
		was, err := start(ctx, base)
		if err != nil {
			return errors.Wrapf(err, "in %s", base)
		}
		is, err := start(ctx, now)
		if err != nil {
			return errors.Wrapf(err, "in %s", now)
		}
		fmt.Printf("| %d | %s | %s |\n", n+1, ratio(is.whole, was.whole), ratio(is.order, was.order))
	}
	return nil
}

func ratio(is, was time.Duration) string {
	return fmt.Sprintf("%.0f of %.0f: **%.2f**", is.Seconds(), was.Seconds(), is.Seconds()/was.Seconds())
}

// What make up prints for who wants to look for himself.
var (
	kubeconfig = regexp.MustCompile(`(?m)^\s*export KUBECONFIG=(\S+)`)
	kubectl    = regexp.MustCompile(`(?m)^\s*alias kubectl=(\S+)`)
)

// start runs make up in a folder, measures, and stops what it started.
func start(ctx context.Context, dir string) (run, error) {
	defer func() {
		down := exec.Command("make", "-C", dir, "down") // also after an interrupt
		down.Stdout, down.Stderr = os.Stderr, os.Stderr
		if err := down.Run(); err != nil {
			fmt.Fprintln(os.Stderr, "up: make down in", dir+":", err)
		}
	}()
	began := time.Now()
	up := exec.CommandContext(ctx, "make", "-C", dir, "up")
	up.Stderr = os.Stderr
	up.WaitDelay = time.Minute
	said, err := up.Output()
	if err != nil {
		return run{}, errors.Wrapf(err, "make up, which said %q", lastLine(said))
	}
	r := run{whole: time.Since(began)}
	config, tool := kubeconfig.FindSubmatch(said), kubectl.FindSubmatch(said)
	if config == nil || tool == nil {
		return run{}, errors.New("make up printed no KUBECONFIG or no kubectl")
	}
	get := exec.CommandContext(ctx, string(tool[1]), "get", "xdatasetagents.whisperops.io", "-o", "json") //nolint:gosec // what make up printed
	get.Env = append(os.Environ(), "KUBECONFIG="+string(config[1]))
	get.Stderr = os.Stderr
	list, err := get.Output()
	if err != nil {
		return run{}, errors.Wrap(err, "kubectl get")
	}
	r.order, err = tookToReady(list)
	return r, err
}

// tookToReady reads a list with one order.
func tookToReady(list []byte) (time.Duration, error) {
	var orders struct {
		Items []v1alpha1.XDatasetAgent `json:"items"`
	}
	if err := json.Unmarshal(list, &orders); err != nil {
		return 0, errors.Wrap(err, "kubectl's answer")
	}
	if len(orders.Items) != 1 {
		return 0, errors.Errorf("make up makes one order, there are %d", len(orders.Items))
	}
	o := orders.Items[0]
	for _, c := range o.Status.Conditions {
		if c.Type == v1alpha1.ConditionReady && c.Status == metav1.ConditionTrue {
			return c.LastTransitionTime.Sub(o.CreationTimestamp.Time), nil
		}
	}
	return 0, errors.Errorf("order %s is not Ready", o.GetName())
}

func lastLine(said []byte) string {
	lines := strings.Split(strings.TrimSpace(string(said)), "\n")
	return lines[len(lines)-1]
}
