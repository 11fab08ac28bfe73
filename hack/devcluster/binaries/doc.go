// Package binaries is the module that the programs of the local cluster are
// built from: Kubernetes and etcd, CoreDNS, containerd, and the CSI sidecars.
//
// It is a module of its own so that k8s.io/kubernetes never enters the go.mod
// of anything else in this repository, and one module for all of them so that
// client-go, the API machinery, and gRPC are compiled once. Programs that need
// no code of ours are the module's tool dependencies (go build … tool).
//
// The versions have to agree with each other: etcd's server and client must be
// of one minor release, and the CSI sidecars must ask for the Kubernetes minor
// release that is built here. Change them together.
package binaries
