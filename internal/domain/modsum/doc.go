// Package modsum implements the h1 sums of modules, as in go.sum, and the order in
// which manifests list module versions. It needs no file system, so that programs for any
// operating system can read manifests.
package modsum
