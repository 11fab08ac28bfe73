// Package cleanup cleans a volume of caches that warm-ups fill, within bounds
// of size and age. While it runs, no other writer and no build uses the volume.
//
// It has two runs. The first makes three preflight checks and reports the
// entries to remove, as a plan with a digest. The second makes the checks and
// the plan again, and removes these entries if the plan still has that digest.
// Then it repeats the builds of the last warm-up offline to prove that nothing
// they need was removed, checks the remaining entries, and writes the manifest
// as a warm-up does.
//
// Entries that the last warm-up used are kept, whatever the bounds: otherwise
// the next one would fetch and build them again. The plan reports a bound that
// cannot be reached for this reason.
package cleanup
