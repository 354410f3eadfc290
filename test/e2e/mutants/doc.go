// Package mutants breaks each rule that keeps data safe on purpose, as a developer
// could by mistake, and has one scenario of the suite run against it. A scenario
// that passes all the same would not have noticed the mistake:
//
//	make mutants [RUN=unpaid-bill] [PARALLEL=1]
//
// The table (table.go) says what is broken and what must be red. A mutant is built
// from an overlay (build.go): no file of the checkout is ever changed.
package mutants
