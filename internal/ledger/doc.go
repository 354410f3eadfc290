// Package ledger keeps the files in which agents are ordered: it changes one field
// of an order by a commit, takes an order down from its cluster to its repository,
// and tells Argo CD to look now. Day-2 templates run it as a Job; a person runs it
// by hand.
//
// Nothing here patches a living XDatasetAgent: Git says what should be, Argo CD
// delivers it.
package ledger
