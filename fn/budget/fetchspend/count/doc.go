// Package count counts tokens from the raw samples of an agent's counters. It is
// pure: what it is given it folds into a ledger, and the same samples always become
// the same ledger. docs/design/0011-counting.md has its words and its invariants:
//
//   - Settling is associative: to fold up to one time, and then on from there, is
//     to fold in one go. So an older copy of a ledger becomes the same as a newer one.
//   - No token counts twice. What may be one or none counts as none, and is named.
//   - Nothing moves with the clock alone: all times are those of samples, on a grid.
package count
