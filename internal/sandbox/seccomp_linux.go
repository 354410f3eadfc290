package sandbox

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Two filters refuse system calls. The outer one holds for the waiting interpreter
// too, which must be able to fork and to end what it forked; the inner one is put
// on top of it in every run.
//
// They are lists of what is refused, because what pandas and the libraries under it
// call differs by version and machine. What is newer than this list is refused as
// unknown, as an old kernel would.

// Where a filter finds things in struct seccomp_data.
const (
	dataNumber   = 0
	dataArch     = 4
	dataArgument = 16 // of the first argument's low half; they are 8 bytes each, little-endian
)

// lastKnown is the newest system call that the list has been checked against: mseal.
const lastKnown = 462

var audit = map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}

// outside is what reaches other processes, the network, the kernel's own settings,
// or leaves something behind.
var outside = []uint32{
	// Every socket of every family. A pair of connected ones hurts nobody.
	unix.SYS_SOCKET, unix.SYS_CONNECT, unix.SYS_BIND, unix.SYS_LISTEN, unix.SYS_ACCEPT, unix.SYS_ACCEPT4,
	// Other processes' memory, descriptors, priority and place.
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PROCESS_MADVISE, unix.SYS_PROCESS_MRELEASE,
	unix.SYS_PIDFD_OPEN, unix.SYS_PIDFD_GETFD, unix.SYS_PIDFD_SEND_SIGNAL, unix.SYS_KCMP,
	unix.SYS_MIGRATE_PAGES, unix.SYS_MOVE_PAGES, unix.SYS_SCHED_SETAFFINITY, unix.SYS_SCHED_SETSCHEDULER,
	unix.SYS_SCHED_SETPARAM, unix.SYS_SCHED_SETATTR, unix.SYS_IOPRIO_SET,
	// Namespaces, mounts, other roots.
	unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_OPEN_TREE,
	unix.SYS_MOVE_MOUNT, unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR,
	unix.SYS_NAME_TO_HANDLE_AT, unix.SYS_OPEN_BY_HANDLE_AT,
	// What outlives a process: keys, System V memory, POSIX queues.
	unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL, unix.SYS_SHMGET, unix.SYS_SHMAT, unix.SYS_SHMCTL,
	unix.SYS_MSGGET, unix.SYS_MSGSND, unix.SYS_MSGRCV, unix.SYS_MSGCTL, unix.SYS_SEMGET, unix.SYS_SEMOP, unix.SYS_SEMTIMEDOP, unix.SYS_SEMCTL,
	unix.SYS_MQ_OPEN, unix.SYS_MQ_UNLINK, unix.SYS_MQ_NOTIFY,
	// The kernel itself.
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER,
	unix.SYS_IO_URING_REGISTER, unix.SYS_SYSLOG, unix.SYS_REBOOT, unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD, unix.SYS_INIT_MODULE,
	unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_QUOTACTL, unix.SYS_QUOTACTL_FD,
	unix.SYS_ACCT, unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_CLOCK_ADJTIME, unix.SYS_ADJTIMEX, unix.SYS_SETHOSTNAME,
	unix.SYS_SETDOMAINNAME, unix.SYS_FANOTIFY_INIT, unix.SYS_VHANGUP, unix.SYS_PERSONALITY, unix.SYS_LOOKUP_DCOOKIE, unix.SYS_NFSSERVCTL,
}

// beyondRun is what a run must not do and the waiting interpreter must.
var beyondRun = []uint32{
	unix.SYS_EXECVE, unix.SYS_EXECVEAT,
	unix.SYS_KILL, unix.SYS_TKILL, unix.SYS_TGKILL, unix.SYS_RT_SIGQUEUEINFO, unix.SYS_RT_TGSIGQUEUEINFO,
	unix.SYS_SETSID, unix.SYS_SETPGID, unix.SYS_SETPRIORITY,
	unix.SYS_SENDMSG, unix.SYS_SENDMMSG, // descriptors, to whom it may concern
}

// A rule on one argument's low 32 bits, as much of it as the kernel looks at.
type argumentRule struct {
	number   uint32
	argument uint32
	test     bpf.JumpTest
	value    uint32
	errno    uint32
}

var outsideRules = []argumentRule{
	// Limits of another process: its owner may set them, and so end it.
	{unix.SYS_PRLIMIT64, 0, bpf.JumpNotEqual, 0, uint32(unix.EPERM)},
	// A descriptor that sends signals to another process.
	{unix.SYS_FCNTL, 1, bpf.JumpEqual, unix.F_SETOWN, uint32(unix.EPERM)},
	{unix.SYS_FCNTL, 1, bpf.JumpEqual, unix.F_SETOWN_EX, uint32(unix.EPERM)},
	{unix.SYS_FCNTL, 1, bpf.JumpEqual, unix.F_SETSIG, uint32(unix.EPERM)},
	{unix.SYS_IOCTL, 1, bpf.JumpEqual, fioSetOwn, uint32(unix.EPERM)},
	{unix.SYS_IOCTL, 1, bpf.JumpEqual, sioSetPgrp, uint32(unix.EPERM)},
	{unix.SYS_IOCTL, 1, bpf.JumpEqual, unix.TIOCSTI, uint32(unix.EPERM)},
	{unix.SYS_IOCTL, 1, bpf.JumpEqual, unix.TIOCLINUX, uint32(unix.EPERM)},
}

const (
	fioSetOwn  = 0x8901
	sioSetPgrp = 0x8902
)

var beyondRunRules = []argumentRule{
	// Threads may be made, processes not. What can't be looked into is unknown, and
	// the C library then takes what can.
	{unix.SYS_CLONE, 0, bpf.JumpBitsNotSet, unix.CLONE_THREAD, uint32(unix.EPERM)},
	{unix.SYS_CLONE3, 0, bpf.JumpGreaterOrEqual, 0, uint32(unix.ENOSYS)},
}

// outerFilter and innerFilter return a filter as the kernel takes it.
func outerFilter() ([]bpf.RawInstruction, error) { return filter(outside, outsideRules) }

func innerFilter() ([]bpf.RawInstruction, error) {
	return filter(append(append([]uint32{}, beyondRun...), processCalls...), beyondRunRules)
}

// filter refuses the calls with EPERM, those that the rules hit with their errno,
// and everything of another instruction set: without that, a 32-bit system call,
// which has other numbers, would pass every rule.
func filter(refused []uint32, rules []argumentRule) ([]bpf.RawInstruction, error) {
	arch, ok := audit[runtime.GOARCH]
	if !ok {
		return nil, fmt.Errorf("cannot filter system calls on %s", runtime.GOARCH)
	}
	program := []bpf.Instruction{
		bpf.LoadAbsolute{Off: dataArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: arch, SkipTrue: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_KILL_PROCESS},
		bpf.LoadAbsolute{Off: dataNumber, Size: 4},
		// Newer than the list, or of the x32 instruction set.
		bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: lastKnown, SkipFalse: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
	}
	for _, n := range refused {
		program = append(program,
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: n, SkipFalse: 1},
			bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)})
	}
	for _, r := range rules {
		program = append(program,
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: r.number, SkipTrue: 4},
			bpf.LoadAbsolute{Off: dataArgument + 8*r.argument, Size: 4},
			bpf.JumpIf{Cond: r.test, Val: r.value, SkipFalse: 1},
			bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | r.errno},
			bpf.LoadAbsolute{Off: dataNumber, Size: 4})
	}
	return bpf.Assemble(append(program, bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}))
}

// raw writes a filter as an array of struct sock_filter.
func raw(program []bpf.RawInstruction) []byte {
	var out bytes.Buffer
	for _, i := range program {
		_ = binary.Write(&out, binary.LittleEndian, struct {
			Code   uint16
			Jt, Jf uint8
			K      uint32
		}{i.Op, i.Jt, i.Jf, i.K}) // a buffer takes everything
	}
	return out.Bytes()
}
