// Package livecheck decides when a live claim is checked, and what is believed
// of it.
//
// A check is due on request, when a snapshot of the same volume was convicted
// and no check that began later has told, and by schedule. One that could not
// tell is repeated a few times with growing pauses, for the same cause. What is
// known of a volume says nothing of the one that took its place.
//
// A check that finds the volume Corrupt convicts it. Where the checks could not
// tell, the two newest verdicts on snapshots of the volume convict it if both
// are Corrupt. Nothing else does.
package livecheck
