// Package selftest proves on this machine what the local cluster promises: the
// way of data from PVC to snapshot to restored PVC, limits and faults of
// volumes, networks in all directions, recovery, two clusters side by side, and
// that nothing is left behind.
package selftest
