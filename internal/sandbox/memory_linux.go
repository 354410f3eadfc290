package sandbox

import (
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A memoryBudget says how much memory runs may take.
type memoryBudget struct {
	Limit  int64  // bytes that the container may take
	Source string // where that is said
}

const (
	mebibyte = 1 << 20

	// serverReserve is what the server itself takes, uploads of charts included,
	// with some air: 30 MiB were seen.
	serverReserve = 80 * mebibyte
	// copyReserve is what a run copies of the interpreter that it was forked from,
	// beside what it asks for itself.
	copyReserve = 48 * mebibyte
	// leastRun is what a run gets in any case; with less pandas can't do anything.
	leastRun = 128 * mebibyte
)

// budgetOf finds the limit of this container, which is the lowest of all control
// groups around it. A setting may lower it, and says it where there is none.
func budgetOf(root string, setting int64) memoryBudget {
	b := memoryBudget{Limit: math.MaxInt64}
	lower := func(limit int64, source string) {
		if limit > 0 && limit < b.Limit {
			b = memoryBudget{limit, source}
		}
	}
	for _, f := range cgroupFiles(root) {
		text, err := os.ReadFile(f) //nolint:gosec // of the kernel
		if err != nil {
			continue
		}
		// "max" is no number; version 1 writes a number near 2^63 for it.
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n < 1<<60 {
			lower(n, f)
		}
	}
	if setting > 0 {
		lower(setting, "MEMORY_LIMIT_MI")
	}
	if b.Source == "" {
		lower(physical(root)/2, "half of the machine's memory")
	}
	return b
}

// cgroupFiles lists where a limit may stand: in a container its own group is the
// root; elsewhere it is below.
func cgroupFiles(root string) []string {
	files := []string{}
	add := func(mount, path, file string) {
		for p := filepath.Clean("/" + path); ; p = filepath.Dir(p) {
			files = append(files, filepath.Join(root, mount, p, file))
			if p == "/" {
				return
			}
		}
	}
	groups, err := os.ReadFile(filepath.Join(root, "/proc/self/cgroup")) //nolint:gosec // of the kernel
	if err != nil {
		groups = []byte("0::/\n1:memory:/\n")
	}
	for line := range strings.Lines(string(groups)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		switch {
		case parts[1] == "":
			add("/sys/fs/cgroup", parts[2], "memory.max")
		case strings.Contains(","+parts[1]+",", ",memory,"):
			add("/sys/fs/cgroup/memory", parts[2], "memory.limit_in_bytes")
		}
	}
	return files
}

// physical is the machine's memory in bytes; 2 GiB where that can't be told.
func physical(root string) int64 {
	b, err := os.ReadFile(filepath.Join(root, "/proc/meminfo")) //nolint:gosec // of the kernel
	if err != nil {
		return 2 << 30
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			if n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")), 10, 64); err == nil {
				return n << 10
			}
		}
	}
	return 2 << 30
}

// forRuns is how much all runs together may take beyond the interpreter that waits,
// which takes resident bytes.
func (b memoryBudget) forRuns(resident int64) int64 {
	return max(b.Limit-serverReserve-resident-copyReserve, leastRun)
}
