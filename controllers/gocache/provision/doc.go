// Package provision provides what builds and writers need of a GoCache before
// anything is in it: the cache PVC, its growth, and the ConfigMaps with the
// environment of builds.
//
// It does not replace a volume (package replacement does) and does not write to
// one. Whether the PVC has to grow is decided by internal/plan/growth; start at
// Reconcile.
package provision
