// Command function-xda-validate-dataset serves the "validate-dataset" step of the agent pipeline.
package main

import (
	"whisperops.io/functions/cmd/internal/serve"
	"whisperops.io/functions/fn/xda/validatedataset"
)

func main() { serve.Main("function-xda-validate-dataset", validatedataset.New) }
