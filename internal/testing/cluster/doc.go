// Package cluster plays, in one namespace of a real API server that has no
// controllers, the part of those that the operator relies on: the volume and
// Job controllers, the kubelet, the CSI snapshotter and garbage collection.
//
// It is for speed: what it plays was learned from a real cluster, and the e2e
// tests check the same flows there.
package cluster
