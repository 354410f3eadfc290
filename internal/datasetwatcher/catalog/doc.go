// Package catalog shows the registry in a Backstage catalog: one Resource entity
// per XDataset, each in a file of its own in a Git repository, and a location
// file that lists them all. The order form's list of datasets is fed from there.
//
// The repository follows the registry and is never asked about it. A pass
// compares the files that should be there with those that are, so that whatever
// was left behind by a crash, an outage or a person is put right by the next one.
package catalog
