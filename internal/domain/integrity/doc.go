// Package integrity decides whether a Go module cache, a Go build cache or a
// proxy's store holds exactly what the go command once put there.
//
// The go command trusts its caches: it links an archive whose bits have flipped
// and compiles an extracted module that somebody edited, without a word. So
// every byte that it would use is hashed here and compared with what the cache
// itself says it is, and with trust data from outside if there is any.
//
// What deviates is a [Finding] of some [Class], and a [Severity] that says what
// the go command would do with it: nothing at all (a note), put it right by
// itself (torn), or use it silently or fail on it for ever (wrong). Only wrong
// convicts. Caches are checked while they are written: what looks wrong is
// looked at again until it has held still, and what is under way is never a
// fault.
//
// Start at [Check]; [judge] is the heart of the module cache's part.
package integrity
