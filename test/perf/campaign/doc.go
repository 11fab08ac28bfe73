// Package campaign looks for false alarms and for misses of the check of
// caches, in both directions and at random.
//
// One direction drives the real go command through random commands on a pair of
// caches: downloads, builds, tests, fuzzing, cleans, other flags and releases,
// with a proxy that fails at random, and kills it with signal 9 or fills its file
// system. Whatever it leaves must be Intact or recoverable, except that a clean of
// the modules which is interrupted must be Corrupt where it leaves a module in part:
// the go command reads that as it is.
//
// The other direction changes what these caches hold, in ways that change what
// a build reads, and requires Corrupt.
//
// Episodes are independent of each other and repeatable by seed and number, up
// to the times at which commands are killed. The state is kept in a file, so an
// interrupted campaign goes on where it was. `make go-campaign` runs it.
package campaign
