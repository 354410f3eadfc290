package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// deadline for everything that a loaded machine may take its time for.
const deadline = 30 * time.Second

// bin is a folder with this tool and the stand-in, which takes the part of a
// function.
var bin string

func TestMain(m *testing.M) { os.Exit(withPrograms(m.Run)) }

func withPrograms(run func() int) int {
	var err error
	if bin, err = os.MkdirTemp("", "render-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(bin) //nolint:errcheck // the tests are over then
	out, err := exec.Command("go", "build", "-o", bin, "whisperops.io/functions/test/render", "whisperops.io/functions/test/standins/autoready").CombinedOutput()
	if err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return run()
}

// xrd declares what the stories of a workplace say of their status.
const xrd = `spec: {versions: [{name: v1alpha1, schema: {openAPIV3Schema: {properties: {status: {type: object, properties: {
  phase: {type: string}, platform: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}}}}]}`

// A workplace is a repository with one story and one function, and a CLI that a
// test writes.
type workplace struct {
	root    string
	bin     string
	cli     string
	address string
}

func newWorkplace(t *testing.T, cli string) *workplace {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &workplace{root: t.TempDir(), bin: bin, address: l.Addr().String()}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	w.cli = filepath.Join(w.root, "crossplane")
	write := func(file, content string, mode os.FileMode) {
		t.Helper()
		file = filepath.Join(w.root, file)
		if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("crossplane", "#!/bin/sh\n"+cli, 0o700)
	write("examples/functions.yaml", fmt.Sprintf(`
kind: Function
metadata:
  name: function-auto-ready
  annotations: {%s: Development, %s: "%s"}
`, runtimeAnnotation, targetAnnotation, w.address), 0o600)
	write("examples/a-story/xr.yaml", "{apiVersion: whisperops.io/v1alpha1, kind: XDatasetAgent, metadata: {name: a}}", 0o600)
	write("package/compositions/xdatasetagent.yaml", "{}", 0o600)
	write("package/xrds/zz_generated.xdatasetagents.yaml", xrd, 0o600)
	return w
}

func (w *workplace) command(args ...string) *exec.Cmd {
	args = append([]string{"-root", w.root, "-bin", w.bin, "-out", filepath.Join(w.root, "out"), "-crossplane", w.cli, "-core", w.cli}, args...)
	return exec.Command(filepath.Join(bin, "render"), args...)
}

// eventually polls until ok, and fails the test with what else.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); time.Now().Before(end); {
		if ok() {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Fatalf("not within %s: %s", deadline, what)
}

// running says whether a process runs; one that nobody has waited for does not.
func running(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return !os.IsNotExist(err) || !hasProc()
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func hasProc() bool { _, err := os.Stat("/proc/self/stat"); return err == nil }

// Whichever way a run ends, nothing that it started outlives it: neither the
// functions, nor the CLI, nor what the CLI started.
func TestNothingOutlivesARun(t *testing.T) {
	for name, end := range map[string]syscall.Signal{
		"Interrupted": syscall.SIGINT,
		"Terminated":  syscall.SIGTERM,
		"HungUp":      syscall.SIGHUP,
		"Killed":      syscall.SIGKILL,
		"Crashed":     syscall.SIGABRT, // as a panic ends it
	} {
		t.Run(name, func(t *testing.T) {
			// The CLI starts a process of its own, as the real one does, and hangs.
			w := newWorkplace(t, `sleep 600 &
echo $! >> "$(dirname "$0")/pids.part"; echo $$ >> "$(dirname "$0")/pids.part"
mv "$(dirname "$0")/pids.part" "$(dirname "$0")/pids"; wait`)
			cmd := w.command()
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			var pids []int
			eventually(t, "the CLI is called", func() bool {
				b, err := os.ReadFile(filepath.Join(w.root, "pids"))
				for f := range strings.FieldsSeq(string(b)) {
					pid, err := strconv.Atoi(f)
					if err != nil {
						t.Fatal(err)
					}
					pids = append(pids, pid)
				}
				return err == nil
			})
			for _, pid := range pids {
				if !running(pid) {
					t.Fatalf("process %d does not run while it should", pid)
				}
			}
			if err := cmd.Process.Signal(end); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-ended:
				if err == nil {
					t.Error("a run that was stopped says that all is well")
				}
			case <-time.After(deadline):
				_ = cmd.Process.Kill() // so that the test leaves nothing behind
				t.Fatalf("the run has not ended within %s", deadline)
			}
			for _, pid := range pids {
				eventually(t, fmt.Sprintf("process %d of the CLI is gone", pid), func() bool { return !running(pid) })
			}
			eventually(t, "the function is gone", func() bool {
				l, err := net.Listen("tcp", w.address)
				return err == nil && l.Close() == nil
			})
		})
	}
}

func TestRun(t *testing.T) {
	const rendered = `cat <<'EOT'
---
apiVersion: whisperops.io/v1alpha1
kind: XDatasetAgent
metadata: {name: a}
status:
  phase: Provisioning
  conditions:
  - {type: Synced, status: "True", reason: ReconcileSuccess}
  - {type: Ready, status: "False", reason: Creating}
---
apiVersion: v1
kind: Bucket
metadata: {name: agent-a-bucket, annotations: {crossplane.io/composition-resource-name: bucket}}
---
apiVersion: render.crossplane.io/v1beta1
kind: Result
severity: Normal
reason: ComposeResources
message: Composed resource "bucket" is not yet ready
---
apiVersion: render.crossplane.io/v1beta1
kind: Context
fields: {held_back: [{part: sa-key, waitsFor: the namespace}]}
EOT`
	const wanted = "parts: {bucket: Bucket/agent-a-bucket, sa-key: held back}\nready: false\nstatus: {phase: Provisioning}\n"
	cases := map[string]struct {
		reason  string
		cli     string
		files   map[string]string
		args    []string
		occupy  bool
		code    int
		says    []string
		saysNot []string
	}{
		"AsWanted": {
			reason: "What came out is what want.yaml holds.",
			cli:    rendered,
			files:  map[string]string{"want.yaml": wanted},
			says:   []string{"agent-a-bucket", "sa-key waits for the namespace", "1 of 22 parts rendered, 1 held back, 0 ready", "Stories rendered: 1, all as wanted"},
		},
		"Differs": {
			reason: "A story whose outcome changed must not pass.",
			cli:    rendered,
			files:  map[string]string{"want.yaml": strings.Replace(wanted, "Provisioning", "Ready", 1)},
			code:   exitDiffers,
			says:   []string{"-want +got", "phase: Ready", "came out differently: a-story"},
		},
		"Lost": {
			reason: "Leaving out is deleting: that fails even if somebody wants it.",
			cli:    rendered,
			files: map[string]string{
				"want.yaml":     wanted,
				"observed.yaml": "{kind: ConfigMap, metadata: {name: x, annotations: {crossplane.io/composition-resource-name: prompts}}}",
			},
			code: exitDiffers,
			says: []string{"DELETED: it is observed and not rendered", "LOST: this would delete prompts"},
		},
		"Undeclared": {
			reason: "One undeclared field, and the order never gets status, conditions, Ready or Synced.",
			cli:    strings.Replace(rendered, "  phase: Provisioning\n", "  phase: Provisioning\n  owner: data-team\n", 1),
			files:  map[string]string{"want.yaml": strings.Replace(wanted, "{phase: Provisioning}", "{phase: Provisioning, owner: data-team}", 1)},
			code:   exitDiffers,
			says:   []string{"REFUSED: the API server would not take this status", "status.owner: field not declared in schema; a field of your own belongs into status.platform"},
		},
		"OfThePlatform": {
			reason: "A platform team has a place of its own.",
			cli:    strings.Replace(rendered, "  phase: Provisioning\n", "  phase: Provisioning\n  platform: {owner: data-team}\n", 1),
			files:  map[string]string{"want.yaml": strings.Replace(wanted, "{phase: Provisioning}", "{phase: Provisioning, platform: {owner: data-team}}", 1)},
			says:   []string{"all as wanted"},
		},
		"Fatal": {
			reason: "A fatal result is an outcome; the CLI prints nothing else then.",
			cli:    `echo 'crossplane: error: pipeline returned fatal: cannot compose resources: pipeline step "render-iam" returned a fatal result: no way' >&2; exit 1`,
			files:  map[string]string{"want.yaml": "conditions: [{type: DatasetValid, status: \"False\", reason: DatasetNotFound}]\nfatal: 'pipeline step \"render-iam\" returned a fatal result: no way'\n"},
			says:   []string{`FATAL, nothing is touched: pipeline step "render-iam" returned a fatal result: no way`, "all as wanted"},
		},
		"CLIFails": {
			reason: "Any other failure of the CLI is no outcome.",
			cli:    "echo unknown flag >&2; exit 80",
			code:   exitFailed,
			says:   []string{"cannot render a-story: crossplane composition render failed: unknown flag"},
		},
		"PortTaken": {
			reason: "Otherwise the CLI would talk to a stranger.",
			cli:    rendered,
			occupy: true,
			code:   exitFailed,
			says:   []string{"cannot serve the functions", "function-auto-ready: listen tcp 127.0.0.1:", "address already in use"},
		},
		"UnknownStory": {
			reason: "A typo says which stories there are.",
			cli:    rendered,
			args:   []string{"-example", "b-story"},
			code:   exitFailed,
			says:   []string{`there is no story "b-story"; there are: a-story`},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorkplace(t, tc.cli)
			for file, content := range tc.files {
				if err := os.WriteFile(filepath.Join(w.root, "examples", "a-story", file), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if tc.occupy {
				l, err := net.Listen("tcp", w.address)
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close() //nolint:errcheck // the test is over then
			}
			cmd := w.command(tc.args...)
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			_ = cmd.Run() // the exit code tells
			if code := cmd.ProcessState.ExitCode(); code != tc.code {
				t.Errorf("%s: exit code %d, want %d", tc.reason, code, tc.code)
			}
			for _, s := range tc.says {
				if !strings.Contains(out.String(), s) {
					t.Errorf("%s: it does not say %q", tc.reason, s)
				}
			}
			if t.Failed() {
				t.Log(out.String())
			}
		})
	}
}

// A function that can't start must not leave the run waiting.
func TestFunctionThatEnds(t *testing.T) {
	w := newWorkplace(t, "exit 1")
	w.bin = t.TempDir()
	if err := os.WriteFile(filepath.Join(w.bin, "autoready"), []byte("#!/bin/sh\necho no certificates >&2; exit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := w.command().CombinedOutput()
	if err == nil || !strings.Contains(string(out), "function-auto-ready ended instead of serving "+w.address+": no certificates") {
		t.Errorf("error %v, output:\n%s", err, out)
	}
}
