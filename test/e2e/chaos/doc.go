// Package chaos breaks the suite on a real Crossplane at random, for minutes, and
// checks all along that nothing was lost and nobody unjustly stopped or started:
//
//	make chaos [SEED=n] [MINUTES=30] [AGENTS=20]
//
// What is done when is a pure function of seed, minutes and agents (plan.go); how
// long each thing takes is the machine's. Half of the agents pay a provider through the
// token-meter (pay.go), which is killed like everything else. What happened becomes a History
// (watch.go), and an invariant is a pure function of that (invariants.go).
package chaos
