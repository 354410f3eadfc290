// Command function-xda-emit-budget serves the "emit-budget" step of the agent pipeline.
package main

import (
	"whisperops.io/functions/cmd/internal/serve"
	"whisperops.io/functions/fn/xda/emitbudget"
)

func main() { serve.Main("function-xda-emit-budget", emitbudget.New) }
