package sandbox

// processCalls are the older calls that make processes; arm64 has none of them.
var processCalls []uint32
