package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"whisperops.io/functions/hack/controlplane"
	"whisperops.io/functions/hack/controlplane/suite"
)

// Files in the state folder. The stack's own state is below "stack".
const (
	marker     = "whisperops-control-plane" // says that the folder is ours to remove
	progress   = "progress"                 // what serve says, a line each
	controlSoc = "control.sock"
	apiSoc     = "api.sock"
	promSoc    = "prometheus.sock"
	storageSoc = "storage.sock"
	pidFile    = "pid" // of unshare or serve, with its kernel start time
	ready      = "READY"
)

// Commands of the control socket.
const (
	stopCommand    = "stop"
	watcherCommand = "stop the dataset-watcher"

	watcherBackCommand = "start the dataset-watcher"

	done = "done\n" // the answer to each
)

func (o options) file(name string) string { return filepath.Join(o.dir, name) }

// pageSoc is the socket of an agent's chat page.
func pageSoc(agent string) string { return "page-" + agent + ".sock" }

func (o options) kubeconfig() string { return o.file("kubeconfig") }

// up boots, in a process of its own, and shows its progress.
func up(ctx context.Context, o options) error {
	if c, err := net.Dial("unix", o.file(controlSoc)); err == nil {
		_ = c.Close() // it was only a question
		fmt.Printf("It is up already. To start anew: make down, then make up. To use it:\n  export KUBECONFIG=%s\n", o.kubeconfig())
		return nil
	}
	if len(o.file(promSoc)) > 100 {
		return fmt.Errorf("cannot use %s: its path is too long for a Unix socket; set UP_DIR to a shorter one", o.dir)
	}
	var err error
	if o.checkout == "" {
		if o.checkout, err = controlplane.Checkout(); err != nil {
			return err
		}
	}
	if controlplane.WantsRealNode() {
		if err := controlplane.CanRunRealNode(); err != nil {
			return err
		}
		if o.configuration != "" {
			return errors.New("NODE=real runs the pods of our agents; it can't be had together with CONFIGURATION")
		}
	}
	if err := prepare(o); err != nil {
		return err
	}
	if o.configuration != "" {
		if err := gather(ctx, o); err != nil {
			return errors.Join(err, os.RemoveAll(o.dir))
		}
	} else if controlplane.WantsRealNode() {
		fmt.Println("The pods run in containers, on a real kubelet.") // Python is in the sandbox's image
	} else if o.python, err = suite.FindPython(ctx); err != nil {
		fmt.Printf("Without a chat page: %v.\n", err)
	}
	ended, err := launch(o)
	if err != nil {
		return err
	}
	if err := follow(ctx, o.file(progress), "the control plane", o.file("serve.log"), ended, func(began time.Time) error { return finish(ctx, o, began) }); err != nil {
		if ctx.Err() != nil {
			fmt.Fprintln(os.Stderr, "interrupted; stopping what was started")
			return errors.Join(err, down(o))
		}
		return fmt.Errorf("%w\nlogs: %s; make down removes them", err, o.file("stack/logs"))
	}
	return nil
}

// prepare makes an empty state folder, or empties one of ours.
func prepare(o options) error {
	if entries, err := os.ReadDir(o.dir); err == nil && len(entries) > 0 {
		if _, err := os.Stat(o.file(marker)); err != nil {
			return fmt.Errorf("cannot use %s: it holds files that are not a control plane's; choose another folder with UP_DIR", o.dir)
		}
		if err := os.RemoveAll(o.dir); err != nil {
			return fmt.Errorf("cannot remove the last control plane's state: %w", err)
		}
	}
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return fmt.Errorf("cannot make the state folder; choose another one with UP_DIR: %w", err)
	}
	return os.WriteFile(o.file(marker), nil, 0o600)
}

// launch starts serve, and the proxy outside its namespaces, as processes that outlive
// this one. How serve ends, if it does, comes through the channel.
func launch(o options) (<-chan error, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	argv := []string{self, "serve"}
	flags := []string{"-dir", o.dir, "-packages", o.packages, "-standins", o.standIns, "-schemas", o.schemas, "-checkout", o.checkout, "-python", o.python, "-rootfs", o.rootfs, "-configuration", o.configuration, "-more", o.more}
	serve, ended, err := daemon(o, "serve.log", append(argv, flags...)...)
	if err != nil {
		return nil, err
	}
	started, err := startTime(serve)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(o.file(pidFile), fmt.Appendf(nil, "%d %s", serve, started), 0o600); err != nil {
		return nil, err
	}
	_, _, err = daemon(o, "proxy.log", self, "proxy", "-dir", o.dir, "-configuration", o.configuration)
	return ended, err
}

// startTime is when a process was started that has just been. A process that runs another
// program in its place is a zombie for a moment, and its start unknown.
func startTime(pid int) (string, error) {
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if at := controlplane.StartTime(pid); at != "" {
			return at, nil
		}
	}
	return "", fmt.Errorf("process %d ended as soon as it was started", pid)
}

func daemon(o options, log string, argv ...string) (int, <-chan error, error) {
	f, err := os.OpenFile(o.file(log), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return 0, nil, err
	}
	defer f.Close() //nolint:errcheck // the process has its own descriptor
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = f, f, o.checkout
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return 0, nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return cmd.Process.Pid, ended, nil
}

// follow prints what a daemon says of its progress until it is ready or gone.
func follow(ctx context.Context, file, what, log string, ended <-chan error, finish func(began time.Time) error) error {
	began := time.Now()
	offset := int64(0)
	for {
		f, err := os.Open(file)
		if err == nil {
			if _, err := f.Seek(offset, io.SeekStart); err != nil {
				return err
			}
			r := bufio.NewReader(f)
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					break // the rest of the line is still to come
				}
				offset += int64(len(line))
				if strings.HasPrefix(line, ready) {
					_ = f.Close() // it was read
					return finish(began)
				}
				fmt.Printf("%5.1fs  %s", time.Since(began).Seconds(), line)
			}
			_ = f.Close() // it was read
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case how := <-ended:
			said, _ := os.ReadFile(log) // without it, why tells what is known
			return fmt.Errorf("%s did not come up: %s", what, why(string(said), how))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// why says why serve ended: in its own words, or how, if it had no time for any.
func why(log string, how error) string {
	if said := strings.TrimPrefix(strings.TrimSpace(log), "error: "); said != "" {
		return said
	}
	if how == nil {
		return "its process ended, and said nothing"
	}
	return "its process said nothing and ended: " + how.Error() + " (if it was killed, look whether the machine ran out of memory)"
}

// finish shows what there is and what to type next.
func finish(ctx context.Context, o options, began time.Time) error {
	if err := controlplane.Eventually(ctx, 10*time.Second, "the proxy to write the kubeconfig", func(context.Context) error {
		_, err := os.Stat(o.kubeconfig())
		return err
	}); err != nil {
		return err
	}
	tools, err := controlplane.FindTools(ctx)
	if err != nil {
		return err
	}
	show := func(tool string, args ...string) error {
		fmt.Printf("\n$ %s %s\n", strings.ToLower(strings.TrimSuffix(tool, "_CLI")), strings.Join(args, " "))
		cmd := exec.CommandContext(ctx, tools[tool], args...)
		cmd.Env = append(os.Environ(), "KUBECONFIG="+o.kubeconfig())
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		return cmd.Run()
	}
	if o.configuration != "" {
		return finishForeign(o, began, show, tools["KUBECTL"])
	}
	for _, kind := range []string{"xda", "xab", "xds"} {
		if err := show("KUBECTL", "get", kind, "-A"); err != nil {
			return err
		}
	}
	if err := show("CROSSPLANE_CLI", "resource", "trace", "xdatasetagent.whisperops.io", "housing-bot"); err != nil {
		return err
	}
	prom, err := os.ReadFile(o.file("prometheus-url"))
	if err != nil {
		return err
	}
	if page, err := o.page(ctx, "housing-bot", 10*time.Second); err == nil {
		fmt.Printf(atWork, time.Since(began).Seconds(), page, o.kubeconfig(), tools["KUBECTL"], strings.TrimSpace(string(prom)))
		return nil
	}
	fmt.Printf(atPlay, time.Since(began).Seconds(), strings.TrimSpace(string(prom)), o.kubeconfig(), tools["KUBECTL"])
	return nil
}

// page is the address of an agent's chat page.
func (o options) page(ctx context.Context, agent string, within time.Duration) (string, error) {
	var url []byte
	return string(url), controlplane.Eventually(ctx, within, "the chat page of "+agent, func(context.Context) (err error) {
		url, err = os.ReadFile(o.file("page-" + agent + ".url"))
		return err
	})
}

const atWork = `
Up after %.0f s. Ask the agent about houses in California:

  %s

  What is the average median house value by ocean proximity?
  How many districts have a median income above 6?
  Show me a histogram of the house value.

A CSV of your own, with an agent and a page of its own:

  make dataset FILE=path/to/your.csv

  export KUBECONFIG=%s
  alias kubectl=%s

  # what it costs
  kubectl get xab -A

  # cut: the budget falls below what is spent; the page says so, planner and worker go to 0
  kubectl patch xda housing-bot --type merge -p '{"spec":{"budgetUsd":0.001}}'

  # raise: it goes on
  kubectl patch xda housing-bot --type merge -p '{"spec":{"budgetUsd":5}}'

  # what runs, and what it says
  kubectl get pods -A; kubectl logs -n agent-housing-bot deploy/sandbox

Prometheus: %s

  make down
`

const atPlay = `
Up after %.0f s. The agent works and spends: about 0.0008 USD a second. Prometheus: %s

  export KUBECONFIG=%s
  alias kubectl=%s

  # cut: the budget falls below what is spent; planner and worker go to 0
  kubectl patch xda housing-bot --type merge -p '{"spec":{"budgetUsd":0.01}}'
  kubectl get xab,deploy -n agent-housing-bot -w

  # raise: they come back
  kubectl patch xda housing-bot --type merge -p '{"spec":{"budgetUsd":50}}'

  # the dataset goes away under a live agent: it runs on, and says so
  kubectl delete xds california-housing
  kubectl describe xda housing-bot

  make down
`

// running says whether the process that up started still runs.
func running(o options) bool {
	pid, started, err := recorded(o)
	return err == nil && started != "" && controlplane.StartTime(pid) == started
}

// gone says whether it ended for good: for a moment, while serve goes into namespaces of
// its own, the kernel shows a process as ended that is about to run another program.
func gone(o options) bool {
	if running(o) {
		return false
	}
	time.Sleep(200 * time.Millisecond)
	return !running(o)
}

func recorded(o options) (pid int, started string, err error) {
	b, err := os.ReadFile(o.file(pidFile))
	if err != nil {
		return 0, "", err
	}
	p, started, _ := strings.Cut(strings.TrimSpace(string(b)), " ")
	pid, err = strconv.Atoi(p)
	return pid, started, err
}

// end asks who listens at a control socket to stop, and waits until it has.
func end(socket string) {
	c := tell(socket, stopCommand)
	if c == nil {
		return // it has
	}
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	_, _ = io.Copy(io.Discard, c) // ends when the process does
	_ = c.Close()                 // nothing more to say
}

// tell gives a command through a control socket, and returns the connection when it was
// carried out; nil if nobody listens. The connection ends with the process.
func tell(socket, command string) net.Conn {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return nil
	}
	if _, err := io.WriteString(c, command+"\n"); err != nil {
		return nil
	}
	_, _ = io.ReadFull(c, make([]byte, len(done))) // or its end, which is seen by whoever reads on
	return c
}

// down asks serve to stop, makes sure that it did, and removes the state.
func down(o options) error {
	switch _, err := os.Stat(o.file(marker)); {
	case errors.Is(err, os.ErrNotExist):
		fmt.Println("nothing runs")
		return nil
	case err != nil:
		return fmt.Errorf("cannot tell whether a control plane runs: %w", err)
	}
	if err := portalDown(o); err != nil {
		return err
	}
	end(o.file(controlSoc))
	pid, started, err := recorded(o)
	if err == nil {
		// The kernel ends everything in the namespaces with this process.
		for end := time.Now().Add(5 * time.Second); running(o); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) && controlplane.StartTime(pid) == started {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					return fmt.Errorf("cannot end process %d: %w", pid, err)
				}
			}
		}
	}
	controlplane.CleanUp(o.file("stack"))
	if err := os.RemoveAll(o.dir); err != nil {
		return err
	}
	fmt.Println("down; nothing is left")
	return nil
}
