package sandbox

import "golang.org/x/sys/unix"

// processCalls are the older calls that make processes; arm64 has none of them.
var processCalls = []uint32{unix.SYS_FORK, unix.SYS_VFORK}
