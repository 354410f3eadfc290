// Package world starts a chat page with all that it needs around it.
package world

import (
	"context"
	_ "embed" // for the chart
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"whisperops.io/functions/internal/chatfrontend/chattest"
)

// A World is a chat page, its planner and its budget.
type World struct {
	URL     string // by way of the wire
	Wire    *Wire
	Planner *chattest.Planner
	Kube    *chattest.Kube

	dir, direct string
	bin         string
	env         []string
	cmd         *exec.Cmd
}

// Start starts the binary at bin. Further environment overrides its own.
func Start(ctx context.Context, bin string, script func(*chattest.Task), out io.Writer, env ...string) (*World, error) {
	dir, err := os.MkdirTemp("", "chat-world-")
	if err != nil {
		return nil, err
	}
	w := &World{Planner: chattest.New(script), Kube: chattest.NewKube(), dir: dir, bin: bin}
	kubeconfig, err := w.Kube.Kubeconfig(dir)
	if err != nil {
		return nil, err
	}
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	w.direct = "127.0.0.1:" + strconv.Itoa(port)
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w.URL, w.Wire = "http://"+l.Addr().String(), newWire(l, w.direct)
	w.env = append([]string{
		"KUBECONFIG=" + kubeconfig, "HOST=127.0.0.1", "PORT=" + strconv.Itoa(port), "METRICS_PORT=0",
		"AGENT_NAME=housing-bot", "AGENT_NAMESPACE=agent-housing-bot", "DATASET_DISPLAY_NAME=California housing",
		"AGENT_DESCRIPTION=Answers questions about California house prices in the census of 1990: 20,640 districts, their prices, incomes and distance to the sea.",
		"PLANNER_URL=" + w.Planner.URL, "SANDBOX_URL=none", "HOME=" + dir, "TMPDIR=" + dir,
	}, env...)
	return w, w.Run(ctx, out)
}

// Run starts the page's server, again after Kill.
func (w *World) Run(ctx context.Context, out io.Writer) error {
	w.cmd = exec.Command(w.bin) // it is ended by Close, gently
	w.cmd.Env, w.cmd.Stdout, w.cmd.Stderr = w.env, out, out
	if err := w.cmd.Start(); err != nil {
		return fmt.Errorf("cannot start the chat page: %w", err)
	}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.direct+"/readyz", http.NoBody)
		if err != nil {
			return err
		}
		if rsp, err := http.DefaultClient.Do(req); err == nil {
			_ = rsp.Body.Close()
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the chat page does not come up: %w", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Kill ends the page's server without a word.
func (w *World) Kill() {
	_ = w.cmd.Process.Kill()
	_ = w.cmd.Wait()
}

// PID of the page's server.
func (w *World) PID() int { return w.cmd.Process.Pid }

// Close ends everything.
func (w *World) Close() {
	_ = w.cmd.Process.Signal(syscall.SIGTERM)
	w.Planner.CloseClientConnections()
	w.Planner.Close()
	_ = w.cmd.Wait()
	_ = w.Wire.l.Close()
	w.Kube.Close()
	_ = os.RemoveAll(w.dir)
}

func freePort(ctx context.Context) (int, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()                          //nolint:errcheck // only its number was wanted
	return l.Addr().(*net.TCPAddr).Port, nil //nolint:forcetypeassert // a TCP listener
}

// Worker is the name under which kagent gives the planner its worker.
const Worker = "agent_housing_bot__NS__worker"

// Story answers as an agent for California housing would, at about the pace of one.
func Story(pace time.Duration) func(*chattest.Task) {
	return func(t *chattest.Task) {
		wait := func(n int) bool {
			select {
			case <-t.Canceled:
				return false
			case <-time.After(time.Duration(n) * pace):
				return true
			}
		}
		q := strings.ToLower(t.Message.Text)
		say := func(s string) {
			for part := range strings.SplitAfterSeq(s, " ") {
				if !wait(1) {
					return
				}
				t.Partial(part)
			}
			t.Complete(s)
		}
		switch {
		case t.Message.Data != nil:
			say("Thank you. I take the **median** then: half of the districts lie below **$179,700**, half above.")
			return
		case strings.Contains(q, "typical"):
			t.AskUser(map[string]any{"question": "Which figure do you mean by a typical price?", "choices": []any{"The median", "The mean", "The most frequent"}},
				map[string]any{"question": "Should capped prices (above $500,000) be left out?", "choices": []any{"Yes", "No"}})
			return
		case strings.Contains(q, "hello"):
			say("Hello! I know one dataset: **California housing**. Ask me, for example, how prices depend on income, or where people live closest to the sea.")
			return
		case strings.Contains(q, "forever"):
			for wait(20) {
				t.Partial("and on ")
			}
			return
		}
		t.Whole(chattest.Text("I will have that calculated."), chattest.Call("c1", Worker, map[string]any{
			"request": "Compute the mean of median_house_value by ocean_proximity over all 20,640 rows, with the number of districts in each group, and draw a bar chart of the means.",
		}))
		if !wait(30) {
			return
		}
		t.Whole(chattest.Response("c1", Worker, map[string]any{"result": "Mean of median_house_value by ocean_proximity, all 20,640 rows used, none left out.\n\n" + table + "\n\n```python\n" + code + "\n```\n"}))
		say("Districts on **islands** and **by the bay** are the dearest: on average a house there costs **$380,440** and **$259,212**. Inland it is **$124,805**, less than half of what is paid by the ocean.\n\n" +
			table + "\n\n![Mean house value by distance to the sea](" + Chart() + ")\n\nThe mean of each district's median value, from all 20,640 rows. Values above $500,000 were capped in the census, so the dear groups are in truth a little dearer.\n\n- Only 5 districts are islands: too few to say much.\n- A correlation with the sea is not a cause: incomes differ, too.")
	}
}

const table = "| Distance to the sea | Districts | Mean value |\n|---|---|---|\n| Island | 5 | $380,440 |\n| Near bay | 2,290 | $259,212 |\n| Near ocean | 2,658 | $249,434 |\n| Less than an hour | 9,136 | $240,084 |\n| Inland | 6,551 | $124,805 |"

const code = `import os
import pandas as pd

df = pd.read_csv(os.environ["DATASET_PATH"], usecols=["ocean_proximity", "median_house_value"])
by = df.groupby("ocean_proximity")["median_house_value"].agg(["size", "mean"])
print(by.sort_values("mean", ascending=False).round(0))
print("rows used:", len(df))`

// Chart is a bar chart as a data address.
func Chart() string { return "data:image/png;base64," + base64.StdEncoding.EncodeToString(chart) }

//go:embed chart.png
var chart []byte
