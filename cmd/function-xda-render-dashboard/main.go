// Command function-xda-render-dashboard serves the "render-dashboard" step of
// the XDatasetAgent pipeline.
package main

import (
	"whisperops.io/functions/cmd/internal/serve"
	"whisperops.io/functions/fn/xda/renderdashboard"
)

func main() { serve.Main("function-xda-render-dashboard", renderdashboard.New) }
