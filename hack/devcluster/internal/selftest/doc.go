// Package selftest proves on this machine what the local cluster promises: the
// way of data from claim to snapshot to restored claim, limits and faults of
// volumes, networks in all directions, recovery, two clusters side by side, and
// that nothing is left behind.
package selftest
