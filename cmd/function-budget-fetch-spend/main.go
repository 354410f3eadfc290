// Command function-budget-fetch-spend serves the "fetch-spend" step of the
// budget pipeline.
package main

import (
	"whisperops.io/functions/cmd/internal/serve"
	"whisperops.io/functions/fn/budget/fetchspend"
)

func main() { serve.Main("function-budget-fetch-spend", fetchspend.New) }
