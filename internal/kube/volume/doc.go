// Package volume builds claims and CSI snapshots, and reads what became of
// them.
package volume
