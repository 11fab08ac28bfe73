// Package env runs a real kube-apiserver and etcd for the tests of one
// package, with the operator's CRDs and those of CSI snapshots installed.
//
// The binaries come from the directory that KUBEBUILDER_ASSETS names;
// "make kubebuilder-assets" builds them. There is no kubelet and no controller
// manager: a test plays their part where it needs to.
package env
