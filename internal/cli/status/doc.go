// Package status reads the state of caches and proxies with all that belongs to
// them, as trees: a GoCache with its PVC, its snapshots, the PVCs that were
// populated from them, and requests; a ModProxy with its instances.
package status
