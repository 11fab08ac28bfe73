// Package pool keeps volumes ready on the cluster for the PVCs that name a GoCache,
// and finds one for such a PVC.
//
// A member is a PVC in the namespace of the cache, made from the VolumeSnapshot of the
// newest verified CacheSnapshot, and a Job that reads all of it: the check of caches,
// whose verdict and digest have to be those of the snapshot. Where restores are lazy,
// that is what makes the volume fast; everywhere, it shows that this very volume holds
// what was verified.
//
// Which PVC is a member is what the status of the GoCache records, by the uid in the
// answer of the API server. Labels and owner references, which other clients can
// write too, only find what may be one. A volume is given to a consumer in one write
// of the PersistentVolume (package internal/kube/volume), which can succeed once.
package pool
