// Command function-budget-decide serves the "decide" step of the budget pipeline.
package main

import (
	"whisperops.io/functions/cmd/internal/serve"
	"whisperops.io/functions/fn/budget/decide"
)

func main() { serve.Main("function-budget-decide", decide.New) }
