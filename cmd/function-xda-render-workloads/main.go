// Command function-xda-render-workloads serves the "render-workloads" step of
// the XDatasetAgent pipeline.
package main

import (
	"whisperops.io/functions/cmd/internal/serve"
	"whisperops.io/functions/fn/xda/renderworkloads"
)

func main() { serve.Main("function-xda-render-workloads", renderworkloads.New) }
