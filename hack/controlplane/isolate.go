package controlplane

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// isolatedEnv is set in a process that has namespaces of its own. "pid" says
// that processes are among them, so that everything dies with it.
const isolatedEnv = "WHISPEROPS_CONTROLPLANE_ISOLATED"

// Isolated runs a test binary's tests, or whatever run does, in a network,
// mount and process namespace of their own, and returns run's exit code:
//
//	func TestMain(m *testing.M) { os.Exit(controlplane.Isolated(m.Run)) }
//
// It needs unshare(1) and a kernel that lets users make namespaces. Where that
// is not so it says so and runs in the namespaces it finds.
func Isolated(run func() int) int {
	if IsIsolated() {
		if err := loopbackUp(); err != nil {
			fmt.Fprintln(os.Stderr, "cannot bring up the loopback device of the new network namespace:", err)
			return 1
		}
		return run()
	}
	unshare, flags := unshareFlags()
	if unshare == "" {
		fmt.Fprintln(os.Stderr, "no namespaces of our own here (unshare refuses): using the ports and mounts of this machine")
		return run()
	}
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cannot find this program's own file:", err)
		return 1
	}
	argv := append(append([]string{unshare}, flags...), self)
	err = syscall.Exec(unshare, append(argv, os.Args[1:]...), append(os.Environ(), isolatedEnv+"=1"))
	fmt.Fprintln(os.Stderr, "cannot run unshare:", err)
	return 1
}

// IsIsolated says whether this process has namespaces of its own.
func IsIsolated() bool { return os.Getenv(isolatedEnv) != "" }

// unshareFlags returns the path of unshare and what it takes to give a process
// its own namespaces; an empty path if the machine does not allow it. With
// --kill-child the kernel ends all processes when unshare ends.
func unshareFlags() (string, []string) {
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		return "", nil
	}
	kinds := [][]string{
		{"-rmnp", "--fork", "--kill-child", "--mount-proc"},
		{"-rmn"}, // inside some containers /proc can't be mounted anew
	}
	if WantsRealNode() {
		// Root of a user namespace can't make a container's file systems and devices.
		kinds = [][]string{{"-mnp", "--fork", "--kill-child", "--mount-proc"}}
	}
	for _, flags := range kinds {
		if exec.Command(unshare, append(flags, "true")...).Run() == nil {
			return unshare, flags
		}
	}
	return "", nil
}

func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s) //nolint:errcheck // a socket nothing was written to
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, req)
}
