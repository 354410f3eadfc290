// Package registry decides what the dataset watcher writes: it compares a
// complete listing of the bucket with the XDatasets of the cluster and answers
// with a Plan. It is plain Go: no clock, no randomness, no network. Time and
// everything that was read are handed in, the same input gives the same plan,
// and every input has one.
//
// A listing that failed, or stopped halfway, never comes here: absence is read
// only from complete listings (see docs/design/0009-removing-datasets.md).
package registry
