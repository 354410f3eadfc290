//go:build !linux

package sandbox

import (
	"fmt"
	"os"
)

// Main says that the sandbox needs Linux: its walls are the Linux kernel's.
func Main() {
	fmt.Fprintln(os.Stderr, "sandbox: needs Linux, because the walls around generated code are its kernel's")
	os.Exit(1)
}
