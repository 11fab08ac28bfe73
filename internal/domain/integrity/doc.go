// Package integrity decides whether a Go module cache, a Go build cache or a
// proxy's store holds exactly what the go command once put there.
//
// The go command trusts its caches: it links an archive with flipped bits and
// compiles an extracted module that was edited, without an error. So every byte
// that it would use is hashed here and compared with the cache's own hashes,
// and with trust data from outside if there is any.
//
// A deviation is a [Finding] of some [Class]. Its [Severity] is what the go
// command would do: nothing at all (a note), create the entry again
// (recoverable), or use it silently or fail on it every time (corrupt). Only
// corrupt findings make the verdict Corrupt. Caches are checked while they are
// written: an entry with a deviation is checked again until it no longer
// changes, and an entry that is being written is never a fault.
//
// Start at [Check]. For a module cache, modules.go reads the parts of a version
// and [judge] compares them; zips are read by internal/domain/modcache.
package integrity
