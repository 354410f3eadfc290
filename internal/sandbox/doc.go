// Package sandbox is the program "sandbox": an MCP server that runs the Python
// code of one agent over one CSV.
//
// The server itself fetches the CSV and holds the only credential. Code runs in
// processes of its own, each used once, behind walls that the server puts up and
// then tries itself (probe.py): Landlock, seccomp, resource limits, and another
// user where the server is root. See docs/sandbox.md.
//
// Three programs work together. The server (server.go) listens. The launcher
// (launch.go) is the same binary once more: it puts up the outer walls and becomes
// Python. Python (zygote.py) imports pandas, waits, and forks for every run.
package sandbox
