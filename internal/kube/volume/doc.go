// Package volume builds PVCs and CSI snapshots, and reads what became of
// them.
package volume
