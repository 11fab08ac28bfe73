// Package binaries builds the programs of the cluster (hack/devcluster/binaries)
// and keeps them by content: what was built from the same sources, module
// versions, flags, and Go release is never built again.
//
// A cache entry is a folder named by that hash:
//
//	<hash>/bin/       the programs
//	<hash>/crd/       the VolumeSnapshot CRDs of the same release
//	<hash>/envtest/   links named etcd, kube-apiserver, kubectl: KUBEBUILDER_ASSETS
//	<hash>/in-use     locked (shared) by each running cluster, so that it is not pruned
//
// Each program is built aside and renamed into place, so whatever is in bin is
// complete, and one lock lets only one build run at a time.
package binaries
