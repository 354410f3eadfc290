// Package datasetwatcher tests the dataset watcher in a world of real servers: see
// package world. Run it with make test-watcher.
package datasetwatcher
