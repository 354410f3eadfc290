package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The network of a stack with a real node, which no other sees. Its node is where the
// API server of a cluster most often is: in a private range. What stands in for servers
// on the internet has addresses that documents use (RFC 5737), so that a NetworkPolicy
// takes them for what they stand for.
const (
	nodeAddress      = "192.168.77.1"
	nodePrefix       = "/24"
	podRange         = "10.244.0.0/16"
	realServiceRange = "10.96.0.0/16"
	realFirstService = "10.96.0.1"
	dnsServiceIP     = "10.96.0.10" // also in realnode.yaml
	cniPlugins       = "/usr/lib/cni"
	realAPIPort      = 6443

	// StorageAddress and ModelAddress are where a stack with a real node may have
	// what stands in for Google's APIs, on port 443.
	StorageAddress = "203.0.113.10"
	ModelAddress   = "203.0.113.20"
)

// nodeEnv says, in an environment, that a node is to be real.
const nodeEnv = "NODE"

// WantsRealNode says whether the environment asks for a real node: NODE=real.
func WantsRealNode() bool { return os.Getenv(nodeEnv) == "real" }

// CanRunRealNode is nil where a real node can run, and otherwise says what is missing.
func CanRunRealNode() error {
	var missing []string
	uids, err := os.ReadFile("/proc/self/uid_map")
	if err != nil || os.Geteuid() != 0 || len(strings.Fields(string(uids))) != 3 || !strings.HasSuffix(strings.TrimSpace(string(uids)), "4294967295") {
		missing = append(missing, "root, of the machine itself and not of a user namespace")
	}
	packages := map[string][]string{}
	var order []string
	need := func(pkg, program string) {
		if _, err := exec.LookPath(program); err == nil {
			return
		}
		for _, dir := range []string{"/usr/sbin", "/sbin"} {
			if _, err := os.Stat(filepath.Join(dir, program)); err == nil {
				return
			}
		}
		if packages[pkg] == nil {
			order = append(order, pkg)
		}
		packages[pkg] = append(packages[pkg], filepath.Base(program))
	}
	for _, p := range [][2]string{
		{"containerd", "containerd"}, {"containerd", "ctr"}, {"runc", "runc"}, {"iptables", "iptables"}, {"iptables", "iptables-restore"}, {"ipset", "ipset"}, {"iproute2", "ip"},
		{"containernetworking-plugins", filepath.Join(cniPlugins, "ptp")}, {"containernetworking-plugins", filepath.Join(cniPlugins, "host-local")},
	} {
		need(p[0], p[1])
	}
	for _, p := range order {
		missing = append(missing, p+" (for "+strings.Join(packages[p], ", ")+")")
	}
	if len(missing) == 0 {
		return nil
	}
	hint := ""
	if len(order) > 0 {
		hint = "; Debian: apt-get install " + strings.Join(order, " ")
	}
	return fmt.Errorf("a real node needs %s%s; without NODE=real the pods run as plain processes", strings.Join(missing, ", "), hint)
}

// readyMachine gives the namespaces that the stack runs in a network, and keeps the
// machine's kernel out of kubelet's reach.
func readyMachine(ctx context.Context, dir string) error {
	if !IsIsolated() || !WantsRealNode() {
		return errors.New("cannot start a real node outside of namespaces of its own: run it through Isolated, with NODE=real in the environment")
	}
	if err := CanRunRealNode(); err != nil {
		return err
	}
	for _, args := range [][]string{
		// Both ends of a wire: a device that is up without any other machine.
		{"link", "add", "node0", "type", "veth", "peer", "name", "node1"},
		{"address", "add", nodeAddress + nodePrefix, "dev", "node0"},
		{"address", "add", StorageAddress + "/32", "dev", "node0"},
		{"address", "add", ModelAddress + "/32", "dev", "node0"},
		{"link", "set", "node0", "up"},
		{"link", "set", "node1", "up"},
		{"route", "add", "default", "dev", "node0", "src", nodeAddress},
	} {
		if err := runTool(ctx, nil, "ip", args...); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := shield(dir); err != nil {
		return err
	}
	return ownRun()
}

// tunables are what a kubelet wants of the kernel (kubelet 1.35, setupKernelTunables). It
// writes what is different, and ends if it may not.
var tunables = map[string]string{
	"vm/overcommit_memory": "1", "vm/panic_on_oom": "0",
	"kernel/panic": "10", "kernel/panic_on_oops": "1", "kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
}

// shield makes the kernel's settings read-only for this stack, and shows a kubelet the ones
// that it wants: it sets some for the whole machine, such as that a failure of the kernel
// reboots it.
func shield(dir string) error {
	for _, sys := range []string{"/proc/sys/kernel", "/proc/sys/vm"} {
		if err := unix.Mount(sys, sys, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("cannot shield %s: %w", sys, err)
		}
		if err := unix.Mount("", sys, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			return fmt.Errorf("cannot make %s read-only: %w", sys, err)
		}
	}
	for name, value := range tunables {
		file, place := filepath.Join(dir, "sysctl", name), filepath.Join("/proc/sys", name)
		if _, err := os.Stat(place); err != nil {
			continue // not of this kernel
		}
		if err := writeFiles(filepath.Dir(file), map[string][]byte{filepath.Base(file): []byte(value + "\n")}); err != nil {
			return err
		}
		if err := unix.Mount(file, place, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("cannot show a kubelet %s as it wants it: %w", place, err)
		}
	}
	return nil
}

// unmountBelow lets go of what is mounted in a folder: a kubelet's own folder is a mount,
// and so are the volumes of pods.
func unmountBelow(dir string) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return
	}
	for _, line := range slices.Backward(strings.Split(strings.TrimSpace(string(mounts)), "\n")) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			_ = unix.Unmount(f[4], unix.MNT_DETACH) // what is still in use goes with its user
		}
	}
}

// ownRun gives the stack a /run of its own, if it has none yet.
func ownRun() error {
	run, err := filepath.EvalSymlinks("/var/run")
	if err != nil {
		return err
	}
	mark := filepath.Join(run, "whisperops-stack")
	if _, err := os.Stat(mark); err == nil {
		return nil
	}
	if err := unix.Mount("tmpfs", run, "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("cannot give the stack its own %s: %w", run, err)
	}
	return os.WriteFile(mark, nil, 0o600)
}

// ownFile puts a file of the stack's in a file's place.
func ownFile(file, place, text string) error {
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return err
	}
	if target, err := os.Readlink(place); err == nil {
		// What it leads to may lie in the /run of before; in the stack's own it is made.
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(place), target)
		}
		if _, err := os.Stat(target); err != nil {
			if err := writeFiles(filepath.Dir(target), map[string][]byte{filepath.Base(target): nil}); err != nil {
				return err
			}
		}
	}
	if err := unix.Mount(file, place, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("cannot give the stack its own %s: %w", place, err)
	}
	return nil
}

const cgroups = "/sys/fs/cgroup"

// unified is cgroup v2 beside v1. Nobody has to make groups there, but runc does.
const unified = "unified"

// hierarchies are the folders in which control groups are: one with cgroup v2, one per
// controller with v1, and perhaps unified.
func hierarchies(root string) ([]string, error) {
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err == nil {
		return []string{root}, nil
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() {
			out = append(out, filepath.Join(root, e.Name()))
		}
	}
	return out, nil
}

func makeCgroups(name string) error {
	dirs, err := hierarchies(cgroups)
	if err != nil {
		return err
	}
	for _, d := range dirs {
		if filepath.Base(d) == unified {
			continue
		}
		if err := os.MkdirAll(filepath.Join(d, name), 0o755); err != nil {
			return err
		}
		for _, f := range []string{"cpuset.cpus", "cpuset.mems"} { // empty in a new one of v1, in which nothing can run then
			if all, err := os.ReadFile(filepath.Join(d, f)); err == nil {
				if err := os.WriteFile(filepath.Join(d, name, f), all, 0o644); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// removeCgroups ends what still runs in a control group, and removes it.
func removeCgroups(root, name string) {
	dirs, err := hierarchies(root)
	if err != nil {
		return
	}
	for _, d := range dirs {
		for end := time.Now().Add(grace); !removeCgroup(filepath.Join(d, name)) && time.Now().Before(end); {
			time.Sleep(20 * time.Millisecond) // a killed process is in its group for a moment yet
		}
	}
}

// removeCgroup kills what is in a group and those below it, and says whether they are gone.
func removeCgroup(dir string) bool {
	var below []string
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error { // what is gone needs no removal
		if err == nil && e.IsDir() {
			below = append(below, path)
		}
		return nil
	})
	for _, path := range slices.Backward(below) {
		procs, _ := os.ReadFile(filepath.Join(path, "cgroup.procs")) // a group that is gone has none
		for p := range strings.FieldsSeq(string(procs)) {
			if pid, err := strconv.Atoi(p); err == nil && pid > 1 { // 0 is one of another namespace
				_ = unix.Kill(pid, unix.SIGKILL) // it may have ended
			}
		}
		_ = os.Remove(path) // it is tried again
	}
	_, err := os.Stat(dir)
	return err != nil
}

// CleanUp removes what a stack with a real node in that folder left on the machine if it
// was killed; one that was stopped has left nothing.
func CleanUp(dir string) {
	if abs, err := filepath.Abs(dir); err == nil && os.Geteuid() == 0 {
		removeCgroups(cgroups, cgroupOf(abs))
	}
}

// cgroupOf is the parent of all pods' groups, of the stack in that folder alone.
func cgroupOf(dir string) string { return "whisperops-" + hashOf(dir) }
