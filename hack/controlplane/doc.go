// Package controlplane boots a real Kubernetes API server, and on it a real
// Crossplane, as plain processes on loopback ports: no container runtime, no
// kubelet, no root. Two levels exist:
//
//   - StartAPIServer: etcd, kube-apiserver and, on request, the controllers of
//     Kubernetes that delete (garbage collection, namespaces) and aggregate
//     roles. Ready in about three seconds; for tests of a controller.
//   - Start: the above with Crossplane core, its RBAC manager, a local OCI
//     registry, provider-kubernetes and function processes, all installed
//     through Crossplane's own package manager. Ready in about half a minute.
//
// Tests call Isolated from TestMain, so that each test binary has network,
// mounts and processes of its own: nothing listens outside, fixed ports do not
// collide, and nothing survives the test.
package controlplane
