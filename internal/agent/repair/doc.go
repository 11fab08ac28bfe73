// Package repair removes from a cache exactly the entries that a check found
// corrupt.
//
// Both caches are addressed by content and can be filled again, so removing the
// corrupt entry is always a valid repair, and needs no copy of the correct
// content. Files are removed in an order in which a crash leaves only entries
// that the go command creates again: a zip before its .ziphash, since the go
// command creates a new one for any zip that has none.
package repair
