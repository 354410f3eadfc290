package mutants

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"whisperops.io/functions/hack/controlplane"
)

// within is how long a mutant's scenario may take, boot included.
const within = 10 * time.Minute

// TestMutants runs each mutant's scenario in a process of its own, with a control
// plane of its own, when MUTANTS names a folder for their logs.
func TestMutants(t *testing.T) {
	t.Parallel()
	logs := os.Getenv("MUTANTS")
	if logs == "" {
		t.Skip("make mutants runs it")
	}
	root := checkout(t)
	suite := filepath.Join(t.TempDir(), "e2e.test")
	if _, err := goTool(t.Context(), filepath.Join(root, "test", "e2e"), "test", "-c", "-o", suite, "."); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(logs, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, m := range Mutants {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			programs, err := m.Build(t.Context(), root, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			log := filepath.Join(logs, m.Name+".log")
			began := time.Now()
			passed, err := m.run(t.Context(), suite, filepath.Join(root, "test", "e2e"), programs, log)
			if err != nil {
				t.Fatal(err)
			}
			out, err := os.ReadFile(log)
			if err != nil {
				t.Fatal(err)
			}
			took := time.Since(began).Round(time.Second)
			killed, verdict := m.judge(passed, string(out))
			t.Logf("rule %d: %s: %s after %s", m.Rule, m.Name, verdict, took)
			if !killed {
				t.Errorf("see %s; what the mistake would mean: %s", log, m.Why)
			}
		})
	}
}

// run runs the mutant's scenario and says whether it passed.
func (m Mutant) run(ctx context.Context, suite, dir string, programs map[string]string, log string) (passed bool, err error) {
	// The child dies with the thread that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	f, err := os.Create(log)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	ctx, cancel := context.WithTimeout(ctx, within+time.Minute) // the child's own limit says more
	defer cancel()
	cmd := exec.CommandContext(ctx, suite, "-test.v", "-test.timeout", within.String(), "-test.run", "^TestSuite$/^"+m.Scenario+"$")
	var pairs []string
	for repository, program := range programs {
		pairs = append(pairs, repository+"="+program)
	}
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "E2E_PROGRAMS="+strings.Join(pairs, ","))
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = cmd.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); ended {
		return false, nil
	}
	return err == nil, err
}

// judge says whether a run killed the mutant, and what became of it. Only a
// scenario that is red for the mutant's own reason has noticed it.
func (m Mutant) judge(passed bool, out string) (killed bool, verdict string) {
	switch {
	case passed:
		return false, "SURVIVED " + m.Scenario
	case !strings.Contains(out, "--- FAIL: TestSuite/"+m.Scenario+" "):
		return false, m.Scenario + " was not played to its end, because the control plane did not come up or time ran out,"
	case !strings.Contains(out, m.Says):
		return false, fmt.Sprintf("%s was red but did not say %q,", m.Scenario, m.Says)
	}
	return true, "killed by " + m.Scenario
}

func TestJudge(t *testing.T) {
	m := Mutant{Scenario: "Quiet", Says: "does not settle"}
	const red = "    --- FAIL: TestSuite/Quiet (200.00s)\n"
	cases := map[string]struct {
		reason string
		passed bool
		out    string
		want   string // in the verdict
	}{
		"Killed":      {reason: "What must be.", out: "x_test.go:1: quiet-bot does not settle; what still moves: []\n" + red, want: "killed by Quiet"},
		"Survived":    {reason: "Nobody noticed.", passed: true, out: "--- PASS: TestSuite/Quiet (60.00s)\nPASS\n", want: "SURVIVED"},
		"NoBoot":      {reason: "A machine that can't boot has noticed nothing.", out: "world_test.go:60: gave up after 1m0s\n--- FAIL: TestSuite (61.00s)\nFAIL\n", want: "did not come up"},
		"Late":        {reason: "As above.", out: "panic: test timed out after 10m0s", want: "time ran out"},
		"OtherReason": {reason: "A flake is no witness.", out: "etcd died\n" + red, want: "did not say"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			killed, verdict := m.judge(tc.passed, tc.out)
			if killed != (name == "Killed") || !strings.Contains(verdict, tc.want) {
				t.Errorf("judge(...): want a verdict that says %q, got %v, %q", tc.want, killed, verdict)
			}
		})
	}
}

// The table is right: each text is there, each mutant compiles, each scenario
// exists, and no rule is without a mutant.
func TestTable(t *testing.T) {
	t.Parallel()
	root := checkout(t)
	known, rules, names := scenarios(t, filepath.Join(root, "test", "e2e", "e2e_test.go")), map[int]bool{}, map[string]bool{}
	for _, m := range Mutants {
		if m.Rule < 1 || m.Rule > len(Rules) || m.Why == "" || m.Says == "" || names[m.Name] {
			t.Errorf("%s: want a name of its own, a rule from 1 to %d, and what it is for", m.Name, len(Rules))
		}
		rules[m.Rule], names[m.Name] = true, true
		if !known[m.Scenario] {
			t.Errorf("%s: the suite has no scenario %s", m.Name, m.Scenario)
		}
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			overlay, err := m.Overlay(root, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := goTool(t.Context(), root, append([]string{"build", "-trimpath", "-overlay", overlay}, m.Packages()...)...); err != nil {
				t.Error(err)
			}
		})
	}
	for i, r := range Rules {
		if !rules[i+1] {
			t.Errorf("rule %d has no mutant: %s", i+1, r)
		}
	}
}

// scenarios reads the names of the suite's scenarios from its source: rows of a
// table that begin with a name and whether it is short.
func scenarios(t *testing.T, file string) map[string]bool {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		row, is := n.(*ast.CompositeLit)
		if !is || len(row.Elts) < 3 {
			return true
		}
		name, isText := row.Elts[0].(*ast.BasicLit)
		short, isName := row.Elts[1].(*ast.Ident)
		if isText && isName && (short.Name == "true" || short.Name == "false") {
			s, err := strconv.Unquote(name.Value)
			if err != nil {
				t.Fatal(err)
			}
			names[s] = true
		}
		return true
	})
	return names
}

func checkout(t *testing.T) string {
	t.Helper()
	root, err := controlplane.Checkout()
	if err != nil {
		t.Fatal(err)
	}
	return root
}
