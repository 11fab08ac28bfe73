// Package integration holds black-box tests against a real kube-apiserver:
// what a person applies must be accepted as it is written.
package integration
