// Package cluster defines one local cluster: its name, its addresses, and
// where its files are. Everything is derived from the name, one small index,
// and the state directory, so that several clusters can run side by side.
//
// The package starts nothing. Package lifecycle brings a cluster up and down;
// package node is what runs inside.
package cluster
