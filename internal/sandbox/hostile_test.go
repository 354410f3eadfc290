//go:build linux

package sandbox

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// reached is printed by code that got where it must not.
const reached = "REACHED"

// attempt wraps code whose last word is that it got through.
func attempt(code string) string { return code + "\nprint('" + reached + "')\n" }

// What generated code may try, and what must come of it. Each runs in one sandbox
// after the other, so that a run that leaves something behind harms the next.
func TestHostileCode(t *testing.T) {
	r := startRunner(t)
	key := filepath.Join(r.base, "key.json")
	if err := os.WriteFile(key, []byte(`{"private_key":"hunter2"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SECRET_OF_THE_SERVER", "hunter2")
	server := strconv.Itoa(os.Getpid())
	syscalls := "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\nlibc.syscall.restype = ctypes.c_long\n" +
		"def call(*a):\n    r = libc.syscall(*[ctypes.c_long(x) if isinstance(x, int) else x for x in a])\n    if r < 0: raise OSError(ctypes.get_errno(), 'refused')\n    return r\n"
	cases := map[string]struct {
		reason string
		code   string
		want   cause
		says   string // in the output
	}{
		"ReadsKey":             {reason: "The key file belongs to the same user; only Landlock keeps it.", code: attempt("open('" + key + "').read()"), want: causeFailed, says: "PermissionError"},
		"ReadsKeyByLink":       {reason: "A link is followed and then refused.", code: attempt("import os\nos.symlink('" + key + "', 'k')\nopen('k').read()"), want: causeFailed, says: "PermissionError"},
		"HardLinksKey":         {reason: "A second name in the own folder would be readable.", code: attempt("import os\nos.link('" + key + "', 'k')\nopen('k').read()"), want: causeFailed},
		"ReadsServerEnviron":   {reason: "The server's environment names its credential.", code: attempt("open('/proc/" + server + "/environ').read()"), want: causeFailed, says: "PermissionError"},
		"ReadsServerMemory":    {reason: "Tokens are in the server's memory.", code: attempt("open('/proc/" + server + "/mem','rb').read(1)"), want: causeFailed},
		"ReadsByProcessVM":     {reason: "Memory can be read without /proc.", code: syscalls + attempt("call(310, "+server+", 0, 0, 0, 0, 0)"), want: causeFailed},
		"OwnEnviron":           {reason: "Nothing of the server's environment is inherited.", code: "import os\nprint(sorted(os.environ))\nprint('" + reached + "' if 'hunter2' in str(os.environ) else 'clean')", want: causeDone, says: "clean"},
		"InheritedDescriptors": {reason: "A descriptor of the waiting interpreter would command it.", code: "import os\nfor d in range(3, 1024):\n    try:\n        os.fstat(d)\n        print('" + reached + "', d)\n    except OSError: pass\nprint('none')", want: causeDone, says: "none"},
		"TCP":                  {reason: "No network.", code: attempt("import socket\nsocket.create_connection(('127.0.0.1', 1))"), want: causeFailed, says: "PermissionError"},
		"UDP":                  {reason: "DNS would carry data out.", code: attempt("import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 53))"), want: causeFailed, says: "PermissionError"},
		"Metadata":             {reason: "The cloud's metadata server hands out tokens.", code: attempt("import urllib.request\nurllib.request.urlopen('http://169.254.169.254/', timeout=3)"), want: causeFailed},
		"UnixSocket":           {reason: "A runtime's socket may be in reach.", code: attempt("import socket\nsocket.socket(socket.AF_UNIX)"), want: causeFailed},
		"Kill":                 {reason: "Same user: only the walls keep the server alive.", code: attempt("import os\nos.kill(" + server + ", 9)"), want: causeFailed},
		"KillAll":              {reason: "kill(-1) reaches everything of the user.", code: attempt("import os\nos.kill(-1, 9)"), want: causeFailed},
		"KillParent":           {reason: "The waiting interpreter serves the next run.", code: attempt("import os\nos.kill(os.getppid(), 9)"), want: causeFailed},
		"LimitsOfServer":       {reason: "A limit of one CPU second would end the server.", code: attempt("import resource\nresource.prlimit(" + server + ", resource.RLIMIT_CPU, (1, 1))"), want: causeFailed},
		"SignalByDescriptor":   {reason: "F_SETOWN sends signals by way of a pipe.", code: attempt("import fcntl, os\nr, w = os.pipe()\nfcntl.fcntl(r, 8, " + server + ")"), want: causeFailed},
		"Ptrace":               {reason: "A traced server stands still for good.", code: syscalls + attempt("call(101, 16, "+server+", 0, 0)"), want: causeFailed},
		"Fork":                 {reason: "A fork bomb starts with one.", code: attempt("import os\nos.fork()"), want: causeFailed, says: "PermissionError"},
		"Subprocess":           {reason: "Programs are processes.", code: attempt("import subprocess\nsubprocess.run(['/bin/true'])"), want: causeFailed},
		"System":               {reason: "As a shell is.", code: "import os\nprint('" + reached + "' if os.system('true') == 0 else 'refused')", want: causeDone, says: "refused"},
		"Exec":                 {reason: "The walls would hold, but the words wouldn't come.", code: attempt("import os\nos.execv('/bin/true', ['true'])"), want: causeFailed},
		"Compat32": {reason: "32-bit system calls have other numbers; int 0x80 must not pass the filter.", want: causeSignal,
			code: "import ctypes, mmap\nm = mmap.mmap(-1, 4096, prot=7)\nm.write(bytes.fromhex('b814000000cd80c3'))\nf = ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(m)))\nprint('" + reached + "', f())"},
		"X32":                {reason: "Nor those of the x32 instruction set.", code: syscalls + attempt("call(0x40000000 + 39)"), want: causeFailed},
		"IOUring":            {reason: "io_uring does what the filter refuses.", code: syscalls + attempt("call(425, 8, ctypes.create_string_buffer(256))"), want: causeFailed},
		"Namespace":          {reason: "A user namespace gives back what was dropped.", code: syscalls + attempt("call(272, 0x10000000)"), want: causeFailed},
		"SharedMemory":       {reason: "System V memory outlives its maker.", code: syscalls + attempt("call(29, 4711, 4096, 0o1666)"), want: causeFailed},
		"WritesOutside":      {reason: "The dataset and other runs lie there.", code: attempt("open('" + r.base + "/data/x', 'w')"), want: causeFailed, says: "PermissionError"},
		"WritesTmp":          {reason: "What lies in /tmp stays.", code: attempt("open('/tmp/left-" + server + "', 'w')"), want: causeFailed, says: "PermissionError"},
		"ListsRuns":          {reason: "Another person's run is nobody's business.", code: attempt("import os\nos.listdir('" + r.base + "/runs')"), want: causeFailed},
		"ChangesHome":        {reason: "What the waiting interpreter reads later must stay as it is.", code: attempt("open('" + r.base + "/home/x', 'w')"), want: causeFailed},
		"Sleeps":             {reason: "The wall clock ends it.", code: "print('before', flush=True)\nimport time\ntime.sleep(1000)", want: causeTimeout, says: "before"},
		"Ignores":            {reason: "SIGKILL can't be ignored.", code: "import signal, time\nfor s in (1, 2, 15): signal.signal(s, signal.SIG_IGN)\nwhile True: time.sleep(1)", want: causeTimeout},
		"EatsMemory":         {reason: "Python gets a MemoryError, and the server lives.", code: "x = []\nwhile True: x.append(bytearray(1 << 24))", want: causeFailed, says: "MemoryError"},
		"EatsMemoryInPandas": {reason: "So does pandas.", code: "import numpy as np\nnp.ones((1 << 30,))", want: causeFailed, says: "Unable to allocate"},
		"PrintsForever":      {reason: "Head and tail are kept, the rest is counted.", code: "i = 0\nwhile True:\n    print('line', i, 'x' * 1000)\n    i += 1", want: causeOutput, says: "bytes left out"},
		"NoNewline":          {reason: "Output without lines is cut all the same.", code: "import sys\nwhile True: sys.stdout.write('x' * 65536)", want: causeOutput, says: "bytes left out"},
		"PrintsBytes":        {reason: "What is no text becomes text.", code: "import os\nos.write(1, bytes(range(256)) * 4)", want: causeDone, says: "\uFFFD"},
		"FillsDisk":          {reason: "A full emptyDir evicts the pod.", code: "i = 0\nwhile True:\n    i += 1\n    with open('f%d' % i, 'wb') as f: f.write(b'x' * (32 << 20))", want: causeDisk},
		"OneLargeFile":       {reason: "One file has a limit of its own.", code: "with open('f', 'wb') as f:\n    for _ in range(100): f.write(b'x' * (1 << 20))", want: causeFailed, says: "File too large"},
		"ManyFiles":          {reason: "So has their number.", code: "import time\nfor i in range(100000): open('f%d' % i, 'w').close()\ntime.sleep(60)", want: causeDisk},
		"HidesFiles":         {reason: "A folder that can't be entered is removed as well.", code: "import os\nos.makedirs('a/b/c')\nopen('a/b/c/f', 'w').write('x')\nos.chmod('a/b', 0)\nos.chmod('a', 0)\nprint('hidden')", want: causeDone, says: "hidden"},
		"Threads":            {reason: "Threads are allowed, and end with the run.", code: "import threading, time\nfor _ in range(4): threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\nprint('started')", want: causeDone, says: "started"},
		"ThreadBomb":         {reason: "Their stacks count as memory.", code: "import threading, time\ntry:\n    while True: threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\nexcept Exception as e: print(type(e).__name__)", want: causeDone, says: "Error"},
		"Crash":              {reason: "A crash in native code is told as one.", code: "import ctypes\nctypes.string_at(0)", want: causeSignal},
		"Recursion":          {reason: "Python's own limit.", code: "def f():\n  f()\nf()", want: causeFailed, says: "RecursionError"}, //nolint:dupword // it is Python
		"Syntax":             {reason: "The traceback names the line of the code.", code: "a = 1\nb = = 2", want: causeFailed, says: `File "main.py", line 2`},
		"Exit":               {reason: "An exit status is no success.", code: "import sys\nsys.exit(3)", want: causeFailed},
		"HardExit":           {reason: "Nor is a hard one.", code: "import os\nprint('x', flush=True)\nos._exit(7)", want: causeFailed, says: "x"},
		"Surrogates":         {reason: "A lone surrogate can't be encoded, and is shown escaped.", code: "print('\\ud800')", want: causeDone, says: "\\ud800"},
		"ClosesOutput":       {reason: "A run that closes its output ends as it ends.", code: "import os\nos.close(1)\nos.close(2)", want: causeDone},
		"Harness":            {reason: "The harness holds nothing that is worth taking.", code: "import gc\nprint('" + reached + "' if any(isinstance(o, dict) and 'hunter2' in str(o.get('SECRET_OF_THE_SERVER')) for o in gc.get_objects()) else 'clean')", want: causeDone, says: "clean"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			timeout := 45 * time.Second
			if tc.want == causeTimeout {
				timeout = 2 * time.Second
			}
			o, err := r.run(ctx, job{Code: tc.code, Memory: 300 << 20, Timeout: timeout})
			if err != nil {
				t.Fatal(err)
			}
			said := o.Stdout.String() + o.Stderr.String()
			if o.Cause != tc.want || !strings.Contains(said, tc.says) || strings.Contains(said, reached) || strings.Contains(said, "hunter2") {
				t.Errorf("%s\nwant cause %s and %q, got %s (exit %d, %v): %s", tc.reason, tc.want, tc.says, o.Cause, o.Exit, o.Signal, said)
			}
			if len(said) > 32<<10 {
				t.Errorf("kept %d bytes of output", len(said))
			}
			left, err := os.ReadDir(filepath.Join(r.base, "runs"))
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
			if z := children(t, r.live.pid); len(z) > 0 {
				t.Errorf("processes that are still there: %v", z)
			}
		})
	}
	o, err := r.run(context.Background(), job{Code: "print(1)", Memory: 300 << 20, Timeout: 20 * time.Second})
	if err != nil || o.Cause != causeDone || o.Stdout.String() != "1\n" {
		t.Errorf("after all that: %v %+v", err, o)
	}
	if _, err := os.Stat("/tmp/left-" + server); err == nil {
		t.Error("a file was left in /tmp")
	}
}

// children are the processes, zombies included, whose parent is pid.
func children(t *testing.T, pid int) []string {
	t.Helper()
	var found []string
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		s := string(b)
		fields := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
		if len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			found = append(found, s)
		}
	}
	return found
}

// An interpreter that dies takes its runs along, and another one serves the next.
func TestInterpreterDies(t *testing.T) {
	r := startRunner(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	ended := make(chan outcome, 1)
	go func() {
		o, err := r.run(ctx, job{Code: "import time\ntime.sleep(100)", Memory: 300 << 20, Timeout: time.Minute})
		if err != nil {
			o.Cause = cause(err.Error())
		}
		ended <- o
	}()
	first, err := r.interpreter(ctx)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, func() error {
		if len(children(t, first.pid)) == 0 {
			return fmt.Errorf("not forked yet")
		}
		return nil
	})
	if err := syscall.Kill(first.pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if o := <-ended; o.Cause != causeBroken {
		t.Errorf("want a broken run, got %s", o.Cause)
	}
	eventually(t, time.Minute, func() error {
		o, err := r.run(ctx, job{Code: "print(2)", Memory: 300 << 20, Timeout: 20 * time.Second})
		if err != nil || o.Stdout.String() != "2\n" {
			return fmt.Errorf("%w %s", err, o.Stdout)
		}
		return nil
	})
}

// Numbers that are drawn are not the same in every run, as they would be if all had
// the generator of the interpreter that they were forked from.
func TestRunsDrawDifferentNumbers(t *testing.T) {
	r := startRunner(t)
	seen := map[string]bool{}
	for range 3 {
		o, err := r.run(context.Background(), job{Code: "import random, numpy, uuid\nprint(random.random(), numpy.random.rand(), uuid.uuid4())", Memory: 300 << 20, Timeout: 20 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		for word := range strings.FieldsSeq(o.Stdout.String()) {
			if seen[word] {
				t.Errorf("%s was drawn before", word)
			}
			seen[word] = true
		}
	}
	if len(seen) != 9 {
		t.Errorf("want 9 numbers, got %v", seen)
	}
}

// What code saves or draws becomes a chart; what it links to does not.
func TestCharts(t *testing.T) {
	r := startRunner(t)
	plot := "import matplotlib.pyplot as plt\nplt.plot([1,2,3])\nplt.title('x')\n"
	cases := map[string]struct {
		reason, code string
		charts       int
		others       int
	}{
		"Saved":   {reason: "The worker's prompt says so.", code: plot + "plt.savefig('chart.png')", charts: 1},
		"Shown":   {reason: "plt.show() means to show it.", code: plot + "plt.show()", charts: 1},
		"Buried":  {reason: "A folder is no hiding place.", code: plot + "import os\nos.mkdir('d')\nplt.savefig('d/c.png')", charts: 1},
		"Linked":  {reason: "A link leads out of the folder.", code: "import os\nos.symlink('/usr/share/pixmaps', 'x')\nos.symlink('/etc/passwd', 'p.png')", charts: 0},
		"Fake":    {reason: "A name doesn't make a picture.", code: "open('c.png','w').write('<script>')", charts: 0, others: 1},
		"Pipe":    {reason: "A pipe would never end; it can't be made, either.", code: "import os\ntry: os.mkfifo('c.png')\nexcept OSError: print('refused')", charts: 0},
		"TooMany": {reason: "An answer holds four.", code: plot + "for i in range(6): plt.savefig('c%d.png' % i)", charts: chartsLimit, others: 2},
		"CSV":     {reason: "Other files are named.", code: "open('out.csv','w').write('a\\n1\\n')", charts: 0, others: 1},
		"Failed":  {reason: "A chart of a run that failed later is still one.", code: plot + "plt.savefig('c.png')\n1/0", charts: 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			o, err := r.run(context.Background(), job{Code: tc.code, Memory: 400 << 20, Timeout: 20 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			if len(o.Charts) != tc.charts || len(o.LeftOver) != tc.others {
				t.Errorf("%s\nwant %d charts and %d other files, got %d, %v; %s %q", tc.reason, tc.charts, tc.others, len(o.Charts), o.LeftOver, o.Cause, o.Stderr.String())
			}
		})
	}
}

// A run in the interpreter that waits takes at most a tenth of what starting one with
// pandas takes: make bench-sandbox.
func BenchmarkRun(b *testing.B) {
	r := startRunner(b)
	took := map[string]float64{}
	for _, way := range []struct {
		name string
		run  func() (string, error)
	}{
		{"cold", func() (string, error) {
			out, err := exec.CommandContext(b.Context(), python(), "-I", "-B", "-c", "import pandas, numpy, matplotlib.pyplot\nprint(1)").Output()
			return string(out), err
		}},
		{"warm", func() (string, error) {
			o, err := r.run(b.Context(), job{Code: "print(1)", Memory: 300 << 20, Timeout: 20 * time.Second})
			return o.Stdout.String(), err
		}},
	} {
		b.Run(way.name, func(b *testing.B) {
			for b.Loop() {
				if out, err := way.run(); err != nil || out != "1\n" {
					b.Fatal(err, out)
				}
			}
			took[way.name] = b.Elapsed().Seconds() / float64(b.N)
			if way.name == "warm" && took["cold"] > 0 {
				b.ReportMetric(took["warm"]/took["cold"], "of-cold")
			}
		})
	}
	if took["cold"] > 0 && took["warm"] > 0.1*took["cold"] {
		b.Errorf("a warm run takes %.1f ms, more than a tenth of a cold start's %.1f ms", 1000*took["warm"], 1000*took["cold"])
	}
}
