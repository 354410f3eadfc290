//go:build linux

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asUser tells the second process of TestMain that it is the second.
const asUser = "SANDBOX_TEST_AS_USER"

// TestMain runs the tests as the user that the image has: root passes walls that
// nobody else does. It is also the launcher, as the binary is.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == launchArgument {
		fmt.Fprintf(os.Stderr, "sandbox: %v\n", launchMain(os.Args[2]))
		os.Exit(1)
	}
	if os.Geteuid() == 0 && os.Getenv(asUser) == "" {
		os.Exit(again())
	}
	os.Exit(m.Run())
}

// again runs this binary as user 65532, in a folder that this user may write.
func again() int {
	tmp, err := os.MkdirTemp("", "sandbox-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(tmp) }() // the system clears its temporary folder
	binary := filepath.Join(tmp, "sandbox.test")
	err = reachable(os.Args[0], binary)
	if emulator := os.Getenv("FAKE_GCS_SERVER"); err == nil && emulator != "" {
		err = errors.Join(reachable(emulator, filepath.Join(tmp, "fake-gcs-server")), os.Setenv("FAKE_GCS_SERVER", filepath.Join(tmp, "fake-gcs-server")))
	}
	if err == nil {
		err = os.Mkdir(filepath.Join(tmp, "tmp"), 0o700)
	}
	if err == nil {
		err = os.Chown(filepath.Join(tmp, "tmp"), nobody, nobody)
	}
	if err == nil {
		err = os.Chmod(tmp, 0o755)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	args := slices.DeleteFunc(slices.Clone(os.Args[1:]), func(a string) bool {
		return strings.HasPrefix(a, "-test.testlogfile=") // in a folder of the first user
	})
	cmd := exec.Command(binary, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), asUser+"=1", "TMPDIR="+filepath.Join(tmp, "tmp"), "HOME="+filepath.Join(tmp, "tmp"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "as user 65532:", err)
		return 1
	}
	return 0
}

// reachable copies a program to where the other user can run it.
func reachable(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o755)
}

// python is the interpreter to test with.
func python() string {
	if p := os.Getenv("PYTHON"); p != "" {
		return p
	}
	return "/usr/bin/python3"
}

func pandasRequired() bool { return os.Getenv("SANDBOX_TEST_PANDAS") == "required" }

// needPandas skips a test where there is nothing to test with, and says what to do.
// CI sets SANDBOX_TEST_PANDAS=required, so that nothing is skipped there.
func needPandas(t testing.TB) {
	t.Helper()
	out, err := exec.Command(python(), "-I", "-c", "import pandas, matplotlib").CombinedOutput()
	if err == nil {
		return
	}
	said := strings.TrimSpace(string(out))
	if i := strings.LastIndexByte(said, '\n'); i >= 0 {
		said = said[i+1:]
	}
	text := fmt.Sprintf("no interpreter with pandas and matplotlib: %s: %v: %s; apt-get install python3-pandas python3-matplotlib, or set PYTHON to one that has them", python(), err, said)
	if pandasRequired() {
		t.Fatal(text)
	}
	t.Skip(text)
}

func testLog(t testing.TB) *slog.Logger {
	t.Helper()
	if testing.Verbose() {
		return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.DiscardHandler)
}

// startRunner returns a runner whose interpreter waits.
func startRunner(t testing.TB) *runner {
	t.Helper()
	needPandas(t)
	base, release, err := newBase(testLog(t), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	r, err := newRunner(testLog(t), base, python(), 20*time.Second, memoryBudget{Limit: 1 << 30, Source: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.keep(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	wait, stop := context.WithTimeout(ctx, 2*time.Minute)
	defer stop()
	if _, err := r.interpreter(wait); err != nil {
		t.Fatal(err)
	}
	return r
}
