package sandbox

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// Paths that code may reach.
type paths struct {
	// Read and run: Python, its libraries, and what they look up.
	Read []string `json:"read"`
	// Write: the runs' folders; in a run, its own.
	Write []string `json:"write"`
	// Devices to read, and the one to write.
	ReadFiles  []string `json:"readFiles"`
	WriteFiles []string `json:"writeFiles"`
}

// system is what Python needs of a machine. Of /etc only what a library reads; of
// /proc and /sys nothing.
var system = paths{
	Read: []string{
		"/usr", "/lib", "/lib64", "/lib32", "/bin",
		"/etc/alternatives", "/etc/fonts", "/etc/ld.so.conf.d", "/etc/python3",
	},
	ReadFiles: []string{
		"/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/localtime", "/etc/timezone", "/etc/matplotlibrc", "/etc/mime.types",
		"/etc/nsswitch.conf", "/etc/passwd", "/etc/group", "/dev/urandom", "/dev/random", "/dev/zero",
	},
	WriteFiles: []string{"/dev/null"},
}

// with adds folders to read and to write.
func (p paths) with(read, write []string) paths {
	p.Read = slices.Concat(p.Read, read)
	p.Write = slices.Concat(p.Write, write)
	return p
}

// restrict puts this process, and what it becomes, behind Landlock, as far as the
// kernel has it: nothing but the paths, no TCP, no signal to a process outside.
func (p paths) restrict() error {
	c := landlock.V11.BestEffort()
	rules := []landlock.Rule{
		landlock.RODirs(p.Read...).IgnoreIfMissing(),
		landlock.ROFiles(p.ReadFiles...).IgnoreIfMissing(),
		landlock.RWFiles(p.WriteFiles...).IgnoreIfMissing(),
	}
	for _, w := range p.Write {
		rules = append(rules, landlock.RWDirs(w))
	}
	return c.Restrict(rules...)
}

// landlockABI is 0 where the kernel has no Landlock.
func landlockABI() int {
	v, err := ll.LandlockGetABIVersion()
	if err != nil {
		return 0
	}
	return v
}

// A landlockPlan is what zygote.py asks of the kernel.
type landlockPlan struct {
	Size   int            `json:"size"` // of struct landlock_ruleset_attr, as far as the kernel knows it
	FS     uint64         `json:"fs"`
	Net    uint64         `json:"net"`
	Scoped uint64         `json:"scoped"`
	Rules  []landlockRule `json:"rules"`
}

type landlockRule struct {
	Path   string `json:"path"`
	Access uint64 `json:"access"`
}

// plan says the same as restrict, for a child that has no Go in it. It is nil
// where the kernel has no Landlock.
func (p paths) plan(abi int) *landlockPlan {
	if abi < 1 {
		return nil
	}
	const (
		execute, writeFile, readFile, readDir = ll.AccessFSExecute, ll.AccessFSWriteFile, ll.AccessFSReadFile, ll.AccessFSReadDir

		all1 = 1<<13 - 1 // what ABI 1 knows
	)
	plan := &landlockPlan{Size: 8, FS: all1}
	if abi >= 2 {
		plan.FS |= ll.AccessFSRefer
	}
	file := uint64(execute | writeFile | readFile)
	if abi >= 3 {
		plan.FS |= ll.AccessFSTruncate
		file |= ll.AccessFSTruncate
	}
	if abi >= 4 {
		plan.Size, plan.Net = 16, ll.AccessNetBindTCP|ll.AccessNetConnectTCP
	}
	if abi >= 5 {
		plan.FS |= ll.AccessFSIoctlDev
	}
	if abi >= 6 {
		plan.Size, plan.Scoped = 24, ll.ScopeSignal|ll.ScopeAbstractUnixSocket
	}
	add := func(access uint64, paths ...string) {
		for _, path := range paths {
			plan.Rules = append(plan.Rules, landlockRule{path, access & plan.FS})
		}
	}
	add(execute|readFile|readDir, p.Read...)
	add(readFile, p.ReadFiles...)
	add(file&^execute, p.WriteFiles...)
	// Own files only: no device, no socket, nothing moved in from elsewhere.
	add(all1&^(ll.AccessFSMakeChar|ll.AccessFSMakeBlock|ll.AccessFSMakeSock|ll.AccessFSMakeFifo|execute)|ll.AccessFSTruncate|ll.AccessFSRefer, p.Write...)
	return plan
}

// pythonPaths are the folders of an interpreter that lies outside the system's, as
// its own words (prefixes and sys.path, one a line) say.
func pythonPaths(words string) ([]string, error) {
	var found []string
	for p := range strings.SplitSeq(words, "\n") {
		p = strings.TrimSpace(p)
		if p == "" || slices.Contains(found, p) {
			continue
		}
		if !filepath.IsAbs(p) || filepath.Clean(p) == "/" {
			return nil, fmt.Errorf("cannot let code read %q, where the interpreter says it lives", p)
		}
		if inside(p, system.Read) {
			continue
		}
		found = append(found, p)
	}
	return found, nil
}

func inside(path string, folders []string) bool {
	for _, f := range folders {
		if path == f || strings.HasPrefix(path, f+"/") {
			return true
		}
	}
	return false
}
