// Command function-xda-render-iam serves the "render-iam" step of the agent pipeline.
package main

import (
	"whisperops.io/functions/cmd/internal/serve"
	"whisperops.io/functions/fn/xda/renderiam"
)

func main() { serve.Main("function-xda-render-iam", renderiam.New) }
