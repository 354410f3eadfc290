// Command ledger edits an order in Git, retires it, and refreshes Argo CD.
package main

import "whisperops.io/functions/internal/ledger"

func main() { ledger.Main() }
