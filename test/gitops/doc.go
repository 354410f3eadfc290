// Package gitops tests what package/gitops tells Argo CD: the health checks run on the
// very interpreter Argo CD 3.6 runs them on (gopher-lua with base and table only), on
// the status of every story in examples/; every manifest names what exists.
package gitops
