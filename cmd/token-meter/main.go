// Command token-meter counts and bounds what agents use of their language models.
package main

import "whisperops.io/functions/internal/tokenmeter"

func main() { tokenmeter.Main() }
