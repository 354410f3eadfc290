// Command spend says on a laptop how a budget's figure came about, and writes price tables.
package main

import "whisperops.io/functions/internal/spend"

func main() { spend.Main() }
