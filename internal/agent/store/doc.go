// Package store watches over a module proxy's store from beside it: whether it
// can be used, how full its volume is, and whether what it serves is what it
// should be, checked in the background at low intensity.
//
// Servers say that they are ready when they are not: with a full disk, with
// the root of the store gone, with the volume not mounted. The guard looks by
// itself, and asks the server only whether it answers.
//
// It also names a few small modules of the store and their sums, so that the
// operator can ask the server for what it certainly has.
//
// With --withdraw a check removes what it finds wrong, entry by entry, and looks
// again: a store is a cache, and what is gone is fetched anew. The verdict is of
// what is left, and names what was withdrawn.
//
// What was found sound is remembered in a manifest: it makes the next check
// cheap, and it convicts content that changes under its name even where no
// trust data names it.
package store
