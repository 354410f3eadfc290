// Command function-xda-compute-tuning serves the "compute-tuning" step of the agent pipeline.
package main

import (
	"whisperops.io/functions/cmd/internal/serve"
	"whisperops.io/functions/fn/xda/computetuning"
)

func main() { serve.Main("function-xda-compute-tuning", computetuning.New) }
