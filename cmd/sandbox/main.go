// Command sandbox runs the Python code of one agent over one CSV, as an MCP server.
package main

import "whisperops.io/functions/internal/sandbox"

func main() { sandbox.Main() }
