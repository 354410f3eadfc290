// Package scale grows one control plane to many agents and measures what each
// size costs: how long it takes until all are Ready, what is reconciled, called
// and written while nothing happens, and what every process needs.
//
//	make scale [SIZES="10 100 500"] [WINDOW=10]
package scale
