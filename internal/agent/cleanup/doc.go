// Package cleanup cleans a volume of caches that warm-ups fill, within bounds
// of size and age. While it runs, no other writer and no build uses the volume.
//
// It has two runs. The first makes three preflight checks and says what would
// go, as a plan with a digest. The second makes the checks again, plans again,
// and removes what the digest names if that is still the plan; then it repeats
// the last warm-up's builds offline to prove that nothing they need is gone,
// checks what is left, and seals the volume as a warm-up does.
//
// What the last warm-up used stays, whatever the bounds: without it, the next
// one would fetch and build it all again. A bound that cannot be reached for
// this reason is said in the plan.
package cleanup
