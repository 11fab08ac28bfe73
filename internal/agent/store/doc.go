// Package store monitors the store of a module proxy from a container of the
// same pod: whether it can be used, how full its volume is, and whether its
// content is intact, checked in the background at low intensity.
//
// Servers report that they are ready when they are not: with a full disk,
// without the root of the store, without the volume mounted. The guard checks
// these conditions, and asks the server only whether it answers.
//
// It also names a few small modules of the store and their sums, so that the
// operator can ask the server for what it certainly has.
//
// With --withdraw a check removes what it finds wrong, entry by entry, and
// looks again: a store is a cache, and what is gone is fetched again. The
// verdict is of what is left, and names what was withdrawn.
//
// Intact content is recorded in a manifest: it makes the next check cheap, and
// it reveals content that changes under its name even if no trust data names
// it.
package store
