// Command function-budget-render serves the "render" step of the budget pipeline.
package main

import (
	"whisperops.io/functions/cmd/internal/serve"
	"whisperops.io/functions/fn/budget/render"
)

func main() { serve.Main("function-budget-render", render.New) }
