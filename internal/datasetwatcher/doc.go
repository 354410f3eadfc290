// Package datasetwatcher is the controller that keeps one XDataset per CSV of the
// datasets bucket, and shows them in a Backstage catalog in Git.
//
// It works in passes: list the bucket, lay the XDatasets beside it, write the
// difference, hand the result to the catalog. There is nothing to reconcile per
// object, since absence shows only in a whole listing; so a pass reads the whole
// registry once from the API server, and there are no informers and no queue.
//
//	registry/   what to write, as plain Go: names, verdicts on content, removals
//	catalog/    the entities, and how they get into Git
//	bucket.go   Google Cloud Storage      cluster.go  the API server
//	journal.go  the watcher's ConfigMap   watcher.go  the passes
//	main.go     flags and set-up
//
// Why nothing is lost stands in docs/design/0009-removing-datasets.md.
package datasetwatcher
