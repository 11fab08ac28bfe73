// Package trim bounds the size and age of caches.
//
// A build cache may be trimmed while builds use it. Action entries go first:
// removing one is a miss at worst. Outputs go only after a grace, when no entry
// names them and no build has used them: a running build may have looked an
// entry up before it was removed and still be about to read the output.
//
// A module cache may not: builds read extracted modules without any lock. It
// has no marks of use either. Where warm-ups have recorded what they used
// ([Options.Used]), as on the volumes of the operator, that decides, for both
// caches together; else go.sum files do. Of the Go toolchains in a module
// cache, which no go.sum file names, the newest is kept in both cases.
//
// What would be removed is a plan with a digest, so that a person can approve
// exactly that.
package trim
