// Command dataset-watcher keeps one XDataset per CSV of the datasets bucket.
package main

import "whisperops.io/functions/internal/datasetwatcher"

func main() { datasetwatcher.Main() }
