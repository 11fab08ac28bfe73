// Package repair removes from a cache exactly what a check found broken.
//
// Both caches are addressed by content and can be filled again, so removing the
// broken entry is always a right first repair, and never needs a copy of what
// it should have been. Files go in an order in which a crash in between leaves
// only what the go command heals by itself: a zip before its .ziphash, since
// the go command would vouch anew for a zip without one.
package repair
