// Package livecheck decides when a cache PVC is checked, and what its verdict
// is.
//
// A check is due on request, when a snapshot of the same volume was found
// Corrupt and no check that began later had a conclusive verdict, and by
// schedule. An inconclusive check is repeated a few times with growing pauses,
// for the same cause. A verdict on a volume does not apply to the one that
// replaced it.
//
// The volume is Corrupt if a check finds it so. If the checks were
// inconclusive, it is Corrupt if the two newest verdicts on its snapshots are.
// Nothing else makes it Corrupt.
package livecheck
