// Package csicheck tries on a cluster what caches need of a StorageClass: that
// its driver creates snapshots, volumes from snapshots, and larger volumes from
// snapshots, each with the content that was written, and expands volumes.
package csicheck
